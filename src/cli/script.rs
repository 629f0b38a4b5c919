//! The commands that scripts are made of: QMP, the journal, faults.

use super::say::Say;
use crate::jobs::Context;
use crate::jobs::target::{Target, alive};
use crate::jobs::{fault as faults, wait as waits};
use host::deadline::PROBE_PERIOD;
use host::dirs::Dirs;
use host::failure::{Exit, Failure};
use host::names::HostName;
use host::presence::ignore;
use host::print;
use host::process::ProcessId;
use rustix::event::{PollFd, PollFlags, Timespec, poll};
use serde_json::{Map, Value, json};
use std::time::Duration;
use vm::fault::{Brought, Fault};
use vm::machine::VmDir;
use vm::monitor::events::{Follow, JournalError, What, read_all};
use vm::monitor::{Client, ClientError, QemuStatus, Refusal};
use vm::qmp::QmpError;
use vm::wait::condition::Condition;

/// `qmp`.
pub(super) async fn qmp(
    ctx: &Context<'_>,
    host: &HostName,
    command: &str,
    arguments: Option<&str>,
    limit_s: u64,
    say: &Say,
) -> Result<u8, Failure> {
    let arguments = arguments.map(|text| object(host, command, text)).transpose()?;
    let vm = VmDir::of(ctx.dirs, host);
    alive(&vm, host)?;
    let client = Client::new(&vm);
    // What the command causes comes after this.
    let since = client.status().await?.last_event;
    let answer = client.qmp(command, arguments.map_or(Value::Null, Value::Object), Duration::from_secs(limit_s)).await;
    let answer = match answer {
        Err(error) => return Err(explained(error, host, &client).await),
        Ok(answer) => answer,
    };
    match say.is_json() {
        true => say.object(&json!({"event": "qmp", "command": command, "since": since, "return": answer})),
        false => print::object_pretty(&answer),
    }
    Ok(0)
}

/// The arguments of a QMP command: a JSON object and nothing else.
fn object(host: &HostName, command: &str, text: &str) -> Result<Map<String, Value>, Failure> {
    let refuse = |why: String| {
        Failure::new(Exit::Usage, format!("the arguments of {command} {why}")).next(format!(
            "write them as a JSON object: boma-qemu qmp {host} human-monitor-command '{{\"command-line\": \"info status\"}}'"
        ))
    };
    let kind = match serde_json::from_str(text) {
        Ok(Value::Object(map)) => return Ok(map),
        Err(error) => return Err(refuse(format!("are not JSON: {error}"))),
        Ok(Value::Array(_)) => "an array",
        Ok(Value::String(_)) => "a string",
        Ok(Value::Number(_)) => "a number",
        Ok(Value::Bool(_) | Value::Null) => "a single word",
    };
    Err(refuse(format!("must be a JSON object, and {text} is {kind}")))
}

/// What QMP's refusal or silence means: which commands there are, or how QEMU's process is.
async fn explained(error: ClientError, host: &HostName, client: &Client) -> Failure {
    match &error {
        ClientError::Refused(Refusal::Qmp(QmpError::Refused { class, .. })) if class == "CommandNotFound" => {
            let next = format!("`boma-qemu qmp {host} query-commands` lists those that this QEMU has");
            Failure::from(error).next(next)
        }
        ClientError::Refused(Refusal::Qmp(QmpError::TimedOut { .. })) => {
            let found = client.status().await;
            let Ok(QemuStatus::Running { process, .. }) = found.map(|status| status.qemu) else { return error.into() };
            let mut failure = Failure::from(error);
            failure.chain.push(format!("QEMU, process {}, {}", process.pid, told(process)));
            failure.next(format!(
                "give it longer with --timeout, or end it with `boma-qemu down {host}`; the command may still be carried out"
            ))
        }
        _ => error.into(),
    }
}

/// How a process is, by its state in /proc.
fn told(process: ProcessId) -> &'static str {
    match process.state() {
        Some('T') => "is stopped (SIGSTOP): `kill -CONT` lets it go on",
        Some('t') => "is held by a debugger",
        Some('D') => "waits for a disk of this host",
        Some(_) => "is alive and does not answer",
        None if process.is_alive() => "cannot be looked at",
        None => "is gone",
    }
}

