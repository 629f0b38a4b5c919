//! A scratch copy of a partition, on which one state after the other is put, examined and taken back.
//!
//! The check is `e2fsck -f -p`, what a boot runs: it replays the journal, clears orphans, and says so by its exit code if
//! there is more to repair than a boot would repair by itself. What it changes it writes down first (`-z`), and `e2undo` takes
//! that back: a copy for each state would cost seconds and hundreds of gigabytes. At the end the copy must be what it was.
//!
//! A file system that a guest has written is the input of both programs, so they run in QEMU's confinement: no network, no
//! file but their own libraries and the scratch directory.

use super::CrashError;
use super::window::Partition;
use crate::monitor::confine_tool;
use boot_media::medium::layers::{Disk, Files};
use camino::{Utf8Path, Utf8PathBuf};
use host::hex::hex;
use host::presence::ignore;
use sha2::{Digest, Sha256};
use std::fs::File;
use std::io::ErrorKind;
use std::os::unix::fs::{FileExt, OpenOptionsExt};
use std::time::{Duration, Instant};
use tokio::time::timeout;

/// What is copied at once, in bytes; what is zeros stays a hole.
const PIECE: usize = 64 << 10;
/// How long a check may take: it is a second, and minutes for a file system of many terabytes.
const FSCK_LIMIT: Duration = Duration::from_secs(300);

/// The scratch copy.
#[derive(Debug)]
pub struct Bench {
    dir: Utf8PathBuf,
    image: File,
    length: u64,
    fsck: Utf8PathBuf,
    undo: Utf8PathBuf,
    /// What it was at the beginning.
    digest: [u8; 32],
    /// What of the programs' confinement is not in force on this host.
    pub missing: Vec<String>,
}

/// What the file system check said.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Fsck {
    /// The file system is sound, or a boot repairs it by itself.
    Sound,
    /// It is not, and a boot would stop there.
    Damaged,
    /// The check could not be made.
    Unchecked,
}

/// What was found in a state.
#[derive(Clone, Debug)]
pub struct Examined {
    /// What the check said.
    pub fsck: Fsck,
    /// Its own words.
    pub said: String,
    /// Each file's SHA-256; none where there is no such file; the reason where it cannot be read.
    pub files: Vec<Result<Option<String>, String>>,
    /// How long all of it took, in seconds.
    pub seconds: f64,
}

impl Bench {
    /// Copy a partition of a disk to a scratch file in `dir`, which is empty and this user's.
    ///
    /// # Errors
    /// If a program is not there, the disk cannot be read or the file cannot be written.
    pub fn new(dir: &Utf8Path, disk: &Disk, partition: Partition) -> Result<Self, CrashError> {
        let [fsck, undo] = [find("e2fsck")?, find("e2undo")?];
        let path = dir.join("partition");
        let failed = |source| CrashError::Scratch { path: path.clone(), source };
        let mut options = File::options();
        let image = options.read(true).write(true).create_new(true).mode(0o600).open(&path).map_err(failed)?;
        image.set_len(partition.length).map_err(failed)?;
        let (mut piece, zeros) = (vec![0; PIECE], vec![0; PIECE]);
        for at in (0..partition.length).step_by(PIECE) {
            let now = &mut piece[..PIECE.min((partition.length - at) as usize)];
            disk.read(partition.start + at, now)?;
            if *now != zeros[..now.len()] {
                image.write_all_at(now, at).map_err(failed)?;
            }
        }
        let length = partition.length;
        let mut bench = Self { dir: dir.to_owned(), image, length, fsck, undo, digest: [0; 32], missing: Vec::new() };
        bench.digest = bench.digest()?;
        Ok(bench)
    }

    /// Examine the state that these writes make of the copy: check it, and read the files at these paths.
    ///
    /// # Errors
    /// If the copy could not be written, or the state not be taken back.
    pub async fn examine<'a>(
        &mut self,
        writes: impl Iterator<Item = (u64, &'a [u8])>,
        paths: &[String],
    ) -> Result<Examined, CrashError> {
        let begin = Instant::now();
        let mut before = Vec::new();
        for (at, data) in writes {
            let mut was = vec![0; data.len()];
            self.image.read_exact_at(&mut was, at).map_err(|source| self.failed(source))?;
            self.image.write_all_at(data, at).map_err(|source| self.failed(source))?;
            before.push((at, was));
        }
        let image = self.dir.join("partition");
        let changes = self.dir.join("changes");
        ignore(std::fs::remove_file(&changes), "there may be none");
        let args = ["-f", "-p", "-z", changes.as_str(), image.as_str()];
        let (code, said) = self.run("e2fsck", &self.fsck.clone(), &args).await?;
        let files = self.read(&image, paths);
        let undone = match changes.exists() {
            true => self.run("e2undo", &self.undo.clone(), &[changes.as_str(), image.as_str()]).await?.0 == Some(0),
            false => true,
        };
        for (at, was) in before.iter().rev() {
            self.image.write_all_at(was, *at).map_err(|source| self.failed(source))?;
        }
        // Where the check gave up before it had begun, it left half a file of changes, and no change: that is looked at.
        if !undone && self.digest()? != self.digest {
            return Err(CrashError::NotTakenBack { path: image });
        }
        Ok(Examined { fsck: verdict(code), said, files, seconds: begin.elapsed().as_secs_f64() })
    }

