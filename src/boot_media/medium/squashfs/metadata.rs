//! Metadata blocks: tables that lie in the file as packed blocks of 8 KiB.

use super::Compression;
use super::unpack::unpack;
use crate::medium::bytes::{Bytes, u16_le};
use crate::medium::error::Fault;
use std::collections::HashMap;

/// What a block unpacks to at most, bytes.
const BLOCK: usize = 8192;
/// Blocks that are kept unpacked: 16 MiB.
const KEPT: usize = 2048;

/// A place to read on from.
#[derive(Clone, Copy, Debug)]
pub(super) struct Cursor {
    /// Where the block lies in the image.
    pub(super) block: u64,
    /// The next byte in what it unpacks to.
    pub(super) offset: usize,
}

/// Reads tables, and keeps the blocks that were read.
pub(super) struct Metadata<'a> {
    image: &'a Bytes,
    compression: Compression,
    /// By its place: the block, and where the next one lies.
    blocks: HashMap<u64, (Vec<u8>, u64)>,
}

impl<'a> Metadata<'a> {
    pub(super) fn new(image: &'a Bytes, compression: Compression) -> Self {
        Self { image, compression, blocks: HashMap::new() }
    }

    /// The next bytes, across blocks; the cursor goes on behind them.
    pub(super) fn take(&mut self, at: &mut Cursor, length: usize) -> Result<Vec<u8>, Fault> {
        let mut taken = Vec::new();
        while taken.len() < length {
            let (block, next) = self.block(at.block)?;
            let rest = block.get(at.offset..).unwrap_or_default();
            let count = rest.len().min(length - taken.len());
            taken.extend(&rest[..count]);
            at.offset += count;
            if taken.len() < length {
                // Only the last block of a table is not full, and none has nothing in it.
                if block.len() < BLOCK {
                    return Err(Fault::bad("a table of the squashfs ends too early"));
                }
                *at = Cursor { block: *next, offset: at.offset.saturating_sub(BLOCK) };
            }
        }
        Ok(taken)
    }

    fn block(&mut self, at: u64) -> Result<&(Vec<u8>, u64), Fault> {
        if self.blocks.len() >= KEPT && !self.blocks.contains_key(&at) {
            self.blocks.clear();
        }
        match self.blocks.entry(at) {
            std::collections::hash_map::Entry::Occupied(found) => Ok(found.into_mut()),
            std::collections::hash_map::Entry::Vacant(place) => {
                let header = u16_le(&self.image.take(at, 2)?, 0);
                let length = u64::from(header & 0x7fff);
                let packed = self.image.take(at + 2, length as usize)?;
                let bytes = if header & 0x8000 != 0 { packed } else { unpack(self.compression, &packed, BLOCK)? };
                Ok(place.insert((bytes, at + 2 + length)))
            }
        }
    }
}
