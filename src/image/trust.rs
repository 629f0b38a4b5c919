//! Which of the images in a folder a run may take. Their bytes decide, against a digest that only this user, root or the
//! catalogue can have given. In a folder that others can write to, a record is no such thing, whoever it says wrote it.

use super::catalogue::Catalogue;
use super::error::ImageError;
use super::file;
use super::record::{Found, Origin, Record, path_of, read_all, write};
use camino::{Utf8Path, Utf8PathBuf};
use host::dirs::{Use, check, make_private, only_ours_to_write};
use host::presence::ignore;

/// What an image in a folder is worth.
#[derive(Clone, Debug)]
pub(super) enum Worth {
    /// A run may take it, if its bytes are what this record says. It is this user's, or root's.
    Counts(Record),
    /// The same, and the digest is the catalogue's: the rest of the record is somebody's word.
    Pinned(Record),
    /// The record counts, but the catalogue wants another image of that name.
    NotPinned(Record),
    /// No run takes it, and why.
    Refused(String),
}

/// One image, or what is called like one.
#[derive(Clone, Debug)]
pub(super) struct Item {
    /// The image; where there is no record, what is called like one.
    pub path: Utf8PathBuf,
    /// What it is worth.
    pub worth: Worth,
}

/// A folder of images, and where this user keeps records that nobody else can write.
#[derive(Clone, Copy, Debug)]
pub(super) struct Shelf<'a> {
    /// The folder.
    pub dir: &'a Utf8Path,
    /// The records of this user's own for folders that are shared; none if there is no place for them.
    pub held: Option<&'a Utf8Path>,
}

impl Shelf<'_> {
    /// All that is in it, newest first.
    pub(super) fn items(&self, pins: &Catalogue) -> Result<Vec<Item>, ImageError> {
        check(self.dir, Use::Cache)?;
        let held: Vec<_> = match (self.is_private(), self.held) {
            // One that others can write to holds nothing.
            (false, Some(held)) if check(held, Use::Inside).is_ok() => read_all(held)?,
            _ => Vec::new(),
        };
        let held: Vec<_> = held.into_iter().filter_map(|found| found.record.ok()).collect();
        Ok(read_all(self.dir)?.into_iter().map(|found| self.judge(found, &held, pins)).collect())
    }

    fn judge(&self, found: Found, held: &[Record], pins: &Catalogue) -> Item {
        let record = match found.record {
            Ok(record) => record,
            Err(why) => return Item { path: found.path, worth: Worth::Refused(why) },
        };
        let path = self.dir.join(&record.file);
        if let Err(error) = file::look(&path) {
            return Item {
                path,
                worth: Worth::Refused(format!("its record is there, and the image cannot be used: {error}")),
            };
        }
        let pin = pins.pin(&record.image);
        let own = match found.is_ours && self.is_private() {
            true => Some(record.clone()),
            false => held.iter().find(|own| own.sha512 == record.sha512 && own.image == record.image).cloned(),
        };
        let worth = match own {
            Some(own) if pin.is_some_and(|pin| pin != own.sha512) && matches!(own.origin, Origin::Fetched { .. }) => {
                Worth::NotPinned(own)
            }
            Some(own) => Worth::Counts(own),
            None if pin == Some(&record.sha512) => Worth::Pinned(record),
            None => Worth::Refused(format!(
                "others can write its record or in {}, so it counts only if profiles/images.json pins its SHA-512, or if \
                 this user has fetched or built it (`boma-qemu image fetch` compares it with what is published)",
                self.dir
            )),
        };
        Item { path, worth }
    }

    /// Keep a record: in the folder, and where others can write there also in this user's own.
    pub(super) fn keep(&self, record: &Record) -> Result<(), ImageError> {
        if self.is_private() {
            return write(self.dir, record, true);
        }
        if let Some(held) = self.held {
            make_private(held)?;
            write(held, record, true)?;
        }
        // For the other users, who judge it by themselves. One that is there may be another's.
        if path_of(self.dir, record).symlink_metadata().is_err() {
            ignore(write(self.dir, record, false), "the record that counts is this user's own");
        }
        Ok(())
    }

    /// Whether nobody but this user and root can write in it.
    pub(super) fn is_private(&self) -> bool {
        self.dir.metadata().is_ok_and(|meta| only_ours_to_write(&meta))
    }
}
