//! The monitor with a real QEMU and the smallest guest there is: a boot sector of 512 bytes, which writes to the
//! serial port for ever, as fast as it can. What a hostile guest and a hostile client can do to the monitor.
//!
//! Needs root (a network namespace with a bridge of its own, in which nothing answers).

#![allow(clippy::unwrap_used, clippy::print_stdout)] // a test's helpers fail by panicking, and tell what they saw

mod alone;
mod tiny;

use camino::Utf8PathBuf;
use std::io::{BufRead, BufReader, Write};
use std::os::unix::fs::MetadataExt;
use std::os::unix::net::UnixStream;
use std::time::{Duration, Instant};
use tiny::Vm;
use vm::console::gap;
use vm::monitor::QemuStatus;

/// What the guest says again and again: a rule matches it.
const LINE: &[u8] = b"[    1.000000] Buffer I/O error on dev vda, logical block 0\r\n";

/// `cli; xor ax,ax; mov ds,ax; cld; mov dx,0x3f8; again: mov si,text; next: lodsb; test al,al; jz again; out dx,al;
/// jmp next; text:`. It never asks whether the port is free, and QEMU takes what it can.
fn boot_sector() -> Vec<u8> {
    let code = [0xfa, 0x31, 0xc0, 0x8e, 0xd8, 0xfc, 0xba, 0xf8, 0x03, 0xbe, 0x14, 0x7c];
    let again = [0xac, 0x84, 0xc0, 0x74, 0xf8, 0xee, 0xeb, 0xf8];
    [&code[..], &again, LINE].concat()
}

fn start() -> Vm {
    Vm::start(boot_sector())
}

/// So much on the console is a flood, in bytes.
const FLOOD: u64 = 1 << 20;

/// Let the guest flood for some time, and ask in between: nobody may wait, nothing may grow.
async fn flood(limit: Duration) {
    let vm = start();
    let (start, mut slowest, mut asked, mut early) = (Instant::now(), Duration::ZERO, 0, None);
    // On a busy machine the guest needs longer for what is a flood.
    let is_short = async || start.elapsed() < 8 * limit && vm.console().await <= FLOOD;
    while start.elapsed() < limit || is_short().await {
        let before = Instant::now();
        vm.client.qmp("query-status", serde_json::Value::Null, Duration::from_secs(5)).await.unwrap();
        slowest = slowest.max(before.elapsed());
        asked += 1;
        tokio::time::sleep(Duration::from_millis(100)).await;
        if early.is_none() && start.elapsed() > limit / 5 {
            early = Some(vm.memory());
        }
    }
    let (early, late, console) = (early.unwrap(), vm.memory(), vm.console().await);
    // The rules keep pace: what came last has been judged, so a reset now is a boot behind all of it.
    vm.client.qmp("system_reset", serde_json::Value::Null, Duration::from_secs(5)).await.unwrap();
    tokio::time::sleep(Duration::from_secs(2)).await;
    let boots = vm.events("boot");
    assert_eq!(boots.len(), 2, "{boots:?}");
    let cut = boots[1].data()["offset"].as_u64().unwrap();
    let disk = |path: Utf8PathBuf| std::fs::metadata(path).unwrap().blocks() * 512;
    let (log, events) = (disk(vm.dir.console()), disk(vm.dir.events()));
    println!(
        "{:.0?} of flood: {console} bytes ({} KiB/s), {log} bytes of log and {events} of events on the disk; \
         {asked} questions, the slowest took {slowest:?}; monitor {early} KiB, then {late} KiB",
        start.elapsed(),
        console / 1024 / limit.as_secs(),
    );
    assert!(console > FLOOD, "that was no flood: {console} bytes");
    assert!(cut >= console, "the boot stands behind what came before it");
    assert!(slowest < Duration::from_secs(1), "a question took {slowest:?}");
    assert!(late < early + 8 * 1024, "the monitor grew from {early} to {late} KiB");
    assert!(log < 34 << 20 && events < 1 << 20, "{log} and {events} bytes");
    assert_eq!(vm.events("console-gap").len(), usize::from(console > 34 << 20));
    let kept = gap::pieces(&vm.dir.console(), 0..4096).unwrap();
    assert!(kept[0].bytes.windows(LINE.len()).any(|window| window == LINE), "the head is there");
    // The same rule, 20 times a boot and no more.
    assert_eq!(vm.events("console-rule").len(), 40);
    vm.client.stop().await.unwrap();
}

