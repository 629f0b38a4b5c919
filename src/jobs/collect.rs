//! What is kept of a run: always the machine's own traces, and after a failure what the guest says.
//!
//! Nothing here may stop the run or hide its failure: what cannot be kept is said and left out.

use super::run::Run;
use super::{Context, Progress};
use evidence::report::{ReportError, RunFolder};
use host::cmd::Cmd;
use host::deadline::Deadline;
use host::failure::{Exit, Failure};
use std::time::Duration;
use vm::access;
use vm::console::boots::parts;
use vm::console::gap;
use vm::diagnose::{self, Shell};
use vm::handle::Vm;
use vm::machine::VmDir;
use vm::monitor::events::console_cuts;
use vm::network::{self, NetPlan, Network};
use vm::qemu::{self, Fds};
use vm::serial::{Serial, SerialError};

/// How long all questions to the guest may take.
const LIMIT: Duration = Duration::from_secs(240);
/// How long ssh is tried before the console is.
const SSH_LIMIT: Duration = Duration::from_secs(20);
/// How long the login on the console may take.
const CONSOLE_LIMIT: Duration = Duration::from_secs(90);

/// What a VM's monitor has written, kept in an evidence folder.
pub(super) fn of_monitor(run: &RunFolder, vm: &VmDir) -> Vec<Result<(), ReportError>> {
    vec![
        run.copy_bounded(&vm.console(), "console.log"),
        run.copy(&vm.console_times(), "console.times"),
        run.copy(&vm.events(), "events.ndjson"),
        run.copy_bounded(&vm.qemu_err(), "qemu-stderr.txt"),
        run.copy(&vm.monitor_log(), "monitor.log"),
    ]
}

/// Say what could not be kept.
pub(super) fn note_missing(ctx: &Context<'_>, kept: Vec<Result<(), ReportError>>) {
    for error in kept.into_iter().filter_map(Result::err) {
        ctx.progress.note(&Failure::from(error).to_string());
    }
}

/// Keep the evidence of the run so far; after a failure with the guest's own diagnostics. A user who stopped the run
/// does not want to wait for those.
pub(super) async fn keep_evidence(run: &Run<'_>, failed: bool) {
    keep_files(run);
    // A wrong request says nothing about the guest.
    let by_request = run.record().failure.as_ref().is_some_and(|failure| failure.exit == Exit::Usage);
    if failed && !by_request && run.vm().dir().is_alive() && !super::stop::asked() {
        run.progress().begin("diagnose");
        let start = std::time::Instant::now();
        let said = diagnose(run.vm(), run.progress(), &run.folder()).await;
        run.progress().end("diagnose", start.elapsed().as_secs_f64(), &said, true);
        // The diagnosis itself is on the console and in the journal too.
        keep_files(run);
    }
}

fn keep_files(run: &Run<'_>) {
    let (folder, vm) = (run.folder(), run.vm());
    let (dir, net) = (vm.dir(), vm.net_dir());
    // What runs is in the machine's own file; the plan is what was meant before there was one.
    let machine = qemu::Machine::load(&dir.machine()).unwrap_or_else(|_| run.plan().machine.clone());
    let argv = qemu::argv(&machine, &Fds::shown(&machine)).join("\n");
    let mut kept = of_monitor(&folder, dir);
    kept.extend([
        folder.write("qemu-argv.txt", argv),
        folder.copy(&net.dnsmasq_log(), "net/dnsmasq.log"),
        folder.copy(&net.holder_log(), "net/holder.log"),
        folder.write("net/nft.txt", live_rules(vm, &run.plan().net)),
    ]);
    if run.plan().net.authority.is_some() {
        let [zone, acme] = net.authority_logs();
        kept.extend([folder.copy(&zone, "net/authority.log"), folder.copy(&acme, "net/pebble.log")]);
    }
    match (std::fs::metadata(dir.console()), vm.events()) {
        (Ok(log), Ok(events)) => {
            for part in parts(usize::try_from(log.len()).unwrap_or(usize::MAX), &console_cuts(&events)) {
                let text = gap::text(&dir.console(), part.range.start as u64..part.range.end as u64);
                let text = text.unwrap_or_else(|error| format!("it cannot be read: {error}\n").into());
                kept.push(folder.write(&format!("console/{}.log", part.name()), text));
            }
        }
        (_, Err(error)) => {
            let why = Failure::from(error);
            run.progress().note(&format!("the console is not kept boot by boot: {why}"));
        }
        // A VM that never ran has none.
        (Err(_), Ok(_)) => {}
    }
    note_missing(run.ctx(), kept);
}

