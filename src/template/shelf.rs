//! The folder of templates.

use super::{Key, Made, Place, Sealed, Template};
use crate::image::Stamp;
use camino::{Utf8Path, Utf8PathBuf};
use host::dirs::{DirError, Dirs, Use, check, make_private, names_in, write_private};
use host::failure::{Blame, Exit};
use host::ledger::Leak;
use host::lock::{Lock, LockError};
use host::presence::{Presence, ignore};
use serde::Serialize;
use std::fs::{File, Permissions};
use std::os::unix::fs::PermissionsExt;
use std::time::{Duration, SystemTime};

/// A template that nobody has used for so long goes with `prune`.
const UNUSED: Duration = Duration::from_secs(14 * 24 * 3600);
/// Package lists that are older name packages that the mirror does not have any more.
const LISTS: Duration = Duration::from_secs(24 * 3600);
/// What a template that is being made is called, before its key.
const MAKING: &str = ".making-";

/// All templates of this user.
#[derive(Clone, Debug)]
pub struct Shelf {
    dir: Utf8PathBuf,
}

/// One line of `templates`.
#[derive(Clone, Debug, Serialize)]
pub struct Listed {
    /// Its folder.
    pub path: Utf8PathBuf,
    /// What it is of; none if that cannot be read.
    pub of: Option<Made>,
    /// When it was saved.
    pub at: Option<String>,
    /// How long ago it was used last, in seconds.
    pub unused_s: u64,
    /// What it takes on the disk, in bytes.
    pub bytes: u64,
    /// Why `prune` would remove it, if it would.
    pub stale: Option<String>,
}

/// A template that is being made. It is this process's as long as this lives.
#[derive(Debug)]
pub struct Staging {
    shelf: Shelf,
    key: Key,
    place: Place,
    _lock: Lock,
}

impl Shelf {
    /// The templates in this user's cache. Another user of the same cache has a folder of their own.
    pub fn of(dirs: &Dirs) -> Self {
        Self { dir: dirs.cache.join(format!("templates-{}", rustix::process::geteuid().as_raw())) }
    }

    /// The folder.
    pub fn dir(&self) -> &Utf8Path {
        &self.dir
    }

    fn place(&self, key: &Key) -> Place {
        Place(self.dir.join(key.as_str()))
    }

    fn lock_file(&self, key: &str) -> Utf8PathBuf {
        self.dir.join(format!(".{key}.lock"))
    }

    /// The template of what a machine is made of: none if there is none, or why one that is there is not used.
    pub fn find(&self, made: &Made) -> Result<Option<(Place, Template)>, String> {
        check(&self.dir, Use::Inside).map_err(|e| host::failure::with_causes(&e))?;
        let place = self.place(&made.key());
        match Presence::of(place.path()) {
            Presence::Gone => return Ok(None),
            Presence::Unknown(why) => return Err(why),
            Presence::There => {}
        }
        let template = place.read(made)?;
        let age = age(&template.at).ok_or("it does not say when it was saved")?;
        if made.package_lists && age > LISTS {
            return Err(format!("its package lists are of {}", template.at));
        }
        ignore(File::create(place.used()), "it only goes earlier");
        Ok(Some((place, template)))
    }

    /// Begin to make a template. What an earlier, killed one has left goes.
    pub fn make(&self, key: &Key) -> Result<Staging, StagingError> {
        make_private(&self.dir)?;
        let who = format!("boma-qemu, pid {}", std::process::id());
        let lock = Lock::try_take(&self.lock_file(key.as_str()), &who)?;
        let place = Place(self.dir.join(format!("{MAKING}{}", key.as_str())));
        remove(place.path())?;
        make_private(place.path())?;
        Ok(Staging { shelf: self.clone(), key: key.clone(), place, _lock: lock })
    }

    /// A template that has failed is used no more.
    pub fn refuse(&self, key: &Key) -> Result<(), DirError> {
        remove(self.place(key).path())
    }

    /// Remove the bases of a host but one, unless a machine uses them (`used`: their disks): each takes some GiB, and the next
    /// cycle begins from this one.
    pub fn only_base(&self, host: &str, key: &Key, used: &[Utf8PathBuf]) -> Result<(), DirError> {
        for name in names_in(&self.dir)?.into_iter().filter(|name| is_key(name) && name != key.as_str()) {
            let place = Place(self.dir.join(name));
            let base = place.about_it().ok().and_then(|about| about.made.base);
            let is_of = base.is_some_and(|base| base.host == host);
            if is_of && !used.contains(&place.disk()) && Lock::look(&place.disk()).is_gone() {
                remove(place.path())?;
            }
        }
        Ok(())
    }