#[tokio::test]
async fn a_guest_that_floods_its_serial_port_slows_nobody_and_the_monitor_does_not_grow() {
    flood(Duration::from_secs(15)).await;
}

#[tokio::test]
#[ignore = "ten minutes; a part of make soak"]
async fn ten_minutes_of_flood_do_not_fill_the_disk() {
    flood(Duration::from_secs(600)).await;
}

#[tokio::test]
async fn clients_that_send_garbage_half_lines_and_floods_or_never_read_harm_nobody() {
    let vm = start();
    let path = vm.dir.control();
    let connect = || UnixStream::connect(&path).unwrap();
    let before = vm.memory();
    let status = b"{\"id\":7,\"ask\":{\"status\":{}}}\n";
    // Garbage, and the connection goes on.
    let mut client = connect();
    let mut answers = BufReader::new(client.try_clone().unwrap());
    let deep = [vec![b'['; 100_000], vec![b'\n']].concat();
    let garbage: [&[u8]; 7] = [
        b"\xff\xfe\x00\x00\n",
        b"{}\n",
        b"\n",
        b"{\"id\":-1}\n",
        b"null\n",
        &deep,
        b"{\"id\":1,\"ask\":{\"qmp\":{}}}\n",
    ];
    for bad in garbage {
        client.write_all(bad).unwrap();
        let mut answer = String::new();
        answers.read_line(&mut answer).unwrap();
        assert!(answer.contains("does not understand") || answer.contains("\"request\""), "{answer}");
    }
    client.write_all(status).unwrap();
    let mut answer = String::new();
    answers.read_line(&mut answer).unwrap();
    assert!(answer.contains("\"id\":7") && answer.contains("\"Ok\""), "{answer}");
    // Half lines: one that stays open, one that is closed, and one without end.
    let mut half = connect();
    half.write_all(b"{\"id\":1,\"ask\"").unwrap();
    connect().write_all(b"{\"id\":1").unwrap();
    let mut held = vec![half];
    for _ in 0..8 {
        let mut endless = connect();
        endless.set_write_timeout(Some(Duration::from_millis(500))).unwrap();
        let _ = endless.write_all(&vec![b'x'; 8 << 20]);
        held.push(endless);
    }
    // Good questions by the thousand, and not one answer is read.
    for _ in 0..8 {
        let mut deaf = connect();
        deaf.set_write_timeout(Some(Duration::from_millis(500))).unwrap();
        let _ = deaf.write_all(&status.repeat(50_000));
        held.push(deaf);
    }
    // More connections than there are places; those that are one too many are told so at once.
    let crowd: Vec<_> = (0..100).map(|_| connect()).collect();
    let mut last = String::new();
    BufReader::new(crowd.last().unwrap()).read_line(&mut last).unwrap();
    assert!(last.contains("crowded"), "{last}");
    drop(crowd);
    let start = Instant::now();
    let answer = loop {
        match vm.client.status().await {
            Ok(status) => break status,
            // Their places are free when it has seen that they are gone.
            Err(error) => assert!(start.elapsed().as_secs() < 2, "{error}"),
        }
        tokio::time::sleep(Duration::from_millis(20)).await;
    };
    assert!(matches!(answer.qemu, QemuStatus::Running { .. }));
    let grown = vm.memory().saturating_sub(before);
    println!("after all of it: an answer in {:?}, {grown} KiB more", start.elapsed());
    assert!(grown < 32 * 1024, "{grown} KiB more");
    drop(held);
    vm.client.stop().await.unwrap();
    assert!(!vm.monitor.is_alive());
}
