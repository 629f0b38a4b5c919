//! What runs the guest's instructions: the processor itself (KVM) or QEMU's translator (TCG).
//!
//! `/dev/kvm` may open and still not work: on a paravirtual nested host KVM_CREATE_VM succeeds, and the
//! guest ends in `KVM internal error … emulation failure`. So two things decide: the processor's own
//! flags before the first boot, and what the first boot does ([`died_of_kvm`]).

use clap::ValueEnum;
use host::failure::{Blame, Exit};
use serde::{Deserialize, Serialize};
use std::fs::OpenOptions;

/// What runs the guest's instructions.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Accel {
    /// Hardware virtualisation.
    Kvm,
    /// Translation; slow, and works everywhere.
    Tcg,
}

impl std::fmt::Display for Accel {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(match self {
            Self::Kvm => "kvm",
            Self::Tcg => "tcg",
        })
    }
}

/// What the user asked for.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, ValueEnum, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Wanted {
    /// KVM if it looks as if it works, with one fall-back to TCG if it does not.
    #[default]
    #[value(help = "KVM where it works, else TCG")]
    Auto,
    /// KVM or nothing.
    #[value(help = "KVM or fail")]
    Kvm,
    /// TCG.
    #[value(help = "Emulation")]
    Tcg,
}

/// What this host says about KVM.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Facts {
    /// The virtualisation flag of the processor, `vmx` or `svm`.
    pub flag: Option<&'static str>,
    /// Whether /dev/kvm opens for reading and writing; if not, why.
    pub device: Result<(), String>,
}

/// KVM was demanded and cannot work.
#[derive(Debug, thiserror::Error, PartialEq, Eq)]
#[error("KVM cannot be used: {why}")]
pub struct NoKvm {
    why: String,
}

impl Blame for NoKvm {
    fn exit(&self) -> Exit {
        Exit::Host
    }
    fn next(&self) -> Option<String> {
        Some("use --accel auto (or tcg), or give this user and host a working /dev/kvm".into())
    }
}

/// Ask this host.
pub fn facts() -> Facts {
    let cpuinfo = std::fs::read_to_string("/proc/cpuinfo").unwrap_or_default();
    let device = OpenOptions::new().read(true).write(true).open("/dev/kvm");
    Facts { flag: flag(&cpuinfo), device: device.map(drop).map_err(|e| format!("/dev/kvm: {e}")) }
}

/// This host's processor, as far as a guest under KVM sees it: its model and its flags.
pub fn host_processor() -> String {
    let cpuinfo = std::fs::read_to_string("/proc/cpuinfo").unwrap_or_default();
    let seen = |line: &&str| {
        ["vendor_id", "cpu family", "model", "stepping", "microcode", "flags"].iter().any(|name| line.starts_with(name))
    };
    let first = cpuinfo.split("\n\n").next().unwrap_or_default();
    first
        .lines()
        .filter(seen)
        .map(|line| line.split_whitespace().collect::<Vec<_>>().join(" "))
        .collect::<Vec<_>>()
        .join("; ")
}

/// The virtualisation flag in the text of /proc/cpuinfo.
fn flag(cpuinfo: &str) -> Option<&'static str> {
    let flags = cpuinfo.lines().find_map(|line| line.strip_prefix("flags")?.split_once(':').map(|(_, flags)| flags))?;
    ["vmx", "svm"].into_iter().find(|wanted| flags.split_whitespace().any(|flag| flag == *wanted))
}

/// Choose, and say why.
pub fn choose(wanted: Wanted, facts: &Facts) -> Result<(Accel, String), NoKvm> {
    let verdict = match (facts.flag, &facts.device) {
        (Some(flag), Ok(())) => Ok(format!("the processor has {flag} and /dev/kvm opens")),
        (None, _) => Err("the processor has neither vmx nor svm, so KVM could not run a guest".to_owned()),
        (Some(_), Err(why)) => Err(why.clone()),
    };
    match (wanted, verdict) {
        (Wanted::Tcg, _) => Ok((Accel::Tcg, "asked for".into())),
        (Wanted::Kvm | Wanted::Auto, Ok(why)) => Ok((Accel::Kvm, why)),
        (Wanted::Auto, Err(why)) => Ok((Accel::Tcg, why)),
        (Wanted::Kvm, Err(why)) => Err(NoKvm { why }),
    }
}

/// Whether the words on QEMU's standard error say that KVM itself failed, and which words.
/// Read from QEMU 10.0's accel/kvm and target/i386/kvm.
pub fn died_of_kvm(stderr: &str) -> Option<&str> {
    const SIGNS: [&str; 6] = [
        "KVM internal error",
        "failed to set MSR",
        "KVM_CREATE_VM failed",
        "failed to initialize kvm",
        "Could not access KVM kernel module",
        "KVM: entry failed",
    ];
    stderr.lines().find(|line| SIGNS.iter().any(|sign| line.contains(sign)))
}

#[cfg(test)]
mod tests {
    use super::*;

    const NESTED: &str = "processor\t: 0\nflags\t\t: fpu vme hypervisor lahf_lm\nbugs\t\t: vmx_something\n";

    #[test]
    fn a_kvm_device_without_processor_flags_is_not_trusted() {
        let facts = Facts { flag: flag(NESTED), device: Ok(()) };
        assert_eq!(choose(Wanted::Auto, &facts).unwrap().0, Accel::Tcg);
        assert!(choose(Wanted::Kvm, &facts).unwrap_err().to_string().contains("neither vmx nor svm"));
    }

    #[test]
    fn a_flag_is_a_whole_word() {
        assert_eq!(flag("flags\t\t: fpu vmxx svm\n"), Some("svm"));
        assert_eq!(flag("vmx flags\t\t: none\n"), None);
    }

    #[test]
    fn auto_takes_kvm_where_it_opens_and_says_why_not_elsewhere() {
        let good = Facts { flag: Some("svm"), device: Ok(()) };
        assert_eq!(choose(Wanted::Auto, &good).unwrap().0, Accel::Kvm);
        let shut = Facts { device: Err("/dev/kvm: Permission denied".into()), ..good };
        let (accel, why) = choose(Wanted::Auto, &shut).unwrap();
        assert!(accel == Accel::Tcg && why.contains("Permission denied"), "{why}");
    }

    #[test]
    fn the_words_of_a_broken_kvm_are_known() {
        let said = "2026-11-20T10:00:00Z qemu-system-x86_64: error: failed to set MSR 0x10a to 0x0\nqemu: aborted\n";
        assert!(died_of_kvm(said).unwrap().contains("0x10a"));
        assert_eq!(died_of_kvm("warning: host doesn't support requested feature"), None);
    }
}
