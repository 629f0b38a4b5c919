//! Unpacking one block, never to more than it may have.

use super::Compression;
use crate::medium::error::Fault;
use std::io::Read;

/// What xz and LZMA may take for one block, KiB: mksquashfs packs with a dictionary of 8 KiB to 1 MiB.
const XZ_KIB: u32 = 16 << 10;
/// The window that zstd may take for one block, bytes: that of its highest level.
const ZSTD_WINDOW: u64 = 8 << 20;

/// Unpack a block.
///
/// LZO is refused: of the crates that read it, none holds out against damaged input.
pub(super) fn unpack(compression: Compression, packed: &[u8], most: usize) -> Result<Vec<u8>, Fault> {
    let bad = |why: String| Fault::bad(format!("a block of the squashfs does not unpack ({compression}): {why}"));
    let reader: Box<dyn Read + '_> = match compression {
        Compression::Gzip => Box::new(flate2::read::ZlibDecoder::new(packed)),
        Compression::Xz => Box::new(lzma_rust2::XzReader::new_mem_limit(packed, false, XZ_KIB)),
        Compression::Lzma => {
            Box::new(lzma_rust2::LzmaReader::new_mem_limit(packed, XZ_KIB, None).map_err(|e| bad(e.to_string()))?)
        }
        Compression::Zstd => Box::new(
            ruzstd::decoding::StreamingDecoder::new_with_max_window_size(packed, ZSTD_WINDOW)
                .map_err(|e| bad(e.to_string()))?,
        ),
        Compression::Lz4 => {
            let mut bytes = vec![0; most];
            let length = lz4_flex::block::decompress_into(packed, &mut bytes).map_err(|e| bad(e.to_string()))?;
            bytes.truncate(length);
            return Ok(bytes);
        }
        Compression::Lzo => {
            return Err(Fault::bad("it is packed with lzo; gzip, xz, zstd, lz4 and lzma can be read"));
        }
    };
    let mut bytes = Vec::new();
    reader.take(most as u64 + 1).read_to_end(&mut bytes).map_err(|e| bad(e.to_string()))?;
    if bytes.len() > most {
        return Err(bad(format!("it has more than {most} bytes")));
    }
    Ok(bytes)
}
