//! What a drive was given and has not been told to keep: the writes since the last flush.

use super::extents::Extents;
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
}

impl Cache {
    /// A cache of at most `most` bytes before the file at `path`.
    pub(super) fn open(path: &Path, most: usize) -> Result<Self> {
        let file = OpenOptions::new().read(true).write(true).open(path)?;
        Ok(Self { file, dirty: BTreeMap::new(), zeroes: Extents::default(), most: most / BLOCK, early: 0 })
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
        self.make_room()
    }

    /// Write all out where it has become too much to be kept.
    fn make_room(&mut self) -> Result<()> {
        if self.dirty.len() <= self.most && self.zeroes.count() <= MOST_EXTENTS {
            return Ok(());
        }
        self.early += self.unflushed() + self.zeroes.blocks() * BLOCK as u64;
        self.flush()
    }

    /// Hand everything to the file. After an error it is all still here.
    pub(super) fn flush(&mut self) -> Result<()> {
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
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn scratch(most: usize) -> (tempfile::NamedTempFile, Cache) {
        let file = tempfile::NamedTempFile::new().unwrap();
        let cache = Cache::open(file.path(), most).unwrap();
        (file, cache)
    }

    fn all(cache: &Cache, length: usize) -> Vec<u8> {
        let mut bytes = vec![0xee; length];
        cache.read(0, &mut bytes).unwrap();
        bytes
    }

    #[test]
    fn what_was_not_flushed_is_read_back_and_is_gone_when_it_is_lost() {
        let (_file, mut cache) = scratch(1 << 20);
        cache.write(0, &[1; 8192]).unwrap();
        cache.flush().unwrap();
        cache.write(1000, &[2; 10]).unwrap();
        assert_eq!((all(&cache, 8192)[1005], cache.unflushed()), (2, BLOCK as u64));
        cache.lose();
        assert_eq!((all(&cache, 8192), cache.unflushed()), (vec![1; 8192], 0));
    }

    #[test]
    fn a_full_cache_writes_out_early_and_says_how_much() {
        let (file, mut cache) = scratch(2 * BLOCK);
        cache.write(0, &[3; 2 * BLOCK]).unwrap();
        assert_eq!((cache.early(), std::fs::read(file.path()).unwrap().len()), (0, 0));
        cache.write(BLOCK as u64 * 9, &[3]).unwrap();
        assert_eq!((cache.early(), cache.unflushed()), (3 * BLOCK as u64, 0));
        cache.lose();
        assert_eq!(all(&cache, 2 * BLOCK), vec![3; 2 * BLOCK]);
    }

    #[test]
    fn zeroes_give_their_room_back_when_they_are_flushed_and_not_before() {
        let (file, mut cache) = scratch(1 << 30);
        cache.write(0, &[4; 1 << 20]).unwrap();
        cache.flush().unwrap();
        let room = || std::os::unix::fs::MetadataExt::blocks(&file.as_file().metadata().unwrap());
        let full = room();
        cache.zero(0, 1 << 20).unwrap();
        assert_eq!((all(&cache, 1 << 20), room()), (vec![0; 1 << 20], full));
        cache.flush().unwrap();
        assert_eq!(all(&cache, 1 << 20), vec![0; 1 << 20]);
        assert!(room() < full / 4, "{} of {full}", room());
    }

    #[test]
    fn zeroing_all_of_a_drive_takes_one_entry() {
        let (_file, mut cache) = scratch(1 << 20);
        cache.write(0, &[6; 3 * BLOCK]).unwrap();
        cache.flush().unwrap();
        // 16 TiB by the longest request there is, and what it leaves over.
        let longest = (4 << 30) - BLOCK;
        for start in (0..1 << 44).step_by(4 << 30) {
            cache.zero(start, longest).unwrap();
            cache.zero(start + longest as u64, BLOCK).unwrap();
        }
        assert_eq!((cache.entries(), cache.early()), (1, 0));
        assert_eq!(all(&cache, 3 * BLOCK), vec![0; 3 * BLOCK]);
        cache.lose();
        assert_eq!(all(&cache, 3 * BLOCK), vec![6; 3 * BLOCK]);
        cache.zero(100, longest).unwrap();
        assert_eq!(cache.entries(), 3, "a range, and a part of a block at each end");
        cache.flush().unwrap();
        assert_eq!(all(&cache, 3 * BLOCK), [vec![6; 100], vec![0; 3 * BLOCK - 100]].concat());
    }

    #[test]
    fn zeroes_in_ever_new_places_are_written_out_early_and_so_are_parts_of_blocks() {
        let (_file, mut cache) = scratch(16 * BLOCK);
        let mut most = 0;
        for n in 0..3 * MOST_EXTENTS as u64 {
            cache.zero(2 * n * BLOCK as u64, BLOCK).unwrap();
            most = most.max(cache.entries());
        }
        assert!(most <= MOST_EXTENTS + 1, "{most} entries");
        assert!(cache.early() > 0, "it is told");
        for n in 0..1000 {
            cache.zero((1 << 40) + n * BLOCK as u64, 10).unwrap();
            assert!(cache.unflushed() <= 16 * BLOCK as u64);
        }
    }

    #[test]
    fn after_an_error_nothing_is_lost() {
        let (file, mut cache) = scratch(1 << 20);
        cache.file = File::open(file.path()).unwrap();
        cache.write(0, &[5; BLOCK]).unwrap();
        assert!(cache.flush().is_err());
        assert_eq!((all(&cache, BLOCK), cache.unflushed()), (vec![5; BLOCK], BLOCK as u64));
    }

    #[derive(Clone, Debug)]
    enum Op {
        Write(u64, usize, u8),
        Zero(u64, usize),
        Flush,
        Lose,
    }

    const SIZE: usize = 5 * BLOCK;

    fn op() -> impl Strategy<Value = Op> {
        let place = || (0..SIZE as u64, 0..SIZE);
        prop_oneof![
            4 => (place(), any::<u8>()).prop_map(|((at, length), byte)| Op::Write(at, length, byte)),
            2 => place().prop_map(|(at, length)| Op::Zero(at, length)),
            1 => Just(Op::Flush),
            1 => Just(Op::Lose),
        ]
    }

    proptest! {
        /// Against two plain buffers: what the drive shows, and what it would still have without power.
        #[test]
        fn it_is_a_drive(ops in proptest::collection::vec(op(), 0..40)) {
            let (_file, mut cache) = scratch(1 << 20);
            let (mut live, mut kept) = (vec![0; 2 * SIZE], vec![0; 2 * SIZE]);
            for op in ops {
                match op {
                    Op::Write(at, length, byte) => {
                        cache.write(at, &vec![byte; length]).unwrap();
                        live[at as usize..at as usize + length].fill(byte);
                    }
                    Op::Zero(at, length) => {
                        cache.zero(at, length).unwrap();
                        live[at as usize..at as usize + length].fill(0);
                    }
                    Op::Flush => {
                        cache.flush().unwrap();
                        kept.clone_from(&live);
                    }
                    Op::Lose => {
                        cache.lose();
                        live.clone_from(&kept);
                    }
                }
                prop_assert_eq!(&all(&cache, 2 * SIZE), &live);
            }
        }
    }
}
