//! Several runs, some of them at once. Each is this program again, with a state of its own (a lane): the same guards, the same
//! network in namespaces of its own, the same evidence. What is said here is heard from them; they end with this process,
//! and memory is given to each by what all of this host have promised ([`host::promise`]).

use super::bring_up::own_exe;
use super::{Context, down, guards};
use camino::{Utf8Path, Utf8PathBuf};
use evidence::page::headline;
use evidence::record::Record;
use evidence::report::RunFolder;
use evidence::several::{Row, Several, worst};
use host::child::{self, Job};
use host::dirs::Dirs;
use host::failure::{Exit, Failure, with_causes};
use host::ledger::Leak;
use host::lock::Lock;
use host::names::HostName;
use host::presence::Presence;
use host::secrets::mask;
use host::stop;
use serde_json::Value;
use std::collections::{BTreeMap, BTreeSet};
use std::future::{Future, poll_fn};
use std::pin::Pin;
use std::task::Poll;
use std::time::{Duration, Instant, SystemTime};
use vm::machine::VmDir;

/// How long one run may take: its own limits end it long before.
const LIMIT: Duration = Duration::from_secs(30 * 24 * 3600);

/// One run that is wanted.
#[derive(Clone, Debug)]
pub struct Task {
    /// What it is called: its host, and what tells it from other runs of that host.
    pub name: String,
    /// The mirrored host.
    pub host: HostName,
    /// What was asked for of this one in particular.
    pub asked: BTreeMap<String, String>,
    /// The arguments behind `cycle HOST`.
    pub args: Vec<String>,
}

/// All that is wanted.
#[derive(Debug)]
pub struct Wanted<'a> {
    /// The runs.
    pub tasks: &'a [Task],
    /// How many of them may be at work at once.
    pub at_once: usize,
    /// Whether their VMs stay.
    pub keep: bool,
    /// What was asked for, in words.
    pub command: &'a str,
}

