//! What ISOLINUX runs: the command line of a label or of its prompt, and what a file is by its name.

use super::config::{Label, Parsed};
use super::split;

/// A command line.
pub(super) struct Command<'a> {
    /// The keyword, or what the file's extension says.
    pub(super) kind: &'a str,
    pub(super) file: &'a str,
    pub(super) args: String,
    pub(super) label: Option<usize>,
}

/// The keywords that name a kind of file.
pub(super) const KINDS: [&str; 10] =
    ["kernel", "linux", "boot", "bss", "pxe", "fdimage", "comboot", "com32", "config", "localboot"];
/// What an extension says: com32/elflink/ldlinux/ldlinux.c.
pub(super) const EXTENSIONS: [(&str, &str); 6] =
    [(".c32", "com32"), (".img", "fdimage"), (".bss", "bss"), (".bin", "boot"), (".bs", "boot"), (".0", "pxe")];

/// The kind of a file that has no keyword of its own.
pub(super) fn by_extension(file: &str) -> &'static str {
    EXTENSIONS.iter().find(|(end, _)| file.ends_with(end)).map_or("linux", |(_, kind)| kind)
}

/// What a label runs, with more arguments behind its own.
pub(super) fn command_of<'a>(label: &'a Label, more: &str) -> Command<'a> {
    let (file, options) = split(&label.kernel);
    let kind = match label.command.as_str() {
        "kernel" | "boot" => by_extension(file),
        other => other,
    };
    let append = label.append.as_deref().unwrap_or_default().trim();
    let args = [options, append, more].iter().filter(|part| !part.is_empty()).copied().collect::<Vec<_>>().join(" ");
    Command { kind, file, args, label: None }
}

/// The name of a module, as `/boot/vesamenu.c32` is `vesamenu`; `COM32` may leave the extension out.
pub(super) fn module(file: &str) -> Option<&str> {
    let name = file.rsplit('/').next()?;
    name.strip_suffix(".c32").or_else(|| (!name.contains('.')).then_some(name))
}

/// The labels that `whichsys.c32` runs under PXELINUX or SYSLINUX, and not under ISOLINUX.
pub(super) fn of_other_loaders(parsed: &Parsed) -> Vec<&str> {
    let mut others = Vec::new();
    for label in parsed.labels.iter().filter(|label| module(split(&label.kernel).0) == Some("whichsys")) {
        let (mut own, mut rest, mut is_own) = (Vec::new(), Vec::new(), false);
        for word in label.append.as_deref().unwrap_or_default().split_whitespace() {
            match word {
                "-iso-" => is_own = true,
                "-pxe-" | "-sys-" => is_own = false,
                word if is_own => own.push(word),
                word => rest.push(word),
            }
        }
        others.extend(rest.into_iter().filter(|name| !own.contains(name)));
    }
    others
}

/// Whether a file is one of the two menus.
pub(super) fn is_menu(file: &str) -> bool {
    matches!(module(file), Some("menu" | "vesamenu"))
}
