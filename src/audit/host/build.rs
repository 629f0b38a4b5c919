//! The build of the image: run to its end, its log kept, one image as its result.

use super::Site;
use super::shells::environment_of;
use crate::audit::outcome::Seen;
use boot_media::medium::find_one;
use host::child::{self, ChildError, Job};
use host::deadline::Deadline;
use host::tail::end_of;

/// The log's name in the evidence folder.
const LOG: &str = "build.log";
/// How much of the log's end is shown, in bytes.
const SHOWN: u64 = 4096;

/// Run the command as somebody would who has just logged in.
pub(super) async fn build(site: &Site, deadline: &Deadline, line: &mut dyn FnMut(&str)) -> Seen {
    let Some((build, folder)) = &site.build else { return Seen::unknown("the profile has no build") };
    if !folder.is_dir() {
        return Seen::fails("no such folder", format!("there is no folder {folder} to build in"));
    }
    let limit = std::time::Duration::from_secs(build.limit).min(deadline.left());
    let argv: Vec<String> =
        ["bash", "-lc", "exec \"$@\"", "bash"].into_iter().map(str::to_owned).chain(build.command.clone()).collect();
    let env = environment_of(&site.user);
    let log = site.evidence.join(LOG);
    let job = Job { argv: &argv, env: &env, cwd: folder, limit, stdin: "", orderly: false };
    let ended = child::run(&job, &build.command.join(" "), &log, line).await;
    let evidence = end_of(&log, SHOWN).unwrap_or_default();
    let seen = match ended {
        Err(ChildError::Start { program, source }) => {
            Seen::unknown(format!("cannot run {program} in {folder}: {source}"))
        }
        Err(error @ ChildError::Io { .. }) => Seen::unknown(error.to_string()),
        Ok(ended) => match ended.status {
            None => Seen::fails("stopped", format!("the build did not end within {:.0} s", limit.as_secs_f64())),
            Some(status) if !status.success() => {
                let said = ended.stderr.lines().rfind(|line| !line.trim().is_empty()).unwrap_or("nothing");
                Seen::fails(status.to_string(), format!("the build ended with {status}; it last said: {said}"))
            }
            Some(_) => match site.image.as_ref().map(|glob| find_one(glob.as_str())) {
                None => Seen::unknown("the profile does not say where the image is"),
                Some(Err(cause)) => Seen::fails("no single image", format!("the build ended well, but {cause}")),
                Some(Ok(image)) => Seen::holds(format!("{image}; the whole log is {LOG}")),
            },
        },
    };
    seen.in_text(evidence)
}
