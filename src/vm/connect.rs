//! `@connect`: one connection to the VM, on this process's standard input and output. It is started inside of the network's
//! namespaces, as ssh's ProxyCommand wants it, so any ssh client of the user reaches the VM without root and without an open
//! port.
//!
//! Not fuzzed: the bytes pass unread.

use host::failure::{Exit, Failure};
use host::handshake;
use host::presence::ignore;
use std::fs::File;
use std::io::{Read, Write, copy};
use std::net::{Shutdown, SocketAddr, TcpStream};
use std::process::ExitCode;
use std::time::Duration;

/// The hidden subcommand's name.
pub const NAME: &str = "@connect";

/// How long the VM may take to accept the connection.
const LIMIT: Duration = Duration::from_secs(10);

/// The hidden subcommand: `@connect ADDRESS:PORT`.
pub fn main(args: &[String]) -> ExitCode {
    handshake::end(NAME, run(args))
}

fn run(args: &[String]) -> Result<(), Failure> {
    let to = args.first().and_then(|to| to.parse::<SocketAddr>().ok());
    let to = to.ok_or_else(|| Failure::new(Exit::Bug, format!("{NAME} takes an address with a port")))?;
    let lost = |error| Failure::new(Exit::Lost, format!("cannot connect to {to}: {error}"));
    let socket = TcpStream::connect_timeout(&to, LIMIT).map_err(lost)?;
    let mut sender = socket.try_clone().map_err(lost)?;
    let stream = |fd: std::os::fd::BorrowedFd<'_>| fd.try_clone_to_owned().map(File::from).map_err(lost);
    let (mut input, mut output) = (stream(rustix::stdio::stdin())?, stream(rustix::stdio::stdout())?);
    std::thread::spawn(move || {
        ignore(pass(&mut input, &mut sender), "the other end has closed, which the copy back sees");
        // The VM may still have something to say.
        ignore(sender.shutdown(Shutdown::Write), "it is closed already");
    });
    // Whoever started it has what came until then; a reader that has gone away is the end, too.
    ignore(pass(&mut &socket, &mut output), "the connection or its reader has ended");
    Ok(())
}

/// Copy by reading and writing. Between files of known types the standard library's `copy` calls splice(2), and what that
/// moves into a pipe did not wake a reader that was already blocked in read(2), as ssh is (Linux 6.18).
fn pass(from: &mut dyn Read, to: &mut dyn Write) -> std::io::Result<u64> {
    copy(from, to)
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::net::TcpListener;
    use std::os::fd::OwnedFd;
    use std::sync::mpsc::channel;

    #[test]
    fn a_reader_that_already_waits_has_what_comes_while_the_connection_is_open() {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let client = TcpStream::connect(listener.local_addr().unwrap()).unwrap();
        let (mut server, _) = listener.accept().unwrap();
        let (mut reader, writer) = std::io::pipe().unwrap();
        std::thread::spawn(move || pass(&mut &client, &mut File::from(OwnedFd::from(writer))));
        let (send, seen) = channel();
        std::thread::spawn(move || {
            let mut byte = [0];
            let read = reader.read(&mut byte);
            send.send((read.unwrap(), byte)).unwrap();
        });
        // Time to be blocked in: one that is not yet reads it in any case.
        std::thread::sleep(Duration::from_millis(100));
        server.write_all(b"x").unwrap();
        assert_eq!(seen.recv_timeout(Duration::from_secs(10)), Ok((1, *b"x")));
    }
}
