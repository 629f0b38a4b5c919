//! A console log that is larger than what is kept of it: its beginning and its end are there, and in between is a gap.
//!
//! The gap is a hole in the file, so every byte that is kept stands where it came: offsets in the journal, in the
//! times and in findings hold, and so do the readers that follow the log's end.

use super::engine::{Engine, Line};
use camino::Utf8Path;
use host::secrets::masked;
use rustix::fs::{FallocateFlags, SeekFrom as Seek, fallocate, seek};
use std::fs::File;
use std::ops::Range;
use std::os::unix::fs::{FileExt, OpenOptionsExt};

/// Bytes of a log that are there, and where they stand in it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Piece {
    /// Bytes from the start of the log.
    pub offset: u64,
    /// What stands there.
    pub bytes: Vec<u8>,
}

/// Give back the disk that a range of a log takes. Not every file system can.
pub fn punch(file: &File, range: &Range<u64>) -> std::io::Result<()> {
    let flags = FallocateFlags::PUNCH_HOLE | FallocateFlags::KEEP_SIZE;
    Ok(fallocate(file, flags, range.start, range.end.saturating_sub(range.start))?)
}

/// What is there of a log between two offsets: usually one piece, two around a gap.
pub fn pieces(path: &Utf8Path, range: Range<u64>) -> std::io::Result<Vec<Piece>> {
    let file = File::open(path)?;
    let read = |there: Range<u64>| {
        let mut bytes = vec![0; usize::try_from(there.end - there.start).map_err(std::io::Error::other)?];
        file.read_exact_at(&mut bytes, there.start)?;
        Ok(Piece { offset: there.start, bytes })
    };
    there(&file, range)?.into_iter().map(read).collect()
}

/// The same as one text, in which a line stands in the place of a gap.
pub fn text(path: &Utf8Path, range: Range<u64>) -> std::io::Result<Vec<u8>> {
    let (mut text, mut at) = (Vec::new(), range.start);
    let end = range.end.min(std::fs::metadata(path)?.len());
    for piece in pieces(path, range)? {
        text.extend(mark(piece.offset.saturating_sub(at)));
        at = piece.offset + piece.bytes.len() as u64;
        text.extend(piece.bytes);
    }
    text.extend(mark(end.saturating_sub(at)));
    Ok(text)
}

/// The same as lines, in the order of their places: one that the kernel split is handed out late.
pub fn lines(path: &Utf8Path, range: Range<u64>) -> std::io::Result<Vec<Line>> {
    let mut lines = Vec::new();
    for piece in pieces(path, range)? {
        let mut engine = Engine::new(piece.offset);
        engine.feed(&piece.bytes, |line| lines.push(line));
        engine.flush(|line| lines.push(line));
    }
    lines.sort_by_key(|line| line.offset);
    Ok(lines)
}

/// The line that stands in the place of so many bytes; none for none.
pub fn mark(bytes: u64) -> Vec<u8> {
    match bytes {
        0 => Vec::new(),
        bytes => format!("\r\n[boma-qemu: {bytes} bytes were not kept here: there were too many]\r\n").into(),
    }
}

/// Copy a log, gap and all, with its secrets masked; what is copied is readable by its owner only.
pub fn copy(from: &Utf8Path, to: &Utf8Path) -> std::io::Result<()> {
    let end = std::fs::metadata(from)?.len();
    let copy = std::fs::OpenOptions::new().create(true).write(true).truncate(true).mode(0o600).open(to)?;
    for Piece { offset, bytes } in pieces(from, 0..end)? {
        copy.write_all_at(&masked(&bytes), offset)?;
    }
    copy.set_len(end)
}

/// If a file's reader stands in a gap, go to its end; the bytes that were left out.
pub fn skip(file: &File) -> std::io::Result<u64> {
    let at = seek(file, Seek::Current(0))?;
    match seek(file, Seek::Data(at)) {
        Ok(data) => Ok(data - at),
        // The end of the file, or a file system that knows of no holes.
        Err(rustix::io::Errno::NXIO | rustix::io::Errno::INVAL) => {
            seek(file, Seek::Start(at)).map(|_| 0).map_err(Into::into)
        }
        Err(errno) => Err(errno.into()),
    }
}

/// The ranges between two offsets that are no holes.
fn there(file: &File, range: Range<u64>) -> std::io::Result<Vec<Range<u64>>> {
    let end = range.end.min(file.metadata()?.len());
    let (mut found, mut at) = (Vec::new(), range.start);
    while at < end {
        let data = match seek(file, Seek::Data(at)) {
            Ok(data) => data.min(end),
            Err(rustix::io::Errno::NXIO) => break,
            Err(rustix::io::Errno::INVAL) => at,
            Err(errno) => return Err(errno.into()),
        };
        let hole = seek(file, Seek::Hole(data)).map_or(end, |hole| hole.min(end));
        if data < hole {
            found.push(data..hole);
        }
        at = hole.max(data + 1);
    }
    Ok(found)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_kept_stands_where_it_came_and_the_gap_is_said() {
        let dir = tempfile::tempdir().unwrap();
        let folder = Utf8Path::from_path(dir.path()).unwrap();
        let (log, kept) = (folder.join("console.log"), folder.join("copy.log"));
        const MIB: u64 = 1 << 20;
        let bytes: Vec<u8> = (0..4 * MIB).map(|n| if n < 2 * MIB { b'a' } else { b'z' }).collect();
        std::fs::write(&log, &bytes).unwrap();
        let file = std::fs::OpenOptions::new().write(true).open(&log).unwrap();
        punch(&file, &(MIB..3 * MIB)).unwrap();
        copy(&log, &kept).unwrap();
        for log in [&log, &kept] {
            let pieces = pieces(log, 10..4 * MIB).unwrap();
            let places: Vec<_> = pieces.iter().map(|piece| (piece.offset, piece.bytes.len() as u64)).collect();
            assert_eq!(places, [(10, MIB - 10), (3 * MIB, MIB)]);
            assert_eq!((pieces[0].bytes[0], pieces[1].bytes[0]), (b'a', b'z'));
            let text = String::from_utf8(text(log, MIB - 2..3 * MIB + 2).unwrap()).unwrap();
            assert!(
                text.starts_with("aa\r\n[boma-qemu: 2097152 bytes were not kept") && text.ends_with("]\r\nzz"),
                "{text}"
            );
            let blocks = std::os::unix::fs::MetadataExt::blocks(&std::fs::metadata(log).unwrap()) * 512;
            assert!(blocks <= 2 * MIB + 65536, "{blocks} bytes on the disk");
        }
        let file = File::open(&kept).unwrap();
        seek(&file, Seek::Start(2 * MIB)).unwrap();
        assert_eq!((skip(&file).unwrap(), skip(&file).unwrap()), (MIB, 0));
        seek(&file, Seek::Start(4 * MIB)).unwrap();
        assert_eq!(skip(&file).unwrap(), 0, "the end is no gap");
    }
}
