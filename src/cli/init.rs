//! `init`: a first profile of a host with its checks, and its overlay; and a project root, where one is named that is
//! none yet.

use super::observe;
use super::say::Say;
use crate::ansible::command::{find_bin, outer_environment};
use crate::ansible::{Controller, Folder, draft as asking};
use crate::draft::{Draft, Here, draft};
use crate::image::{Catalogue, ImageError};
use crate::jobs::bring_up::own_exe;
use camino::{Utf8Path, Utf8PathBuf};
use host::dirs::{DirError, Dirs};
use host::failure::{Exit, Failure};
use host::lookup;
use host::names::HostName;
use host::print;
use host::visible;
use std::io::{ErrorKind, Write};
use vm::network::confine::Confinement;
use vm::network::{NetError, NetFile};

/// The images and the network of a project that begins.
const IMAGES: (&str, &str) = ("profiles/images.json", include_str!("../../profiles/images.json"));
const NETWORK: (&str, &str) = ("net/boma-it.json", include_str!("../../net/boma-it.json"));

/// What an editor knows of profiles.
const SCHEMA: &str = "schemas/host.json";

/// What a project root has, where one begins.
const BEGINNING: [(&str, &str); 3] =
    [IMAGES, NETWORK, ("certs/internal.yml", include_str!("../../certs/internal.yml"))];

/// Where inventories lie by custom, if ansible.cfg names none.
const INVENTORIES: [&str; 8] = [
    "inventories/production",
    "inventory",
    "inventories",
    "hosts",
    "hosts.yml",
    "hosts.ini",
    "inventory.yml",
    "inventory.ini",
];

/// Write the files; what is there is not touched.
pub(super) fn init(
    root: Option<&Utf8Path>,
    host: &HostName,
    repo: Option<Utf8PathBuf>,
    inventory: Option<Utf8PathBuf>,
    live: Option<&Utf8Path>,
    say: &Say,
) -> Result<u8, Failure> {
    let (dirs, begun) = root_of(root)?;
    let names = ["profiles", "overrides"];
    let ends = ["json", "yml"];
    let paths: Vec<_> =
        names.iter().zip(ends).map(|(dir, end)| dirs.root.join(dir).join(format!("{host}.{end}"))).collect();
    if let Some(path) = paths.iter().find(|path| path.exists()) {
        return Err(Failure::new(Exit::Usage, format!("{path} is there already, and nothing is overwritten"))
            .next("remove it, or move it away"));
    }
    let live = live.map(|path| observe::state_in(observe::FROM_LIVE, path)).transpose()?;
    let here = std::env::current_dir().ok().and_then(|path| Utf8PathBuf::from_path_buf(path).ok()).unwrap_or_default();
    let repo = here.join(repo.unwrap_or_default());
    let repo = repo.canonicalize_utf8().map_err(|error| {
        Failure::new(Exit::Usage, format!("the playbook repository {repo} cannot be used: {error}"))
            .next("name it with --repo DIR")
    })?;
    let inventory = inventory_of(&repo, inventory)?;
    let found = ask(&dirs, host, &repo, &inventory)?;
    let net = if begun { beginning()?.0 } else { NetFile::read(&dirs.root.join(NETWORK.0))? };
    let unresolved: Vec<_> = found.by_name.iter().filter(|name| lookup::all(name).is_err()).cloned().collect();
    let here = Here {
        repo: repo.strip_prefix(&dirs.root).unwrap_or(&repo),
        inventory: &inventory,
        controller: net.controller,
        unresolved: &unresolved,
    };
    let Draft { profile, overlay } = draft(host, &here, &found, live.as_ref());
    let profile = visible::json_pretty(&profile).unwrap_or_default() + "\n";
    let schema = dirs.root.join(SCHEMA);
    let described = (!schema.exists()).then(|| (schema, visible::json_pretty(&crate::profile::schema())));
    if let Some((path, text)) = described {
        write(&path, &(text.unwrap_or_default() + "\n"))?;
    }
    for (path, text) in BEGINNING
        .iter()
        .filter(|_| begun)
        .map(|(name, text)| (dirs.root.join(name), *text))
        .filter(|(path, _)| !path.exists())
        .chain(paths.iter().cloned().zip([profile.as_str(), overlay.as_str()]))
    {
        write(&path, text)?;
    }
    let unseen = live.as_ref().map(observe::unseen).unwrap_or_default();
    say.object(&serde_json::json!({"event": "init", "files": paths, "unseen": unseen}));
    for (section, why) in &unseen {
        print::err(&visible::line(&format!(
            "{section} of the real host could not be seen, and no check is from it: {why}"
        )));
    }
    let listed: Vec<_> = paths.iter().map(|path| format!("  {}", visible::line(path.as_str()))).collect();
    say.text(format!(
        "Written:\n{}\nDecide what is marked with DECIDE, then:\n  boma-qemu lint {host}\n  boma-qemu plan {host}\n  boma-qemu cycle {host}",
        listed.join("\n")
    ));
    Ok(0)
}

