//! Metadata blocks: tables that lie in the file as packed blocks of 8 KiB.

use super::Compression;
use crate::medium::bytes::{Bytes, u16_le};
use crate::medium::error::Fault;
use std::collections::HashMap;
use std::io::Read;

/// What a block unpacks to at most, bytes.
const BLOCK: usize = 8192;
/// Blocks that are kept unpacked: 32 MiB.
const KEPT: usize = 4096;
/// What xz may take for one block, KiB: mksquashfs packs metadata with a dictionary of 8 KiB to 1 MiB.
const XZ_KIB: u32 = 16 << 10;
/// The window that zstd may take for one block, bytes.
const ZSTD_WINDOW: u64 = 1 << 20;

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
                let bytes = if header & 0x8000 != 0 { packed } else { unpack(self.compression, &packed)? };
                if bytes.len() > BLOCK {
                    return Err(Fault::bad(format!("a block of the squashfs unpacks to more than {BLOCK} bytes")));
                }
                Ok(place.insert((bytes, at + 2 + length)))
            }
        }
    }
}

/// Unpack a block, and no more than one byte too much.
fn unpack(compression: Compression, packed: &[u8]) -> Result<Vec<u8>, Fault> {
    let bad = |why: String| Fault::bad(format!("a block of the squashfs does not unpack ({compression}): {why}"));
    let mut reader: Box<dyn Read + '_> = match compression {
        Compression::Gzip => Box::new(flate2::read::ZlibDecoder::new(packed)),
        Compression::Xz => Box::new(lzma_rust2::XzReader::new_mem_limit(packed, false, XZ_KIB)),
        Compression::Zstd => Box::new(
            ruzstd::decoding::StreamingDecoder::new_with_max_window_size(packed, ZSTD_WINDOW)
                .map_err(|e| bad(e.to_string()))?,
        ),
        Compression::Lzma | Compression::Lzo | Compression::Lz4 => {
            return Err(Fault::bad(format!("it is packed with {compression}; gzip, xz and zstd can be read")));
        }
    };
    let mut bytes = Vec::new();
    reader.by_ref().take(BLOCK as u64 + 1).read_to_end(&mut bytes).map_err(|e| bad(e.to_string()))?;
    Ok(bytes)
}
