//! systemd-boot's menu: one file per entry, `loader/entries/*.conf`.
//!
//! Format: the Boot Loader Specification, type 1, and loader.conf(5).

use super::{Loader, LoaderEntry, Place, Reading, clean, folder};

/// Read the file of one entry.
pub(super) fn read(reading: &mut Reading<'_>, place: Place) {
    let default = default_pattern(reading, &place);
    let Some((file, text)) = reading.open(Loader::SystemdBoot, &place) else { return };
    let name = place.path.rsplit('/').next().unwrap_or_default().to_owned();
    let mut entry = LoaderEntry {
        loader: Loader::SystemdBoot,
        file,
        line: 1,
        title: name.clone(),
        command: String::new(),
        kernel: None,
        initrd: Vec::new(),
        args: String::new(),
        default: default
            .is_some_and(|pattern| pattern.matches(&name) || pattern.matches(name.trim_end_matches(".conf"))),
    };
    for (line, text) in (1..).zip(text.lines()) {
        let Some((key, value)) = key_and_value(text) else { continue };
        match key {
            "title" => entry.title = value.to_owned(),
            "linux" | "efi" => {
                entry.command = key.to_owned();
                entry.kernel = Some(clean(value));
                if entry.args.is_empty() {
                    entry.line = line;
                }
            }
            "initrd" => entry.initrd.push(clean(value)),
            "options" => {
                entry.args = format!("{} {value}", entry.args).trim().to_owned();
                entry.line = line;
            }
            _ => {}
        }
    }
    reading.found.entries.push(entry);
}

/// What `loader.conf` beside the folder of the entries says is the default: a glob over their names.
fn default_pattern(reading: &Reading<'_>, place: &Place) -> Option<glob::Pattern> {
    let path = format!("{}/loader.conf", folder(folder(&place.path)));
    let found = reading.shelf.find(&Place { volume: place.volume, path })?;
    let text = reading.shelf.text(&found).ok()?;
    let mut named = text.lines().filter_map(key_and_value).filter(|(key, _)| *key == "default");
    glob::Pattern::new(named.next_back()?.1).ok()
}

fn key_and_value(line: &str) -> Option<(&str, &str)> {
    let (key, value) = line.trim().split_once(char::is_whitespace)?;
    (!key.starts_with('#')).then(|| (key, value.trim()))
}