    /// Look whether the copy is what it was at the beginning.
    ///
    /// # Errors
    /// If it is not: then nothing that was found counts.
    pub fn finish(self) -> Result<(), CrashError> {
        match self.digest()? == self.digest {
            true => Ok(()),
            false => Err(CrashError::NotTakenBack { path: self.dir.join("partition") }),
        }
    }

    fn failed(&self, source: std::io::Error) -> CrashError {
        CrashError::Scratch { path: self.dir.join("partition"), source }
    }

    /// Over all that is not zeros, with its places: what was a hole may have become zeros.
    fn digest(&self) -> Result<[u8; 32], CrashError> {
        let (mut sha, mut piece, zeros) = (Sha256::new(), vec![0; PIECE], vec![0; PIECE]);
        for at in (0..self.length).step_by(PIECE) {
            let now = &mut piece[..PIECE.min((self.length - at) as usize)];
            self.image.read_exact_at(now, at).map_err(|source| self.failed(source))?;
            if *now != zeros[..now.len()] {
                sha.update(at.to_be_bytes());
                sha.update(&*now);
            }
        }
        Ok(sha.finalize().into())
    }

    fn read(&self, image: &Utf8Path, paths: &[String]) -> Vec<Result<Option<String>, String>> {
        let files = match Files::open(image) {
            Ok(files) => files,
            Err(error) => return vec![Err(error.to_string()); paths.len()],
        };
        let one = |path: &String| {
            let mut sha = Sha256::new();
            let there = files.read(path, |bytes| sha.update(bytes)).map_err(|error| error.to_string())?;
            Ok(there.then(|| hex(sha.finalize())))
        };
        paths.iter().map(one).collect()
    }

    /// Run a program in its confinement; its exit code and what it said.
    async fn run(
        &mut self,
        name: &'static str,
        program: &Utf8Path,
        args: &[&str],
    ) -> Result<(Option<i32>, String), CrashError> {
        let failed = |why: String| CrashError::Program { program: name, why };
        let argv: Vec<String> =
            std::iter::once(program.as_str()).chain(args.iter().copied()).map(str::to_owned).collect();
        let said = self.dir.join("said");
        let open = || {
            let out = File::create(&said)?;
            Ok::<_, std::io::Error>([out.try_clone()?.into(), out.into()])
        };
        let streams = open().map_err(|source| CrashError::Scratch { path: said.clone(), source })?;
        let (mut command, missing) = confine_tool(&self.dir, &argv, streams);
        self.missing = missing;
        // What it says is read here, and must not depend on the locale.
        let status = match timeout(FSCK_LIMIT, command.env("LC_ALL", "C").status()).await {
            Ok(status) => status.map_err(|error| failed(error.to_string()))?,
            Err(_) => return Err(failed(format!("it did not end within {FSCK_LIMIT:?}"))),
        };
        let text = std::fs::read(&said).map_err(|source| CrashError::Scratch { path: said, source })?;
        let text = String::from_utf8_lossy(&text[..text.len().min(16 << 10)]).trim().to_owned();
        Ok((status.code(), text))
    }
}

/// What the exit code says (e2fsck(8)): 1 and 2 are what was repaired, 4 is what was left; all else is no check.
fn verdict(code: Option<i32>) -> Fsck {
    match code {
        Some(0..=3) => Fsck::Sound,
        Some(4..=7) => Fsck::Damaged,
        _ => Fsck::Unchecked,
    }
}

