//! A boot medium: an ISO 9660 image, a disk, an OVA, a unified kernel image or the files of a PXE set, read in this process and
//! never mounted.
//!
//! `bytes` is the file and any part of it, and `format` says what it is. Over it lie the volume: `volume` (descriptors), `tree`
//! and `record` (folders and files), `damage`; or the disk: `qcow2`, `disk`, `superblock`; an `ova`; what firmware boots:
//! `eltorito`, `partition`; file systems inside: `fat`, `ext4`, `squashfs`; and what boot loaders do: `loader`. `find` picks the
//! image.
//!
//! Images come from builds that broke off, downloads that were cut and other people's tools. Every number in them is
//! checked before it is used, folders that lead in circles end, and nothing is allocated that the file does not hold.
//! A medium that is damaged opens as far as it can be read, and [`Medium::damage`] names what is wrong with it.
//!
//! *Why own code:* docs/decisions.md, "A boot image is read in process".
//!
//! Fuzzed as `medium`, `disk`.

mod bytes;
mod damage;
mod disk;
mod eltorito;
mod error;
mod ext4;
mod fat;
mod find;
mod format;
mod kernel;
pub mod layers;
mod loader;
mod open;
mod ova;
mod partition;
mod qcow2;
mod record;
mod shelf;
mod squashfs;
mod superblock;
mod tree;
mod volume;
mod within;

pub use bytes::{Halt, Reader};
pub use damage::Damage;
pub use disk::Volume;
pub use eltorito::{BootEntry, Media, Platform};
pub use error::MediumError;
pub use find::find_one;
pub use kernel::{KERNEL_HEAD, Kernel, initrd, kernel};
pub use loader::{BootPath, Boots, Carrier, Chosen, Config, Firmware, Line, Loader, LoaderEntry, Loaders, Wait};
pub use partition::{Partition, Table};
pub use squashfs::{Compression, Squashfs};
pub use superblock::Content;
pub use tree::{File, Kind, Names};
pub use within::{Holds, Within};

use bytes::Bytes;
use camino::{Utf8Path, Utf8PathBuf};
use error::Fault;
use ext4::Ext4Volume;
use fat::Fat;
use host::hex::hex;
use sha2::{Digest, Sha256, Sha512};
use std::io::Read;
use tree::Node;

/// Symbolic links that are followed one after the other.
const MOST_LINKS: usize = 8;

/// What kind of image it is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Form {
    /// ISO 9660, hybrid or not.
    Iso,
    /// A disk, byte by byte.
    Raw,
    /// A disk in QEMU's format.
    Qcow2,
    /// An OVA; its disk is looked into if it is in a format that is read here.
    Ova,
    /// A unified kernel image by itself: an EFI program with a kernel in it.
    Uki,
}

impl std::fmt::Display for Form {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(match self {
            Self::Iso => "ISO 9660 image",
            Self::Raw => "raw disk image",
            Self::Qcow2 => "qcow2 disk image",
            Self::Ova => "OVA",
            Self::Uki => "unified kernel image",
        })
    }
}

/// A boot medium that has been opened.
#[derive(Debug)]
pub struct Medium {
    path: Utf8PathBuf,
    form: Form,
    /// The file as it lies on this host; `image` is what is in it.
    file: Bytes,
    image: Bytes,
    volume: volume::Volume,
    names: Names,
    nodes: Vec<Node>,
    /// The same by ISO 9660's own names, where Joliet has others.
    plain: Vec<Node>,
    /// Files that only the volume's other tree of names has: Joliet's beside Rock Ridge, ISO 9660's own beside Joliet.
    hidden: Vec<Node>,
    boot: Vec<BootEntry>,
    partitions: Vec<Partition>,
    efi: Vec<EfiImage>,
    ext4: Vec<(String, Ext4Volume)>,
    volumes: Vec<Volume>,
    damage: Vec<Damage>,
    /// What of it is in a format that is not read here.
    unread: Vec<String>,
}

/// A FAT file system inside the image: one that UEFI firmware boots from, or any of a disk.
#[derive(Debug)]
struct EfiImage {
    /// The file that it is, or `El Torito entry 2`, or `partition 2`.
    name: String,
    /// Its first byte.
    at: u64,
    fat: Fat,
}

