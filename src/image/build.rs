//! Building the likeness of a published image from Debian packages: no loop device, no network but the
//! package mirror, as root or as an ordinary user, and nothing left behind whatever ends it.

use super::catalogue::Recipe;
use super::error::{ImageError, io};
use super::job::Job;
use super::record::{Origin, Record, adopt};
use super::watch::Watch;
use super::{file, gpt, grub, recipe, sums, tools};
use camino::{Utf8Path, Utf8PathBuf};
use host::cmd::Cmd;
use host::dirs::names_in;
use host::ledger::folder::{self, Whose};
use host::presence::{Presence, ignore};
use std::fs::OpenOptions;
use std::os::unix::fs::{DirBuilderExt, FileExt};
use std::time::{Duration, Instant};

/// The longest that installing packages may take; a slow mirror needs minutes.
const INSTALL_LIMIT: Duration = Duration::from_secs(45 * 60);
/// The longest for each of the local steps.
const LOCAL_LIMIT: Duration = Duration::from_secs(10 * 60);
/// What tree, disk and packed image need together at their largest, MiB.
const ROOM_MIB: u64 = 2600;

/// Build the image into the folder, and hand back its record. The caller holds the image's lock, and writes the record
/// down.
pub(super) fn build(dir: &Utf8Path, image: &str, recipe: &Recipe, watch: &dyn Watch) -> Result<Record, ImageError> {
    let as_root = nix::unistd::geteuid().is_root();
    tools::check(as_root)?;
    sweep(dir, image, as_root, watch)?;
    room(dir)?;
    let start = Instant::now();
    let site = Site::open(dir, image, as_root)?;
    site.install(recipe, watch)?;
    site.fill(recipe, watch)?;
    site.make_bootable(recipe, watch)?;
    let packed = site.pack(watch)?;
    let digest = sums::of_file(&packed)?;
    let bytes = file::open(&packed).map_err(io("read", &packed))?;
    let record = adopt(dir, image, &packed, &bytes, Origin::Built { suite: recipe.suite.clone() }, digest)?;
    watch.say(&format!("built {} ({} MiB) in {:.0} s", record.file, record.bytes >> 20, start.elapsed().as_secs_f64()));
    Ok(record)
}

/// The folder that an image is built in; it goes when this value goes.
struct Site {
    path: Utf8PathBuf,
    as_root: bool,
}

impl Site {
    fn open(dir: &Utf8Path, image: &str, as_root: bool) -> Result<Self, ImageError> {
        let path = dir.join(format!("{}{}", prefix(image), std::process::id()));
        // Packages' scripts run as other users, who must get in; none of them may write here.
        std::fs::DirBuilder::new().mode(0o755).create(&path).map_err(io("make", &path))?;
        let site = Self { path, as_root };
        drop(folder::adopt(&site.path)?);
        Ok(site)
    }

    fn root(&self) -> Utf8PathBuf {
        self.path.join("root")
    }

    fn disk(&self) -> Utf8PathBuf {
        self.path.join("disk.raw")
    }

    fn step(
        &self,
        doing: &str,
        command: &[String],
        limit: Duration,
        watch: &dyn Watch,
        hear: impl Fn(&str),
    ) -> Result<(), ImageError> {
        watch.say(doing);
        let argv = recipe::inside(self.as_root, command);
        Job { doing, argv: &argv, work: &self.path, limit }.run(watch, hear)
    }

    fn install(&self, recipe: &Recipe, watch: &dyn Watch) -> Result<(), ImageError> {
        let script = self.path.join("setup.sh");
        std::fs::write(&script, recipe::setup_script()).map_err(io("write", &script))?;
        let doing = format!("installing Debian {} ({} packages named)", recipe.suite, recipe.packages.len());
        let hear = |line: &str| {
            // mmdebstrap's own words; those of the packages' scripts are kept for a failure only.
            if let Some(line) = line.strip_prefix("I: ") {
                watch.say(&format!("  {line}"));
            }
        };
        self.step(&doing, &recipe::bootstrap(recipe, &self.root()), INSTALL_LIMIT, watch, hear)
    }

    fn fill(&self, recipe: &Recipe, watch: &dyn Watch) -> Result<(), ImageError> {
        let disk = self.disk();
        let file = std::fs::File::create_new(&disk).map_err(io("make", &disk))?;
        file.set_len(recipe.disk_mib << 20).map_err(io("make", &disk))?;
        let command = recipe::file_system(recipe, &self.root(), &disk);
        self.step("making the file system", &command, LOCAL_LIMIT, watch, |_| ())
    }

