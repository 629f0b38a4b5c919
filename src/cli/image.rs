//! `image`: the golden images in the cache.

use super::args::ImageCommand;
use super::say::Say;
use crate::image::{Cache, Catalogue, Golden, Listed, Terminal};
use crate::jobs::{down::has_image, stop};
use crate::revision::short;
use crate::template::Shelf;
use host::dirs::Dirs;
use host::failure::{Exit, Failure};
use host::shell::quoted;

/// Run one of its commands.
pub(super) fn run(dirs: &Dirs, command: ImageCommand, say: &Say) -> Result<u8, Failure> {
    stop::listen().map_err(|e| Failure::new(Exit::Host, format!("cannot listen for signals: {e}")))?;
    let catalogue = Catalogue::read(&dirs.root.join("profiles/images.json"))?;
    let cache = Cache::of(dirs).pinned(catalogue.clone());
    let watch = Terminal::new(stop::asked);
    match command {
        ImageCommand::Fetch { name } => told(&cache.fetch(&catalogue, &name_or_default(name), &watch)?, say),
        ImageCommand::Build { name } => told(&cache.build(&catalogue, &name_or_default(name), &watch)?, say),
        ImageCommand::List => {
            let all = cache.list()?;
            if all.is_empty() {
                say.result(format!("no image in {}", dirs.cache));
            }
            all.iter().for_each(|one| line(one, say));
            Ok(0)
        }
        ImageCommand::Verify { name } => verify(&cache, name.as_deref(), dirs, say),
    }
}

/// The templates of this user.
pub(super) fn templates(dirs: &Dirs, say: &Say) -> Result<u8, Failure> {
    let shelf = Shelf::of(dirs);
    let all = shelf.list(has_image(dirs)?)?;
    if all.is_empty() {
        say.result(format!("no template in {}", shelf.dir()));
    }
    for one in &all {
        say.object(&serde_json::json!({"event": "template", "template": one}));
        let name = one.path.file_name().and_then(|name| name.get(..12)).unwrap_or_default();
        let called = one.of.as_ref().map_or("unreadable", |of| of.called.as_str());
        let (mib, hours) = (one.bytes >> 20, one.unused_s / 3600);
        let at = one.at.as_deref().unwrap_or("an unknown time");
        let stale = one.stale.as_ref().map(|why| format!("; stale: {why}")).unwrap_or_default();
        let base = one.of.as_ref().and_then(|of| of.base.as_ref());
        let base = base.map(|base| format!(", {} at {}", base.host, short(&base.commit))).unwrap_or_default();
        say.result(format!("{name}  {mib:>6} MiB  of {called}{base}, saved {at}, used {hours} h ago{stale}"));
    }
    Ok(0)
}

/// Every image, or those of one name, read whole. Only what was read and is right counts as verified.
fn verify(cache: &Cache, name: Option<&str>, dirs: &Dirs, say: &Say) -> Result<u8, Failure> {
    let is_of = |one: &Listed, name: &str| match &one.record {
        Some(record) => record.image == name,
        // What has no record may be of any name that it begins with.
        None => one.path.file_name().is_some_and(|file| file.starts_with(name)),
    };
    let mut all = cache.verify()?;
    all.retain(|one| name.is_none_or(|name| is_of(one, name)));
    all.iter().for_each(|one| line(one, say));
    let failed = |what: String| Failure::new(Exit::Usage, what);
    if all.is_empty() {
        let what = name.map_or_else(|| "image".into(), |name| format!("image called {name}"));
        return Err(failed(format!("nothing was verified: there is no {what} in {}", dirs.cache))
            .next("run `boma-qemu image fetch` (or `image build`)"));
    }
    match all.iter().find(|one| one.fault.is_some()) {
        None => Ok(0),
        Some(Listed { path, record: Some(_), .. }) => Err(failed(format!("{path} is not what it was recorded to be"))
            .next(format!(
                "`rm -f -- {}`, then run `boma-qemu image fetch` (or `image build`)",
                quoted(path.as_str())
            ))),
        Some(Listed { path, fault, .. }) => {
            let why = fault.clone().unwrap_or_default();
            Err(failed(format!("{path} was not verified: {why}"))
                .next("fetch it, pin its SHA-512 in profiles/images.json, or take it out of the cache"))
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
    let Some(record) = &one.record else {
        let why = one.refused.as_deref().unwrap_or_default();
        return say.result(format!("REFUSED  {}: {}", one.path, why));
    };
    let state = match (&one.fault, &one.refused, one.current) {
        (Some(fault), ..) => format!("WRONG: {fault}"),
        (None, Some(why), _) => format!("not taken: {why}"),
        (None, None, true) => "current".into(),
        (None, None, false) => "older".into(),
    };
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
