//! The package lists of a fresh guest. Cloud images are published without them, and a host that was set up long ago has them:
//! a role that installs a package by its name works there, and would fail here.

use super::run::{Run, Said};
use host::failure::Failure;
use std::time::Duration;
use vm::network::Egress;

/// What root asks the guest. Other package managers than apt fetch their lists by themselves.
const SCRIPT: &str = "command -v apt-get >/dev/null || { echo not apt; exit 0; }
for list in /var/lib/apt/lists/*_Packages*; do [ -e \"$list\" ] && { echo there; exit 0; }; done
apt-get -qq -o DPkg::Lock::Timeout=60 update && echo fetched";

/// Under emulation it takes half a minute, and the mirror may be slow.
const LIMIT: Duration = Duration::from_secs(600);

/// Fetch them where there are none; whether the guest has what it can have. That they cannot be had ends nothing: not every
/// playbook needs any.
pub(super) async fn fetch(run: &Run<'_>) -> Result<(bool, Said), Failure> {
    if run.plan().net.egress == Egress::None {
        return Ok((true, "left as they are: there is no way out (--egress none)".to_owned().into()));
    }
    let session = run.vm().session(LIMIT).await?;
    let answer = session.root_script(SCRIPT, LIMIT).await?;
    let text = match (answer.code, answer.stdout.trim()) {
        (0, "fetched") => "there were none, and the guest has fetched them (apt-get update)".to_owned(),
        (0, "there") => "there already".to_owned(),
        (0, _) => "left to the guest's package manager, which is not apt".to_owned(),
        (code, _) => {
            let why = answer.stderr.trim().lines().last().unwrap_or("it did not say why").to_owned();
            let text = format!("there are none, and `apt-get update` ended with {code}: {why}");
            run.progress().note(&format!("{text}; a role that installs a package by its name will fail"));
            return Ok((false, Said { text, ok: false }));
        }
    };
    Ok((true, text.into()))
}
