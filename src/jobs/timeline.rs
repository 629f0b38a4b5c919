//! What a boot says of itself once it has settled: kept as evidence, judged by nobody.

use super::run::Run;
use evidence::record::BootSeen;
use evidence::report::RunFolder;
use host::failure::Failure;
use vm::console::boots::parts;
use vm::handle::Vm;
use vm::monitor::events::console_cuts;
use vm::ssh::Session;
use vm::timeline::{self, Timeline};

/// Keep systemd's figures of the boot that runs. A guest that cannot give them is no worse a guest: then
/// the reason is kept.
pub(super) async fn look(run: &Run<'_>, session: &Session) -> BootSeen {
    run.progress().trace("the boot's figures");
    let read = timeline::read(session).await.map_err(Failure::from);
    let (console, read) = match console_part(run.vm()) {
        Ok(console) => (console, read),
        Err(failure) => (String::new(), Err(failure)),
    };
    match read {
        Ok(timeline) => kept(&run.folder(), run.record().boots.len() + 1, console, &timeline),
        Err(failure) => {
            let why = failure.to_string();
            run.progress().note(&why);
            BootSeen { console, stages: None, file: None, why: Some(why) }
        }
    }
}

fn kept(folder: &RunFolder, number: usize, console: String, timeline: &Timeline) -> BootSeen {
    let file = format!("timeline/{number}-{console}.json");
    // Plain data with string keys: serialising it cannot fail.
    let text = host::visible::json_pretty(timeline).unwrap_or_default();
    let why = folder.write(&file, text).err().map(|error| Failure::from(error).to_string());
    BootSeen { console, stages: Some(timeline.stages), file: Some(file), why }
}

/// The part of the console log that is being written now.
fn console_part(vm: &Vm) -> Result<String, Failure> {
    let events = vm.events()?;
    Ok(parts(usize::MAX, &console_cuts(&events)).last().map(|part| part.name()).unwrap_or_default())
}
