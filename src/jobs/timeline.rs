//! What a boot says of itself once it has settled: kept as evidence, judged by nobody.

use super::run::Run;
use evidence::record::BootSeen;
use host::failure::Failure;
use vm::console::boots::parts;
use vm::monitor::events::{console_cuts, read_all};
use vm::ssh::Session;
use vm::timeline::{self, Timeline};

impl Run<'_> {
    /// Keep systemd's figures of the boot that runs. A guest that cannot give them is no worse a guest: then
    /// the reason is kept.
    pub(super) async fn look_at_boot(&mut self, session: &Session) {
        self.ctx.progress.trace("the boot's figures");
        let read = timeline::read(session).await.map_err(Failure::from);
        self.keep_boot(read);
    }

    fn keep_boot(&mut self, read: Result<Timeline, Failure>) {
        let (console, read) = match self.console_part() {
            Ok(console) => (console, read),
            Err(failure) => (String::new(), Err(failure)),
        };
        let seen = match read {
            Ok(timeline) => self.keep_timeline(console, &timeline),
            Err(failure) => {
                let why = failure.to_string();
                self.ctx.progress.note(&why);
                BootSeen { console, stages: None, file: None, why: Some(why) }
            }
        };
        self.record.boots.push(seen);
    }

    fn keep_timeline(&self, console: String, timeline: &Timeline) -> BootSeen {
        let file = format!("timeline/{}-{}.json", self.record.boots.len() + 1, console);
        // Plain data with string keys: serialising it cannot fail.
        let text = host::visible::json_pretty(timeline).unwrap_or_default();
        let kept = self.folder().write(&file, text);
        let why = kept.err().map(|error| Failure::from(error).to_string());
        BootSeen { console, stages: Some(timeline.stages), file: Some(file), why }
    }

    /// The part of the console log that is being written now.
    fn console_part(&self) -> Result<String, Failure> {
        let events = read_all(&self.vm.events())?;
        Ok(parts(usize::MAX, &console_cuts(&events)).last().map(|part| part.name()).unwrap_or_default())
    }
}
