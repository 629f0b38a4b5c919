//! The one rule for the folders that are named to us, and for those that we make inside: whose they are, who else may
//! enter them, and whether somebody else can put another one in their place. A folder that was there before keeps its
//! mode and all that is in it: it is taken as it is, or refused.

use super::DirError;
use crate::links::{self, Stopped};
use crate::shell::quoted;
use camino::{Utf8Path, Utf8PathBuf};
use std::fmt;
use std::fs::Metadata;
use std::io::ErrorKind;
use std::os::unix::fs::{DirBuilderExt, MetadataExt};
use std::path::Path;

/// The mode bits that let the group or anybody write.
const OTHERS_WRITE: u32 = 0o022;

/// What a folder is for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Use {
    /// `BOMA_STATE`: it is this user's, and nobody else enters it.
    State,
    /// A folder that we make inside another, which says who gets so far: it is this user's, and nobody else writes in it.
    Inside,
    /// `BOMA_RUNS`: each run's folder in it is private, so it may be shared.
    Runs,
    /// `BOMA_IT_CACHE`: it may be shared; what is in it is judged by its bytes.
    Cache,
}

impl fmt::Display for Use {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::State => "the state folder (BOMA_STATE)",
            Self::Inside => "a folder of boma-qemu's own",
            Self::Runs => "the folder of evidence (BOMA_RUNS)",
            Self::Cache => "the image cache (BOMA_IT_CACHE)",
        })
    }
}

impl Use {
    fn is_private(self) -> bool {
        matches!(self, Self::State | Self::Inside)
    }

    /// The mode of a folder of this kind that we make.
    fn mode(self) -> u32 {
        if self.is_private() { 0o700 } else { 0o755 }
    }
}

/// Whether only this user and root can write to what has this metadata.
pub fn only_ours_to_write(meta: &Metadata) -> bool {
    [0, own()].contains(&meta.uid()) && meta.mode() & OTHERS_WRITE == 0
}

/// Look whether a folder may be used so. One that is not there yet may; nothing is made or changed.
pub fn check(path: &Utf8Path, role: Use) -> Result<(), DirError> {
    let look = |source| DirError::Look { path: path.to_owned(), source };
    no_strange_link(path, role)?;
    let meta = match path.metadata() {
        Ok(meta) => meta,
        Err(e) if e.kind() == ErrorKind::NotFound => return Ok(()),
        Err(e) => return Err(look(e)),
    };
    match why_not(&meta, role) {
        None => Ok(()),
        Some(why) => Err(DirError::Unfit { path: path.to_owned(), role, why, next: way_out(path, &meta, role) }),
    }
}

/// [`check`] a folder, and make it, with its parents, if it is not there.
pub fn make(path: &Utf8Path, role: Use) -> Result<(), DirError> {
    check(path, role)?;
    let io = |source| DirError::Io { path: path.to_owned(), source };
    std::fs::DirBuilder::new().recursive(true).mode(role.mode()).create(path).map_err(io)?;
    // Somebody else may have made it meanwhile.
    check(path, role)
}

/// [`make`] a folder of our own, which only its owner can enter (0700) if it was not there before.
pub fn make_private(path: &Utf8Path) -> Result<(), DirError> {
    make(path, Use::Inside)
}

fn own() -> u32 {
    rustix::process::geteuid().as_raw()
}

fn why_not(meta: &Metadata, role: Use) -> Option<String> {
    if !meta.is_dir() {
        return Some("it is not a folder".into());
    }
    if !role.is_private() {
        return None;
    }
    if meta.uid() != own() {
        return Some(format!("it belongs to uid {}, not to this user (uid {})", meta.uid(), own()));
    }
    let mode = meta.mode() & 0o7777;
    match role {
        Use::State if mode & 0o777 != 0o700 => {
            Some(format!("its mode is {mode:04o}, not 0700, so it is not this user's alone"))
        }
        Use::Inside if mode & OTHERS_WRITE != 0 => Some(format!("its mode is {mode:04o}, so others can write in it")),
        _ => None,
    }
}

/// A command that ends with a folder that may be used. What is there is in use for something else, and stays.
fn way_out(path: &Utf8Path, meta: &Metadata, role: Use) -> String {
    let variable = match role {
        Use::Inside => return format!("if it is boma-qemu's: `chmod go-w {}`", quoted(path.as_str())),
        Use::State => "BOMA_STATE",
        Use::Runs => "BOMA_RUNS",
        Use::Cache => "BOMA_IT_CACHE",
    };
    let at = match meta.is_dir() && meta.uid() == own() {
        true => quoted(path.join("boma-qemu").as_str()),
        false => "~/boma-qemu".into(),
    };
    format!("make one of its own: `mkdir -m 0700 {at} && export {variable}={at}`")
}

