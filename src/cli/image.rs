//! `image`: the golden images in the cache.

use super::args::ImageCommand;
use super::say::Say;
use crate::failure::{Exit, Failure};
use crate::host::dirs::Dirs;
use crate::image::{Cache, Catalogue, Golden, Listed, Terminal};
use crate::jobs::stop;

/// Run one of its commands.
pub(super) fn run(dirs: &Dirs, command: ImageCommand, say: &Say) -> Result<u8, Failure> {
    stop::listen().map_err(|e| Failure::new(Exit::Host, format!("cannot listen for signals: {e}")))?;
    let cache = Cache::new(&dirs.cache);
    let catalogue = || Catalogue::read(&dirs.root.join("profiles/images.json"));
    let watch = Terminal::new(stop::asked);
    match command {
        ImageCommand::Fetch { name } => told(&cache.fetch(&catalogue()?, &name_or_default(name), &watch)?, say),
        ImageCommand::Build { name } => told(&cache.build(&catalogue()?, &name_or_default(name), &watch)?, say),
        ImageCommand::List => {
            let all = cache.list()?;
            if all.is_empty() {
                say.result(format!("no image in {}", dirs.cache));
            }
            all.iter().for_each(|one| line(one, say));
            Ok(0)
        }
        ImageCommand::Verify { name } => {
            let mut all = cache.verify()?;
            all.retain(|one| name.as_ref().is_none_or(|name| one.record.image == *name));
            all.iter().for_each(|one| line(one, say));
            match all.iter().find(|one| one.fault.is_some()) {
                None => Ok(0),
                Some(bad) => Err(Failure::new(Exit::Usage, format!("{} is not what it was recorded to be", bad.path))
                    .next(format!("remove {} and run `boma-qemu image fetch` (or `image build`)", bad.path))),
            }
        }
    }
}

fn name_or_default(name: Option<String>) -> String {
    name.unwrap_or_else(|| crate::profile::DEFAULT_IMAGE.into())
}

fn told(golden: &Golden, say: &Say) -> Result<u8, Failure> {
    say.object(&serde_json::json!({"event": "image", "image": golden}));
    say.result(golden.path.as_str());
    Ok(0)
}

fn line(one: &Listed, say: &Say) {
    say.object(&serde_json::json!({"event": "image", "image": one}));
    let state = match (&one.fault, one.current) {
        (Some(fault), _) => format!("WRONG: {fault}"),
        (None, true) => "current".into(),
        (None, false) => "older".into(),
    };
    let record = &one.record;
    say.result(format!(
        "{:<12} {:>6} MiB  {:<8} sha512 {}  {}  {}",
        record.image,
        record.bytes >> 20,
        record.origin.word(),
        &record.sha512[..16],
        state,
        one.path
    ));
}
