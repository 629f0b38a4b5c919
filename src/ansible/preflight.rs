//! Everything that can be found wrong before anything boots, with Ansible's own programs and no network.

use super::command::{Controller, PLAYBOOK};
use super::error::AnsibleError;
use super::folder::Folder;
use super::hosts::{self, RealHosts};
use super::inventory::{Inline, vars_base};
use super::overlay::{self, Overlay};
use super::real::{self, Listing, RealWay};
use super::user_vars::UserVars;
use super::{Stage, local};
use camino::{Utf8Path, Utf8PathBuf};
use evidence::playbook::events::{self, Event, Status};
use host::dirs::{DirError, make_private};
use host::ledger::Leak;
use host::ledger::scratch::{self, Scratch};
use host::secrets::values_of;
use vm::network::confine::{Confinement, without_a_network};

/// The oldest ansible-core that manages Debian 13: its support matrix names Python 3.13 from 2.18 on.
const OLDEST: (u32, u32) = (2, 18);

/// How the name of the folder of one look begins.
const PREFIX: &str = "preflight-";

/// What was learnt before anything booted.
#[derive(Clone, Debug)]
pub struct Preflight {
    /// The version of ansible-core.
    pub version: String,
    /// Every real host, and what could not be read of them: what goes on the never list.
    pub real: RealHosts,
    /// What the real inventory says inline, for the transient one.
    pub inline: Inline,
    /// How the real inventory says that the host is logged in to.
    pub way: RealWay,
    /// What the vault holds for this inventory and in the files of extra-vars: it may not leave the program.
    pub secrets: Vec<String>,
    /// What the user should read: where the profile and the real inventory differ.
    pub notes: Vec<String>,
}

/// Remove what looks that were killed have left in their scratch folder. Only where no other can be at work.
pub fn clear(scratch: &Utf8Path) -> Result<(Vec<Utf8PathBuf>, Vec<Leak>), DirError> {
    scratch::clear(scratch, PREFIX)
}

/// Look at all inputs. `playbooks` are those of the profile and the verify playbook, absolute; `scratch` is a folder
/// in which a temporary one can be made.
///
/// Ansible's programs run plugins and scripts of the repository (inventory scripts, the vault's password program): they are
/// confined as the playbooks are, by `exe`, which is this program, with what is `allowed`, and without a network.
pub fn check(
    controller: &Controller,
    playbooks: &[Utf8PathBuf],
    scratch: &Utf8Path,
    exe: &Utf8Path,
    allowed: &Confinement,
) -> Result<Preflight, AnsibleError> {
    let encrypted = look_at_files(controller, playbooks)?;
    in_scratch(controller, scratch, exe, allowed, |controller, prefix| look(controller, playbooks, encrypted, prefix))
}

/// Work with a playbook side whose folder is a temporary one in `scratch`, behind a prefix that confines what it runs and
/// leaves it no network.
pub(super) fn in_scratch<T>(
    controller: &Controller,
    scratch: &Utf8Path,
    exe: &Utf8Path,
    allowed: &Confinement,
    work: impl FnOnce(&Controller, &[String]) -> Result<T, AnsibleError>,
) -> Result<T, AnsibleError> {
    make_private(scratch)?;
    // What cannot be removed is in nobody's way; `prune` names it.
    drop(clear(scratch)?);
    let dir = Scratch::new(scratch, PREFIX)?;
    let controller = Controller { folder: Folder::at(dir.path()), ..controller.clone() };
    controller.folder.create()?;
    work(&controller, &without_a_network(exe, dir.path(), allowed)?)
}

fn look(
    controller: &Controller,
    playbooks: &[Utf8PathBuf],
    encrypted: Vec<Utf8PathBuf>,
    prefix: &[String],
) -> Result<Preflight, AnsibleError> {
    // Each of these costs a Python start, and none needs another.
    let (version, whole, hosts, bare) = std::thread::scope(|scope| {
        let version = scope.spawn(|| version(controller, prefix));
        let whole = scope.spawn(|| list(controller, Listed::Whole, prefix));
        let hosts = scope.spawn(|| hosts::ask(controller, playbooks, prefix));
        let bare = list(controller, Listed::Inline, prefix);
        (version.join(), whole.join(), hosts.join(), bare)
    });
    // An Ansible that is missing or too old explains whatever the others said.
    let version = version.unwrap_or_else(|panic| std::panic::resume_unwind(panic))?;
    let whole = whole.unwrap_or_else(|panic| std::panic::resume_unwind(panic))?;
    let bare = bare?;
    let host = controller.host.as_str();
    if !whole.hosts().contains(host) {
        let known = whole.hosts().into_iter().collect::<Vec<_>>().join(", ");
        return Err(AnsibleError::NotInInventory { host: host.into(), path: controller.inventory.clone(), known });
    }
    let mut secrets = Vec::new();
    for value in whole.vaulted() {
        secrets.push(open_vault(controller, &["decrypt"], value.into_bytes(), prefix)?);
    }
    for file in encrypted {
        secrets.extend(values_of(&open_vault(controller, &["view", file.as_str()], Vec::new(), prefix)?));
    }
    secrets.extend(vaulted_files(controller, prefix));
    let real = hosts.unwrap_or_else(|panic| std::panic::resume_unwind(panic))?;
    let inline = bare.inline(&real.groups);
    let mut notes = real::differences(host, &controller.groups, &whole, &inline);
    notes.extend(real.facts.iter().map(|place| {
        format!("{place} reads facts of other hosts: none are gathered of a real host, so they are undefined here")
    }));
    let path = &controller.inventory;
    real.hold(&whole).map_err(|said| AnsibleError::Inventory { path: path.clone(), said })?;
    secrets.extend(real.secret.iter().cloned());
    let way = resolved_way(controller, whole.way(host), prefix)?;
    Ok(Preflight { version, real, inline, way, secrets, notes })
}