/// Boot loaders' configurations in a text, each file behind a line `--- PATH`, as the tests in `tests/loaders` have them.
pub fn loaders_of_text(text: &str) -> Loaders {
    loader::read_text(text)
}

/// How many sections an EFI program has, and whether GRUB's modules are in it.
pub fn program(bytes: &[u8]) -> (usize, bool) {
    loader::read_program(bytes)
}

/// The checksums of an image, as lower-case hexadecimal.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Sums {
    /// SHA-256.
    pub sha256: String,
    /// SHA-512.
    pub sha512: String,
}

impl Medium {
    /// Open an image and read all of its structure, but no file's content.
    ///
    /// # Errors
    /// [`MediumError::Io`] if the file cannot be read, [`MediumError::Unread`] if it is an image in a format that is not read
    /// here, [`MediumError::NoImage`] if it is something else.
    pub fn open(path: &Utf8Path) -> Result<Self, MediumError> {
        Self::open_until(path, &Halt::default())
    }

    /// The same, until it is halted: then each read of it is [`MediumError::Io`].
    ///
    /// # Errors
    /// As [`Medium::open`].
    pub fn open_until(path: &Utf8Path, halt: &Halt) -> Result<Self, MediumError> {
        let io = |source| MediumError::Io { path: path.to_owned(), source };
        // Opening a pipe would wait for somebody to write to it.
        if !std::fs::metadata(path).map_err(io)?.is_file() {
            let (what, next) = ("not a file".into(), "name an image".into());
            return Err(MediumError::NoImage { path: path.to_owned(), what, next });
        }
        let file = std::fs::File::open(path).map_err(io)?;
        open::medium(path, Bytes::of_file(file, halt.clone()).map_err(io)?)
    }

    /// The same for an image in memory; the name stands in its errors.
    pub fn of_memory(name: &str, bytes: Vec<u8>) -> Result<Self, MediumError> {
        open::medium(Utf8Path::new(name), Bytes::of_memory(bytes))
    }

    /// Where the image lies.
    pub fn path(&self) -> &Utf8Path {
        &self.path
    }

    /// What kind of image it is.
    pub fn form(&self) -> Form {
        self.form
    }

    /// The size of the image, bytes: of the file, or of the disk that is in it.
    pub fn size(&self) -> u64 {
        self.image.len()
    }

    /// The size that the volume says it has, bytes. A file may be longer: what follows is padding, or another partition.
    pub fn volume_size(&self) -> u64 {
        self.volume.size
    }

    /// The volume identifier, which `blkid` and `search --label` call the label.
    pub fn volume_id(&self) -> &str {
        &self.volume.id
    }

    /// The labels of the volume and of its EFI file systems, or of all that lies on a disk.
    pub fn labels(&self) -> Vec<String> {
        if !self.volumes.is_empty() {
            return self.volumes.iter().filter_map(|volume| volume.label.clone()).collect();
        }
        let efi = self.efi.iter().filter_map(|image| image.fat.label.clone());
        [self.volume.id.clone()].into_iter().chain(efi).filter(|label| !label.is_empty()).collect()
    }

    /// Their UUIDs, as `blkid` has them.
    pub fn uuids(&self) -> Vec<String> {
        if !self.volumes.is_empty() {
            return self.volumes.iter().filter_map(|volume| volume.uuid.clone()).collect();
        }
        let efi = self.efi.iter().map(|image| image.fat.uuid.clone());
        self.volume.uuid.clone().into_iter().chain(efi).collect()
    }

    /// Where the names of the files come from.
    pub fn names(&self) -> Names {
        self.names
    }

    /// The entries of the El Torito boot catalogue, in its order; none if there is no catalogue.
    pub fn boot_entries(&self) -> &[BootEntry] {
        &self.boot
    }

    /// The partitions of a hybrid image.
    pub fn partitions(&self) -> &[Partition] {
        &self.partitions
    }

    /// What is wrong with the image.
    pub fn damage(&self) -> &[Damage] {
        &self.damage
    }

    /// All files and folders, sorted by path; those in EFI images are not among them.
    pub fn files(&self) -> impl Iterator<Item = &File> {
        self.nodes.iter().map(|node| &node.file)
    }

    /// Files that another tree of names has and [`Medium::files`] does not: who reads Joliet sees them, or who does not.
    pub fn hidden_files(&self) -> impl Iterator<Item = &File> {
        self.hidden.iter().map(|node| &node.file)
    }

