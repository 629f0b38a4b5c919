//! What a drive was given and has not been told to keep: the writes since the last flush.

use super::extents::Extents;
use super::log::{Entry as Given, Log, Recorded};
use rustix::fs::{FallocateFlags, fallocate};
use rustix::io::Errno;
use std::collections::BTreeMap;
use std::collections::btree_map::Entry;
use std::fs::{File, OpenOptions};
use std::io::{ErrorKind, Result};
use std::ops::Range;
use std::os::unix::fs::FileExt;
use std::path::Path;

/// The unit of the cache, in bytes: what the guest's file system writes at once.
const BLOCK: usize = 4096;
/// The most that is written at once, in blocks.
const RUN: u64 = 256;

/// The most ranges of zeroes that are kept. A guest that trims its disk after some weeks gives thousands.
const MOST_EXTENTS: usize = 1 << 16;

/// A file with a volatile write cache in front of it. What it takes in memory has an end, whatever it is given: the
/// data's own, and that of the ranges of zeroes. Beyond it all is written out early, and that is told.
#[derive(Debug)]
pub(super) struct Cache {
    file: File,
    /// Blocks of data, by number.
    dirty: BTreeMap<u64, Box<[u8; BLOCK]>>,
    /// Blocks of zeroes, which need no room; none of them is in `dirty`.
    zeroes: Extents,
    /// The most blocks of data, before all is written out.
    most: usize,
    early: u64,
    /// All that is given, if somebody wants to have it; then nothing goes into the file.
    log: Option<Log>,
}

impl Cache {
    /// A cache of at most `most` bytes before the file at `path`.
    pub(super) fn open(path: &Path, most: usize) -> Result<Self> {
        let file = OpenOptions::new().read(true).write(true).open(path)?;
        Ok(Self { file, dirty: BTreeMap::new(), zeroes: Extents::default(), most: most / BLOCK, early: 0, log: None })
    }

    /// What was written since the last flush, in bytes, by whole blocks; zeroes do not count.
    pub(super) fn unflushed(&self) -> u64 {
        (self.dirty.len() * BLOCK) as u64
    }

    /// What was written out before it was asked for, since the cache was full, in bytes, zeroes too.
    pub(super) fn early(&self) -> u64 {
        self.early
    }

    /// Blocks of data and ranges of zeroes: what it has in memory.
    pub(super) fn entries(&self) -> usize {
        self.dirty.len() + self.zeroes.count()
    }

    /// Read `into` from `offset` on; behind the end of the file there are zeroes.
    pub(super) fn read(&self, offset: u64, into: &mut [u8]) -> Result<()> {
        read_file(&self.file, offset, into)?;
        let touched = blocks(offset, into.len());
        for range in self.zeroes.within(touched.clone()) {
            let (from, to) = ((range.start * BLOCK as u64).max(offset), range.end * BLOCK as u64);
            let to = to.min(offset + into.len() as u64);
            into[(from - offset) as usize..(to - offset) as usize].fill(0);
        }
        for (number, block) in self.dirty.range(touched) {
            let (in_block, in_data) = overlap(*number, offset, into.len());
            into[in_data].copy_from_slice(&block[in_block]);
        }
        Ok(())
    }

    /// Take `data` for `offset`.
    pub(super) fn write(&mut self, offset: u64, data: &[u8]) -> Result<()> {
        for number in blocks(offset, data.len()) {
            let (in_block, in_data) = overlap(number, offset, data.len());
            self.block(number, in_block.len())?[in_block].copy_from_slice(&data[in_data]);
        }
        if let Some(log) = &mut self.log {
            log.add(Given::Write { offset, data: data.to_owned() });
        }
        self.make_room()
    }

    /// Take zeroes for `length` bytes at `offset`; they will need no room in the file.
    pub(super) fn zero(&mut self, offset: u64, length: usize) -> Result<()> {
        let Range { start, end } = blocks(offset, length);
        // The first and the last block may be met in a part.
        let whole = offset.div_ceil(BLOCK as u64)..(offset + length as u64) / BLOCK as u64;
        for number in [start, end.saturating_sub(1)] {
            let is_part = (start..end).contains(&number) && !whole.contains(&number);
            if is_part && !self.zeroes.contains(number) {
                let (in_block, _) = overlap(number, offset, length);
                self.block(number, in_block.len())?[in_block].fill(0);
            }
        }
        if !whole.is_empty() {
            let overwritten: Vec<_> = self.dirty.range(whole.clone()).map(|(number, _)| *number).collect();
            overwritten.iter().for_each(|number| drop(self.dirty.remove(number)));
            self.zeroes.add(whole);
        }
        if let Some(log) = &mut self.log {
            log.add(Given::Zero { offset, length: length as u64 });
        }
        self.make_room()
    }

    /// Write all out where it has become too much to be kept.
    fn make_room(&mut self) -> Result<()> {
        let fits = self.dirty.len() <= self.most && self.zeroes.count() <= MOST_EXTENTS;
        if fits && self.log.as_ref().is_none_or(|log| !log.is_full()) {
            return Ok(());
        }
        self.early += self.unflushed() + self.zeroes.blocks() * BLOCK as u64;
        self.write_out()?;
        if let Some(log) = &mut self.log {
            log.begin_anew();
        }
        Ok(())
    }

