//! `audit init`.

use super::super::say::Say;
use crate::audit::draft;
use crate::jobs::Context;
use boot_media::medium::{Medium, find_one};
use camino::{Utf8Path, Utf8PathBuf};
use host::failure::{Exit, Failure};
use host::names::HostName;
use host::visible;
use std::io::Write;

/// Write a profile from what is in an image.
pub(super) fn init(
    ctx: &Context<'_>,
    image: &Utf8Path,
    name: Option<HostName>,
    output: Option<Utf8PathBuf>,
    say: &Say,
) -> Result<u8, Failure> {
    let path = find_one(image.as_str())?;
    let path = path.canonicalize_utf8().unwrap_or(path);
    let medium = Medium::open(&path)?;
    let text = visible::json_pretty(&draft::profile(&path, &medium)).unwrap_or_default() + "\n";
    if output.as_deref().is_some_and(|output| output == "-") {
        say.object(&serde_json::json!({"event": "profile", "profile": draft::profile(&path, &medium)}));
        say.text(text.trim_end());
        return Ok(0);
    }
    let name = match name {
        Some(name) => name,
        None => name_of(&path)?,
    };
    let output = output.unwrap_or_else(|| ctx.dirs.root.join("profiles").join(format!("{name}.json")));
    let fail = |error: std::io::Error| match error.kind() {
        std::io::ErrorKind::AlreadyExists => Failure::new(Exit::Usage, format!("{output} is there already"))
            .next("name another with --name or --output, or remove it"),
        _ => Failure::new(Exit::Host, format!("cannot write {output}: {error}")),
    };
    let mut file = std::fs::File::create_new(&output).map_err(fail)?;
    file.write_all(text.as_bytes()).map_err(fail)?;
    say.object(&serde_json::json!({"event": "profile", "path": output}));
    say.text(format!(
        "{}\nWhat is guessed in it says so. Next:\n  boma-qemu audit lint {name}\n  boma-qemu audit {name} --only image",
        visible::line(output.as_str())
    ));
    Ok(0)
}

/// A profile's name from an image's: its letters and digits, with dashes between them.
fn name_of(image: &Utf8Path) -> Result<HostName, Failure> {
    let stem = image.file_stem().unwrap_or_default().to_ascii_lowercase();
    let words: Vec<_> = stem.split(|c: char| !c.is_ascii_alphanumeric()).filter(|word| !word.is_empty()).collect();
    let mut name = words.join("-");
    name.truncate(40);
    name.trim_matches('-').parse().map_err(|error: host::names::BadName| {
        Failure::new(Exit::Usage, format!("no profile's name can be made of {stem:?}: {error}"))
            .next("give one with --name")
    })
}
