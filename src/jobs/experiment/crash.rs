//! Crash states: one run of the workload, the drive's log of it, and state after state examined without a boot.

use crate::jobs::run::Run;
use crate::jobs::stop::or_stopped;
use evidence::experiment::Wanted;
use evidence::experiment::crash::guest::{self, GuestError, Place, Sums};
use evidence::experiment::crash::{CrashStates, CrashWanted, Judge, Shape};
use evidence::report::RunFolder;
use host::failure::{Exit, Failure};
use host::presence::ignore;
use serde_json::Value;
use std::collections::HashMap;
use std::collections::hash_map::Entry;
use std::time::Duration;
use vm::crash::{Bench, CrashError, Examined, Images, State, Window};
use vm::drive::log::Recorded;
use vm::handle::Vm;
use vm::monitor::LogStep;
use vm::qemu::Machine;
use vm::ssh::Session;

/// How long a short script in the guest may take.
const ASK_LIMIT: Duration = Duration::from_secs(120);
/// How long the checksums of all files may take.
const SUMS_LIMIT: Duration = Duration::from_secs(900);
/// How long QEMU may take to stop the guest.
const STOP_LIMIT: Duration = Duration::from_secs(60);

/// What the window came to.
struct Seen {
    place: Place,
    before: Sums,
    after: Sums,
}

impl Run<'_> {
    /// Run the workload once from the snapshot, and examine so many states that a power loss at its end could have left.
    pub(super) async fn crash_states(
        &mut self,
        wanted: &CrashWanted,
        all: &Wanted,
        limit: Duration,
        folder: &RunFolder,
    ) -> Result<CrashStates, Failure> {
        self.restore(&all.from, limit).await?;
        self.phase("crash states", async |run| {
            let vm = run.vm();
            let done = or_stopped(async {
                let seen = window(vm, wanted, limit).await?;
                let scratch = scratch(vm)?;
                let bench = bench(vm, &seen.place, scratch.path()).await?;
                go_on(vm).await;
                examine(bench, seen, wanted.states, all.seed, folder).await
            })
            .await;
            // However it ended, the machine runs on a drive that keeps no log.
            go_on(vm).await;
            let found = done?;
            let said = found.headline();
            Ok((found, said))
        })
        .await
    }
}

/// From the beginning of the log to its end at the power loss. The guest stands still afterwards.
async fn window(vm: &Vm, wanted: &CrashWanted, limit: Duration) -> Result<Seen, Failure> {
    let session = vm.ssh()?.session(ASK_LIMIT).await?;
    let place =
        guest::place(&ask(&session, &guest::place_script(&wanted.durable), ASK_LIMIT).await?).map_err(unusable)?;
    let sums = async || {
        let said = ask(&session, &guest::sums_script(&wanted.durable), SUMS_LIMIT).await?;
        guest::sums(&said).map_err(unusable)
    };
    let before = sums().await?;
    ask(&session, &place.prepare_script(), ASK_LIMIT).await?;
    let client = vm.client();
    client.drive_log(LogStep::Begin).await?;
    let said = ask(&session, &place.window_script(&wanted.workload), limit).await?;
    // The power is lost here: what was promised by now must be there.
    client.drive_log(LogStep::Mark).await?;
    let code = guest::workload_code(&said).map_err(unusable)?;
    if code != 0 {
        let what = format!("the workload ended with {code} in the guest: {}", said.trim());
        return Err(Failure::new(Exit::Usage, what).next("try it with `boma-qemu ssh`; it is run by root, as `sh -c`"));
    }
    let after = sums().await?;
    if after.is_empty() {
        let what = "none of the files that --durable names is there when the workload has ended";
        return Err(Failure::new(Exit::Usage, what).next("correct --durable, or the workload"));
    }
    client.qmp("stop", Value::Null, STOP_LIMIT).await?;
    client.drive_log(LogStep::Save).await?;
    Ok(Seen { place, before, after })
}

