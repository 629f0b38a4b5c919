//! Courses over a journal that a test writes, with a monitor that can write marks and nothing else.

use super::*;
use crate::access::AccessError;
use crate::wait::FatalCondition;
use camino::Utf8PathBuf;
use host::failure::{Blame, Exit};
use host::lock::Lock;
use std::cell::Cell;
use std::io::Write;
use std::rc::Rc;
use tokio::io::{AsyncBufReadExt, AsyncWriteExt, BufReader};
use tokio::net::UnixListener;

/// A VM whose journal the test writes.
struct Fake {
    _keep: tempfile::TempDir,
    _alive: Lock,
    vm: VmDir,
    seq: Rc<Cell<u64>>,
}

impl Fake {
    fn new() -> Self {
        let keep = tempfile::tempdir().unwrap();
        let vm = VmDir::at(Utf8PathBuf::from_path_buf(keep.path().to_owned()).unwrap());
        let alive = Lock::try_take(&vm.alive(), "the test").unwrap();
        std::fs::write(vm.events(), "").unwrap();
        let fake = Self { _keep: keep, _alive: alive, vm, seq: Rc::default() };
        // What an earlier restart left never counts.
        fake.happens("RESET", json!({"reason": "guest-reset"}));
        fake
    }

    fn happens(&self, kind: &str, data: Value) {
        write(&self.vm, &self.seq, kind, &data);
    }

    async fn begin(&self, mode: Mode) -> Course<'_> {
        let listener = UnixListener::bind(self.vm.control()).unwrap();
        let serve = async {
            let (stream, _) = listener.accept().await.unwrap();
            let (read, mut answer) = stream.into_split();
            let mut line = String::new();
            BufReader::new(read).read_line(&mut line).await.unwrap();
            let ask: Value = serde_json::from_str(&line).unwrap();
            let note = &ask["ask"]["note"];
            write(&self.vm, &self.seq, note["kind"].as_str().unwrap(), &note["data"]);
            let reply = json!({"id": ask["id"], "outcome": {"Ok": self.seq.get()}});
            answer.write_all(format!("{reply}\n").as_bytes()).await.unwrap();
        };
        let (course, ()) = tokio::join!(Course::begin(&self.vm, mode, Duration::from_millis(300)), serve);
        course.unwrap()
    }
}

fn write(vm: &VmDir, seq: &Cell<u64>, kind: &str, data: &Value) {
    seq.set(seq.get() + 1);
    let (seq, mono) = (seq.get(), seq.get() as f64 / 10.0);
    let line = serde_json::to_string(&Event::sample(seq, mono, kind, data)).unwrap();
    let mut file = std::fs::OpenOptions::new().append(true).open(vm.events()).unwrap();
    file.write_all(format!("{line}\n").as_bytes()).unwrap();
}

fn reset(reason: &str) -> (&'static str, Value) {
    ("RESET", json!({ "reason": reason }))
}

fn panicked() -> (&'static str, Value) {
    ("GUEST_PANICKED", json!({"action": "run"}))
}

/// QEMU killed and started again.
fn power(kind: &'static str) -> [(&'static str, Value); 3] {
    [(kind, Value::Null), ("qemu-exited", json!({"asked": true})), ("qemu-started", json!({"pid": 8}))]
}

/// A fatal line of the console that begins at `offset`.
fn panic_line(offset: u64) -> (&'static str, Value) {
    ("console-rule", json!({"line": "Kernel panic", "offset": offset}))
}

/// What comes of these events while all events of a mode are waited for.
async fn expected(mode: Mode, events: &[(&str, Value)]) -> Result<(), RebootError> {
    let fake = Fake::new();
    let mut course = fake.begin(mode).await;
    for (kind, data) in events {
        fake.happens(kind, data.clone());
    }
    course.expect(mode.row().expected.len()).await
}

fn fatal(result: Result<(), RebootError>) -> Option<FatalCondition> {
    match result {
        Err(RebootError::NotDown(WaitError::Fatal { fatal, .. })) => Some(fatal),
        _ => None,
    }
}

#[tokio::test]
async fn a_mode_awaits_its_own_events_though_they_end_every_other_wait() {
    expected(Mode::Panic, &[panic_line(250), panicked(), panic_line(260), reset("guest-reset")]).await.unwrap();
    expected(Mode::PowerCycle, &power("power-cycle")).await.unwrap();
    expected(Mode::PowerLoss, &power("power-loss")).await.unwrap();
    let shutdown = ("SHUTDOWN", json!({"reason": "guest-shutdown"}));
    let acpi = [("POWERDOWN", Value::Null), shutdown, reset("host-qmp-system-reset")];
    expected(Mode::Acpi, &acpi).await.unwrap();
}

