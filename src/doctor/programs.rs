//! Programs: whether they are there, and new enough.

use super::version::Version;
use super::{Finding, Site, confine};
use crate::ansible::command::{PLAYBOOK, lies_in};
use camino::Utf8Path;
use host::cmd::Cmd;
use host::programs::find;
use std::time::Duration;
use vm::network::confine::{Confinement, NotRun};
use vm::qemu;

/// A program that a run starts.
pub(super) struct Program {
    pub(super) name: &'static str,
    /// Debian's package.
    pub(super) package: &'static str,
    /// The argument that makes it print its version; empty if it has none.
    asks: &'static str,
    /// The oldest version that will do, and why.
    oldest: Option<(Version, &'static str)>,
}

/// QEMU itself.
pub(super) const QEMU: Program = Program {
    name: qemu::PROGRAM,
    package: "qemu-system-x86",
    asks: "--version",
    oldest: Some((Version(8, 0, 0), "older ones were never tried")),
};
/// Makes overlays and snapshots.
pub(super) const QEMU_IMG: Program =
    Program { name: "qemu-img", package: "qemu-utils", asks: "--version", oldest: QEMU.oldest };
/// Makes bridges and addresses.
pub(super) const IP: Program = Program { name: "ip", package: "iproute2", asks: "-V", oldest: None };
/// Packet filters.
pub(super) const NFT: Program = Program { name: "nft", package: "nftables", asks: "--version", oldest: None };
/// DHCP and DNS.
pub(super) const DNSMASQ: Program = Program {
    name: "dnsmasq",
    package: "dnsmasq-base",
    asks: "--version",
    // `filter-AAAA`: the changelog of 2.87 has it as new.
    oldest: Some((Version(2, 87, 0), "older ones do not know filter-AAAA")),
};
/// The way out of a network namespace.
pub(super) const PASTA: Program = Program { name: "pasta", package: "passt", asks: "--version", oldest: None };
/// The way into the guest.
pub(super) const SSH: Program = Program { name: "ssh", package: "openssh-client", asks: "-V", oldest: None };
/// Makes the keys of a run.
pub(super) const SSH_KEYGEN: Program =
    Program { name: "ssh-keygen", package: "openssh-client", asks: "", oldest: None };

/// Debian 13's Python is 3.13, which ansible-core's support matrix has from 2.18 on.
const OLDEST_ANSIBLE: Version = Version(2, 18, 0);

/// The devices that a machine is made of (see [`qemu::argv`]).
const DEVICES: [&str; 5] = ["virtio-blk-pci", "virtio-net-pci", "virtio-rng-pci", "pvpanic-pci", "i6300esb"];

/// Time for a program to print a few lines, on a busy machine.
const LIMIT: Duration = Duration::from_secs(4);
/// Python takes a second on an idle machine.
const ANSIBLE_LIMIT: Duration = Duration::from_secs(14);

/// Look for a program and ask for its version.
pub(super) fn check(site: &Site, program: &Program) -> Finding {
    let install = || site.os.install(program.name, program.package);
    let Some(file) = find(&site.input.path, program.name) else {
        return Finding::fail(format!("`{}` is not in PATH", program.name), install());
    };
    if program.asks.is_empty() {
        return Finding::ok(file);
    }
    let said = match said(Cmd::new(&file).arg(program.asks), LIMIT) {
        Ok(said) => said,
        Err(why) => return broken(&file, why, install()),
    };
    judge(program, &file, &said, install)
}

/// It is there and does not run.
fn broken(file: &Utf8Path, why: String, install: String) -> Finding {
    Finding::fail(why, format!("run {file} by hand to see more; if it is broken: {install}"))
}

/// What its version text means.
fn judge(program: &Program, file: &Utf8Path, said: &str, install: impl Fn() -> String) -> Finding {
    // Further lines hold other numbers: a licence's, a library's.
    let first = said.lines().next().unwrap_or_default();
    match (Version::find(first), program.oldest) {
        (Some(found), Some((oldest, why))) if found < oldest => {
            Finding::fail(format!("{file} is {found}; it takes {oldest} ({why})"), install())
        }
        (None, Some((oldest, _))) => Finding::warn(
            format!("{file} does not say its version but {first:?}"),
            format!("check that it is {oldest} or newer"),
        ),
        (Some(found), _) => Finding::ok(format!("{found} ({file})")),
        (None, None) => Finding::ok(format!("{file} ({first})")),
    }
}

/// Whether QEMU has the devices and the translator that a machine needs.
pub(super) fn qemu_devices(site: &Site) -> Finding {
    let install = || site.os.install(QEMU.name, QEMU.package);
    let Some(file) = find(&site.input.path, QEMU.name) else {
        return Finding::fail("QEMU is not there to be asked", "as for qemu");
    };
    let asked = |what: &str| said(Cmd::new(&file).args([what, "help"]), LIMIT);
    match asked("-device").and_then(|devices| Ok((devices, asked("-accel")?))) {
        Err(why) => broken(&file, why, install()),
        Ok((devices, accels)) => {
            let mut lacks = qemu::lacking(&devices, &DEVICES);
            if !accels.lines().any(|line| line.trim() == "tcg") && super::machine::needs_tcg() {
                lacks.push("the accelerator tcg");
            }
            match lacks.is_empty() {
                true => Finding::ok(DEVICES.join(", ")),
                false => Finding::fail(format!("{file} lacks {}", lacks.join(", ")), install()),
            }
        }
    }
}

/// Ansible, as a run would start it.
pub(super) fn ansible(site: &Site) -> Finding {
    let repo = site.input.repo.as_deref();
    let install = || site.os.install_ansible(repo.map(Utf8Path::as_str));
    let own = repo.map(|repo| repo.join(".venv/bin").join(PLAYBOOK)).filter(|file| file.is_file());
    let Some(file) = own.or_else(|| find(&site.input.path, PLAYBOOK)) else {
        return no_ansible(repo, install());
    };
    match ansible_version(&file, repo) {
        Err(NotAsked::Broken(why)) => broken(&file, why, install()),
        Err(NotAsked::Confinement(why)) => Finding::warn(
            format!("{file} could not be asked, for it is not run unconfined: {why}"),
            "as for confinement",
        ),
        Ok(Some(found)) if found >= OLDEST_ANSIBLE => Finding::ok(format!("ansible-core {found} ({file})")),
        Ok(Some(found)) => {
            let why = format!("{file} is {found}; the guest's Python 3.13 takes {OLDEST_ANSIBLE}");
            Finding::fail(why, install())
        }
        Ok(None) => Finding::warn(format!("{file} does not say its version"), install()),
    }
}

/// Its version, asked in the repository, so that an ansible.cfg that does not load shows here. It is the repository's own
/// program: it runs confined, as it does in a run.
fn ansible_version(file: &Utf8Path, repo: Option<&Utf8Path>) -> Result<Option<Version>, NotAsked> {
    let dir = repo.filter(|dir| dir.is_dir()).unwrap_or(Utf8Path::new("/"));
    let broken = NotAsked::Broken;
    let scratch = tempfile::tempdir().map_err(|error| broken(format!("cannot make a temporary folder: {error}")))?;
    let mut visible = lies_in(file);
    visible.extend(dir.parent().map(|_| dir.to_owned()));
    let allowed = Confinement { visible, ..Confinement::default() };
    let asked = confine::behind(scratch.path(), &allowed).map_err(|not_run| NotAsked::Confinement(not_run.why))?;
    let asked = asked.args([file.as_str(), "--version"]).current_dir(dir).limit(ANSIBLE_LIMIT);
    // Even for that it makes folders, in HOME unless it is given another place.
    let asked = asked.env("ANSIBLE_HOME", scratch.path()).env("ANSIBLE_LOCAL_TEMP", scratch.path());
    let (status, out) = asked.status().map_err(|error| broken(describe(&error)))?;
    match NotRun::told(status.code(), &out.stderr) {
        // Where others can be confined, it is this program that cannot be started.
        Some(not_run) if confine::attempt().is_ok() => Err(broken(not_run.why)),
        Some(not_run) => Err(NotAsked::Confinement(not_run.why)),
        None if status.success() => Ok(out.stdout.lines().next().and_then(Version::find)),
        None => Err(broken(format!("{file} --version ended with {status}: {}", out.stderr.trim()))),
    }
}

/// Why Ansible did not say its version.
enum NotAsked {
    /// It does not run.
    Broken(String),
    /// Nothing can be confined here.
    Confinement(String),
}

/// Without a repository there may still be one in its `.venv`: that is no proof that it is missing.
fn no_ansible(repo: Option<&Utf8Path>, fix: String) -> Finding {
    match repo {
        Some(repo) => Finding::fail(format!("ansible-playbook is neither in {repo}/.venv/bin nor in PATH"), fix),
        None => Finding::warn(
            "ansible-playbook is not in PATH, and no playbook repository is named whose .venv could have it",
            format!("name the repository with --repo or BOMA_REPO; or {fix}"),
        ),
    }
}

/// Both streams of a command that succeeds (`ssh -V` writes to standard error), or why it does not.
fn said(cmd: Cmd, limit: Duration) -> Result<String, String> {
    let out = cmd.limit(limit).run().map_err(|error| describe(&error))?;
    Ok(format!("{}\n{}", out.stdout.trim(), out.stderr.trim()).trim().to_owned())
}

fn describe(error: &dyn std::error::Error) -> String {
    match error.source() {
        Some(cause) => format!("{error}: {cause}"),
        None => error.to_string(),
    }
}

#[cfg(test)]
mod tests {
    use super::super::Outcome;
    use super::*;

