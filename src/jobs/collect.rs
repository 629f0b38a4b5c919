//! What is kept of a run: always the machine's own traces, and after a failure what the guest says.
//!
//! Nothing here may stop the run or hide its failure: what cannot be kept is said and left out.

use super::Context;
use super::run::Run;
use evidence::report::{ReportError, RunFolder};
use host::cmd::Cmd;
use host::deadline::Deadline;
use host::failure::{Exit, Failure};
use std::time::Duration;
use vm::access;
use vm::console::boots::parts;
use vm::console::gap;
use vm::diagnose::{self, Shell};
use vm::machine::VmDir;
use vm::monitor::events::{console_cuts, read_all};
use vm::network::{self, NetDir};
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

impl Run<'_> {
    /// Keep the evidence of the run so far; after a failure with the guest's own diagnostics. A user who stopped the run
    /// does not want to wait for those.
    pub async fn keep_evidence(&mut self, failed: bool) {
        self.keep_files();
        // A wrong request says nothing about the guest.
        let by_request = self.record.failure.as_ref().is_some_and(|failure| failure.exit == Exit::Usage);
        if failed && !by_request && self.vm.is_alive() && !super::stop::asked() {
            self.ctx.progress.begin("diagnose");
            let start = std::time::Instant::now();
            let said = self.diagnose(&self.folder()).await;
            self.ctx.progress.end("diagnose", start.elapsed().as_secs_f64(), &said, true);
            // The diagnosis itself is on the console and in the journal too.
            self.keep_files();
        }
    }

    fn keep_files(&self) {
        let (run, vm) = (self.folder(), &self.vm);
        let net = NetDir::of(self.ctx.dirs, &self.plan.net.name);
        // What runs is in the machine's own file; the plan is what was meant before there was one.
        let machine = qemu::Machine::load(&vm.machine()).unwrap_or_else(|_| self.plan.machine.clone());
        let argv = qemu::argv(&machine, &Fds::shown(&machine)).join("\n");
        let mut kept = of_monitor(&run, vm);
        kept.extend([
            run.write("qemu-argv.txt", argv),
            run.copy(&net.dnsmasq_log(), "net/dnsmasq.log"),
            run.copy(&net.holder_log(), "net/holder.log"),
            run.write("net/nft.txt", self.live_rules()),
        ]);
        match (std::fs::metadata(vm.console()), read_all(&vm.events())) {
            (Ok(log), Ok(events)) => {
                for part in parts(usize::try_from(log.len()).unwrap_or(usize::MAX), &console_cuts(&events)) {
                    let text = gap::text(&vm.console(), part.range.start as u64..part.range.end as u64);
                    let text = text.unwrap_or_else(|error| format!("it cannot be read: {error}\n").into());
                    kept.push(run.write(&format!("console/{}.log", part.name()), text));
                }
            }
            (_, Err(error)) => {
                let why = Failure::from(error);
                self.ctx.progress.note(&format!("the console is not kept boot by boot: {why}"));
            }
            // A VM that never ran has none.
            (Err(_), Ok(_)) => {}
        }
        note_missing(&self.ctx, kept);
    }

    /// The network's own rules as they are now, with their counters; the rules as planned where they cannot
    /// be listed.
    fn live_rules(&self) -> String {
        let net = &self.plan.net;
        let list = |network: network::Network| {
            let mut argv = network.enter_net_admin();
            argv.extend(["nft", "list", "table", "inet", net.name.as_str()].map(str::to_owned));
            Cmd::new(&argv[0]).args(&argv[1..]).run().ok()
        };
        match network::open(self.ctx.dirs, &net.name).ok().flatten().and_then(list) {
            Some(live) => live.stdout,
            None => format!("# as planned; the network is gone, or cannot be looked at\n{}", network::nft::guest(net)),
        }
    }

    /// Ask the guest: over ssh, and where that is dead over the serial console. What it says goes into `run`.
    pub(super) async fn diagnose(&self, run: &RunFolder) -> String {
        let progress = self.ctx.progress;
        let mut keep = |name: &str, bytes: &[u8]| {
            progress.trace(name);
            if let Err(error) = run.write(&format!("guest/{name}"), bytes) {
                progress.note(&Failure::from(error).to_string());
            }
        };
        let (way, collected) = match self.ssh_shell().await {
            Ok(mut session) => ("ssh", diagnose::collect(&mut session, LIMIT, &mut keep).await),
            Err(ssh) => {
                progress.note(&format!("ssh is dead ({ssh}); asking over the serial console"));
                match access::root_shell(&self.vm, &Deadline::after(CONSOLE_LIMIT)).await {
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

    async fn ssh_shell(&self) -> Result<vm::ssh::Session, Failure> {
        Ok(self.ssh()?.session(SSH_LIMIT).await?)
    }
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