#[tokio::test]
async fn what_loses_the_machine_ends_the_wait_of_any_other_mode() {
    for mode in [Mode::Guest, Mode::Acpi, Mode::Reset, Mode::PowerCycle, Mode::Watchdog] {
        assert_eq!(fatal(expected(mode, &[panicked()]).await), Some(FatalCondition::Panicked), "{mode}");
        // The line alone can be anybody's; a machine that resets itself after it has meant it.
        let line = fatal(expected(mode, &[panic_line(250)]).await);
        assert_eq!(line, None, "{mode}");
    }
    for mode in [Mode::Guest, Mode::Acpi, Mode::Reset, Mode::PowerCycle, Mode::Panic, Mode::Watchdog] {
        let gone = expected(mode, &[("qemu-exited", json!({"asked": false, "status": "signal: 9"}))]).await;
        assert!(matches!(fatal(gone), Some(FatalCondition::QemuGone(_))), "{mode}");
    }
}

#[tokio::test]
async fn something_else_is_an_error_of_its_own_and_not_a_timeout() {
    for (mode, event) in [
        (Mode::Guest, ("SHUTDOWN", json!({"reason": "guest-shutdown"}))),
        (Mode::Guest, reset("host-qmp-system-reset")),
        (Mode::Reset, reset("guest-reset")),
        (Mode::PowerLoss, ("power-cycle", Value::Null)),
        (Mode::Panic, reset("guest-reset")),
        (Mode::Watchdog, ("WATCHDOG", json!({"action": "none"}))),
        (Mode::Guest, ("boot", json!({"n": 2, "offset": 1, "kernel": true}))),
        (Mode::Guest, ("restore", json!({"snapshot": "applied"}))),
    ] {
        let error = expected(mode, &[event]).await.unwrap_err();
        assert!(matches!(error, RebootError::Other { .. }), "{mode}: {error}");
        assert_eq!(error.exit(), Exit::Verify);
    }
}

#[tokio::test]
async fn a_machine_that_does_nothing_is_told_with_what_it_should_have_shown() {
    let error = expected(Mode::Watchdog, &[]).await.unwrap_err();
    assert_eq!(error.exit(), Exit::Verify);
    let said = host::failure::Failure::from(error).to_string();
    assert!(said.contains("WATCHDOG reset, RESET guest-reset") && said.contains("not within"), "{said}");
}

/// What comes of events after the last expected event, while a login is waited for that never comes.
async fn afterwards(mode: Mode, before: &[(&str, Value)], after: &[(&str, Value)]) -> RebootError {
    let fake = Fake::new();
    let mut course = fake.begin(mode).await;
    for (kind, data) in before {
        fake.happens(kind, data.clone());
    }
    course.expect(mode.row().expected.len()).await.unwrap();
    for (kind, data) in after {
        fake.happens(kind, data.clone());
    }
    let login = course.undisturbed(async |watch, deadline| {
        let never = async || Err::<(), _>("refused".to_owned());
        watch.until("a login", deadline, never).await.map_err(|e| RebootError::NotBack(e.into()))
    });
    login.await.unwrap_err()
}

#[tokio::test]
async fn a_panic_or_a_death_after_the_restart_is_seen_at_once_also_by_the_modes_that_bring_one_about() {
    let own = [panic_line(250), panicked(), reset("guest-reset")];
    let boot = ("boot", json!({"n": 2, "offset": 500}));
    let error = afterwards(Mode::Panic, &own, &[boot.clone(), panicked()]).await;
    assert_eq!(error.exit(), Exit::Guest, "{error}");
    // A panic of which only the console tells, and the restart after it.
    let error = afterwards(Mode::Panic, &own, &[boot.clone(), panic_line(600), reset("guest-reset"), boot]).await;
    assert!(!matches!(error, RebootError::NotBack(AccessError::Wait(WaitError::TimedOut { .. }))), "{error}");
    let error = afterwards(Mode::PowerCycle, &power("power-cycle"), &[("qemu-exited", json!({"asked": false}))]).await;
    assert!(
        matches!(
            error,
            RebootError::NotBack(AccessError::Wait(WaitError::Fatal { fatal: FatalCondition::QemuGone(_), .. }))
        ),
        "{error}"
    );
}

#[tokio::test]
async fn the_old_boots_last_line_does_not_end_the_wait_for_the_new_one() {
    // Judged only when the reset cut it off, so it stands after the RESET in the journal.
    let own = [panic_line(250), panicked(), reset("guest-reset")];
    let error = afterwards(Mode::Panic, &own, &[panic_line(300), ("boot", json!({"n": 2, "offset": 500}))]).await;
    assert!(matches!(error, RebootError::NotBack(AccessError::Wait(WaitError::TimedOut { .. }))), "{error}");
}

#[tokio::test]
async fn a_second_restart_while_the_first_one_is_awaited_ends_it_at_once() {
    let boot = || ("boot", json!({"n": 2, "offset": 500}));
    let own = [reset("host-qmp-system-reset")];
    let loops = [boot(), reset("guest-reset"), ("NIC_RX_FILTER_CHANGED", Value::Null), reset("guest-reset"), boot()];
    let error = afterwards(Mode::Reset, &own, &loops).await;
    assert!(matches!(error, RebootError::Other { .. }), "{error}");
    let error = afterwards(Mode::Kexec, &[], &[reset("guest-reset"), boot()]).await;
    assert!(error.to_string().contains("then RESET guest-reset"), "{error}");
    assert!(error.to_string().contains("again and again by itself"), "{error}");
}
