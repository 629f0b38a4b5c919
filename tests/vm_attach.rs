//! `console --attach` in a pseudo-terminal, on a guest of 512 bytes that says back what it is told.
//!
//! Needs root (a network namespace with a bridge of its own, in which nothing answers).

#![allow(clippy::unwrap_used, clippy::print_stdout)] // a test's helpers fail by panicking, and tell what they saw

mod alone;
mod tiny;

use nix::pty::openpty;
use nix::sys::termios::{LocalFlags, Termios, tcgetattr};
use std::fs::File;
use std::io::{Read, Write};
use std::os::fd::OwnedFd;
use std::process::{Child, Command, Stdio};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};
use tiny::Vm;

const SOON: Duration = Duration::from_secs(90);

/// Says `ready`, then each byte that comes. It asks the port whether a byte is there, and whether it takes one.
fn echo() -> Vec<u8> {
    let start = [0xfa, 0x31, 0xc0, 0x8e, 0xd8, 0xfc, 0xbe, 0x33, 0x7c]; // cli; ds = 0; cld; mov si,text
    let greet = [0xac, 0x84, 0xc0, 0x74, 0x05, 0xe8, 0x12, 0x00, 0xeb, 0xf6]; // lodsb; until 0: call put
    let wait = [0xba, 0xfd, 0x03, 0xec, 0xa8, 0x01, 0x74, 0xf8]; // until a byte is there
    let take = [0xb2, 0xf8, 0xec, 0xe8, 0x02, 0x00, 0xeb, 0xf0]; // in al; call put; again
    let put = [0x88, 0xc4, 0xba, 0xfd, 0x03, 0xec, 0xa8, 0x20, 0x74, 0xfb, 0xb2, 0xf8, 0x88, 0xe0, 0xee, 0xc3];
    [&start[..], &greet, &wait, &take, &put, b"\x1b[1mready\x1b[0m\r\n\0"].concat()
}

/// A person at a terminal.
struct Person {
    child: Child,
    master: File,
    slave: OwnedFd,
    before: Termios,
    shown: Arc<Mutex<Vec<u8>>>,
}

impl Person {
    fn attach(vm: &Vm) -> Self {
        let pty = openpty(None, None).unwrap();
        let side = || Stdio::from(pty.slave.try_clone().unwrap());
        let before = tcgetattr(&pty.slave).unwrap();
        let child = command(vm).stdin(side()).stdout(side()).stderr(side()).spawn().unwrap();
        let (master, shown) = (File::from(pty.master), Arc::new(Mutex::new(Vec::new())));
        let (mut screen, seen) = (master.try_clone().unwrap(), shown.clone());
        std::thread::spawn(move || {
            let mut bytes = [0; 4096];
            while let Ok(n @ 1..) = screen.read(&mut bytes) {
                seen.lock().unwrap().extend_from_slice(&bytes[..n]);
            }
        });
        let person = Self { child, master, slave: pty.slave, before, shown };
        person.sees("Ctrl-] leaves");
        person
    }

    fn types(&self, text: &str) {
        (&self.master).write_all(text.as_bytes()).unwrap();
    }

    fn screen(&self) -> String {
        String::from_utf8_lossy(&self.shown.lock().unwrap()).into_owned()
    }

    fn sees(&self, text: &str) {
        let start = Instant::now();
        while !self.screen().contains(text) {
            assert!(start.elapsed() < SOON, "not {text:?}, but {:?}", self.screen());
            std::thread::sleep(Duration::from_millis(10));
        }
    }

    /// Its exit code, and that the terminal is as it was.
    fn ends(mut self) -> (Option<i32>, String) {
        let start = Instant::now();
        let status = loop {
            match self.child.try_wait().unwrap() {
                Some(status) => break status,
                None if start.elapsed() > SOON => {
                    self.child.kill().unwrap();
                    panic!("it goes on: {:?}", self.screen());
                }
                None => std::thread::sleep(Duration::from_millis(10)),
            }
        };
        println!("ended after {:?}", start.elapsed());
        assert_eq!(tcgetattr(&self.slave).unwrap(), self.before, "the terminal is as it was");
        // What was written before its end is on the screen soon.
        std::thread::sleep(Duration::from_millis(50));
        (status.code(), self.screen())
    }
}