    /// All that there are. `has_image` says whether a golden image of that digest is still there.
    pub fn list(&self, has_image: impl Fn(&str) -> bool) -> Result<Vec<Listed>, DirError> {
        let mut all = Vec::new();
        for name in names_in(&self.dir)?.into_iter().filter(|name| is_key(name)) {
            let place = Place(self.dir.join(name));
            let about = place.about_it();
            let used = place.used().metadata().or_else(|_| place.path().metadata());
            let used = used.and_then(|meta| meta.modified()).unwrap_or(SystemTime::UNIX_EPOCH);
            let unused = used.elapsed().unwrap_or_default();
            let stale = match &about {
                Err(why) => Some(why.clone()),
                Ok(about) if !has_image(&about.made.image) => Some(format!("its image {} is gone", about.made.called)),
                Ok(about) if has_old_lists(about) => Some(format!("its package lists are of {}", about.at)),
                Ok(_) if unused > UNUSED => Some("nobody has used it for 14 days".to_owned()),
                Ok(_) => None,
            };
            let (of, at) = about.map_or((None, None), |about| (Some(about.made), Some(about.at)));
            let path = place.path().to_owned();
            all.push(Listed { bytes: size(&path), path, of, at, unused_s: unused.as_secs(), stale });
        }
        Ok(all)
    }

    /// Remove what killed commands have left half-made, and every template that is stale, or all; those that a machine
    /// uses (`used`: their disks) stay.
    pub fn clear(
        &self,
        has_image: impl Fn(&str) -> bool,
        used: &[Utf8PathBuf],
    ) -> Result<(Vec<Utf8PathBuf>, Vec<Leak>), DirError> {
        let (mut gone, mut leaks) = (Vec::new(), Vec::new());
        if Presence::of(&self.dir).is_gone() {
            return Ok((gone, leaks));
        }
        check(&self.dir, Use::Inside)?;
        let mut take = |path: Utf8PathBuf| match remove(&path) {
            Ok(()) => gone.push(path),
            Err(e) => leaks.push(Leak { what: path.into_string(), why: host::failure::with_causes(&e) }),
        };
        for name in names_in(&self.dir)? {
            let Some(key) = name.strip_prefix(MAKING).filter(|key| is_key(key)) else { continue };
            if Lock::look(&self.lock_file(key)).is_gone() {
                take(self.dir.join(&name));
            }
        }
        for one in self.list(has_image)? {
            // QEMU locks the disks that it has open.
            let disk = Place(one.path.clone()).disk();
            if one.stale.is_some() && !used.contains(&disk) && Lock::look(&disk).is_gone() {
                take(one.path);
            }
        }
        Ok((gone, leaks))
    }
}