    /// Keep a log of at most `most` bytes from here on. What was given before is written out, so that the file is what the
    /// log begins with.
    pub(super) fn begin_log(&mut self, most: usize) -> Result<()> {
        self.write_out()?;
        self.log = Some(Log::new(most));
        Ok(())
    }

    /// Put a mark into the log; `false` where none is kept.
    pub(super) fn mark(&mut self) -> bool {
        self.log.as_mut().map(|log| log.add(Given::Mark)).is_some()
    }

    /// The log so far.
    pub(super) fn log(&self) -> Option<&Recorded> {
        self.log.as_ref().map(Log::recorded)
    }

    /// Keep no log any more.
    pub(super) fn end_log(&mut self) -> Result<()> {
        self.log = None;
        self.write_out()
    }

    /// Put what was flushed while a log was kept into the file, and go on without the log: what is left is what was not.
    pub(super) fn settle(&mut self) -> Result<()> {
        let Some(log) = self.log.take() else { return Ok(()) };
        self.lose();
        for given in &log.recorded().entries {
            match given {
                Given::Write { offset, data } => self.write(*offset, data)?,
                Given::Zero { offset, length } => self.zero(*offset, *length as usize)?,
                Given::Flush => self.write_out()?,
                Given::Mark => {}
            }
        }
        Ok(())
    }

    /// The client asks that all of it stays. While a log is kept that is written down there, and the file stays as it is.
    pub(super) fn flush(&mut self) -> Result<()> {
        match &mut self.log {
            Some(log) => {
                log.add(Given::Flush);
                self.make_room()
            }
            None => self.write_out(),
        }
    }

    /// Hand everything to the file. After an error it is all still here.
    pub(super) fn write_out(&mut self) -> Result<()> {
        // A hole behind the end of the file is one already.
        let end = self.file.metadata()?.len().div_ceil(BLOCK as u64);
        for range in self.zeroes.within(0..end) {
            punch(&self.file, range)?;
        }
        let mut rest = self.dirty.iter().peekable();
        while let Some((first, block)) = rest.next() {
            let mut data = block.to_vec();
            let mut count = 1;
            while count < RUN
                && let Some((_, next)) = rest.next_if(|(number, _)| **number == first + count)
            {
                data.extend_from_slice(&next[..]);
                count += 1;
            }
            self.file.write_all_at(&data, first * BLOCK as u64)?;
        }
        self.lose();
        Ok(())
    }

    /// Forget what was not flushed.
    pub(super) fn lose(&mut self) {
        self.dirty.clear();
        self.zeroes.clear();
    }

    /// A block to be written to. One of which only a part will be overwritten gets its contents.
    fn block(&mut self, number: u64, overwritten: usize) -> Result<&mut [u8; BLOCK]> {
        let Self { file, dirty, zeroes, .. } = self;
        Ok(match dirty.entry(number) {
            Entry::Occupied(there) => there.into_mut(),
            Entry::Vacant(free) => {
                let mut fresh = Box::new([0; BLOCK]);
                match zeroes.contains(number) {
                    true => zeroes.remove(number..number + 1),
                    false if overwritten < BLOCK => read_file(file, number * BLOCK as u64, &mut fresh[..])?,
                    false => {}
                }
                free.insert(fresh)
            }
        })
    }
}

/// The blocks that `length` bytes from `offset` on touch.
fn blocks(offset: u64, length: usize) -> Range<u64> {
    match length {
        0 => 0..0,
        _ => offset / BLOCK as u64..(offset + length as u64).div_ceil(BLOCK as u64),
    }
}

/// Where a block and `length` bytes from `offset` on meet: in the block, and in those bytes.
fn overlap(number: u64, offset: u64, length: usize) -> (Range<usize>, Range<usize>) {
    let (start, end) = (number * BLOCK as u64, (number + 1) * BLOCK as u64);
    let (from, to) = (start.max(offset), end.min(offset + length as u64));
    let within = |base: u64| (from - base) as usize..(to - base) as usize;
    (within(start), within(offset))
}

fn read_file(file: &File, offset: u64, mut into: &mut [u8]) -> Result<()> {
    let mut at = offset;
    while !into.is_empty() {
        match file.read_at(into, at) {
            Ok(0) => {
                into.fill(0);
                break;
            }
            Ok(n) => {
                at += n as u64;
                into = &mut into[n..];
            }
            Err(e) if e.kind() == ErrorKind::Interrupted => {}
            Err(e) => return Err(e),
        }
    }
    Ok(())
}

/// Give the room of these blocks back; where the file system cannot, zeroes are written.
fn punch(file: &File, blocks: Range<u64>) -> Result<()> {
    let (offset, length) = (blocks.start * BLOCK as u64, (blocks.end - blocks.start) * BLOCK as u64);
    match fallocate(file, FallocateFlags::PUNCH_HOLE | FallocateFlags::KEEP_SIZE, offset, length) {
        Err(Errno::OPNOTSUPP) => {
            let zeroes = vec![0; RUN as usize * BLOCK];
            (0..length).step_by(zeroes.len()).try_for_each(|done| {
                let count = zeroes.len().min((length - done) as usize);
                file.write_all_at(&zeroes[..count], offset + done)
            })
        }
        done => Ok(done?),
    }
}

#[cfg(test)]
mod tests;
