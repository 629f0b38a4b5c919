//! Fetching a published image: streamed, checked against SHA512SUMS while it comes, taken up again
//! where it broke off.

use super::catalogue::Source;
use super::error::{ImageError, Patience};
use super::http::{Head, Piece, Request, receive};
use super::range::{Answer, judge};
use super::record::{Origin, Record, adopt};
use super::watch::Watch;
use super::{file, sums};
use camino::{Utf8Path, Utf8PathBuf};
use host::dirs::{only_ours_to_write, write_private};
use host::hex::hex;
use host::presence::ignore;
use serde::{Deserialize, Serialize};
use sha2::{Digest, Sha512};
use std::fs::{File, OpenOptions};
use std::io::{Read, Seek, Write};
use std::ops::ControlFlow::{self, Break, Continue};
use std::os::unix::fs::OpenOptionsExt;

/// Why a file that cannot be removed is let go of.
const ADOPTED: &str = "it has another name by now, or the next fetch takes it";

/// Bytes of a SHA512SUMS file that are read at most.
const SUMS_LIMIT: usize = 1 << 20;
/// Bytes of a note that are read at most.
const NOTE_LIMIT: u64 = 64 << 10;

/// The digest that the publisher gives for the image now, lower-case hexadecimal.
pub(super) fn published(source: &Source, patience: Patience, watch: &dyn Watch) -> Result<String, ImageError> {
    let https_only = source.https_only();
    let request = Request { address: source.sums.clone(), offset: 0, validator: None, https_only };
    let unreachable = |why: String| ImageError::Unreachable { address: source.sums.clone(), why };
    let mut text = Vec::new();
    let text = receive(&request, patience, watch, |piece| match piece {
        Piece::Head(head) if head.status != 200 => {
            Break(Err(ImageError::Refused { address: source.sums.clone(), status: head.status }))
        }
        Piece::Head(_) => Continue(()),
        Piece::Bytes(bytes) if text.len() + bytes.len() > SUMS_LIMIT => {
            Break(Err(unreachable("what came is too long for a checksum file".into())))
        }
        Piece::Bytes(bytes) => {
            text.extend(bytes);
            Continue(())
        }
        Piece::End => Break(Ok(std::mem::take(&mut text))),
        Piece::Insecure(to) => Break(Err(ImageError::Insecure { address: source.sums.clone(), to })),
        Piece::Broke(why) => Break(Err(unreachable(why))),
    })??;
    let file = source.address.rsplit('/').next().unwrap_or(&source.address);
    sums::find(&String::from_utf8_lossy(&text), file)
        .ok_or_else(|| ImageError::NoSum { sums: source.sums.clone(), file: file.to_owned() })
}

/// Fetch the image with the digest `want` into the folder, and hand back its record. The caller holds the image's lock,
/// and writes the record down.
pub(super) fn fetch(
    dir: &Utf8Path,
    image: &str,
    source: &Source,
    mut want: String,
    patience: Patience,
    watch: &dyn Watch,
) -> Result<Record, ImageError> {
    watch.say(&format!("fetching {}", source.address));
    loop {
        let mut partial = Partial::open(dir, image, source, &want, watch)?;
        let resumed = partial.at > 0;
        if resumed {
            watch.say(&format!("{} MiB are there from before", partial.at >> 20));
        }
        transfer(&mut partial, patience, watch)?;
        let got = hex(partial.digest.clone().finalize());
        if got != want && source.sha512.is_none() {
            // `latest` may have moved between the checksum file and the image: ask once more.
            want = published(source, patience, watch)?;
        }
        if got == want {
            let origin = Origin::Fetched { address: source.address.clone() };
            let record = adopt(dir, image, &partial.path, &partial.file, origin, got)?;
            partial.forget();
            let said = if source.sha512.is_some() { "as pinned" } else { "as published" };
            watch.say(&format!("fetched {} ({} MiB), SHA-512 {said}", record.file, record.bytes >> 20));
            return Ok(record);
        }
        partial.forget();
        if !resumed {
            return Err(ImageError::WrongDigest { address: source.address.clone(), want, got });
        }
        watch.say("the parts do not fit together; fetching the whole again");
    }
}

/// Bring the partial file to its end, taking it up again as long as each attempt brings something.
fn transfer(partial: &mut Partial, patience: Patience, watch: &dyn Watch) -> Result<(), ImageError> {
    let mut fruitless = 0;
    loop {
        let before = partial.at;
        let Some(why) = attempt(partial, patience, watch)? else { return Ok(()) };
        fruitless = if partial.at > before { 0 } else { fruitless + 1 };
        if fruitless >= patience.attempts {
            let (address, at) = (partial.note.address.clone(), partial.at);
            return Err(match at {
                0 => ImageError::Unreachable { address, why },
                at => ImageError::Broken { address, at, attempts: fruitless, why },
            });
        }
        watch.say(&format!("the transfer broke off at {} MiB ({why}); taking it up again", partial.at >> 20));
    }
}