/// Why a template cannot be made.
#[derive(Debug, thiserror::Error)]
pub enum StagingError {
    /// Somebody else is making it, or the lock cannot be had.
    #[error(transparent)]
    Lock(#[from] LockError),
    /// Its folder cannot be used.
    #[error(transparent)]
    Dir(#[from] DirError),
    /// A file cannot be made ready.
    #[error("cannot use {path}")]
    File {
        /// The file.
        path: Utf8PathBuf,
        /// The operating system's reason.
        #[source]
        source: std::io::Error,
    },
    /// The memory that was saved cannot be looked at.
    #[error(transparent)]
    Image(#[from] crate::image::ImageError),
}

impl Blame for StagingError {
    fn exit(&self) -> Exit {
        Exit::Host
    }
}

impl Staging {
    /// Where its files lie until it is published.
    pub fn place(&self) -> &Place {
        &self.place
    }

    /// Make the empty files of memory and state. QEMU, which may be another user, opens the memory by itself, through a
    /// descriptor that it is given: nobody else gets as far as into the folder.
    pub fn make_files(&self, mem_bytes: u64) -> Result<(), StagingError> {
        let saved = self.place.saved();
        for (path, bytes, mode) in [(saved.memory, mem_bytes, 0o666), (saved.state, 0, 0o600)] {
            let made = || {
                let file = File::create_new(&path)?;
                file.set_len(bytes)?;
                file.set_permissions(Permissions::from_mode(mode))
            };
            made().map_err(|source| StagingError::File { path: path.clone(), source })?;
        }
        Ok(())
    }

    /// Seal the files and give the template its name: from here on it is there, whole.
    pub fn publish(
        self,
        made: &Made,
        memory: vm::template::Memory,
        client: String,
        leased_to: String,
    ) -> Result<(), StagingError> {
        let (place, saved) = (&self.place, self.place.saved());
        let io = |path: &Utf8Path| {
            let path = path.to_owned();
            move |source| StagingError::File { path, source }
        };
        for (path, mode) in [(place.disk(), 0o400), (saved.state.clone(), 0o400), (saved.memory.clone(), 0o444)] {
            let file = File::open(&path).map_err(io(&path))?;
            file.set_permissions(Permissions::from_mode(mode)).map_err(io(&path))?;
            file.sync_all().map_err(io(&path))?;
        }
        let sealed = |path: &Utf8Path| Sealed::of(path).map_err(io(path));
        let template = Template {
            made: made.clone(),
            at: humantime::format_rfc3339_seconds(SystemTime::now()).to_string(),
            memory,
            client,
            leased_to,
            disk: sealed(&place.disk())?,
            state: sealed(&saved.state)?,
            ram: Stamp::of(&saved.memory)?,
        };
        // Plain data with string keys: serialising it cannot fail.
        write_private(&place.about(), serde_json::to_vec_pretty(&template).unwrap_or_default())?;
        let to = self.shelf.place(&self.key);
        remove(to.path())?;
        std::fs::rename(place.path(), to.path()).map_err(io(to.path()))
    }
}

impl Drop for Staging {
    fn drop(&mut self) {
        // One that was published has another name by now.
        ignore(remove(self.place.path()), "`prune` removes what is left of it");
    }
}

fn is_key(name: &str) -> bool {
    name.len() == 64 && name.bytes().all(|byte| byte.is_ascii_hexdigit())
}

fn age(at: &str) -> Option<Duration> {
    SystemTime::now().duration_since(humantime::parse_rfc3339(at).ok()?).ok()
}

/// Whether a template's package lists name packages that the mirror may not have any more.
fn has_old_lists(about: &Template) -> bool {
    about.made.package_lists && age(&about.at).is_none_or(|age| age > LISTS)
}

/// What the files in a folder take on the disk.
fn size(folder: &Utf8Path) -> u64 {
    let names = names_in(folder).unwrap_or_default();
    let blocks =
        |name: String| folder.join(name).metadata().map_or(0, |meta| std::os::unix::fs::MetadataExt::blocks(&meta));
    names.into_iter().map(blocks).sum::<u64>() * 512
}

/// Remove a folder of ours; that there is none is success.
fn remove(folder: &Utf8Path) -> Result<(), DirError> {
    match std::fs::remove_dir_all(folder) {
        Err(source) if source.kind() != std::io::ErrorKind::NotFound => {
            Err(DirError::Io { path: folder.to_owned(), source })
        }
        _ => Ok(()),
    }
}

#[cfg(test)]
mod tests {
    use super::super::key::tests::made;
    use super::*;
    use host::testing::scratch;

    fn memory() -> vm::template::Memory {
        let boot_id = "6dbd3f1b-3c67-4b34-b3ac-877d98a0279d".parse().unwrap();
        vm::template::Memory { boot_id, nonce: "n".into() }
    }

    fn staged(shelf: &Shelf) -> Staging {
        let staging = shelf.make(&made().key()).unwrap();
        staging.make_files(8192).unwrap();
        std::fs::write(staging.place().disk(), "disk").unwrap();
        std::fs::write(staging.place().saved().state, "state").unwrap();
        staging
    }

    fn shelf() -> (tempfile::TempDir, Shelf, Place) {
        let (keep, dir) = scratch();
        let shelf = Shelf { dir: dir.join("templates-0") };
        staged(&shelf).publish(&made(), memory(), "key".into(), "01:52".into()).unwrap();
        let place = shelf.place(&made().key());
        (keep, shelf, place)
    }

    #[test]
    fn a_template_is_there_once_it_is_published_and_for_its_own_machine_alone() {
        let (_keep, shelf, place) = shelf();
        let (found, template) = shelf.find(&made()).unwrap().unwrap();
        assert_eq!((found, template.memory), (place, memory()));
        let other = Made { vcpus: 3, ..made() };
        assert_eq!(shelf.find(&other).unwrap(), None);
        assert_eq!(names_in(&shelf.dir).unwrap().iter().filter(|name| name.starts_with(MAKING)).count(), 0);
    }

    #[test]
    fn a_changed_or_truncated_file_is_a_reason_not_to_use_it() {
        type Harm = fn(&Place);
        let write = |path: Utf8PathBuf, text: &str| {
            std::fs::remove_file(&path).unwrap();
            std::fs::write(path, text).unwrap();
        };
        let harms: [(&str, Harm); 4] = [
            ("disk", |place| {
                std::fs::remove_file(place.disk()).unwrap();
                std::fs::write(place.disk(), "dusk").unwrap();
            }),
            ("state", |place| {
                std::fs::remove_file(place.saved().state).unwrap();
            }),
            ("memory", |place| {
                let path = place.saved().memory;
                std::fs::set_permissions(&path, Permissions::from_mode(0o600)).unwrap();
                File::options().write(true).open(&path).unwrap().set_len(4096).unwrap();
            }),
            ("template.json", |place| std::fs::write(place.about(), "{}").unwrap()),
        ];
        for (what, harm) in harms {
            let (_keep, shelf, place) = shelf();
            harm(&place);
            let why = shelf.find(&made()).unwrap_err();
            assert!(why.contains(what), "{what}: {why}");
            shelf.refuse(&made().key()).unwrap();
            assert_eq!(shelf.find(&made()).unwrap(), None);
        }
        let (_keep, shelf, place) = shelf();
        write(place.saved().memory, &"\0".repeat(8192));
        assert!(shelf.find(&made()).unwrap_err().contains("memory"), "the same bytes in another file");
    }

    #[test]
    fn what_others_could_have_written_is_not_used() {
        let (_keep, shelf, place) = shelf();
        std::fs::set_permissions(place.path(), Permissions::from_mode(0o777)).unwrap();
        assert!(shelf.find(&made()).unwrap_err().contains("others"));
    }

    #[test]
    fn package_lists_of_another_day_are_not_used() {
        let (_keep, shelf, place) = shelf();
        let text = std::fs::read_to_string(place.about()).unwrap();
        let template: Template = serde_json::from_str(&text).unwrap();
        let old = Template { at: "2026-01-01T00:00:00Z".into(), ..template };
        write_private(&place.about(), serde_json::to_vec(&old).unwrap()).unwrap();
        assert!(shelf.find(&made()).unwrap_err().contains("2026-01-01"));
    }

    #[test]
    fn of_the_bases_of_a_host_one_is_kept_and_those_of_others_stay() {
        use super::super::OfBase;
        let (_keep, shelf, plain) = shelf();
        let of = |host: &str, commit: &str| {
            let base = OfBase { host: host.into(), commit: commit.into(), inputs: "i".into() };
            Made { base: Some(base), ..made() }
        };
        let all = [of("h", "one"), of("h", "two"), of("g", "one"), of("h", "used")];
        for made in &all {
            let staging = shelf.make(&made.key()).unwrap();
            staging.make_files(8192).unwrap();
            std::fs::write(staging.place().disk(), "disk").unwrap();
            staging.publish(made, memory(), "key".into(), "01:52".into()).unwrap();
        }
        let used = shelf.place(&all[3].key()).disk();
        shelf.only_base("h", &all[1].key(), &[used]).unwrap();
        let left = all.map(|made| shelf.place(&made.key()).path().exists());
        assert_eq!((left, plain.path().exists()), ([false, true, true, true], true));
    }

    #[test]
    fn prune_removes_what_is_half_made_or_stale_and_nothing_that_is_in_use() {
        let (_keep, shelf, place) = shelf();
        let none = || (Vec::new(), Vec::new());
        let half = shelf.dir.join(format!("{MAKING}{}", "a".repeat(64)));
        std::fs::create_dir(&half).unwrap();
        std::fs::create_dir(shelf.dir.join("precious")).unwrap();
        let staging = staged(&shelf);
        assert_eq!(shelf.clear(|_| true, &[]).unwrap(), (vec![half], vec![]), "the one that is being made stays");
        drop(staging);
        assert_eq!(shelf.clear(|_| false, &[place.disk()]).unwrap(), none());
        assert_eq!(shelf.clear(|_| true, &[]).unwrap(), none());
        assert_eq!(shelf.clear(|image| image != "0123", &[]).unwrap(), (vec![place.path().to_owned()], vec![]));
        assert!(shelf.dir.join("precious").exists());
    }
}
