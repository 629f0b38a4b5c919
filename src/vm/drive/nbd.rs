//! The part of the NBD protocol that QEMU speaks to a drive, as its server.
//!
//! From the protocol's own text (NetworkBlockDevice/nbd, doc/proto.md): the newstyle handshake with
//! `NBD_OPT_GO`, then simple replies. All numbers are big-endian.

use super::Medium;
use std::io::{Error, ErrorKind, Read, Result, Write};

/// The size that QEMU is told, in bytes. An NBD device cannot grow and the image in it does; what was never
/// written takes no room.
const SIZE: u64 = 1 << 44;
/// The most data of one request, in bytes; QEMU's own limit is 32 MiB.
const LONGEST: u32 = 64 << 20;
/// The longest option, in bytes: a name and a few numbers.
const LONGEST_OPTION: u32 = 8 << 10;

const GREETING: u64 = 0x4e42_444d_4147_4943;
const OPTION: u64 = 0x4948_4156_454f_5054;
const OPTION_REPLY: u64 = 0x0003_e889_0455_65a9;
const REQUEST: u32 = 0x2560_9513;
const REPLY: u32 = 0x6744_6698;
/// Magic, error, cookie.
const REPLY_LENGTH: usize = 16;

/// NBD_FLAG_FIXED_NEWSTYLE and NBD_FLAG_NO_ZEROES.
const SERVER_FLAGS: u16 = 1 | 2;
/// NBD_FLAG_HAS_FLAGS, _SEND_FLUSH, _SEND_TRIM, _SEND_WRITE_ZEROES. Without _SEND_FUA QEMU sends a flush instead.
const EXPORT_FLAGS: u16 = 1 | 4 | 32 | 64;

/// Talk to one client until it leaves.
pub(super) fn serve(mut from: impl Read, mut to: impl Write, drive: &Medium) -> Result<()> {
    match handshake(&mut from, &mut to)? {
        true => requests(&mut from, &mut to, drive),
        false => Ok(()),
    }
}

/// Whether the client wants to go on.
fn handshake(from: &mut impl Read, to: &mut impl Write) -> Result<bool> {
    const ABORT: u32 = 2;
    const GO: u32 = 7;
    const ACK: u32 = 1;
    const INFO: u32 = 3;
    const UNSUPPORTED: u32 = (1 << 31) | 1;
    to.write_all(&[&GREETING.to_be_bytes()[..], &OPTION.to_be_bytes(), &SERVER_FLAGS.to_be_bytes()].concat())?;
    let _client_flags = u32::from_be_bytes(take(from)?);
    loop {
        if u64::from_be_bytes(take(from)?) != OPTION {
            return Err(garbled("an option without its magic number"));
        }
        let option = u32::from_be_bytes(take(from)?);
        let length = u32::from_be_bytes(take(from)?);
        if length > LONGEST_OPTION {
            return Err(garbled("an option that is too long"));
        }
        from.read_exact(&mut vec![0; length as usize])?;
        let mut reply = |kind: u32, data: &[u8]| {
            let length = data.len() as u32;
            let head = [&OPTION_REPLY.to_be_bytes()[..], &option.to_be_bytes(), &kind.to_be_bytes()];
            to.write_all(&[&head.concat()[..], &length.to_be_bytes(), data].concat())
        };
        match option {
            GO => {
                // NBD_INFO_EXPORT is 0.
                let export = [&0_u16.to_be_bytes()[..], &SIZE.to_be_bytes(), &EXPORT_FLAGS.to_be_bytes()];
                reply(INFO, &export.concat())?;
                reply(ACK, &[])?;
                return Ok(true);
            }
            ABORT => {
                reply(ACK, &[])?;
                return Ok(false);
            }
            _ => reply(UNSUPPORTED, &[])?,
        }
    }
}