/// One request. `None` means that the file is complete, a text why it is not.
fn attempt(partial: &mut Partial, patience: Patience, watch: &dyn Watch) -> Result<Option<String>, ImageError> {
    let request = Request {
        address: partial.note.address.clone(),
        offset: partial.at,
        validator: partial.note.validator.clone(),
        https_only: partial.https_only,
    };
    let mut total = None;
    receive(&request, patience, watch, |piece| match piece {
        Piece::Head(head) => match partial.begin(&head) {
            Ok(Ok(length)) => {
                total = length;
                Continue(())
            }
            Ok(Err(why)) => Break(Ok(Some(why))),
            Err(error) => Break(Err(error)),
        },
        Piece::Bytes(bytes) => partial.take(&bytes, total, watch),
        Piece::End if total.is_some_and(|total| partial.at < total) => {
            Break(Ok(Some("the server closed the connection early".into())))
        }
        Piece::End => Break(partial.finish().map(|()| None)),
        Piece::Insecure(to) => Break(Err(ImageError::Insecure { address: partial.note.address.clone(), to })),
        Piece::Broke(why) => Break(Ok(Some(why))),
    })?
}

/// What is there of a transfer, with the digest of it.
struct Partial {
    path: Utf8PathBuf,
    file: File,
    at: u64,
    digest: Sha512,
    note: Note,
    https_only: bool,
}

/// What the bytes of a partial file are bytes of.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Note {
    address: String,
    sha512: String,
    validator: Option<String>,
}

impl Partial {
    /// Open what is there; if it belongs to another file, or nothing could tell a change, begin at zero. Each user of a
    /// shared folder has a partial file of their own, which nobody else can write to.
    fn open(dir: &Utf8Path, image: &str, source: &Source, want: &str, watch: &dyn Watch) -> Result<Self, ImageError> {
        let path = dir.join(format!(".{image}.{}.part", rustix::process::geteuid().as_raw()));
        let io = |source| ImageError::Io { doing: "write", path: path.clone(), source };
        let mut options = OpenOptions::new();
        options.read(true).write(true).create(true).truncate(false).mode(0o600);
        let mut file = file::open_with(&mut options, &path).map_err(io)?;
        if !only_ours_to_write(&file.metadata().map_err(io)?) {
            return Err(ImageError::InTheWay { path, why: "another user can write to it".into() });
        }
        let mut note = Note { address: source.address.clone(), sha512: want.to_owned(), validator: None };
        let mut digest = Sha512::new();
        let mut at = 0;
        match Note::read(&note_path(&path)) {
            Some(noted)
                if noted.validator.is_some() && (&noted.address, &noted.sha512) == (&note.address, &note.sha512) =>
            {
                note = noted;
                at = sums::feed(&mut digest, &mut file, |_| watch.stopped()).map_err(io)?;
            }
            _ => file.set_len(0).map_err(io)?,
        }
        Ok(Self { path, file, at, digest, note, https_only: source.https_only() })
    }

    /// Make ready for what an answer brings: the whole length, or why it brings nothing.
    fn begin(&mut self, head: &Head) -> Result<Result<Option<u64>, String>, ImageError> {
        match judge(head.status, self.at, head.range.as_deref(), head.length) {
            Answer::Rest { total } => Ok(Ok(total)),
            Answer::Whole { total } => {
                self.restart(head.validator.clone())?;
                Ok(Ok(total))
            }
            Answer::StartOver => {
                self.restart(None)?;
                Ok(Err(format!("the server has no such range any more (HTTP status {})", head.status)))
            }
            Answer::Refused(status) => Err(ImageError::Refused { address: self.note.address.clone(), status }),
        }
    }

    /// Back to zero bytes, of the version that the validator stands for.
    fn restart(&mut self, validator: Option<String>) -> Result<(), ImageError> {
        self.note.validator = validator;
        self.at = 0;
        self.digest = Sha512::new();
        self.file.set_len(0).and_then(|()| self.file.rewind()).map_err(|source| self.io(source))?;
        let note = serde_json::to_vec(&self.note).map_err(|e| self.io(e.into()))?;
        Ok(write_private(&note_path(&self.path), note)?)
    }

    fn take(
        &mut self,
        bytes: &[u8],
        total: Option<u64>,
        watch: &dyn Watch,
    ) -> ControlFlow<Result<Option<String>, ImageError>> {
        if let Err(source) = self.file.write_all(bytes) {
            return Break(Err(self.io(source)));
        }
        self.digest.update(bytes);
        self.at += bytes.len() as u64;
        watch.progress(self.at, total);
        Continue(())
    }

    fn finish(&mut self) -> Result<(), ImageError> {
        self.file.sync_all().map_err(|source| self.io(source))
    }

    /// Remove what is left of it, the note that says whose it is last; what has been adopted is under another name by
    /// now.
    fn forget(self) {
        ignore(std::fs::remove_file(&self.path), ADOPTED);
        ignore(std::fs::remove_file(note_path(&self.path)), ADOPTED);
    }

    fn io(&self, source: std::io::Error) -> ImageError {
        ImageError::Io { doing: "write", path: self.path.clone(), source }
    }
}

impl Note {
    /// What stands beside a partial file, if that is a note of ours.
    pub(super) fn read(path: &Utf8Path) -> Option<Self> {
        let mut text = Vec::new();
        file::open(path).ok()?.take(NOTE_LIMIT).read_to_end(&mut text).ok()?;
        serde_json::from_slice(&text).ok()
    }
}

/// Where the note about a partial file lies.
pub(super) fn note_path(part: &Utf8Path) -> Utf8PathBuf {
    part.with_extension("part.json")
}
