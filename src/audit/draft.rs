//! A profile for an image that has none, from what is in it. What is there becomes a condition, so that its going away is
//! noticed; what cannot be told from the image is guessed, and the comment beside it says so.

use boot_media::medium::{Form, LoaderEntry, Medium, Platform};
use camino::Utf8Path;
use serde_json::{Value, json};

/// What nobody wants to hand out with an image.
const SECRETS: [&str; 4] = ["/**/ssh_host_*_key", "/**/id_rsa", "/**/id_ed25519", "/**/id_ecdsa"];
/// The largest os-release, bytes.
const LARGEST: u64 = 64 << 10;
/// Names of distributions, and the dialect that their consoles speak.
const DIALECTS: [(&str, &str, &str); 4] = [
    ("nixos", "nixos", "nixos"),
    ("alpine", "alpine", "root"),
    ("debian", "debian", "user"),
    ("ubuntu", "debian", "ubuntu"),
];

/// The profile of an image that lies at this absolute path.
pub fn profile(path: &Utf8Path, medium: &Medium) -> Value {
    let loaders = medium.loaders();
    let linux: Vec<_> = loaders.entries.iter().filter(|entry| entry.boots_linux()).collect();
    let mut profile = json!({
        "//": about(medium, &linux),
        "kind": "audit",
        "image": path,
    });
    let mut conditions = image_conditions(medium, &linux);
    match guest(medium, &linux) {
        Ok((dialect, user, why)) => {
            profile["machine"] = json!({
                "//": "What it is booted in. The firmware is the first that finds something to boot.",
                "firmware": if has_bios(medium) { "bios" } else { "uefi" },
                "mem_mib": 2048,
                "net": "user",
            });
            profile["guest"] = json!({
                "//": format!("Guessed: {why}. Correct the user, and add a \"password\" if one is asked for."),
                "dialect": dialect,
                "user": user,
            });
            conditions.extend(runtime_conditions());
        }
        Err(why) => {
            profile["// guest"] = json!(format!(
                "It is not booted: {why}. To boot it, add \"machine\" and \"guest\" and conditions of the phase \"runtime\"."
            ));
        }
    }
    profile["conditions"] = Value::Array(conditions);
    profile
}

fn about(medium: &Medium, linux: &[&LoaderEntry]) -> Value {
    let mut lines =
        vec![format!("Written by `boma-qemu audit init` from an {} of {} bytes.", medium.form(), medium.size())];
    if !medium.volume_id().is_empty() {
        lines.push(format!("Its volume is called {:?}.", medium.volume_id()));
    }
    lines.extend(medium.boot_entries().iter().map(|entry| format!("Boot catalogue, entry {entry}.")));
    lines.extend(medium.volumes().iter().map(|volume| {
        let uuid = volume.uuid.as_ref().map(|uuid| format!(", UUID={uuid}")).unwrap_or_default();
        format!("{}: {}{uuid}.", volume.name, volume.content)
    }));
    lines.extend(linux.iter().map(|entry| {
        let default = if entry.default { ", the default" } else { "" };
        format!("{} entry {:?} in {}:{}{default}: {}", entry.loader, entry.title, entry.file, entry.line, entry.args)
    }));
    lines.extend(medium.unread().map(|why| format!("NOT READ: {why}.")));
    lines.push("Add what must hold of this image; `boma-qemu audit lint` says what is wrong with it, docs/runbook.md lists every probe.".into());
    json!(lines)
}

fn condition(id: &str, what: &str, probe: Value, hint: &str) -> Value {
    let phase = if matches!(id, "console-alive" | "login") { "runtime" } else { "image" };
    let mut condition = json!({"id": id, "phase": phase, "what": what, "probe": probe, "hint": hint});
    if id != "one-image" {
        condition["after"] = json!([if id == "login" { "console-alive" } else { "one-image" }]);
    }
    condition
}