async fn ask(session: &Session, script: &str, limit: Duration) -> Result<String, Failure> {
    let answer = session.root_script(script, limit).await?;
    match answer.code {
        0 => Ok(answer.stdout),
        code => {
            let said = format!("{} {}", answer.stdout.trim(), answer.stderr.trim());
            let what = format!("a script for the crash states ended with {code} in the guest: {}", said.trim());
            Err(Failure::new(Exit::Lost, what).next("the guest needs coreutils (stat, sync, sha256sum), find and awk"))
        }
    }
}

fn unusable(error: GuestError) -> Failure {
    Failure::new(Exit::Usage, error.what).next(error.next)
}

/// A directory for the scratch copy, in the VM's own, which goes with it.
fn scratch(vm: &Vm) -> Result<tempfile::TempDir, Failure> {
    let made = tempfile::Builder::new().prefix("crash").tempdir_in(vm.dir().path());
    made.map_err(|e| Failure::new(Exit::Host, format!("cannot make a directory in {}: {e}", vm.dir().path())))
}

/// The scratch copy as the partition was when the log began, and what changed since. The image must not change meanwhile.
async fn bench(vm: &Vm, place: &Place, scratch: &std::path::Path) -> Result<(Bench, Window), Failure> {
    let path = vm.dir().drive_log();
    let recorded = Recorded::load(path.as_std_path()).map_err(|source| CrashError::Log { path: path.clone(), source });
    ignore(std::fs::remove_file(&path), "it holds what the guest wrote, and was read");
    let images = images(vm)?;
    let window = Window::of(&recorded?, &images, place.partition())?;
    let disk = images.disk()?;
    let scratch = camino::Utf8Path::from_path(scratch);
    let dir = scratch.ok_or_else(|| Failure::new(Exit::Bug, "the scratch directory's path is no text"))?;
    Ok((Bench::new(dir, &disk, place.partition())?, window))
}

fn images(vm: &Vm) -> Result<Images, Failure> {
    let machine = Machine::load(&vm.dir().machine())?;
    Images::of(&machine)
        .ok_or_else(|| Failure::new(Exit::Usage, "a machine that boots from media has no disk that loses anything"))
}

/// Let the guest go on, and the drive write to its image again.
async fn go_on(vm: &Vm) {
    let client = vm.client();
    ignore(client.drive_log(LogStep::End).await, "a drive without a log, or without a machine, writes already");
    ignore(
        client.qmp("cont", Value::Null, STOP_LIMIT).await,
        "one that runs goes on; one that is gone is seen by what comes next",
    );
}

/// State after state.
async fn examine(
    (mut bench, window): (Bench, Window),
    seen: Seen,
    states: usize,
    seed: u64,
    folder: &RunFolder,
) -> Result<CrashStates, Failure> {
    let Seen { place, before, after } = seen;
    let shape = Shape::of(&window);
    let mut judge = Judge::new(&place, &before, &after, window.promised);
    let paths = judge.paths(&place);
    let (mut known, mut lines): (HashMap<State, Examined>, String) = (HashMap::new(), String::new());
    for n in 0..states {
        // A part of the states is no answer.
        or_stopped(async { Ok(()) }).await?;
        let state = shape.state(seed, n);
        // The same state is the same again.
        let found = match known.entry(state.clone()) {
            Entry::Occupied(there) => there.into_mut(),
            Entry::Vacant(free) => free.insert(bench.examine(window.writes(&state), &paths).await?),
        };
        judge.take(n, &state, found);
        let line = serde_json::json!({
            "state": n, "after": state.after, "kept": state.kept, "fsck": format!("{:?}", found.fsck).to_lowercase(),
            "said": found.said, "seconds": found.seconds,
        });
        lines += &format!("{line}\n");
    }
    let missing = bench.missing.clone();
    folder.write("crash-states.ndjson", lines)?;
    bench.finish()?;
    let mut all = judge.finish(place, seed);
    all.different = known.len();
    all.flushes[0] = window.epochs.len().saturating_sub(1);
    all.changed_bytes = window.bytes();
    all.overruns = window.overruns;
    all.seconds_per_state = known.values().map(|found| found.seconds).sum::<f64>() / known.len().max(1) as f64;
    all.missing = missing;
    Ok(all)
}
