//! Consoles with a rescue prompt, and consoles with its words only.

use super::*;
use camino::Utf8PathBuf;
use std::cell::Cell;
use std::io::Write;

/// A console, and what Enter brings on it.
async fn waits(console: &str, answer: &str) -> (bool, u32) {
    let dir = tempfile::tempdir().unwrap();
    let log = Utf8PathBuf::from_path_buf(dir.path().join("console.log")).unwrap();
    std::fs::write(&log, console).unwrap();
    let typed = Cell::new(0);
    let enter = || async {
        typed.set(typed.get() + 1);
        std::fs::OpenOptions::new().append(true).open(&log).unwrap().write_all(answer.as_bytes()).unwrap();
        true
    };
    let so = tokio::time::timeout(Duration::from_secs(8), waits_at_a_rescue_prompt(&log, enter)).await;
    (so.unwrap_or(false), typed.get())
}

const SULOGIN_PROMPT: &str = "You are in emergency mode. After logging in, type \"journalctl -xb\" to view\r\n\
    system logs.\r\n\r\nGive root password for maintenance\r\n(or press Control-D to continue): ";
const LOCKED: &str = "You are in emergency mode.\r\n\r\nCannot open access to console, the root account is locked.\r\n\
    See sulogin(8) man page for more details.\r\n\r\nPress Enter to continue.\r\n";

#[rstest::rstest]
#[case(
    SULOGIN_PROMPT,
    "\r\n\r\nLogin incorrect\r\n\r\nGive root password for maintenance\r\n(or press Control-D to continue): "
)]
#[case("Press Enter for maintenance\r\n(or press Control-D to continue): ", "\r\n\x1b[?2004hroot@askari:~# ")]
#[case(LOCKED, "\r\nReloading system manager configuration.\r\nStarting default.target\r\n")]
#[case("Dropping to a shell!\r\n\r\n(initramfs) ", "\r\n(initramfs) ")]
#[case("(initra[   12.345678] eth0: link up\r\nmfs) ", "\r\n(initramfs) ")]
#[case("error: no such partition.\r\nEntering rescue mode...\r\ngrub rescue> ", "\r\ngrub rescue> ")]
#[case("dracut:/# ", "\r\ndracut:/# ")]
#[tokio::test]
async fn a_rescue_prompt_answers(#[case] console: &str, #[case] answer: &str) {
    let start = std::time::Instant::now();
    assert_eq!(waits(console, answer).await, (true, 1), "{console:?}");
    assert!(start.elapsed() < Duration::from_secs(15), "{:?}", start.elapsed());
}

#[rstest::rstest]
// Nothing is typed where no rescue prompt stands.
#[case("You are in emergency mode. After logging in\r\n\r\naskari login: ", "\r\naskari login: ", 0)]
#[case("[  OK  ] Reached target emergency.target - Emergency Mode.\r\n", "", 0)]
#[case("Press Enter to continue.\r\n", "\r\n", 0)]
#[case("root@askari:~# ", "\r\nroot@askari:~# ", 0)]
// A program wrote a prompt: Enter gives a line's end, or the login prompt that is really there.
#[case("(initramfs) ", "\r\n", 1)]
#[case(SULOGIN_PROMPT, "\r\n\r\nDebian GNU/Linux 13 askari ttyS0\r\n\r\naskari login: ", 1)]
#[case(LOCKED, "\r\n[  OK  ] Started ssh.service - OpenBSD Secure Shell server.\r\n", 1)]
#[case("grub> ", "", 1)]
#[tokio::test]
async fn words_alone_are_no_prompt(#[case] console: &str, #[case] answer: &str, #[case] typed: u32) {
    assert_eq!(waits(console, answer).await, (false, typed), "{console:?}");
}

/// One processor's state, in QEMU 10's words.
fn cpu(n: u32, rip: &str, cpl: u32, halted: u32) -> String {
    format!(
        "\r\nCPU#{n}\r\nRAX=0000000000000000 RBX=0000000000000000\r\n\
         RIP={rip} RFL=00000246 [---Z-P-] CPL={cpl} II=0 A20=1 SMM=0 HLT={halted}\r\nES =0000 0 0 0\r\n"
    )
}

#[test]
fn a_panicked_kernel_is_told_from_one_that_works() {
    const KERNEL: &str = "ffffffff81c0a3b4";
    let state = |cpus: &[(u32, u32)]| -> String { (0..).zip(cpus).map(|(n, (l, h))| cpu(n, KERNEL, *l, *h)).collect() };
    assert!(is_in_a_loop(&state(&[(0, 0)])), "one goes round");
    assert!(is_in_a_loop(&state(&[(0, 0), (0, 1)])), "and the others were stopped");
    assert!(!is_in_a_loop(&state(&[(0, 1), (0, 1)])), "all wait for work");
    assert!(!is_in_a_loop(&state(&[(0, 0), (3, 0)])), "one runs a program");
    assert!(!is_in_a_loop(""), "nothing was told");
}

#[tokio::test]
async fn a_loop_must_last_and_no_answer_is_none() {
    let (busy, user) = (cpu(0, "ffffffff81c0a3b4", 0, 0), cpu(0, "00007f0000000000", 3, 0));
    assert!(goes_round_in_the_kernel(|| async { Some(busy.clone()) }).await);
    let n = Cell::new(0);
    let works = || async {
        n.set(n.get() + 1);
        Some(if n.get() % 5 == 0 { user.clone() } else { busy.clone() })
    };
    assert!(!tokio::time::timeout(Duration::from_secs(6), goes_round_in_the_kernel(works)).await.unwrap_or(false));
    let asked = tokio::time::timeout(Duration::from_secs(2), goes_round_in_the_kernel(|| async { None })).await;
    assert!(!asked.unwrap_or(false));
}

#[test]
fn a_units_own_name_is_no_description() {
    for line in [
        "[   44.070654] systemd[1]: Started emergency.service - Emergency Shell.",
        "[   44.070654][    T1] systemd[1]: Reached target emergency.target - Emergency Mode.",
        "[  OK  ] Reached target rescue.target - Rescue Mode.",
        "[  OK  ] Started rescue.service.",
    ] {
        assert!(NAMED.is_match(line), "{line}");
    }
    for line in [
        "[  OK  ] Started net-rescue.service - Network rescue daemon.",
        "[  OK  ] Started Emergency Shell.",
        "[  OK  ] Started mine.service - Started emergency.service",
        "[   12.3] myapp[812]: Started emergency.service - Emergency Shell.",
        "systemd[12]: Started emergency.service - Emergency Shell.",
    ] {
        assert!(!NAMED.is_match(line), "{line}");
    }
}
