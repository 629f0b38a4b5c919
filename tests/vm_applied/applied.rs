//! The VM that the tests share: an ordinary user's, in namespaces of its own.

use crate::lane::{HostState, Lane, Ran, TRIM, User};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

static SHARED: Mutex<Option<Applied>> = Mutex::new(None);
/// Making it takes minutes: if that failed once, nobody tries again.
static TRIED: AtomicBool = AtomicBool::new(false);

/// The VM, as `apply` left it.
pub(crate) struct Applied {
    pub(crate) lane: Lane,
    /// The host, before there was a VM.
    pub(crate) host: HostState,
    /// Whether it was brought back and nothing was done with it since.
    fresh: AtomicBool,
}

/// The one VM, brought back to where `apply` had ended. A test that failed with it does no harm to the next.
pub(crate) fn applied() -> impl std::ops::Deref<Target = Applied> {
    let mut shared = SHARED.lock().unwrap_or_else(PoisonError::into_inner);
    match &*shared {
        Some(applied) if applied.fresh.load(Ordering::Relaxed) => {}
        Some(applied) => drop(applied.lane.boma(&["reset", "askari"]).exits(0)),
        None => {
            assert!(!TRIED.swap(true, Ordering::Relaxed), "the VM could not be made: see the first test's output");
            *shared = Some(Applied::make());
        }
    }
    let guard = Guard(shared);
    guard.fresh.store(false, Ordering::Relaxed);
    guard
}

/// The VM that a `cycle` has kept, with its snapshot, is the one that the tests share.
pub(crate) fn leave(lane: Lane, host: HostState) {
    let mut shared = SHARED.lock().unwrap_or_else(PoisonError::into_inner);
    assert!(shared.is_none(), "there is one already");
    *shared = Some(Applied::of(lane, host));
}

struct Guard(MutexGuard<'static, Option<Applied>>);

impl std::ops::Deref for Guard {
    type Target = Applied;
    fn deref(&self) -> &Applied {
        self.0.as_ref().unwrap()
    }
}

/// Statics are never dropped, and the test harness ends by `exit`.
extern "C" fn remove() {
    if let Some(applied) = SHARED.lock().unwrap_or_else(PoisonError::into_inner).take() {
        applied.lane.boma(&["down", "askari"]);
    }
}

impl Applied {
    /// Where the test that leaves one was left out.
    fn make() -> Self {
        let host = HostState::now();
        let applied = Self::of(Lane::new(User::Ordinary), host);
        // A machine that is busy with other things boots slowly, and is none the worse for it.
        applied.boma(&["up", "askari", "--template", "--timeout", "1800"]).exits(0);
        applied.boma(&["apply", "askari"]).exits(0).says(&["snapshot   ok"]);
        applied
    }

    fn of(lane: Lane, host: HostState) -> Self {
        // SAFETY: the handler is a plain function that stays.
        unsafe { nix::libc::atexit(remove) };
        Self { lane, host, fresh: AtomicBool::new(false) }
    }

    /// The next test may begin with it as it is: the last act of a test that has brought it back.
    pub(crate) fn is_fresh(&self) {
        self.fresh.store(true, Ordering::Relaxed);
    }

    pub(crate) fn boma(&self, args: &[&str]) -> Ran {
        self.lane.boma(args)
    }

    /// The VM's folder.
    pub(crate) fn folder(&self) -> camino::Utf8PathBuf {
        self.lane.dir.join("s/vms/askari")
    }

    /// Run a command in the guest as root, which must succeed; what it printed.
    pub(crate) fn root(&self, command: &str) -> String {
        let quoted = command.replace('\'', "'\\''");
        let ran = self.boma(&["ssh", "askari", "--", &format!("sudo -n sh -c '{quoted}'")]);
        ran.exits(0).out().trim().to_owned()
    }

    /// Make its next boots short, where what they lose is not what is tested.
    pub(crate) fn trim(&self) {
        self.root(&format!("{TRIM}\nsync"));
    }

    /// The journal's events after a number.
    pub(crate) fn events(&self, since: u64) -> Vec<serde_json::Value> {
        let ran = self.boma(&["events", "askari", "--since", &since.to_string()]);
        ran.exits(0).out().lines().map(|line| serde_json::from_str(line).unwrap()).collect()
    }

    /// The number of the last event.
    pub(crate) fn last_event(&self) -> u64 {
        self.events(0).last().unwrap()["seq"].as_u64().unwrap()
    }

    /// QEMU's process.
    pub(crate) fn qemu(&self) -> i32 {
        let events = self.events(0);
        let started = events.iter().rfind(|event| event["kind"] == "qemu-started").unwrap();
        started["data"]["pid"].as_i64().unwrap().try_into().unwrap()
    }

    /// Wait until QEMU says that the machine is in a state.
    pub(crate) fn until_state(&self, state: &str) {
        until(Duration::from_secs(180), || {
            let said = self.boma(&["qmp", "askari", "query-status"]).exits(0).out().to_owned();
            said.contains(&format!("\"{state}\"")).then_some(()).ok_or_else(|| format!("not {state}, but {said}"))
        });
    }
}

/// Look again and again until all is well; what the last look said, if it never is.
pub(crate) fn until(limit: Duration, mut look: impl FnMut() -> Result<(), String>) {
    let start = Instant::now();
    while let Err(said) = look() {
        assert!(start.elapsed() < limit, "{said}");
        std::thread::sleep(Duration::from_millis(100));
    }
}

/// A signal to a process.
pub(crate) fn signal(pid: i32, signal: nix::sys::signal::Signal) {
    nix::sys::signal::kill(nix::unistd::Pid::from_raw(pid), signal).unwrap();
}