fn requests(from: &mut impl Read, to: &mut impl Write, drive: &Medium) -> Result<()> {
    let (mut data, mut reply) = (Vec::new(), Vec::new());
    loop {
        let mut head = [0; Request::LENGTH];
        match from.read_exact(&mut head) {
            Ok(()) => {}
            // A killed QEMU says no farewell.
            Err(e) if matches!(e.kind(), ErrorKind::UnexpectedEof | ErrorKind::ConnectionReset) => return Ok(()),
            Err(e) => return Err(e),
        }
        let request = Request::parse(&head)?;
        reply.clear();
        reply.resize(REPLY_LENGTH, 0);
        let (offset, length) = (request.offset, request.length as usize);
        let done = match request.command {
            Request::READ => {
                reply.resize(REPLY_LENGTH + length, 0);
                drive.read(offset, &mut reply[REPLY_LENGTH..])
            }
            Request::WRITE => {
                data.resize(length, 0);
                from.read_exact(&mut data)?;
                drive.write(offset, &data)
            }
            Request::FLUSH => drive.flush(),
            // What is trimmed may read as anything: as zeroes is simplest.
            Request::TRIM | Request::ZERO => drive.zero(offset, length),
            Request::LEAVE => return Ok(()),
            _ => Err(ErrorKind::InvalidInput.into()),
        };
        let error = done.err().map_or(0, |e| number(&e));
        if error != 0 {
            reply.truncate(REPLY_LENGTH);
        }
        reply[..4].copy_from_slice(&REPLY.to_be_bytes());
        reply[4..8].copy_from_slice(&error.to_be_bytes());
        reply[8..16].copy_from_slice(&request.cookie);
        match to.write_all(&reply) {
            Err(e) if matches!(e.kind(), ErrorKind::BrokenPipe | ErrorKind::ConnectionReset) => return Ok(()),
            written => written?,
        }
    }
}

/// A request without its data.
struct Request {
    command: u16,
    cookie: [u8; 8],
    offset: u64,
    length: u32,
}

impl Request {
    const LENGTH: usize = 28;
    const READ: u16 = 0;
    const WRITE: u16 = 1;
    const LEAVE: u16 = 2;
    const FLUSH: u16 = 3;
    const TRIM: u16 = 4;
    const ZERO: u16 = 6;

    /// Magic, flags, command, cookie, offset, length. No flag changes what is done: zeroes may always be a hole.
    fn parse(mut head: &[u8]) -> Result<Self> {
        if u32::from_be_bytes(take(&mut head)?) != REQUEST {
            return Err(garbled("a request without its magic number"));
        }
        let [_flags, command] = [take(&mut head)?, take(&mut head)?].map(u16::from_be_bytes);
        let cookie = take(&mut head)?;
        let (offset, length) = (u64::from_be_bytes(take(&mut head)?), u32::from_be_bytes(take(&mut head)?));
        let carries_data = matches!(command, Self::READ | Self::WRITE);
        if offset.checked_add(length.into()).is_none_or(|end| end > SIZE) || carries_data && length > LONGEST {
            return Err(garbled("a request for more than there is"));
        }
        Ok(Self { command, cookie, offset, length })
    }
}

/// The protocol's error numbers are Linux's, some of them.
fn number(error: &Error) -> u32 {
    const EIO: u32 = 5;
    const EINVAL: u32 = 22;
    const ENOSPC: u32 = 28;
    match error.kind() {
        ErrorKind::InvalidInput => EINVAL,
        ErrorKind::StorageFull | ErrorKind::QuotaExceeded => ENOSPC,
        _ => EIO,
    }
}

fn take<const N: usize>(from: &mut impl Read) -> Result<[u8; N]> {
    let mut bytes = [0; N];
    from.read_exact(&mut bytes)?;
    Ok(bytes)
}

fn garbled(what: &str) -> Error {
    Error::new(ErrorKind::InvalidData, format!("QEMU sent {what}"))
}

#[cfg(test)]
mod tests {
    use super::super::{Drive, Lost};
    use super::*;
    use camino::{Utf8Path, Utf8PathBuf};
    use host::presence::ignore;
    use std::os::unix::net::{UnixListener, UnixStream};
    use std::process::{Child, Command, Stdio};

    struct Scratch {
        _keep: tempfile::TempDir,
        dir: Utf8PathBuf,
    }

    impl Scratch {
        fn new() -> Self {
            let keep = tempfile::tempdir().unwrap();
            let dir = Utf8PathBuf::from_path_buf(keep.path().to_owned()).unwrap();
            std::fs::write(dir.join("image"), "").unwrap();
            Self { _keep: keep, dir }
        }

        fn image(&self) -> Vec<u8> {
            std::fs::read(self.dir.join("image")).unwrap()
        }

