//! The drive's client: QEMU, whatever it has become.

use camino::Utf8PathBuf;
use rustix::fs::{MemfdFlags, memfd_create};
use std::io::Write;
use std::os::fd::AsRawFd;
use vm::drive::talk;

/// The cache's size here, in bytes: small, so that it overflows.
const CACHE: usize = 16 * 4096;
/// The bytes of the drive that the model has.
const MODEL: usize = 64 << 10;
/// An option without data that asks for the export (`NBD_OPT_GO`), behind the client's flags.
const GO: [u8; 20] = [0, 0, 0, 3, b'I', b'H', b'A', b'V', b'E', b'O', b'P', b'T', 0, 0, 0, 7, 0, 0, 0, 0];
/// What the server says to that: its greeting, what the export is, and that all is well.
const GREETING: usize = 18 + 32 + 20;
/// The longest reply that is kept; the server may say more.
const KEPT: usize = 1 << 20;

/// What QEMU sends to its drive over NBD. The first byte says what the rest is: `h` the whole talk, `r` the requests,
/// and `o` orders of six bytes for requests as QEMU makes them, whose answers are compared with a plain buffer.
pub fn nbd(bytes: &[u8]) {
    let Some((what, rest)) = bytes.split_first() else { return };
    match what {
        b'h' => drop(said(rest)),
        b'r' => drop(said(&[&GO, rest].concat())),
        b'o' => orders(rest),
        _ => {}
    }
}

/// What the server says to these words.
fn said(words: &[u8]) -> Option<Vec<u8>> {
    let image = memfd_create("image", MemfdFlags::CLOEXEC).ok()?;
    let path = Utf8PathBuf::from(format!("/proc/self/fd/{}", image.as_raw_fd()));
    let mut said = Kept(Vec::new());
    let talk = talk(&path, CACHE, words, &mut said).ok()?;
    // A request has 28 bytes and can leave a part of a block at each end of a range; a write carries its data.
    let most = 3 * words.len() / 28 + words.len() / 4096 + 2;
    assert!(talk.entries <= most.min(CACHE / 4096 + (1 << 16)), "{} entries for {} bytes", talk.entries, words.len());
    assert!(talk.ended.is_ok() || said.0.len() >= 18, "the greeting comes first");
    Some(said.0)
}

/// The beginning of what is written, which can be as long as it likes.
struct Kept(Vec<u8>);

impl Write for Kept {
    fn write(&mut self, bytes: &[u8]) -> std::io::Result<usize> {
        let room = KEPT.saturating_sub(self.0.len());
        self.0.extend_from_slice(&bytes[..bytes.len().min(room)]);
        Ok(bytes.len())
    }
    fn flush(&mut self) -> std::io::Result<()> {
        Ok(())
    }
}

/// Each order: what to do, where (two bytes), how many bytes (two), and with which byte.
fn orders(orders: &[u8]) {
    let (mut words, mut model, mut expected) = (GO.to_vec(), vec![0; MODEL], Vec::new());
    for (n, order) in orders.chunks_exact(6).take(64).enumerate() {
        let [what, high, low, long, short, byte] = order else { continue };
        let at = usize::from(u16::from_be_bytes([*high, *low]));
        let length = usize::from(u16::from_be_bytes([*long, *short])).min(MODEL - at);
        let command: u16 = [0, 1, 3, 4, 6][usize::from(what % 5)];
        words.extend([0x25, 0x60, 0x95, 0x13, 0, 0]);
        words.extend(command.to_be_bytes());
        words.extend((n as u64).to_be_bytes());
        words.extend((at as u64).to_be_bytes());
        words.extend((length as u32).to_be_bytes());
        expected.extend([0x67, 0x44, 0x66, 0x98, 0, 0, 0, 0]);
        expected.extend((n as u64).to_be_bytes());
        match command {
            0 => expected.extend(&model[at..at + length]),
            1 => {
                words.resize(words.len() + length, *byte);
                model[at..at + length].fill(*byte);
            }
            3 => {}
            _ => model[at..at + length].fill(0),
        }
    }
    let Some(said) = said(&words) else { return };
    let all = expected.len().min(KEPT - GREETING);
    assert!(said.get(GREETING..GREETING + all) == Some(&expected[..all]), "the drive is no drive");
}
