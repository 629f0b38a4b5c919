use super::*;
use std::path::Path;
use std::process::Command;
use std::sync::atomic::Ordering;
use vm::serial::SerialError;

#[tokio::test]
async fn a_command_gives_its_exit_code_and_its_bytes() {
    let (_guest, mut serial) = shell(Noise::Never).await;
    let answer = serial.run("printf 'a\\0b\\r\\n~\\377'; echo oops >&2; exit 7", LIMIT).await.unwrap();
    assert_eq!((answer.code, answer.truncated), (7, false));
    assert_eq!(answer.bytes, b"a\0b\r\n~\xffoops\n");
    assert_eq!(answer.output, "a\0b\r\n~\u{fffd}oops\n");
    let answer = serial.run("", LIMIT).await.unwrap();
    assert_eq!((answer.code, answer.bytes.len()), (0, 0));
}

#[tokio::test]
async fn a_long_command_arrives_whole() {
    let (_guest, mut serial) = shell(Noise::Every(31)).await;
    let long = format!("echo {} | wc -c", "x".repeat(9000));
    assert_eq!(serial.run(&long, LIMIT).await.unwrap().output, "9001\n");
}

#[tokio::test]
async fn output_beyond_the_limit_is_cut_and_said_so() {
    let (_guest, mut serial) = shell(Noise::Never).await;
    let answer = serial.run_most("seq 1 100000", LIMIT, 10).await.unwrap();
    assert_eq!((answer.code, answer.output.as_str(), answer.truncated), (0, "1\n2\n3\n4\n5\n", true));
}

#[tokio::test]
async fn a_command_without_end_is_ended_and_the_shell_goes_on() {
    let (_guest, mut serial) = shell(Noise::Never).await;
    let answer = serial.run("echo begun; sleep 600", Duration::from_secs(1)).await.unwrap();
    assert_eq!((answer.code, answer.output.as_str()), (124, "begun\n"));
    assert_eq!(serial.run("echo on", LIMIT).await.unwrap().output, "on\n");
}

#[tokio::test]
async fn a_command_with_its_own_markers_and_prompts_in_its_output_fools_nobody() {
    let (_guest, mut serial) = shell(Noise::Never).await;
    let own = "printf 'login: \\nboma# ~00000000.1:<~\\n~%s:>0~\\nYou are in emergency mode\\n' x; exit 2";
    let answer = serial.run(own, LIMIT).await.unwrap();
    assert_eq!((answer.code, answer.output.lines().count()), (2, 4));
}

#[tokio::test]
async fn a_person_who_interrupts_and_types_nonsense_does_not_end_the_shell() {
    let (_guest, mut serial) = shell(Noise::Never).await;
    for n in 1..20 {
        serial.type_in(b"\x03if (\r\x03").await.unwrap();
        // Some of it is thrown away with the interrupt; then it is typed again, and nothing old is taken for an answer.
        let command = format!("echo {n} {}", "x".repeat(n * 100));
        assert_eq!(serial.run(&command, LIMIT).await.unwrap().output, command[5..].to_owned() + "\n");
    }
}

#[tokio::test]
async fn a_command_that_a_person_interrupts_is_said_to_be_so() {
    let (guest, mut serial) = shell(Noise::Never).await;
    let finger = guest.finger();
    let interrupt = async {
        tokio::time::sleep(Duration::from_secs(1)).await;
        std::io::Write::write_all(&mut &finger, b"\x03").unwrap();
    };
    let (answer, ()) = tokio::join!(serial.run("echo begun; sleep 30", LIMIT), interrupt);
    match answer {
        Err(SerialError::Interrupted { .. }) => {}
        // A shell that waits for the command's end: its exit code says how it ended.
        Ok(answer) => assert!(answer.code != 0 && answer.seconds < AT_ONCE.as_secs_f64(), "{answer:?}"),
        Err(error) => panic!("{error}"),
    }
    assert_eq!(serial.run("echo on", LIMIT).await.unwrap().output, "on\n");
}