/// The network and the images of a project that begins.
pub(super) fn beginning() -> Result<(NetFile, Catalogue), Failure> {
    let net = serde_json::from_str(NETWORK.1);
    let net = net.map_err(|source| NetError::Format { path: NETWORK.0.into(), source })?;
    let images = Catalogue::parse(IMAGES.1);
    let images = images.map_err(|why| ImageError::Catalogue { path: IMAGES.0.into(), why })?;
    Ok((net, images))
}

/// The project root, and whether it only becomes one: a folder that was named, and holds none of its parts.
fn root_of(root: Option<&Utf8Path>) -> Result<(Dirs, bool), Failure> {
    match (Dirs::resolve(root), root) {
        // Folders alone are what an `init` that was refused has left.
        (Ok(dirs), _) => {
            let begun = !dirs.root.join(NETWORK.0).exists();
            Ok((dirs, begun))
        }
        (Err(DirError::NotRoot { path }), Some(_)) if !path.join("profiles").exists() && !path.join("net").exists() => {
            for name in ["profiles", "net"] {
                let dir = path.join(name);
                std::fs::create_dir_all(&dir)
                    .map_err(|error| Failure::new(Exit::Host, format!("cannot make {dir}: {error}")))?;
            }
            Ok((Dirs::resolve(root)?, true))
        }
        (Err(error @ DirError::NoRoot { .. }), _) => {
            Err(Failure::from(error).next("begin a project: `boma-qemu init HOST --root DIR --repo REPO`"))
        }
        (Err(error), _) => Err(error.into()),
    }
}

/// The inventory inside the repository: as given, as ansible.cfg says, or where it lies by custom.
fn inventory_of(repo: &Utf8Path, given: Option<Utf8PathBuf>) -> Result<Utf8PathBuf, Failure> {
    let config = std::fs::read_to_string(repo.join("ansible.cfg")).unwrap_or_default();
    let set = config.lines().filter_map(|line| line.split_once('=')).find(|(key, _)| key.trim() == "inventory");
    let configured = set.and_then(|(_, value)| value.split(',').next()).map(|value| Utf8PathBuf::from(value.trim()));
    let found = match given.or(configured) {
        Some(path) => path,
        None => INVENTORIES.iter().map(Utf8PathBuf::from).find(|path| repo.join(path).exists()).ok_or_else(|| {
            Failure::new(
                Exit::Usage,
                format!("{repo} has no inventory where one is looked for: ansible.cfg, {}", INVENTORIES.join(", ")),
            )
            .next("name it with --inventory PATH")
        })?,
    };
    let real = repo.join(&found).canonicalize_utf8().map_err(|error| {
        Failure::new(Exit::Usage, format!("the inventory {} cannot be read: {error}", repo.join(&found)))
            .next("name it with --inventory PATH, inside the repository")
    })?;
    real.strip_prefix(repo).map(Utf8Path::to_owned).map_err(|_| {
        Failure::new(Exit::Usage, format!("the inventory {real} does not lie inside the repository {repo}"))
            .next("name the repository that it lies in with --repo DIR")
    })
}

fn ask(dirs: &Dirs, host: &HostName, repo: &Utf8Path, inventory: &Utf8Path) -> Result<asking::Found, Failure> {
    let controller = Controller {
        host: host.clone(),
        repo: repo.to_owned(),
        inventory: repo.join(inventory),
        groups: Vec::new(),
        overlays: Vec::new(),
        user: Vec::new(),
        private: None,
        folder: Folder::at(&dirs.state),
        bin: find_bin(repo),
        outer: outer_environment(),
    };
    let exe = own_exe()?;
    let allowed =
        Confinement { visible: controller.reads(), writable: vec![repo.to_owned()], ..Confinement::default() };
    Ok(asking::ask(&controller, &dirs.state, &exe, &allowed)?)
}

fn write(path: &Utf8Path, text: &str) -> Result<(), Failure> {
    let fail = |error: std::io::Error| match error.kind() {
        ErrorKind::AlreadyExists => Failure::new(Exit::Usage, format!("{path} is there already")).next("move it away"),
        _ => Failure::new(Exit::Host, format!("cannot write {path}: {error}")),
    };
    std::fs::create_dir_all(path.parent().unwrap_or(path)).map_err(fail)?;
    std::fs::File::create_new(path).and_then(|mut file| file.write_all(text.as_bytes())).map_err(fail)
}