/// `events`.
pub(super) async fn events(dirs: &Dirs, host: &HostName, follow: bool, since: Option<u64>) -> Result<u8, Failure> {
    let vm = VmDir::of(dirs, host);
    let read = |error: JournalError| {
        Failure::new(Exit::Usage, format!("there is no journal of {host}: {error}"))
            .next(format!("start a VM with `boma-qemu up {host}`; the journals of past runs are in the evidence"))
    };
    let since = since.unwrap_or(0);
    if !follow {
        let all = read_all(&vm.events()).map_err(read)?;
        let printed = all.iter().filter(|event| event.seq > since).try_for_each(print::exact);
        ignore(printed, "the reader has gone away (`| head`)");
        return Ok(0);
    }
    let mut journal = Follow::new(&vm.events(), since).map_err(read)?;
    let mut orderly = false;
    loop {
        let event = tokio::select! {
            biased;
            event = journal.next() => event.map_err(read)?,
            () = gone(&vm) => match tokio::time::timeout(PROBE_PERIOD, journal.next()).await {
                Ok(event) => event.map_err(read)?,
                Err(_) => return ended(host, orderly),
            },
            () = reader_gone() => return Ok(0),
        };
        orderly |= matches!(event.what, What::Stop);
        if print::exact(&event).is_err() {
            return Ok(0);
        }
    }
}

/// The VM has gone while its journal was followed.
fn ended(host: &HostName, orderly: bool) -> Result<u8, Failure> {
    match orderly {
        true => Ok(0),
        false => Err(Failure::new(Exit::Lost, format!("the VM's monitor is gone, and QEMU of {host} with it"))
            .next(format!("see monitor.log in the VM's folder; `boma-qemu down {host}` removes what is left"))),
    }
}

/// Returns once the VM's monitor has ended.
async fn gone(vm: &VmDir) {
    while vm.is_alive() {
        tokio::time::sleep(PROBE_PERIOD).await;
    }
}

/// Returns once nobody reads our output any more (`| head -1`): there may never be another line to fail at.
async fn reader_gone() {
    while !reader_is_gone() {
        tokio::time::sleep(PROBE_PERIOD).await;
    }
}

/// Whether nobody reads our output any more.
pub(super) fn reader_is_gone() -> bool {
    let stdout = rustix::stdio::stdout();
    let mut fds = [PollFd::new(&stdout, PollFlags::empty())];
    poll(&mut fds, Some(&Timespec::default())).is_ok() && fds[0].revents().contains(PollFlags::ERR)
}

/// `wait`: what was seen is JSON in any case, since only a program waits.
pub(super) async fn wait(
    ctx: &Context<'_>,
    host: &HostName,
    condition: &Condition,
    limit_s: u64,
    since: Option<u64>,
) -> Result<u8, Failure> {
    let Target { vm, .. } = Target::open(ctx.dirs, host)?;
    let waited = waits::wait(&vm, condition, since, Duration::from_secs(limit_s)).await;
    let waited = waited.map_err(|failure| of_host(failure, host))?;
    let mut line = json!({ "event": "waited" });
    if let (Value::Object(line), Ok(Value::Object(waited))) = (&mut line, serde_json::to_value(&waited)) {
        line.extend(waited);
    }
    print::object(&line);
    Ok(0)
}

/// A next step that names the host.
fn of_host(mut failure: Failure, host: &HostName) -> Failure {
    failure.next = failure.next.map(|next| next.replace("HOST", host.as_str()));
    failure
}

/// `fault`.
pub(super) async fn fault(ctx: &Context<'_>, host: &HostName, fault: Fault, say: &Say) -> Result<u8, Failure> {
    let Target { vm, .. } = Target::open(ctx.dirs, host)?;
    let brought = faults::bring(&vm, fault).await.map_err(|failure| of_host(failure, host))?;
    let Brought { fault, since, seq, more } = &brought;
    let what = match more["off_s"].as_f64() {
        Some(off_s) => format!("{fault} (the guest's clock is {off_s:+.3} s from the host's)"),
        None => fault.to_string(),
    };
    say.result(match fault.is_undoing() {
        true => format!("{what}: done (event {seq})"),
        false => format!("{what}: in force (event {seq}); `boma-qemu fault {host} {}` undoes it", fault.opposite()),
    });
    say.object(&json!({"event": "fault", "fault": fault, "since": since, "seq": seq, "more": more}));
    Ok(0)
}
