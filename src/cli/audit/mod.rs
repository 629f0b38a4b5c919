//! `audit`.

mod init;
mod table;

use super::args::{AuditArgs, AuditCommand};
use super::dispatch::wait_on;
use super::say::Say;
use crate::audit::schedule::in_order;
use crate::audit::scope::Scope;
use crate::audit::{AuditProfile, Judged, Phase};
use crate::jobs::audit::{Wanted, audit};
use crate::jobs::{Context, guards};
use boot_media::medium;
use camino::{Utf8Path, Utf8PathBuf};
use host::dirs::Dirs;
use host::failure::{Exit, Failure};
use host::names::{BadName, HostName};
use std::time::Duration;

/// Run it, or list what it would look at.
pub(super) fn run(ctx: Context<'_>, mut args: AuditArgs, say: &Say) -> Result<u8, Failure> {
    match args.command.take() {
        Some(AuditCommand::Init { image, name, output }) => return init::init(&ctx, &image, name, output, say),
        Some(AuditCommand::Lint { profile }) => return lint(ctx.dirs, &profile, say),
        None => {}
    }
    // The command line asks for a name where no subcommand is given.
    let name = args.name.take().ok_or_else(|| Failure::new(Exit::Usage, "no profile is named"))?;
    let wanted = wanted(&ctx, name, &args)?;
    if args.list {
        return Ok(list(&wanted, say));
    }
    let command = format!("audit {}", wanted.name);
    let _lock = guards::lock(&ctx, &command)?;
    let told = |one: &Judged| say.object(&serde_json::json!({"event": "condition", "condition": one}));
    let audit = wait_on(audit(ctx, &wanted, &command, told))?;
    say.text("");
    say.painted(&table::text(&audit));
    say.object(&serde_json::json!({"event": "result", "result": audit}));
    if let Some(failure) = &audit.failure {
        super::tell(say, failure);
    }
    if audit.kept {
        let name = &audit.profile;
        say.text(format!(
            "\nThe machine is still there. Look at it:\n  boma-qemu console {name} --attach\nand remove it:\n  boma-qemu down {name}"
        ));
    }
    Ok(audit.code())
}

/// All that is wrong with a profile is an error; of one that can be used it is said what is in it.
pub(super) fn lint(dirs: &Dirs, profile: &Utf8Path, say: &Say) -> Result<u8, Failure> {
    let is_file = profile.as_str().contains('/') || profile.extension() == Some("json");
    let read = match is_file {
        true => AuditProfile::load_file(profile)?,
        false => {
            let name =
                profile.as_str().parse().map_err(|error: BadName| Failure::new(Exit::Usage, error.to_string()))?;
            AuditProfile::load(dirs, &name)?
        }
    };
    let count = |phase| read.conditions.iter().filter(|one| one.phase == phase).count();
    let [host, image, runtime] = Phase::ALL.map(count);
    say.object(
        &serde_json::json!({"event": "lint", "profile": profile, "host": host, "image": image, "runtime": runtime}),
    );
    say.result(format!("{profile}: nothing is wrong; conditions: {host} host, {image} image, {runtime} runtime"));
    Ok(0)
}

fn wanted(ctx: &Context<'_>, name: HostName, args: &AuditArgs) -> Result<Wanted, Failure> {
    let profile = AuditProfile::load(ctx.dirs, &name)?;
    if profile.pxe.is_some() && args.image.is_some() {
        return Err(Failure::new(Exit::Usage, format!("--image: {name} is about what comes over the network (`pxe`)"))
            .next("leave --image out, or write a profile for the image: `boma-qemu audit init IMAGE`"));
    }
    let here = std::env::current_dir().ok().and_then(|path| Utf8PathBuf::from_path_buf(path).ok());
    let image = profile.image(ctx.dirs, args.image.as_deref(), here.as_deref().unwrap_or(Utf8Path::new("/")));
    if let (Some(_), Some(image), false) = (&args.image, &image, args.list) {
        is_there(image)?;
    }
    let not_building = match (&args.image, &profile.build) {
        (Some(_), _) => Some("--image names an image, so nothing is built"),
        (None, None) => Some("the profile names no build"),
        (None, Some(_)) => None,
    };
    let scope = Scope { only: args.only.clone(), not_building };
    if let Some(unknown) = scope.unknown(&profile.conditions) {
        return Err(Failure::new(Exit::Usage, format!("--only: {name} has no condition {unknown}"))
            .next(format!("`boma-qemu audit {name} --list` shows them all; host, image and runtime are its phases")));
    }
    Ok(Wanted { image, scope, keep: args.keep, limit: Duration::from_secs(args.timeout), name, profile })
}

/// An image that is named on the command line is there; how many a glob matches is a condition of its own.
fn is_there(image: &Utf8Path) -> Result<(), Failure> {
    if image.as_str().contains(['*', '?', '[']) {
        return Ok(());
    }
    medium::find_one(image.as_str()).map(drop).map_err(|error| {
        Failure::new(Exit::Usage, format!("--image: {error}"))
            .next("name one image, or a glob in quotes that matches one")
    })
}

fn list(wanted: &Wanted, say: &Say) -> u8 {
    let conditions = in_order(&wanted.profile.conditions);
    for condition in &conditions {
        let skipped = wanted.scope.leaves_out(condition).map(|left| left.to_string());
        say.object(&serde_json::json!({"event": "condition", "condition": condition, "skipped": skipped}));
    }
    say.text(table::list(&conditions, |one| wanted.scope.leaves_out(one)).trim_end());
    0
}