fn image_conditions(medium: &Medium, linux: &[&LoaderEntry]) -> Vec<Value> {
    let mut all = vec![
        condition(
            "one-image",
            "There is exactly one image.",
            json!({"one-image": {}}),
            "build it, or remove the old one",
        ),
        condition(
            "whole",
            "Nothing of the image is missing or damaged.",
            json!({"whole": {}}),
            "build or copy it again",
        ),
        condition(
            "checksum",
            "Its SHA-256 is the one that is published beside it, if one is.",
            json!({"checksum": {}}),
            "copy it again; if it was built anew, publish its checksum",
        ),
    ];
    let firmware = [(Platform::Bios, "bios"), (Platform::Efi, "efi")];
    let has = |platform| medium.boot_entries().iter().any(|one| one.platform == platform && one.bootable);
    let expect: Vec<_> = firmware.into_iter().filter(|(platform, _)| has(*platform)).map(|(_, name)| name).collect();
    if !expect.is_empty() {
        let hint = "look at the options of the program that made the image: xorriso -report_el_torito plain";
        all.push(condition(
            "boots",
            "Each firmware finds something to boot.",
            json!({"el-torito": {"expect": expect}}),
            hint,
        ));
    }
    let is_program = |name: &String| name.to_ascii_lowercase().contains("/efi/boot/boot");
    let programs: Vec<_> = medium.efi_files().map(|(name, _)| name).filter(is_program).collect();
    if !programs.is_empty() {
        let probe = json!({"files-present": {"paths": programs}});
        all.push(condition(
            "efi-program",
            "The program that UEFI starts is there.",
            probe,
            "install the boot loader's EFI part",
        ));
    }
    if !linux.is_empty() {
        let hint = "correct the loader's configuration, or put the file where it is looked for";
        all.push(condition(
            "loader-files",
            "Each entry's kernel and initial RAM disk are there.",
            json!({"loader-files": {}}),
            hint,
        ));
        let hint = "compare the entry with blkid: a file system that was made again has another label and UUID";
        all.push(condition(
            "loader-labels",
            "Labels and UUIDs that the entries name are the image's.",
            json!({"loader-labels": {}}),
            hint,
        ));
    }
    let consoles = consoles(linux);
    if !consoles.is_empty() {
        let probe = json!({"loader-args": {"expect": consoles, "entries": "all"}});
        all.push(condition(
            "serial-console",
            "Each entry has its consoles.",
            probe,
            "add them to the loader's configuration",
        ));
    }
    if medium.volumes().iter().any(|one| medium.has(&format!("{}:/etc/fstab", one.name)).unwrap_or(true)) {
        let hint = "compare the fstab with blkid: a file system that was made again has another UUID";
        all.push(condition("fstab", "What the fstab mounts is in the image.", json!({"fstab": {}}), hint));
    }
    let hint = "remove it, and make a new key: whoever has the image has this one";
    all.push(condition(
        "no-secrets",
        "No private key is in the image.",
        json!({"files-absent": {"paths": SECRETS}}),
        hint,
    ));
    all
}

/// The consoles that every entry has.
fn consoles(linux: &[&LoaderEntry]) -> Vec<String> {
    let Some(first) = linux.first() else { return Vec::new() };
    let words = first.args.split_whitespace().filter(|word| word.starts_with("console="));
    words.filter(|word| linux.iter().all(|entry| entry.has_arg(word))).map(str::to_owned).collect()
}

fn runtime_conditions() -> [Value; 2] {
    let alive = json!({"console-alive": {"max-gap-s": 120.0}});
    let hint = "look at console.log in the evidence: its last lines say where the boot stopped";
    [
        condition(
            "console-alive",
            "It boots to a login, and its serial console is never silent for long.",
            alive,
            hint,
        ),
        condition(
            "login",
            "The user gets a shell.",
            json!({"login": {}}),
            "correct `guest` in the profile, or the image",
        ),
    ]
}

fn has_bios(medium: &Medium) -> bool {
    medium.boot_entries().iter().any(|entry| entry.platform == Platform::Bios && entry.bootable)
}

/// Dialect, user, and why these; or why the image is not booted.
fn guest(medium: &Medium, linux: &[&LoaderEntry]) -> Result<(&'static str, &'static str, String), String> {
    if medium.form() != Form::Iso {
        return Err(format!("a machine here boots from an ISO, and this is a {}", medium.form()));
    }
    if let Some(why) = medium.foreign() {
        return Err(why);
    }
    if !linux.iter().any(|entry| entry.args.contains("console=ttyS")) {
        return Err("no entry has a serial console, over which it would be asked".into());
    }
    let release = ["/etc/os-release", "/usr/lib/os-release"].iter().find_map(|path| medium.read(path, LARGEST).ok());
    let release = String::from_utf8_lossy(&release.unwrap_or_default()).to_lowercase();
    let named = [("its volume's name", medium.volume_id().to_lowercase()), ("its os-release", release)];
    for (whose, text) in named {
        if let Some((name, dialect, user)) = DIALECTS.iter().find(|(name, ..)| text.contains(name)) {
            return Ok((dialect, user, format!("{whose} speaks of {name}")));
        }
    }
    Err("nothing in it says which distribution it is".into())
}