/// No link on the way that others can make lead elsewhere: one that lies where they can write.
fn no_strange_link(path: &Utf8Path, role: Use) -> Result<(), DirError> {
    let named = |path: &Path| Utf8PathBuf::from(path.to_string_lossy().into_owned());
    let look = |path: &Path, source| DirError::Look { path: named(path), source };
    let is_ours = |link: &Path, _: &Path| {
        let folder = link.parent().unwrap_or(link);
        if only_ours_to_write(&folder.metadata().map_err(|e| look(folder, e))?) {
            return Ok(());
        }
        let why = format!("the link {} lies in {}, where others can write", link.display(), folder.display());
        let next = format!("name the folder without it, as `readlink -f {}` does", quoted(path.as_str()));
        Err(DirError::Unfit { path: path.to_owned(), role, why, next })
    };
    match links::follow(path.as_std_path(), is_ours) {
        Ok(_) => Ok(()),
        // From there on it is yet to be made.
        Err(Stopped::Look { source, .. }) if source.kind() == ErrorKind::NotFound => Ok(()),
        Err(Stopped::Look { path, source }) => Err(look(&path, source)),
        Err(Stopped::Link(error)) => Err(error),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::testing::scratch;
    use std::fs::{Permissions, create_dir, set_permissions};
    use std::os::unix::fs::{PermissionsExt, symlink};

    fn folder(path: &Utf8Path, mode: u32) {
        create_dir(path).unwrap();
        set_permissions(path, Permissions::from_mode(mode)).unwrap();
    }

    fn mode(path: &Utf8Path) -> u32 {
        path.metadata().unwrap().mode() & 0o7777
    }

    fn refused(path: &Utf8Path, role: Use) -> String {
        match make(path, role).unwrap_err() {
            DirError::Unfit { why, .. } => why,
            other => panic!("{other}"),
        }
    }

    #[test]
    fn what_is_made_is_private_and_is_taken_again() {
        let (_keep, dir) = scratch();
        let path = dir.join("a/state");
        make(&path, Use::State).unwrap();
        assert_eq!((mode(&path), mode(&dir.join("a"))), (0o700, 0o700));
        make(&path, Use::State).unwrap();
        // Nobody else gets in by it.
        set_permissions(&path, Permissions::from_mode(0o2700)).unwrap();
        make(&path, Use::State).unwrap();
    }

    #[test]
    fn a_folder_of_another_mode_is_refused_as_state_and_keeps_its_mode() {
        let (_keep, dir) = scratch();
        for wide in [0o755, 0o2775, 0o1777, 0o750, 0o701, 0o500] {
            let path = dir.join(format!("{wide:o}"));
            folder(&path, wide);
            assert!(refused(&path, Use::State).contains(&format!("{wide:04o}")));
            assert_eq!(mode(&path), wide);
            // Through a link, too.
            let link = dir.join(format!("link-{wide:o}"));
            symlink(&path, &link).unwrap();
            refused(&link, Use::State);
            assert_eq!(mode(&path), wide);
            make(&path, Use::Cache).unwrap();
            make(&path, Use::Runs).unwrap();
            assert_eq!(mode(&path), wide);
        }
    }

    #[test]
    fn a_folder_of_our_own_in_which_others_can_write_is_refused() {
        let (_keep, dir) = scratch();
        folder(&dir.join("own"), 0o755);
        folder(&dir.join("shared"), 0o775);
        make_private(&dir.join("own")).unwrap();
        assert!(refused(&dir.join("shared"), Use::Inside).contains("0775"));
        assert_eq!((mode(&dir.join("own")), mode(&dir.join("shared"))), (0o755, 0o775));
    }

    #[test]
    fn the_way_out_is_a_command_that_makes_a_folder_that_is_taken() {
        let (_keep, dir) = scratch();
        let path = dir.join("it's shared");
        folder(&path, 0o2775);
        let DirError::Unfit { next, .. } = check(&path, Use::State).unwrap_err() else { panic!() };
        let command = next.split('`').nth(1).unwrap();
        let script = format!("{command} && printf %s \"$BOMA_STATE\"");
        let made = crate::cmd::Cmd::new("sh").args(["-c", &script]).run().unwrap().stdout;
        assert!(made.starts_with(path.as_str()), "{made}");
        make(made.as_str().into(), Use::State).unwrap();
    }

    #[test]
    fn what_is_no_folder_is_refused() {
        let (_keep, dir) = scratch();
        std::fs::write(dir.join("file"), "x").unwrap();
        for role in [Use::State, Use::Runs, Use::Cache] {
            assert_eq!(refused(&dir.join("file"), role), "it is not a folder");
        }
    }

    #[test]
    fn a_link_where_others_can_write_is_refused_for_every_use_and_one_of_our_own_is_followed() {
        let (_keep, dir) = scratch();
        folder(&dir.join("real"), 0o700);
        for (name, wide) in [("group", 0o2775), ("all", 0o1777)] {
            let shared = dir.join(name);
            folder(&shared, wide);
            symlink(dir.join("real"), shared.join("link")).unwrap();
            // At the end, on the way, behind a link of our own, and where the rest is yet to be made.
            symlink(shared.join("link"), dir.join(format!("to-{name}"))).unwrap();
            for path in [shared.join("link"), shared.join("link/a/b"), dir.join(format!("to-{name}"))] {
                for role in [Use::State, Use::Inside, Use::Runs, Use::Cache] {
                    assert!(refused(&path, role).contains("others can write"), "{path}");
                }
            }
        }
        symlink("real", dir.join("own")).unwrap();
        make(&dir.join("own"), Use::State).unwrap();
        make(&dir.join("own/../own/state"), Use::State).unwrap();
        assert!(dir.join("real/state").is_dir());
    }

    #[test]
    fn a_path_that_goes_in_a_circle_is_an_error() {
        let (_keep, dir) = scratch();
        symlink("loop", dir.join("loop")).unwrap();
        assert!(matches!(check(&dir.join("loop/x"), Use::State), Err(DirError::Look { .. })));
    }
}