/// What is heard of a run.
pub enum Heard<'a> {
    /// It begins.
    Began,
    /// One of its events.
    Event(&'a Value),
    /// A line for a person.
    Line(&'a str),
    /// It has ended.
    Ended(&'a Row),
}

/// Refuse hosts whose VM is there already. Nothing has been begun.
pub fn none_is_there(dirs: &Dirs, hosts: &[HostName]) -> Result<(), Failure> {
    for host in hosts {
        let home = VmDir::home(dirs, host)?;
        match VmDir::of(&home, host).presence() {
            Presence::Gone => {}
            Presence::There => {
                return Err(Failure::new(Exit::Usage, format!("the VM of {host} is running already"))
                    .next(format!("remove it with `boma-qemu down {host}`")));
            }
            Presence::Unknown(why) => return Err(guards::not_known(&format!("the VM of {host} is running"), &why)),
        }
    }
    Ok(())
}

/// Run all of them, and write down what they came to. The caller holds the run lock. `told` gets what is heard of each, by
/// its number.
pub async fn several(
    ctx: &Context<'_>,
    wanted: &Wanted<'_>,
    told: &dyn Fn(usize, Heard<'_>),
) -> Result<(Several, RunFolder), Failure> {
    let name: HostName = "several".parse()?;
    let folder = RunFolder::create(ctx.dirs, &name, wanted.command)?;
    let (begin, started) = (Instant::now(), humantime::format_rfc3339_seconds(SystemTime::now()).to_string());
    let rows = all(ctx, wanted, &folder, told).await?;
    let several = Several {
        schema: 1,
        version: env!("CARGO_PKG_VERSION").into(),
        command: wanted.command.into(),
        started,
        seconds: begin.elapsed().as_secs_f64(),
        at_once: wanted.at_once,
        code: worst(rows.iter().map(|row| row.code)),
        rows,
    };
    evidence::page::publish_several(&several, &folder)?;
    Ok((several, folder))
}

type Running<'a> = Pin<Box<dyn Future<Output = Row> + 'a>>;

async fn all(
    ctx: &Context<'_>,
    wanted: &Wanted<'_>,
    folder: &RunFolder,
    told: &dyn Fn(usize, Heard<'_>),
) -> Result<Vec<Row>, Failure> {
    let exe = own_exe()?;
    let mut rows: Vec<_> = wanted.tasks.iter().enumerate().map(|(n, task)| new_row(n, task)).collect();
    let mut waiting = wanted.tasks.iter().enumerate();
    let mut running: Vec<(usize, usize, Running<'_>)> = Vec::new();
    loop {
        while running.len() < wanted.at_once && !stop::asked() {
            let Some((n, task)) = waiting.next() else { break };
            let lane = free_lane(ctx.dirs, &running.iter().map(|(_, lane, _)| *lane).collect())?;
            let one = One { ctx, exe: &exe, folder, dirs: ctx.dirs.lane(lane), task, keep: wanted.keep };
            let row = rows[n].clone();
            let work = one.run(row, move |heard: Heard<'_>| told(n, heard));
            running.push((n, lane, Box::pin(work)));
        }
        if running.is_empty() {
            return Ok(rows);
        }
        let (n, row) = poll_fn(|cx| {
            for at in 0..running.len() {
                if let Poll::Ready(row) = running[at].2.as_mut().poll(cx) {
                    let (n, ..) = running.swap_remove(at);
                    return Poll::Ready((n, row));
                }
            }
            Poll::Pending
        })
        .await;
        told(n, Heard::Ended(&row));
        rows[n] = row;
    }
}

fn new_row(n: usize, task: &Task) -> Row {
    // Two runs of one host have a log each.
    let log = if task.asked.is_empty() { format!("{}.log", task.host) } else { format!("{}-{}.log", task.host, n + 1) };
    Row::new(task.name.clone(), task.host.clone(), task.asked.clone(), log)
}

/// The first lane in which no run is at work and no VM is alive. What a dead run has left in it, the next one removes.
fn free_lane(dirs: &Dirs, taken: &BTreeSet<usize>) -> Result<usize, Failure> {
    let mut n = 1;
    loop {
        let lane = dirs.lane(n);
        let locked = taken.contains(&n) || !Lock::look(&guards::run_lock(&lane)).is_gone();
        if !locked && VmDir::list(&lane)?.iter().all(|(_, vm)| vm.presence().is_gone()) {
            return Ok(n);
        }
        n += 1;
    }
}

/// One run, in its lane.
struct One<'a> {
    ctx: &'a Context<'a>,
    exe: &'a Utf8Path,
    folder: &'a RunFolder,
    dirs: Dirs,
    task: &'a Task,
    keep: bool,
}

impl One<'_> {
    async fn run(self, mut row: Row, told: impl Fn(Heard<'_>)) -> Row {
        told(Heard::Began);
        let begin = Instant::now();
        let (argv, env, cwd) = (self.argv(), self.environment(), here());
        let job = Job { argv: &argv, env: &env, cwd: &cwd, limit: LIMIT, stdin: "", orderly: true };
        let mut last = Last::default();
        let mut hear = |line: &str| match event(line) {
            Some(event) => {
                told(Heard::Event(&event));
                last.take(event);
            }
            None => told(Heard::Line(line)),
        };
        let ended = child::run(&job, &mask(&argv.join(" ")), &self.folder.path().join(&row.log), &mut hear).await;
        row.seconds = begin.elapsed().as_secs_f64();
        let status = match ended {
            Ok(ended) => ended.status,
            Err(error) => {
                row.code = Some(Exit::Host.code());
                row.unjudged(Failure::new(Exit::Host, with_causes(&error)));
                return self.tidy(row).await;
            }
        };
        let code = status.and_then(|status| status.code()).and_then(|code| u8::try_from(code).ok());
        row.code = Some(code.unwrap_or(Exit::Lost.code()));
        match (last.record, last.failure) {
            (Some(record), _) => row.judged(&record, headline(&record)),
            (None, Some(failure)) => row.unjudged(failure),
            (None, None) => row.unjudged(Failure::new(
                Exit::Lost,
                format!("it ended without a word ({})", status.map_or("stopped".into(), |status| status.to_string())),
            )),
        }
        self.tidy(row).await
    }

    /// A run removes its VM itself. One that was killed could not.
    async fn tidy(&self, mut row: Row) -> Row {
        let vm = VmDir::of(&self.dirs, &self.task.host);
        if self.keep || Presence::of(vm.path()).is_gone() {
            return row;
        }
        let ctx = Context { dirs: &self.dirs, progress: self.ctx.progress };
        let removed = async {
            let _lock = guards::lock(&ctx, &format!("down {}", self.task.host))?;
            down::down(&ctx, &self.task.host).await
        };
        let leaks = match removed.await {
            Ok(removed) => removed.leaks,
            Err(failure) => vec![Leak { what: format!("VM {}", vm.path()), why: failure.to_string() }],
        };
        if !leaks.is_empty() && row.passed() {
            row.code = Some(Exit::Leaked.code());
        }
        row.leaks = leaks;
        row
    }

    fn argv(&self) -> Vec<String> {
        let own = [self.exe.as_str(), "--root", self.dirs.root.as_str(), "--json", "cycle", self.task.host.as_str()];
        own.into_iter().map(str::to_owned).chain(self.task.args.iter().cloned()).collect()
    }

    /// All that this process was started with, but for the folders.
    fn environment(&self) -> Vec<(String, String)> {
        let folders =
            [("BOMA_STATE", &self.dirs.state), ("BOMA_IT_CACHE", &self.dirs.cache), ("BOMA_RUNS", &self.dirs.runs)];
        let rest =
            std::env::vars_os().filter_map(|(name, value)| Some((name.into_string().ok()?, value.into_string().ok()?)));
        let rest = rest.filter(|(name, _)| folders.iter().all(|(own, _)| own != name));
        rest.chain(folders.iter().map(|(name, folder)| ((*name).to_owned(), folder.to_string()))).collect()
    }
}

fn here() -> Utf8PathBuf {
    std::env::current_dir().ok().and_then(|dir| Utf8PathBuf::from_path_buf(dir).ok()).unwrap_or_else(|| "/".into())
}

/// The event that a line is. What a person is told never begins with a brace.
fn event(line: &str) -> Option<Value> {
    let event: Value = line.starts_with('{').then(|| serde_json::from_str(line).ok())??;
    event.get("event").is_some_and(Value::is_string).then_some(event)
}

/// What a run said at last.
#[derive(Default)]
struct Last {
    record: Option<Box<Record>>,
    failure: Option<Failure>,
}

impl Last {
    fn take(&mut self, mut event: Value) {
        match event["event"].as_str() {
            Some("result") => self.record = serde_json::from_value(event["result"].take()).ok(),
            Some("failure") => self.failure = serde_json::from_value(event["failure"].take()).ok(),
            _ => {}
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use host::testing::scratch;

    #[test]
    fn only_an_object_with_an_event_is_one_and_the_rest_is_text() {
        assert!(event(r#"{"event": "note", "text": "x"}"#).is_some());
        for text in ["", "boot ...", "{", "{}", r#"{"event": 7}"#, r#"  | {"event": "result"}"#, "[1]"] {
            assert_eq!(event(text), None, "{text}");
        }
    }

    #[test]
    fn a_lane_in_which_somebody_is_at_work_is_not_taken() {
        let (_keep, dir) = scratch();
        let dirs = Dirs { root: "/".into(), state: dir.join("s"), cache: "/".into(), runs: "/".into() };
        let free = |taken: &[usize]| free_lane(&dirs, &taken.iter().copied().collect()).unwrap();
        assert_eq!((free(&[]), free(&[1, 3])), (1, 2));
        let first = dirs.lane(1);
        std::fs::create_dir_all(&first.state).unwrap();
        let lock = Lock::try_take(&guards::run_lock(&first), "somebody").unwrap();
        assert_eq!(free(&[]), 2);
        drop(lock);
        assert!(host::testing::soon(|| free(&[]) == 1));
        // A VM that is alive, though nobody is at work: it was kept.
        let vm = VmDir::of(&first, &"askari".parse().unwrap());
        std::fs::create_dir_all(vm.path()).unwrap();
        let _alive = Lock::try_take(&vm.alive(), "its monitor").unwrap();
        assert_eq!(free(&[]), 2);
        assert_eq!(VmDir::home(&dirs, &"askari".parse().unwrap()).unwrap().state, first.state);
        assert_eq!(VmDir::home(&dirs, &"web1".parse().unwrap()).unwrap().state, dirs.state);
        assert!(
            none_is_there(&dirs, &["askari".parse().unwrap()]).unwrap_err().to_string().contains("running already")
        );
    }
}