    fn judged(program: &Program, said: &str) -> Finding {
        judge(program, Utf8Path::new("/usr/bin/it"), said, || "apt install it".into())
    }

    #[test]
    fn a_program_that_is_too_old_fails_and_names_both_versions() {
        let finding = judged(&QEMU, "QEMU emulator version 7.2.15 (Debian 1:7.2+dfsg-7+deb12u12)");
        assert_eq!(finding.result, Outcome::Fail);
        assert!(finding.probed.contains("7.2.15") && finding.probed.contains("8.0"), "{}", finding.probed);
        assert_eq!(judged(&DNSMASQ, "Dnsmasq version 2.86  Copyright").result, Outcome::Fail);
        assert_eq!(judged(&QEMU, "QEMU emulator version 10.0.2").result, Outcome::Ok);
    }

    #[test]
    fn the_package_depends_on_each_program_in_the_version_that_is_demanded() {
        let control = include_str!("../../.ci/deb/control");
        let entry = |field: &str, package: &str| {
            let entries = control.lines().find_map(|line| line.strip_prefix(field)).unwrap().split(", ");
            let of_it = entries.map(str::trim).find(|entry| entry.split(' ').next() == Some(package));
            of_it.unwrap_or_else(|| panic!("{field} has no {package}")).to_owned()
        };
        for program in [&QEMU, &QEMU_IMG, &IP, &NFT, &DNSMASQ, &PASTA, &SSH, &SSH_KEYGEN] {
            let found = Version::find(&entry("Depends:", program.package));
            assert_eq!(found, program.oldest.map(|(oldest, _)| oldest), "{}", program.package);
        }
        assert_eq!(Version::find(&entry("Recommends:", "ansible-core")), Some(OLDEST_ANSIBLE));
    }

    #[test]
    fn a_version_that_cannot_be_read_matters_only_where_one_is_demanded() {
        let pasta = judged(&PASTA, "pasta unknown version\nGNU Affero GPL version 3.0 or later");
        assert_eq!((pasta.result, pasta.probed.as_str()), (Outcome::Ok, "/usr/bin/it (pasta unknown version)"));
        assert_eq!(judged(&QEMU, "hello").result, Outcome::Warn);
    }
}