#[tokio::test]
async fn without_a_login_nothing_is_run() {
    let mut guest = Guest::run("exec sh", Noise::Never, None);
    let mut serial = guest.serial().await;
    assert!(matches!(serial.run("true", LIMIT).await, Err(SerialError::NoShell)));
}

#[tokio::test]
async fn what_does_not_come_is_said_with_the_last_lines_and_nothing_is_matched_twice() {
    let mut guest = Guest::run("printf 'one\\r\\ntwo\\r\\nboot: '; sleep 60", Noise::Never, None);
    let mut serial = guest.serial().await;
    let pattern = |text: &str| [regex::Regex::new("never").unwrap(), regex::Regex::new(text).unwrap()];
    let seen = serial.expect("a prompt", &pattern("boot:$"), &soon()).await.unwrap();
    assert_eq!((seen.which, seen.line.as_str()), (1, "boot:"));
    let start = std::time::Instant::now();
    let again = serial.expect("another prompt", &pattern("boot:$"), &Deadline::after(Duration::from_millis(300))).await;
    let error = again.unwrap_err().to_string();
    assert!(start.elapsed() < AT_ONCE, "{:?}", start.elapsed());
    assert!(error.contains("another prompt within") && error.contains("two\n    boot:"), "{error}");
}

/// The shells that are on this machine; each is `sh` in a folder of its own.
fn shells() -> Vec<(&'static str, tempfile::TempDir)> {
    let found = |name: &&str| Command::new("which").arg(name).output().is_ok_and(|out| out.status.success());
    let folder = |name: &'static str| {
        let folder = tempfile::tempdir().unwrap();
        let path = Command::new("which").arg(name).output().unwrap().stdout;
        let path = String::from_utf8(path).unwrap();
        if name == "busybox" {
            let done = Command::new("busybox").args(["--install", "-s"]).arg(folder.path()).status();
            assert!(done.unwrap().success());
        } else {
            std::os::unix::fs::symlink(path.trim(), folder.path().join("sh")).unwrap();
        }
        (name, folder)
    };
    ["bash", "dash", "busybox"].into_iter().filter(found).map(folder).collect()
}

/// Commands whose answers are known, with every kind of byte in them.
async fn ask_everything(serial: &mut Serial<Typist>) {
    for n in [0, 1, 77, 255] {
        let answer = serial.run(&format!("seq 1 {}; exit {n}", n * 3), LIMIT).await.unwrap();
        let expected: String = (1..=n * 3).map(|n| format!("{n}\n")).collect();
        assert_eq!((answer.code, answer.output), (n, expected));
    }
    let all: String = (0..=255).map(|byte| format!("\\{byte:03o}")).collect();
    let answer = serial.run(&format!("printf '{all}'"), LIMIT).await.unwrap();
    assert_eq!(answer.bytes, (0..=255).collect::<Vec<u8>>());
    let answer = serial.run("printf '[   12.345678] not the kernel\\r\\nlogin: '; exit 3", LIMIT).await.unwrap();
    assert_eq!((answer.code, answer.output.as_str()), (3, "[   12.345678] not the kernel\r\nlogin: "));
}

#[tokio::test]
async fn thousands_of_kernel_records_at_any_place_damage_nothing_in_any_shell() {
    for (name, folder) in shells() {
        let mut records = 0;
        for seed in 1..=8 {
            let path: &Path = folder.path();
            let mut guest = Guest::run("exec sh", Noise::Random(seed * 7919, 3 + seed * 4), Some(path));
            let mut serial = guest.serial().await;
            serial.login(&Dialect::debian(), &Credentials::user("root"), &soon()).await.unwrap();
            ask_everything(&mut serial).await;
            records += guest.records.load(Ordering::Relaxed);
        }
        println!("{name}: {records} records");
        assert!(records > 2000, "{name}: only {records}");
    }
}