    fn make_bootable(&self, recipe: &Recipe, watch: &dyn Watch) -> Result<(), ImageError> {
        let script = self.path.join("table.sfdisk");
        std::fs::write(&script, gpt::script(recipe.disk_mib)).map_err(io("write", &script))?;
        let disk = self.disk();
        self.step("writing the partition table and GRUB", &gpt::write(&script, &disk), LOCAL_LIMIT, watch, |_| ())?;
        for command in recipe::efi_partition(&self.path, &disk) {
            self.step("making the EFI system partition", &command, LOCAL_LIMIT, watch, |_| ())?;
        }
        let read = |name: &str| {
            let path = self.path.join(name);
            std::fs::read(&path).map_err(io("read", &path))
        };
        let (boot, core) = (read("boot.img")?, read("core.img")?);
        let grub = |e: grub::GrubError| ImageError::Step { step: "writing GRUB".into(), why: e.to_string() };
        let (boot, core) = (grub::boot_code(&boot).map_err(grub)?, grub::core(core).map_err(grub)?);
        let write = |file: std::fs::File| {
            file.write_all_at(&boot, 0)?;
            file.write_all_at(&core, gpt::BOOT_START * gpt::SECTOR)
        };
        OpenOptions::new().write(true).open(&disk).and_then(write).map_err(io("write", &disk))
    }

    fn pack(&self, watch: &dyn Watch) -> Result<Utf8PathBuf, ImageError> {
        let packed = self.path.join("packed.qcow2");
        // zstd packs as small as zlib in a fifth of the time, and unpacks faster under every boot.
        let command = ["qemu-img", "convert", "-f", "raw", "-O", "qcow2", "-c", "-o", "compression_type=zstd"];
        let disk = self.disk();
        let command: Vec<_> = command.into_iter().chain([disk.as_str(), packed.as_str()]).map(str::to_owned).collect();
        self.step("packing the image", &command, LOCAL_LIMIT, watch, |_| ())?;
        Ok(packed)
    }
}

impl Drop for Site {
    fn drop(&mut self) {
        ignore(remove(&self.path, self.as_root), "the next build's sweep removes it, or reports it");
    }
}

/// Remove what killed builds of this image left. The lock is held, so none of these is alive.
fn sweep(dir: &Utf8Path, image: &str, as_root: bool, watch: &dyn Watch) -> Result<(), ImageError> {
    for name in names_in(dir)?.into_iter().filter(|name| name.starts_with(&prefix(image))) {
        if let Err(why) = clear(&dir.join(name), as_root)? {
            watch.say(&why);
        }
    }
    Ok(())
}

fn prefix(image: &str) -> String {
    format!(".build-{image}-")
}

/// The image that a folder to build in is of, by its name.
pub(super) fn image_of(name: &str) -> Option<&str> {
    let (image, pid) = name.strip_prefix(".build-")?.rsplit_once('-')?;
    pid.parse::<u32>().is_ok().then_some(image)
}

/// Remove a folder that a killed build left; or why it stays. The caller holds the image's lock.
pub(super) fn clear(path: &Utf8Path, as_root: bool) -> Result<Result<(), String>, ImageError> {
    match folder::whose(path) {
        Whose::Gone => Ok(Ok(())),
        Whose::NotOurs(why) | Whose::Unseen(why) => Ok(Err(format!("{path}: {why}"))),
        Whose::Ours | Whose::Begun => {
            remove(path, as_root)?;
            Ok(match Presence::of(path) {
                Presence::Gone => Ok(()),
                _ => Err(format!("{path} was removed and is still there")),
            })
        }
    }
}

/// Remove a build folder. Its files belong to mapped ids where an ordinary user built it, so it is removed
/// as the mapped root. Never across a mount, should one have been left in sight.
fn remove(path: &Utf8Path, as_root: bool) -> Result<(), ImageError> {
    let command = ["rm", "-rf", "--one-file-system", "--", path.as_str()].map(str::to_owned);
    let argv = recipe::inside(as_root, &command);
    Cmd::new(&argv[0]).args(&argv[1..]).env("PATH", tools::path()).limit(LOCAL_LIMIT).run()?;
    Ok(())
}

/// Whether the cache has the room.
fn room(dir: &Utf8Path) -> Result<(), ImageError> {
    let stat = rustix::fs::statvfs(dir.as_std_path()).map_err(|e| io("read", dir)(e.into()))?;
    let free_mib = (stat.f_bavail * stat.f_frsize) >> 20;
    if free_mib < ROOM_MIB {
        return Err(ImageError::NoSpace { path: dir.to_owned(), free_mib, need_mib: ROOM_MIB });
    }
    Ok(())
}
