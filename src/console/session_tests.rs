//! The shell's side against a real shell on a pseudo-terminal, with a kernel that writes in between.

use super::*;
use camino::Utf8PathBuf;
use std::fs::{File, OpenOptions};
use std::io::{Read, Write};
use std::process::{Child, Command, Stdio};

/// Types on the pseudo-terminal.
struct Typist(File);

impl Keyboard for Typist {
    async fn type_in(&self, bytes: &[u8], _: Duration) -> Result<(), String> {
        (&self.0).write_all(bytes).map_err(|e| e.to_string())
    }
}

/// A shell command on a pseudo-terminal, and the log of what it shows.
struct Console {
    child: Child,
    log: Utf8PathBuf,
    keyboard: Option<Typist>,
    _folder: tempfile::TempDir,
}

impl Drop for Console {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// Starts `script`; after every `every` bytes of its output the kernel writes a record (0: never).
fn console(script: &str, every: usize) -> Console {
    let folder = tempfile::tempdir().unwrap();
    let log = Utf8PathBuf::from_path_buf(folder.path().join("console.log")).unwrap();
    let pty = nix::pty::openpty(None, None).unwrap();
    let side = || Stdio::from(pty.slave.try_clone().unwrap());
    let child = Command::new("sh")
        .args(["-c", script])
        .env("PS1", "guest$ ")
        .stdin(side())
        .stdout(side())
        .stderr(side())
        .spawn()
        .unwrap();
    let mut master = File::from(pty.master);
    let keyboard = Some(Typist(master.try_clone().unwrap()));
    let mut file = OpenOptions::new().create(true).append(true).open(&log).unwrap();
    std::thread::spawn(move || {
        let (mut byte, mut count) = ([0; 1], 0);
        while master.read(&mut byte).is_ok_and(|n| n > 0) {
            count += 1;
            let noise = every > 0 && count % every == 0;
            let record = if noise { format!("[{:5}.{:06}] audit: noise\r\n", count / 7, count) } else { String::new() };
            file.write_all(&[&byte[..], record.as_bytes()].concat()).unwrap();
        }
    });
    Console { child, log, keyboard, _folder: folder }
}

/// A shell that is logged in already, made ready as [`Session::begin`] does after becoming root.
async fn shell(every: usize) -> (Console, Session<Typist>) {
    let mut console = console("exec sh", every);
    let terminal = Terminal::open(&console.log, console.keyboard.take().unwrap()).await.unwrap();
    let session = Session { terminal, count: 0, salt: 0xb0a };
    session.make_ready().await.unwrap();
    (console, session)
}

const LIMIT: Duration = Duration::from_secs(20);

#[tokio::test]
async fn a_command_gives_its_exit_code_and_its_bytes() {
    let (_console, mut session) = shell(0).await;
    let ran = session.run("printf 'a\\0b\\r\\n~'; echo oops >&2; exit 7", LIMIT, 1000).await.unwrap();
    assert_eq!(ran, Ran { code: 7, output: b"a\0b\r\n~oops\n".to_vec(), truncated: false });
    let ran = session.run("", LIMIT, 1000).await.unwrap();
    assert_eq!((ran.code, ran.output.len()), (0, 0));
}

#[tokio::test]
async fn a_kernel_that_writes_all_the_time_damages_nothing() {
    let (_console, mut session) = shell(17).await;
    let ran = session.run("seq 1 3000; exit 3", LIMIT, 100_000).await.unwrap();
    let expected: String = (1..=3000).map(|n| format!("{n}\n")).collect();
    assert_eq!(ran.code, 3);
    assert_eq!(String::from_utf8(ran.output).unwrap(), expected);
}

#[tokio::test]
async fn a_long_command_arrives_whole() {
    let (_console, mut session) = shell(0).await;
    let long = format!("echo {} | wc -c", "x".repeat(9000));
    assert_eq!(session.run(&long, LIMIT, 100).await.unwrap().output, b"9001\n");
}

#[tokio::test]
async fn output_beyond_the_limit_is_cut_and_said_so() {
    let (_console, mut session) = shell(0).await;
    let ran = session.run("seq 1 100000", LIMIT, 10).await.unwrap();
    assert_eq!(ran, Ran { code: 0, output: b"1\n2\n3\n4\n5\n".to_vec(), truncated: true });
}

#[tokio::test]
async fn a_command_without_end_is_ended_and_the_shell_goes_on() {
    let (_console, mut session) = shell(0).await;
    let ran = session.run("echo begun; sleep 600", Duration::from_secs(1), 100).await.unwrap();
    assert_eq!((ran.code, ran.output), (124, b"begun\n".to_vec()));
    assert_eq!(session.run("echo on", LIMIT, 100).await.unwrap().output, b"on\n");
}

#[tokio::test]
async fn a_prompt_that_nobody_stands_behind_is_not_a_shell() {
    let (mut console, deadline) =
        (console(&format!("printf 'boma# '; read -r lost; {GETTY}"), 0), Deadline::after(LIMIT));
    let terminal = Terminal::open(&console.log, console.keyboard.take().unwrap()).await.unwrap();
    let mut session = Session { terminal, count: 0, salt: 0xb0a };
    session.login("boma-rescue", "secret", &deadline).await.unwrap();
}

/// Plays getty and login, then gives a shell. The user for whom it is told to is refused.
const GETTY: &str = r#"
while :; do
    printf '\r\naskari login: '; read -r user || exit
    [ "$user" ] || continue
    stty -echo; printf 'Password: '; read -r password; stty echo; printf '\r\n'
    if [ "$password" = secret ]; then break; fi
    printf 'Login incorrect\r\n'
done
printf 'Linux askari 6.12\r\nLast login: never $\r\n'
exec sh
"#;

async fn login(every: usize, password: &str) -> Result<String, TalkError> {
    let mut console = console(GETTY, every);
    let terminal = Terminal::open(&console.log, console.keyboard.take().unwrap()).await?;
    let mut session = Session { terminal, count: 0, salt: 0xb0a };
    let deadline = Deadline::after(LIMIT);
    session.login("boma-rescue", password, &deadline).await?;
    session.ask("$((6 * 7))", &deadline).await
}

#[tokio::test]
async fn a_login_goes_through_while_the_kernel_writes_into_every_word() {
    for every in [0, 5, 11] {
        assert_eq!(login(every, "secret").await.unwrap(), "42", "a record after every {every} bytes");
    }
}

#[tokio::test]
async fn a_wrong_password_is_said_at_once() {
    let error = login(0, "guess").await.unwrap_err();
    assert!(matches!(&error, TalkError::Refused { user, .. } if user == "boma-rescue"), "{error}");
    assert!(!error.to_string().contains("guess"));
}

#[tokio::test]
async fn a_console_at_which_nobody_can_log_in_is_left_alone() {
    let mut console = console("printf '\\r\\n(initramfs) '; read -r line; echo touched; sleep 60", 0);
    while std::fs::read_to_string(&console.log).unwrap_or_default().trim() != "(initramfs)" {
        tokio::task::yield_now().await;
    }
    let begun = Session::begin(&console.log, console.keyboard.take().unwrap(), "u", "p", LIMIT).await;
    let error = begun.err().unwrap();
    assert!(matches!(error, TalkError::Stuck { .. }), "{error}");
    assert!(!std::fs::read_to_string(&console.log).unwrap().contains("touched"));
}

#[test]
fn an_answer_with_one_wrong_letter_is_damaged() {
    let digest = |text: &str| Sha256::digest(text).iter().map(|b| format!("{b:02x}")).collect::<String>();
    let sum = digest("b2s=[0]");
    let mut parts = Parts::new("t.1");
    for (data, expected) in [("b2s=[1]", Err(Damaged)), ("b2s=[0]", Ok(0))] {
        assert!(parts.take("boma# ~t.1:<~").is_none());
        assert!(parts.take(&format!("~t.1:={data}~")).is_none());
        assert!(parts.take("~t.2:=another~").is_none());
        assert_eq!(parts.take(&format!("~t.1:>{sum}~")).unwrap().map(|ran| ran.code), expected);
    }
}