    /// Everything in the EFI images and in a disk's file systems, each as `partition 2:/etc/`: folders end with a slash.
    ///
    /// # Errors
    /// [`MediumError::Broken`] if one of them cannot be read to its end.
    pub fn inner_names(&self) -> Result<Vec<String>, MediumError> {
        let name = |within: &str, path: &str, folder: bool| format!("{within}:{path}{}", if folder { "/" } else { "" });
        let files = self.efi.iter().flat_map(|image| image.fat.files.iter().map(move |file| (image, file)));
        let mut all: Vec<_> = files.map(|(image, file)| name(&image.name, &file.path, file.folder)).collect();
        for (within, ext4) in &self.ext4 {
            let files = ext4.files().map_err(|fault| self.broken(within, fault))?;
            all.extend(files.iter().map(|file| name(within, &file.path, file.folder)));
        }
        Ok(all)
    }

    /// The files in the EFI images, each as `/efi.img:/EFI/BOOT/BOOTX64.EFI`, with its size in bytes.
    pub fn efi_files(&self) -> impl Iterator<Item = (String, u64)> {
        let files = self.efi.iter().flat_map(|image| image.fat.files.iter().map(move |file| (image, file)));
        files
            .filter(|(_, file)| !file.folder)
            .map(|(image, file)| (format!("{}:{}", image.name, file.path), file.bytes))
    }

    /// A file by its path, links followed; where no file has exactly this name, its case does not count.
    pub fn file(&self, path: &str) -> Option<&File> {
        self.node(path).map(|node| &node.file)
    }

    /// Read a file, at most so many bytes. `/efi.img:/EFI/BOOT/grub.cfg` is a file in an EFI image,
    /// `/live/root.squashfs:/etc/hostname` one in a squashfs.
    ///
    /// # Errors
    /// That there is no such file, that it is larger, or that the image ends before it does.
    pub fn read(&self, path: &str, limit: u64) -> Result<Vec<u8>, MediumError> {
        if self.node(path).is_none()
            && self.in_ext4(path).is_none()
            && let Some(read) = self.in_file_system(path, limit)
        {
            return read;
        }
        let bytes = self.bytes_within(path, limit)?;
        if bytes.len() > limit {
            let (path, file) = (self.path.clone(), path.to_owned());
            return Err(MediumError::TooLarge { path, file, bytes: bytes.len(), limit });
        }
        bytes.take(0, bytes.len() as usize).map_err(|fault| self.broken(path, fault))
    }

    /// Read a file of any size, in order.
    ///
    /// # Errors
    /// As [`Medium::read`], but for the size.
    pub fn stream(&self, path: &str) -> Result<Reader, MediumError> {
        Ok(self.bytes(path)?.reader())
    }

    /// The boot loaders' configurations, and the entries of all their menus.
    pub fn loaders(&self) -> Loaders {
        loader::read(self)
    }

    /// The checksums of the whole file. This reads all of it.
    ///
    /// # Errors
    /// [`MediumError::Io`].
    pub fn sums(&self) -> Result<Sums, MediumError> {
        let (mut sha256, mut sha512) = (Sha256::new(), Sha512::new());
        let (mut reader, mut buffer) = (self.file.reader(), vec![0; 1 << 20]);
        loop {
            let count =
                reader.read(&mut buffer).map_err(|source| MediumError::Io { path: self.path.clone(), source })?;
            if count == 0 {
                break;
            }
            sha256.update(&buffer[..count]);
            sha512.update(&buffer[..count]);
        }
        Ok(Sums { sha256: hex(sha256.finalize()), sha512: hex(sha512.finalize()) })
    }

    fn node(&self, path: &str) -> Option<&Node> {
        let mut path = loader::clean(path);
        for _ in 0..=MOST_LINKS {
            let node = match self.at(&path) {
                Some(node) => node,
                None => self.nodes.iter().find(|node| node.file.path.eq_ignore_ascii_case(&path))?,
            };
            let Kind::Link(to) = &node.file.kind else { return Some(node) };
            path = followed(&node.file.path, to);
        }
        None
    }

    /// The same, but as the name is written.
    fn exact(&self, path: &str) -> Option<&Node> {
        let mut path = loader::clean(path);
        for _ in 0..=MOST_LINKS {
            let node = self.at(&path)?;
            let Kind::Link(to) = &node.file.kind else { return Some(node) };
            path = followed(&node.file.path, to);
        }
        None
    }

