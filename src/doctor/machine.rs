//! What the VM itself takes: an accelerator, memory, an image.

use super::{Finding, Site};
use crate::image;
use camino::Utf8Path;
use host::failure::{Blame, with_causes};
use host::names::MiB;
use host::promise::{self, Place};
use vm::qemu::Accel;
use vm::qemu::accel::{Facts, Wanted, choose, facts};
use vm::qemu::firmware::Firmware;

/// Whether this host would run a VM by translation.
pub(super) fn needs_tcg() -> bool {
    // `Auto` always has an answer.
    choose(Wanted::Auto, &facts()).is_ok_and(|(accel, _)| accel == Accel::Tcg)
}

/// Whether KVM can be expected to work; without it a VM is some ten times slower.
pub(super) fn kvm(_: &Site) -> Finding {
    judge_kvm(&facts())
}

fn judge_kvm(facts: &Facts) -> Finding {
    let (accel, why) = match choose(Wanted::Auto, facts) {
        Ok(choice) => choice,
        Err(error) => (Accel::Tcg, error.to_string()),
    };
    if accel == Accel::Kvm {
        return Finding::ok(format!("{why}; the first boot has the last word"));
    }
    let fix = match facts.flag {
        None => "switch virtualisation on in the firmware, or nested virtualisation in the hypervisor around this host",
        Some(_) if why.contains("denied") => "add this user to the group kvm (usermod -aG kvm USER) and log in again",
        Some("svm") => "modprobe kvm_amd",
        Some(_) => "modprobe kvm_intel",
    };
    Finding::warn(format!("TCG, which is slower: {why}"), fix)
}

/// Whether a machine that boots by UEFI finds its firmware: both files are opened, as its start opens them. Secure Boot is
/// not used, so no keys are needed.
pub(super) fn uefi(site: &Site) -> Finding {
    let fix = || site.os.install("OVMF", "ovmf");
    let files = match Firmware::Uefi.delivered() {
        Ok(files) => files.into_iter().flatten(),
        Err(error) => return Finding::warn(format!("only BIOS can be booted: {error}"), fix()),
    };
    let mut closed = files.clone().filter_map(|path| Some((path, std::fs::File::open(path).err()?)));
    match closed.next() {
        Some((path, error)) => {
            Finding::warn(format!("only BIOS can be booted: {path}: {error}"), format!("chmod a+r {path}"))
        }
        None => Finding::ok(format!(
            "UEFI without Secure Boot: {}",
            files.map(Utf8Path::as_str).collect::<Vec<_>>().join(", ")
        )),
    }
}

/// Whether there is memory for a VM.
pub(super) fn memory(site: &Site) -> Finding {
    let wanted = site.input.min_free;
    let place = Place::find(&site.input.dirs.state);
    let (held, beside) = match promise::look(&place) {
        Ok(seen) => seen,
        Err(error) => {
            let fix = error.next().unwrap_or_else(|| "check by hand that there is memory for a VM".into());
            return Finding::warn(with_causes(&error), fix);
        }
    };
    let others = match held.iter().map(|held| held.outstanding().0).sum::<u64>() {
        0 => String::new(),
        promised => format!(" beside {} that {} VMs will still take", MiB(promised), held.len()),
    };
    let alone = place.alone().map(|why| format!("; {why}")).unwrap_or_default();
    let probed = format!("{beside} available{others}, {wanted} wanted{alone}");
    match beside < wanted {
        true => Finding::fail(
            probed,
            format!("stop something that uses memory, or accept less with --min-free-mib {}", beside.0),
        ),
        false => Finding::ok(probed),
    }
}

/// Whether a golden image could be made here; one that is in the cache, or can be fetched, is as good.
pub(super) fn image_build(site: &Site) -> Finding {
    if site.input.image_there {
        return Finding::not_needed("a golden image is in the cache");
    }
    match image::can_build() {
        Ok(()) => Finding::ok("an image could be built from Debian packages, should it not be fetched"),
        Err(error) => {
            let fix = error.next().unwrap_or_else(|| "put a golden image into the cache".into());
            Finding::warn(format!("an image could only be fetched, not built: {error}"), fix)
        }
    }
}

#[cfg(test)]
mod tests {
    use super::super::Outcome;
    use super::*;

    #[test]
    fn kvm_that_does_not_work_is_a_warning_with_the_fix_for_its_cause() {
        let facts = |flag, device: Result<(), &str>| Facts { flag, device: device.map_err(str::to_owned) };
        let cases = [
            (facts(None, Ok(())), "firmware"),
            (facts(Some("vmx"), Err("/dev/kvm: Permission denied (os error 13)")), "group kvm"),
            (facts(Some("svm"), Err("/dev/kvm: No such file or directory (os error 2)")), "kvm_amd"),
        ];
        for (facts, fix) in cases {
            let finding = judge_kvm(&facts);
            assert_eq!(finding.result, Outcome::Warn, "{facts:?}");
            assert!(finding.fix.unwrap().contains(fix), "{facts:?}");
        }
        assert_eq!(judge_kvm(&facts(Some("vmx"), Ok(()))).result, Outcome::Ok);
    }
}