fn command(vm: &Vm) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_boma-qemu"));
    command.args(["console", "tiny", "--attach"]).current_dir(env!("CARGO_MANIFEST_DIR"));
    let state = vm.dir.path().ancestors().nth(2).unwrap();
    command.env("BOMA_STATE", state).env("BOMA_RUNS", state.join("runs"));
    command
}

fn is_raw(person: &Person) -> bool {
    !tcgetattr(&person.slave).unwrap().local_flags.contains(LocalFlags::ICANON)
}

#[tokio::test]
async fn a_person_types_and_sees_and_leaves_and_the_log_goes_on() {
    let vm = Vm::start(echo());
    let one = Person::attach(&vm);
    one.sees("\x1b[1mready\x1b[0m");
    assert!(is_raw(&one));
    // A Ctrl-C is the guest's, and so is everything but what leaves.
    one.types("hello \x03\x04\x1a there");
    one.sees("hello \x03\x04\x1a there");
    let two = Person::attach(&vm);
    two.sees("hello \x03\x04\x1a there");
    two.types("from two");
    one.sees("from two");
    one.types("last words\x1d");
    let (code, screen) = one.ends();
    assert_eq!(code, Some(0), "{screen}");
    two.sees("last words");
    two.types("still here");
    two.sees("still here");
    vm.client.console_write(b"by a program", SOON).await.unwrap();
    two.sees("by a program");
    rustix::process::kill_process(pid(&two), rustix::process::Signal::TERM).unwrap();
    let (code, screen) = two.ends();
    assert_eq!(code, Some(130), "{screen}");
    let log = String::from_utf8_lossy(&std::fs::read(vm.dir.console()).unwrap()).into_owned();
    assert!(log.contains("ready") && log.contains("last wordsstill hereby a program"), "{log:?}");
    vm.client.stop().await.unwrap();
}

#[tokio::test]
async fn the_monitors_end_gives_the_terminal_back_and_says_so() {
    let vm = Vm::start(echo());
    let one = Person::attach(&vm);
    one.sees("ready");
    let monitor = rustix::process::Pid::from_raw(vm.monitor.pid).unwrap();
    rustix::process::kill_process(monitor, rustix::process::Signal::KILL).unwrap();
    let (code, screen) = one.ends();
    assert_eq!(code, Some(4), "{screen}");
    assert!(screen.contains("the monitor of tiny's VM is gone"), "{screen}");
}

#[tokio::test]
async fn a_terminal_that_stands_still_or_hangs_up_harms_nobody() {
    let vm = Vm::start(echo());
    let mut still = Person::attach(&vm);
    still.sees("ready");
    // It is stopped, and nobody reads its screen; the others go on.
    rustix::process::kill_process(pid(&still), rustix::process::Signal::STOP).unwrap();
    let other = Person::attach(&vm);
    for _ in 0..50 {
        other.types(&"x".repeat(500));
    }
    other.types("done");
    other.sees("xdone");
    rustix::process::kill_process(pid(&still), rustix::process::Signal::CONT).unwrap();
    still.sees("xdone");
    still.types("\x1d");
    assert_eq!(still.child.wait().unwrap().code(), Some(0));
    other.types("\x1d");
    assert_eq!(other.ends().0, Some(0));
    vm.client.stop().await.unwrap();
}

#[tokio::test]
async fn without_a_terminal_it_says_what_to_do_instead() {
    let vm = Vm::start(echo());
    let out = command(&vm).stdin(Stdio::null()).output().unwrap();
    let said = String::from_utf8_lossy(&out.stderr);
    assert_eq!(out.status.code(), Some(2), "{said}");
    assert!(said.contains("standard input is none") && said.contains("console tiny --follow"), "{said}");
    vm.client.stop().await.unwrap();
}

fn pid(person: &Person) -> rustix::process::Pid {
    rustix::process::Pid::from_raw(person.child.id().cast_signed()).unwrap()
}