/// The network's own rules as they are now, with their counters; the rules as planned where they cannot
/// be listed.
fn live_rules(vm: &Vm, planned: &NetPlan) -> String {
    let list = |network: Network| {
        let mut argv = network.enter_net_admin();
        argv.extend(["nft", "list", "table", "inet", planned.name.as_str()].map(str::to_owned));
        Cmd::new(&argv[0]).args(&argv[1..]).run().ok()
    };
    if let Some(live) = vm.network().ok().and_then(list) {
        return live.stdout;
    }
    // The network's own file knows what must never be reached, too.
    let made = std::fs::read(vm.net_dir().plan()).ok().and_then(|text| serde_json::from_slice(&text).ok());
    let rules = network::nft::guest(made.as_ref().unwrap_or(planned));
    format!("# as planned; the network is gone, or cannot be looked at\n{rules}")
}

/// Ask the guest: over ssh, and where that is dead over the serial console. What it says goes into `run`.
pub(super) async fn diagnose(vm: &Vm, progress: &dyn Progress, run: &RunFolder) -> String {
    let mut keep = |name: &str, bytes: &[u8]| {
        progress.trace(name);
        if let Err(error) = run.write(&format!("guest/{name}"), bytes) {
            progress.note(&Failure::from(error).to_string());
        }
    };
    let (way, collected) = match ssh_shell(vm).await {
        Ok(mut session) => ("ssh", diagnose::collect(&mut session, LIMIT, &mut keep).await),
        Err(ssh) => {
            progress.note(&format!("ssh is dead ({ssh}); asking over the serial console"));
            match access::root_shell(vm.dir(), &Deadline::after(CONSOLE_LIMIT)).await {
                Ok(serial) => {
                    let mut shell = ConsoleShell(serial);
                    let collected = diagnose::collect(&mut shell, LIMIT, &mut keep).await;
                    access::leave(shell.0).await;
                    ("the serial console", collected)
                }
                Err(console) => return format!("the guest cannot be asked: ssh: {ssh}; console: {console}"),
            }
        }
    };
    let missing: Vec<_> = collected.missing.iter().map(|(file, why)| format!("{file}: {why}\n")).collect();
    if !missing.is_empty() {
        keep("missing.txt", missing.concat().as_bytes());
    }
    format!("{} answers over {way} in {}/guest, {} missing", collected.answered.len(), run.path(), missing.len())
}

/// A login of its own, which says whether one is still possible.
async fn ssh_shell(vm: &Vm) -> Result<vm::ssh::Session, Failure> {
    Ok(vm.ssh()?.session(SSH_LIMIT).await?)
}

/// A root shell on the serial console, as a way in for questions.
struct ConsoleShell(Serial);

impl Shell for ConsoleShell {
    type Error = SerialError;

    fn is_root(&self) -> bool {
        true
    }

    fn most(&self) -> usize {
        // The line carries some 20 KB/s, and what it carries is base64.
        48 << 10
    }

    async fn run(&mut self, command: &str, limit: Duration) -> Result<Vec<u8>, SerialError> {
        Ok(self.0.run_most(command, limit, self.most()).await?.bytes)
    }
}