/// All named files are there, and extra-vars are mappings; the encrypted ones are handed back.
fn look_at_files(controller: &Controller, playbooks: &[Utf8PathBuf]) -> Result<Vec<Utf8PathBuf>, AnsibleError> {
    if !controller.repo.is_dir() {
        return Err(AnsibleError::NoFile { what: "the playbook repository", path: controller.repo.clone() });
    }
    if !controller.inventory.exists() {
        return Err(AnsibleError::NoFile { what: "the real inventory", path: controller.inventory.clone() });
    }
    if let Some(path) = playbooks.iter().find(|path| !path.is_file()) {
        return Err(AnsibleError::NoFile { what: "the playbook", path: path.clone() });
    }
    let user = controller.user.iter().filter_map(|vars| match vars {
        UserVars::File(path) => Some(path),
        UserVars::Pair { .. } | UserVars::Json(_) => None,
    });
    let mut encrypted = Vec::new();
    for path in controller.overlays.iter().chain(user) {
        if overlay::look(path)? == Overlay::Encrypted {
            encrypted.push(path.clone());
        }
    }
    Ok(encrypted)
}

/// The version of ansible-core, if it is new enough.
pub fn version(controller: &Controller, prefix: &[String]) -> Result<String, AnsibleError> {
    let invocation = controller.over_real_inventory(PLAYBOOK, &["--version"]);
    // Behind a prefix a missing program looks like a failure of the prefix: so look first.
    if !can_be_found(&invocation) {
        let source = std::io::Error::from(std::io::ErrorKind::NotFound);
        return Err(AnsibleError::Missing { program: invocation.argv[0].clone(), source });
    }
    let (status, output) = local::run(&invocation, prefix, Vec::new())?;
    let found = parse_version(&output.stdout);
    match found {
        Some((version, numbers)) if numbers >= OLDEST => Ok(version),
        Some((found, _)) => Err(AnsibleError::TooOld { program: invocation.argv[0].clone(), found }),
        None => Err(refused(&invocation, status, &output.stderr)),
    }
}

/// Whether a command's program is where it says, or in its `PATH`.
fn can_be_found(invocation: &super::Invocation) -> bool {
    let program = Utf8Path::new(&invocation.argv[0]);
    let path = invocation.env.iter().find(|(name, _)| name == "PATH").map_or("", |(_, path)| path);
    match program.parent() {
        Some(folder) if !folder.as_str().is_empty() => program.is_file(),
        _ => path.split(':').any(|folder| Utf8Path::new(folder).join(program).is_file()),
    }
}

/// `ansible-playbook [core 2.19.4]`.
fn parse_version(text: &str) -> Option<(String, (u32, u32))> {
    let version = text.lines().next()?.split("[core ").nth(1)?.split(']').next()?;
    let mut numbers = version.split(|c: char| !c.is_ascii_digit()).map(str::parse);
    Some((version.to_owned(), (numbers.next()?.ok()?, numbers.next()?.ok()?)))
}

#[derive(Clone, Copy)]
enum Listed {
    /// With `group_vars` and `host_vars`: opens the vault.
    Whole,
    /// Only what the inventory itself says.
    Inline,
}

fn list(controller: &Controller, what: Listed, prefix: &[String]) -> Result<Listing, AnsibleError> {
    let inventory = controller.inventory.as_str();
    let mut args = vec!["--inventory", inventory, "--list"];
    if matches!(what, Listed::Inline) {
        args.push("--export");
    }
    let mut invocation = controller.over_real_inventory("ansible-inventory", &args);
    if matches!(what, Listed::Inline) {
        // No vars plugin: host_group_vars is the one that reads the folders.
        invocation.env.push(("ANSIBLE_VARS_ENABLED".into(), String::new()));
    }
    let (status, output) = local::run(&invocation, prefix, Vec::new())?;
    if !status.success() {
        let said = local::error_lines(&output.stderr);
        let about_the_vault = local::is_about_the_vault(&output.stderr);
        // ansible-core 2.19 does not say in which of the variables' files it is.
        let base = vars_base(&controller.inventory);
        let files = overlay::suspects(&[base.join("group_vars"), base.join("host_vars")], about_the_vault);
        let said = files.iter().fold(said, |said, file| format!("{said} | {file}"));
        return Err(match about_the_vault {
            true => AnsibleError::VaultLocked { said },
            false => AnsibleError::Inventory { path: controller.inventory.clone(), said },
        });
    }
    serde_json::from_str(&output.stdout)
        .map_err(|error| AnsibleError::Inventory { path: controller.inventory.clone(), said: error.to_string() })
}

