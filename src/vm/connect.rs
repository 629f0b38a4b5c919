//! `@connect`: one connection to the VM, on this process's standard input and output. It is started inside of the network's
//! namespaces, as ssh's ProxyCommand wants it, so any ssh client of the user reaches the VM without root and without an open
//! port.
//!
//! Not fuzzed: the bytes pass unread.

use host::failure::{Exit, Failure};
use host::handshake;
use host::presence::ignore;
use std::fs::File;
use std::io::copy;
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
        ignore(copy(&mut input, &mut sender), "the other end has closed, which the copy back sees");
        // The VM may still have something to say.
        ignore(sender.shutdown(Shutdown::Write), "it is closed already");
    });
    // Whoever started it has what came until then; a reader that has gone away is the end, too.
    ignore(copy(&mut &socket, &mut output), "the connection or its reader has ended");
    Ok(())
}