        /// A drive, and QEMU's own client to it.
        fn start(&self, commands: &[&str]) -> (Child, Drive) {
            let socket = self.dir.join("socket");
            ignore(std::fs::remove_file(&socket), "there may be none");
            let listener = UnixListener::bind(&socket).unwrap();
            let client = Command::new("qemu-io")
                .args(["-f", "raw", "-d", "unmap", "-t", "writeback"])
                .args(commands.iter().flat_map(|command| ["-c", command]))
                .arg(format!("nbd+unix:///?socket={socket}"))
                .stdout(Stdio::piped())
                .stderr(Stdio::piped())
                .spawn()
                .unwrap();
            (client, Drive::start(&self.dir.join("image"), listener.accept().unwrap().0).unwrap())
        }

        /// What the client printed, when it has ended and the drive with it.
        fn talk(&self, commands: &[&str]) -> String {
            let (client, drive) = self.start(commands);
            let out = client.wait_with_output().unwrap();
            ended(drive).unwrap();
            String::from_utf8_lossy(&[out.stdout, out.stderr].concat()).into_owned()
        }
    }

    fn ended(drive: Drive) -> Result<()> {
        tokio::runtime::Builder::new_current_thread().build().unwrap().block_on(drive.ended())
    }

    #[test]
    fn qemu_reads_what_it_wrote() {
        let scratch = Scratch::new();
        let writes = ["write -P 0x11 0 1M", "write -P 0x22 1000 10", "write -z -u 64k 64k", "discard 128k 64k"];
        let said = scratch.talk(&writes);
        assert!(!said.contains("failed") && !said.contains("error"), "{said}");
        let reads = ["read -P 0x11 0 1000", "read -P 0x22 1000 10", "read -P 0 64k 128k", "read -P 0x11 192k 832k"];
        let said = scratch.talk(&[&reads[..], &["read -P 0 1M 1M", "read -P 0 16383G 512"]].concat());
        assert!(!said.contains("failed") && !said.contains("error"), "{said}");
        assert_eq!(scratch.image().len(), 1 << 20);
    }

    /// Writes flushed and unflushed data and then stands still, without having said farewell.
    const STANDS_STILL: [&str; 4] = ["write -P 0x33 0 4k", "flush", "write -P 0x44 4k 4k", "sigraise 19"];

    fn stand_still(scratch: &Scratch) -> (Child, Drive) {
        let (client, drive) = scratch.start(&STANDS_STILL);
        let state = || std::fs::read_to_string(format!("/proc/{}/stat", client.id())).unwrap();
        while !state().contains(") T ") {
            std::thread::sleep(std::time::Duration::from_millis(5));
        }
        assert_eq!(drive.unflushed(), 4096);
        (client, drive)
    }

    #[test]
    fn a_killed_client_loses_nothing_that_it_gave() {
        let scratch = Scratch::new();
        let (mut client, drive) = stand_still(&scratch);
        assert_eq!(scratch.image(), [0x33; 4096]);
        client.kill().unwrap();
        client.wait().unwrap();
        ended(drive).unwrap();
        assert_eq!(scratch.image(), [[0x33; 4096], [0x44; 4096]].concat());
    }

    #[test]
    fn without_power_what_was_not_flushed_is_lost_and_nothing_else() {
        let scratch = Scratch::new();
        let (mut client, drive) = stand_still(&scratch);
        assert_eq!(drive.lose_power().unwrap(), Lost { bytes: 4096, early: 0 });
        client.kill().unwrap();
        client.wait().unwrap();
        ended(drive).unwrap();
        assert_eq!(scratch.image(), [0x33; 4096]);
    }

    #[test]
    fn garbage_ends_the_talk_and_not_the_program() {
        let scratch = Scratch::new();
        for garbage in [&b"GET / HTTP/1.1\r\n\r\n"[..], &[0xff; 4096]] {
            let (mut ours, theirs) = UnixStream::pair().unwrap();
            let drive = Drive::start(Utf8Path::new(&scratch.dir.join("image")), theirs).unwrap();
            // It may be let go in the middle.
            ignore(ours.write_all(garbage), "the server hangs up on it");
            let error = ended(drive).unwrap_err();
            assert!(error.to_string().contains("QEMU sent"), "{error}");
        }
    }
}