    fn at(&self, path: &str) -> Option<&Node> {
        let at = self.nodes.binary_search_by(|node| node.file.path.as_str().cmp(path)).ok()?;
        self.nodes.get(at)
    }

    /// The bytes of a file, in the volume, in an EFI image or in an ext4 file system.
    fn bytes(&self, path: &str) -> Result<Bytes, MediumError> {
        self.bytes_within(path, u64::MAX)
    }

    /// The same, of which no more is read than the limit where it has to be read at once.
    fn bytes_within(&self, path: &str, limit: u64) -> Result<Bytes, MediumError> {
        if let Some((ext4, inner)) = self.in_ext4(path) {
            return match ext4.size(inner).and_then(|size| size.map(|_| ext4.read(inner, limit)).transpose()) {
                Ok(Some(bytes)) => Ok(bytes),
                Ok(None) => Err(self.missing(path)),
                Err(fault) => Err(self.broken(path, fault)),
            };
        }
        if let Some(node) = self.node(path) {
            return self.content(node).map_err(|fault| self.broken(path, fault));
        }
        let inside = self.efi.iter().find_map(|image| {
            let inner = path.strip_prefix(&image.name)?.strip_prefix(':')?;
            Some((image, image.fat.find(inner).filter(|file| !file.folder)?))
        });
        let partition = || {
            let number = path.strip_prefix("partition ")?.parse::<usize>().ok()?;
            self.partitions.iter().find(|partition| partition.number == number)
        };
        if let (None, Some(partition)) = (inside, partition()) {
            return self.image.part(partition.start, partition.bytes).map_err(|fault| self.broken(path, fault));
        }
        match inside {
            Some((image, file)) => image.fat.bytes(file).map_err(|fault| self.broken(path, fault)),
            None => Err(self.missing(path)),
        }
    }

    fn content(&self, node: &Node) -> Result<Bytes, Fault> {
        match (&node.file.kind, node.unreadable) {
            (Kind::Folder, _) => Err(Fault::bad("it is a folder")),
            (Kind::Link(to), _) => Err(Fault::bad(format!("it is a link to {to}, which leads nowhere"))),
            (Kind::Special, _) => Err(Fault::bad("it is a device, a socket or a pipe")),
            (Kind::File, Some(why)) => Err(Fault::bad(why)),
            // The members of an OVA lie in the file; what is in its disk has no names of its own here.
            (Kind::File, None) if self.form == Form::Ova => self.file.parts(&node.pieces),
            (Kind::File, None) => self.image.parts(&node.pieces),
        }
    }

    fn missing(&self, file: &str) -> MediumError {
        let wanted = file.rsplit('/').next().unwrap_or(file);
        let same = |path: &&str| path.rsplit('/').next().is_some_and(|name| name.eq_ignore_ascii_case(wanted));
        let near: Vec<_> = self.files().map(|file| file.path.as_str()).filter(same).take(3).collect();
        let but = if near.is_empty() { String::new() } else { format!("; it has {}", near.join(", ")) };
        MediumError::Missing { path: self.path.clone(), file: file.to_owned(), but }
    }

    fn broken(&self, what: &str, fault: Fault) -> MediumError {
        let (path, what) = (self.path.clone(), what.to_owned());
        match fault {
            Fault::Short { end, has } => MediumError::CutOff { path, what, end, has },
            Fault::Bad(why) => MediumError::Broken { path, what, why },
            Fault::Unread { what, next } => MediumError::Unread { path, what, next },
            Fault::Io(source) => MediumError::Io { path, source },
        }
    }
}

/// Where a symbolic link leads.
fn followed(link: &str, to: &str) -> String {
    match to.starts_with('/') {
        true => loader::clean(to),
        false => loader::clean(&format!("{link}/../{to}")),
    }
}

/// A name as it is kept. No system writes a slash or a NUL: they would make a path that means another file. A line end would
/// make two entries of one in a list.
fn one_name(name: &str) -> String {
    name.replace(['/', '\0'], "\u{fffd}").replace('\n', "⟨U+000A⟩").replace('\r', "⟨U+000D⟩")
}

#[cfg(test)]
mod tests;
