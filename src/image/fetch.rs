//! Fetching a published image: streamed, checked against SHA512SUMS while it comes, taken up again
//! where it broke off.

use super::catalogue::Source;
use super::error::{ImageError, Patience};
use super::http::{Head, Piece, Request, receive};
use super::range::{Answer, judge};
use super::record::{Origin, Record, adopt};
use super::sums;
use super::watch::Watch;
use crate::host::presence::ignore;
use camino::{Utf8Path, Utf8PathBuf};
use serde::{Deserialize, Serialize};
use sha2::{Digest, Sha512};
use std::fs::{File, OpenOptions};
use std::io::{Seek, Write};
use std::ops::ControlFlow::{self, Break, Continue};

/// Why a file that cannot be removed is let go of.
const ADOPTED: &str = "it has another name by now, or the next fetch takes it";

/// Bytes of a SHA512SUMS file that are read at most.
const SUMS_LIMIT: usize = 1 << 20;

/// The digest that the publisher gives for the image now, lower-case hexadecimal.
pub(super) fn published(source: &Source, patience: Patience, watch: &dyn Watch) -> Result<String, ImageError> {
    let request = Request { address: source.sums.clone(), offset: 0, validator: None };
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
        Piece::Broke(why) => Break(Err(unreachable(why))),
    })??;
    let file = source.address.rsplit('/').next().unwrap_or(&source.address);
    sums::find(&String::from_utf8_lossy(&text), file)
        .ok_or_else(|| ImageError::NoSum { sums: source.sums.clone(), file: file.to_owned() })
}

/// Fetch the image with the digest `want` into the folder and record it. The caller holds the image's lock.
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
        let mut partial = Partial::open(dir, image, &source.address, &want, watch)?;
        let resumed = partial.at > 0;
        if resumed {
            watch.say(&format!("{} MiB are there from before", partial.at >> 20));
        }
        transfer(&mut partial, patience, watch)?;
        let got = sums::hex(&partial.digest.clone().finalize());
        if got != want {
            // `latest` may have moved between the checksum file and the image: ask once more.
            want = published(source, patience, watch)?;
        }
        if got == want {
            let origin = Origin::Fetched { address: source.address.clone() };
            let record = adopt(dir, image, &partial.path, origin, got)?;
            partial.forget();
            watch.say(&format!("fetched {} ({} MiB), SHA-512 as published", record.file, record.bytes >> 20));
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
}

/// What the bytes of a partial file are bytes of.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
struct Note {
    address: String,
    sha512: String,
    validator: Option<String>,
}

impl Partial {
    /// Open what is there; if it belongs to another file, or nothing could tell a change, begin at zero.
    fn open(dir: &Utf8Path, image: &str, address: &str, want: &str, watch: &dyn Watch) -> Result<Self, ImageError> {
        let path = dir.join(format!(".{image}.part"));
        let io = |source| ImageError::Io { doing: "write", path: path.clone(), source };
        let mut file =
            OpenOptions::new().read(true).write(true).create(true).truncate(false).open(&path).map_err(io)?;
        let mut note = Note { address: address.to_owned(), sha512: want.to_owned(), validator: None };
        let noted = std::fs::read(note_path(&path)).ok().and_then(|text| serde_json::from_slice::<Note>(&text).ok());
        let mut digest = Sha512::new();
        let mut at = 0;
        match noted {
            Some(noted)
                if noted.validator.is_some() && (&noted.address, &noted.sha512) == (&note.address, &note.sha512) =>
            {
                note = noted;
                at = sums::feed(&mut digest, &mut file, |_| watch.stopped()).map_err(io)?;
            }
            _ => file.set_len(0).map_err(io)?,
        }
        Ok(Self { path, file, at, digest, note })
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
        std::fs::write(note_path(&self.path), note).map_err(|source| self.io(source))
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

    /// Remove what is left of it; what has been adopted is under another name by now.
    fn forget(self) {
        ignore(std::fs::remove_file(note_path(&self.path)), ADOPTED);
        ignore(std::fs::remove_file(&self.path), ADOPTED);
    }

    fn io(&self, source: std::io::Error) -> ImageError {
        ImageError::Io { doing: "write", path: self.path.clone(), source }
    }
}

fn note_path(part: &Utf8Path) -> Utf8PathBuf {
    part.with_extension("part.json")
}
