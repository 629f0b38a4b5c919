//! Following a path link by link, as the kernel does (path_resolution(7)).

use nix::errno::Errno;
use std::ffi::OsString;
use std::fs::read_link;
use std::io::{Error, ErrorKind};
use std::path::{Component, Path, PathBuf};

/// How many links may lead from one to the next; the kernel's own limit.
const MOST: usize = 40;

/// Why a path was not followed to its end.
#[derive(Debug)]
pub enum Stopped<E> {
    /// A part of it is not there, or cannot be looked at.
    Look {
        /// Which one.
        path: PathBuf,
        /// The operating system's reason.
        source: Error,
    },
    /// Whoever looks at the links refused one.
    Link(E),
}

/// Where an absolute path leads: a path without links. Each link on the way is told, with what it says.
pub fn follow<E>(path: &Path, mut on_link: impl FnMut(&Path, &Path) -> Result<(), E>) -> Result<PathBuf, Stopped<E>> {
    let mut rest = parts(path);
    let (mut at, mut links) = (PathBuf::from("/"), 0);
    while let Some(part) = rest.pop() {
        if part == ".." {
            at.pop();
            continue;
        }
        let next = at.join(&part);
        match read_link(&next) {
            Ok(to) => {
                on_link(&next, &to).map_err(Stopped::Link)?;
                links += 1;
                if links > MOST {
                    return Err(Stopped::Look { path: next, source: Errno::ELOOP.into() });
                }
                if to.is_absolute() {
                    at = "/".into();
                }
                rest.extend(parts(&to));
            }
            // It is no link.
            Err(e) if e.kind() == ErrorKind::InvalidInput => at = next,
            Err(source) => return Err(Stopped::Look { path: next, source }),
        }
    }
    Ok(at)
}

/// The names in a path, and its `..`, the last one first.
fn parts(path: &Path) -> Vec<OsString> {
    let parts = path.components().filter(|part| matches!(part, Component::Normal(_) | Component::ParentDir));
    parts.rev().map(|part| part.as_os_str().to_owned()).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::convert::Infallible;
    use std::os::unix::fs::symlink;

    #[test]
    fn it_leads_where_the_kernel_leads_and_tells_each_link() {
        let dir = tempfile::tempdir().unwrap();
        let root = dir.path().canonicalize().unwrap();
        std::fs::create_dir_all(root.join("real/deep")).unwrap();
        symlink("real", root.join("one")).unwrap();
        symlink(root.join("one"), root.join("two")).unwrap();
        symlink("loop", root.join("loop")).unwrap();
        let mut told = Vec::new();
        let mut follow = |name: &str| {
            told.clear();
            let led = super::follow(&root.join(name), |link, _| {
                told.push(link.file_name().unwrap().to_owned());
                Ok::<_, Infallible>(())
            });
            (led, told.clone())
        };
        let (led, told) = follow("two/deep/../deep");
        assert_eq!(led.unwrap(), root.join("two/deep").canonicalize().unwrap());
        assert_eq!(told, ["two", "one"]);
        for (name, errno) in [("two/none/x", Errno::ENOENT), ("loop/x", Errno::ELOOP)] {
            let (led, _) = follow(name);
            assert!(
                matches!(led, Err(Stopped::Look { source, .. }) if source.raw_os_error() == Some(errno as i32)),
                "{name}"
            );
        }
    }
}