/// What the encrypted files of the inventory's variables hold. One that does not open is of no host that Ansible
/// reads variables for: it would have said so.
fn vaulted_files(controller: &Controller, prefix: &[String]) -> Vec<String> {
    let base = vars_base(&controller.inventory);
    let files = overlay::suspects(&[base.join("group_vars"), base.join("host_vars")], true);
    let view = |files: &[String]| {
        let args: Vec<_> = ["view"].into_iter().chain(files.iter().map(String::as_str)).collect();
        open_vault(controller, &args, Vec::new(), prefix)
    };
    // Each costs a Python start; only if one of them does not open are they opened one by one.
    let texts = match files.is_empty() {
        true => Vec::new(),
        false => match view(&files) {
            Ok(text) => vec![text],
            Err(_) => files.chunks(1).filter_map(|file| view(file).ok()).collect(),
        },
    };
    texts.iter().flat_map(|text| values_of(text)).collect()
}

/// Open something encrypted: what it holds.
fn open_vault(
    controller: &Controller,
    args: &[&str],
    stdin: Vec<u8>,
    prefix: &[String],
) -> Result<String, AnsibleError> {
    let invocation = controller.over_real_inventory("ansible-vault", args);
    let (status, output) = local::run(&invocation, prefix, stdin)?;
    match status.success() {
        true => Ok(output.stdout),
        false => Err(AnsibleError::VaultLocked { said: local::error_lines(&output.stderr) }),
    }
}

/// The way in with its templates resolved. Few inventories have any, so Ansible is asked only then.
fn resolved_way(controller: &Controller, way: RealWay, prefix: &[String]) -> Result<RealWay, AnsibleError> {
    if !way.port.iter().chain(&way.user).any(|text| text.contains("{{") || text.contains("{%")) {
        return Ok(way);
    }
    let playbook = controller.folder.path().join("way.yml");
    let host = controller.host.as_str();
    let args = ["--inventory", controller.inventory.as_str(), "--limit", host, playbook.as_str()];
    let events = controller.folder.path().join("way.ndjson");
    let mut invocation = controller.over_real_inventory(PLAYBOOK, &args);
    invocation.env.retain(|(name, _)| name != "BOMA_EVENTS");
    invocation.env.push(("BOMA_EVENTS".into(), events.to_string()));
    let (_, output) = local::run(&invocation, prefix, Vec::new())?;
    // Where there is no file, Ansible's own error is the answer.
    let told = std::fs::read_to_string(&events).unwrap_or_default();
    let found = events::parse(&told).map_err(|why| AnsibleError::Unreadable { playbook, why })?;
    let result = found.into_iter().find_map(|event| match event {
        Event::Result(result) if result.host == host && result.action.ends_with("debug") => Some(result),
        _ => None,
    });
    match result {
        Some(result) if result.status == Status::Ok => {
            let (port, user) = result.message.split_once('|').unwrap_or((&result.message, ""));
            let word = |text: &str| Some(text.trim().to_owned()).filter(|text| !text.is_empty());
            Ok(RealWay { port: word(port), user: word(user), ..way })
        }
        Some(result) => Err(AnsibleError::NoWay { host: host.into(), said: result.why() }),
        None => Err(AnsibleError::NoWay { host: host.into(), said: local::error_lines(&output.stderr) }),
    }
}

pub(super) fn refused(invocation: &super::Invocation, status: std::process::ExitStatus, stderr: &str) -> AnsibleError {
    AnsibleError::Refused {
        command: invocation.to_string(),
        status: status.to_string(),
        said: local::error_lines(stderr),
        stage: Stage::Apply,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_version_of_ansible_core_is_read_from_its_first_line() {
        let parsed = |text: &str| parse_version(text).map(|(_, numbers)| numbers);
        assert_eq!(parsed("ansible-playbook [core 2.19.4]\n  config file = None\n"), Some((2, 19)));
        assert_eq!(parsed("ansible-playbook [core 2.20.0rc1]\n"), Some((2, 20)));
        assert_eq!(parsed("ansible-playbook 2.9.27\n"), None);
        assert!(parsed("ansible-playbook [core 2.14.18]").unwrap() < OLDEST);
    }
}
