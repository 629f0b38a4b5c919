//! What is kept of a run: always the machine's own traces, and after a failure what the guest says.
//!
//! Nothing here may stop the run or hide its failure: what cannot be kept is said and left out.

use super::run::Run;
use crate::console::boots::boots;
use crate::monitor::events::{boot_offsets, read_all};
use crate::network::NetDir;
use crate::qemu::{self, Fds};

impl Run<'_> {
    /// Keep the evidence of the run so far; after a failure with the guest's own diagnostics.
    pub async fn keep_evidence(&mut self, failed: bool) {
        self.keep_files();
        if failed && self.vm.is_alive() {
            self.ctx.progress.begin("diagnose");
            let start = std::time::Instant::now();
            let said = self.diagnose().await;
            self.ctx.progress.end("diagnose", start.elapsed().as_secs_f64(), &said, true);
            // The diagnosis itself is on the console and in the journal too.
            self.keep_files();
        }
    }

    fn keep_files(&self) {
        let (run, vm) = (self.folder(), &self.vm);
        let net = NetDir::of(self.ctx.dirs, &self.plan.net.name);
        let fds = Fds { qmp: 3, serial: 4, tap: 5 };
        let argv = qemu::argv(&self.plan.machine, &fds).join("\n");
        let mut kept = vec![
            run.write("qemu-argv.txt", argv),
            run.copy(&vm.console(), "console.log"),
            run.copy(&vm.events(), "events.ndjson"),
            run.copy(&vm.qemu_err(), "qemu-stderr.txt"),
            run.copy(&vm.monitor_log(), "monitor.log"),
            run.copy(&net.dnsmasq_log(), "net/dnsmasq.log"),
            run.copy(&net.holder_log(), "net/holder.log"),
            run.write("net/nft.txt", crate::network::nft::guest(&self.plan.net)),
        ];
        if let (Ok(log), Ok(events)) = (std::fs::read(vm.console()), read_all(&vm.events())) {
            for boot in boots(log.len(), &boot_offsets(&events)) {
                kept.push(run.write(&format!("console/boot-{}.log", boot.number), &log[boot.range]));
            }
        }
        for error in kept.into_iter().filter_map(Result::err) {
            self.ctx.progress.note(&crate::failure::Failure::from(error).to_string());
        }
    }

    /// Ask the guest: over ssh, and where that is dead over the serial console.
    async fn diagnose(&self) -> String {
        "no diagnosis yet".into()
    }
}