fn find(program: &'static str) -> Result<Utf8PathBuf, CrashError> {
    let missing = std::io::Error::from(ErrorKind::NotFound);
    let path = host::programs::widened(&host::programs::path());
    host::programs::find(&path, program).ok_or_else(|| CrashError::Program { program, why: missing.to_string() })
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::process::Command;

    fn tool(program: &str, args: &[&str]) -> String {
        let path = host::programs::widened(&host::programs::path());
        let out = Command::new(program).args(args).env("PATH", path).output().unwrap();
        let said = String::from_utf8_lossy(&out.stdout).into_owned();
        assert!(out.status.success(), "{program}: {said} {}", String::from_utf8_lossy(&out.stderr));
        said
    }

    fn sum(bytes: &[u8]) -> String {
        hex(Sha256::digest(bytes))
    }

    const MIB: u64 = 1 << 20;

    /// A disk with a file system behind its first MiB, in which `/old` is one block of a committed, not yet replayed
    /// transaction; where that block lies.
    fn disk(dir: &Utf8Path) -> (Disk, Partition, u64) {
        let path = |name: &str| dir.join(name).into_string();
        std::fs::create_dir(path("files")).unwrap();
        std::fs::write(path("files/old"), [b'o'; 4096]).unwrap();
        std::fs::write(path("block"), [b'n'; 4096]).unwrap();
        let [fs, raw, top] = ["fs", "raw", "top"].map(path);
        tool("mke2fs", &["-q", "-t", "ext4", "-b", "4096", "-J", "size=4", "-d", &path("files"), &fs, "16M"]);
        let block: u64 = tool("debugfs", &["-R", "blocks /old", &fs]).trim().parse().unwrap();
        std::fs::write(path("commands"), format!("jo\njw -b {block} {}\njc\n", path("block"))).unwrap();
        tool("debugfs", &["-w", "-f", &path("commands"), &fs]);
        std::fs::write(&raw, [vec![0; MIB as usize], std::fs::read(&fs).unwrap()].concat()).unwrap();
        tool("qemu-img", &["create", "-q", "-f", "qcow2", "-F", "raw", "-b", &raw, &top]);
        let below = [boot_media::medium::layers::Below { path: raw.into(), qcow2: false }];
        let disk = Disk::open(Utf8Path::new(&top), Vec::new(), &below).unwrap();
        (disk, Partition { start: MIB, length: 16 * MIB }, block * 4096)
    }

    fn made<T>(test: impl AsyncFnOnce(Bench, u64) -> T) -> T {
        let keep = tempfile::tempdir().unwrap();
        let dir = Utf8Path::from_path(keep.path()).unwrap();
        let (disk, partition, block) = disk(dir);
        let scratch = dir.join("scratch");
        std::fs::create_dir(&scratch).unwrap();
        let bench = Bench::new(&scratch, &disk, partition).unwrap();
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
        runtime.block_on(test(bench, block))
    }

    #[test]
    fn a_state_is_what_a_boot_would_find_and_is_taken_back() {
        made(async |mut bench, block| {
            let paths = ["/old".to_owned(), "/not-there".to_owned()];
            let nothing = std::iter::empty();
            let found = bench.examine(nothing, &paths).await.unwrap();
            assert_eq!((found.fsck, found.said.contains("recovering journal")), (Fsck::Sound, true), "{}", found.said);
            assert_eq!(found.files, [Ok(Some(sum(&[b'n'; 4096]))), Ok(None)], "the journal is replayed");
            assert!(bench.missing.is_empty(), "this host confines nothing: {:?}", bench.missing);
            // The journal's own first block says that there is nothing to be replayed: then the file is the old one.
            let (mut journal, mut state) = (vec![0; 512], None);
            for at in (0..16 * MIB).step_by(4096) {
                bench.image.read_exact_at(&mut journal, at).unwrap();
                if journal[..8] == [0xc0, 0x3b, 0x39, 0x98, 0, 0, 0, 4] {
                    journal[28..32].fill(0);
                    state = Some((at, journal.clone()));
                    break;
                }
            }
            let (at, journal) = state.unwrap();
            let found = bench.examine(std::iter::once((at, journal.as_slice())), &paths).await.unwrap();
            assert_eq!(found.files[0], Ok(Some(sum(&[b'o'; 4096]))), "{}", found.said);
            // A torn file: what is not replayed over it is what is there.
            let torn = [(at, journal.as_slice()), (block + 512, &[b't'; 512][..])];
            let found = bench.examine(torn.into_iter(), &paths).await.unwrap();
            let content = [vec![b'o'; 512], vec![b't'; 512], vec![b'o'; 3072]].concat();
            assert_eq!((found.fsck, &found.files[0]), (Fsck::Sound, &Ok(Some(sum(&content)))));
            bench.finish().unwrap();
        });
    }

    #[test]
    fn a_damaged_file_system_and_one_that_cannot_be_checked_are_told_apart_and_neither_is_sound() {
        made(async |mut bench, _| {
            let paths = ["/old".to_owned()];
            // The block bitmaps and inode tables of the first group, and no superblock.
            let garbage = vec![0x5a; 64 << 10];
            let found = bench.examine(std::iter::once((16 << 10, garbage.as_slice())), &paths).await.unwrap();
            assert_eq!(found.fsck, Fsck::Damaged, "{}", found.said);
            let nothing = vec![0; 16 * MIB as usize];
            let found = bench.examine(std::iter::once((0, nothing.as_slice())), &paths).await.unwrap();
            assert_eq!(found.fsck, Fsck::Unchecked, "{}", found.said);
            assert!(found.files[0].is_err(), "{:?}", found.files);
            bench.finish().unwrap();
        });
    }

    #[test]
    fn a_copy_that_is_not_what_it_was_is_never_passed_over() {
        made(async |bench, block| {
            bench.image.write_all_at(&[1], block).unwrap();
            assert!(matches!(bench.finish(), Err(CrashError::NotTakenBack { .. })));
        });
    }

    #[rstest::rstest]
    #[case(Some(0), Fsck::Sound)]
    #[case(Some(1), Fsck::Sound)]
    #[case(Some(4), Fsck::Damaged)]
    #[case(Some(8), Fsck::Unchecked)]
    #[case(Some(12), Fsck::Unchecked)]
    #[case(None, Fsck::Unchecked)]
    fn the_exit_code_decides(#[case] code: Option<i32>, #[case] fsck: Fsck) {
        assert_eq!(verdict(code), fsck);
    }
}
