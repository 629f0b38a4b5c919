//! The old boot's last words: whether it ended in order.
//!
//! Two witnesses are asked: its journal, by its boot id, so that no other boot can speak for it; and its
//! console, from the asking on.

use super::error::RebootError;
use super::mode::Mode;
use super::restart::LastWords;
use super::row::{Ending, Words};
use crate::console::gap;
use crate::machine::VmDir;
use crate::names::BootId;
use crate::ssh::Session;
use std::time::Duration;

const ASK_LIMIT: Duration = Duration::from_secs(60);

/// Targets that a boot reaches only as its last act.
const LAST_TARGETS: [&str; 4] = ["reboot.target", "poweroff.target", "halt.target", "kexec.target"];
/// The kernel's words after an orderly end.
const LAST_LINES: [&str; 4] =
    ["reboot: Restarting system", "reboot: Power down", "reboot: System halted", "kexec_core: Starting new kernel"];

/// What is looked at.
pub(super) struct Old<'a> {
    /// The VM.
    pub(super) vm: &'a VmDir,
    /// A login on what came after.
    pub(super) session: &'a Session,
    /// The old boot's id; none where it was interrupted before anybody could log in.
    pub(super) boot_id: Option<&'a BootId>,
    /// Where the console stood at the asking, in bytes.
    pub(super) from: u64,
    /// Where the new boot's console begins, if an event says so.
    pub(super) to: Option<u64>,
}

/// Words on the console, and where they stand.
pub(super) struct Said {
    pub(super) words: LastWords,
    /// Where the console's words stand in the log, in bytes.
    pub(super) offset: Option<u64>,
}

/// The last words of a boot, judged as the mode's row says.
pub(super) async fn judge(mode: Mode, old: &Old<'_>) -> Result<Said, RebootError> {
    match mode.row().ending {
        Ending::Orderly(words) => {
            let filter = words.unit.map(|unit| format!("UNIT={unit}")).unwrap_or_default();
            let journal = journal(old, &filter, words.journal).await?;
            let console = console(old, &[words.console])?;
            let offset = console.as_ref().map(|(_, offset)| *offset);
            spoken(mode, words, LastWords { journal, console: console.map(|(line, _)| line) })
                .map(|words| Said { words, offset })
        }
        Ending::Abrupt => {
            let units: Vec<_> = LAST_TARGETS.iter().map(|unit| format!("UNIT={unit}")).collect();
            let journal = journal(old, &units.join(" "), "Reached target").await?;
            let console = console(old, &LAST_LINES)?.map(|(line, _)| line);
            unspoken(mode, LastWords { journal, console }).map(|words| Said { words, offset: None })
        }
    }
}

/// One witness is enough: a host without a persistent journal has a console, and the other way round.
fn spoken(mode: Mode, wanted: Words, words: LastWords) -> Result<LastWords, RebootError> {
    match words.any() {
        Some(_) => Ok(words),
        None => Err(RebootError::NoLastWords { mode, journal: wanted.journal, console: wanted.console }),
    }
}

fn unspoken(mode: Mode, words: LastWords) -> Result<LastWords, RebootError> {
    match words.any() {
        Some(said) => Err(RebootError::Orderly { mode, said: said.to_owned() }),
        None => Ok(words),
    }
}

/// The last message of the old boot's process 1 that passes the filter and holds `phrase`.
async fn journal(old: &Old<'_>, filter: &str, phrase: &str) -> Result<Option<String>, RebootError> {
    let Some(boot_id) = old.boot_id else { return Ok(None) };
    let id = boot_id.as_str().replace('-', "");
    let query = format!("sudo -n journalctl -q --no-pager -o cat _BOOT_ID={id} _PID=1 {filter} | grep -F '{phrase}'");
    let answer = old.session.ask(&query, ASK_LIMIT).await.map_err(RebootError::After)?;
    Ok(answer.stdout.lines().last().map(|line| line.trim().to_owned()))
}

/// The last line of the old boot's console that holds one of `phrases`, and where it stands.
fn console(old: &Old<'_>, phrases: &[&str]) -> Result<Option<(String, u64)>, RebootError> {
    let lines = gap::lines(&old.vm.console(), old.from..old.to.unwrap_or(u64::MAX)).map_err(RebootError::Console)?;
    let found = lines.into_iter().rfind(|line| phrases.iter().any(|phrase| line.text.contains(phrase)));
    Ok(found.map(|line| (line.text.trim().to_owned(), line.offset)))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn words(journal: Option<&str>, console: Option<&str>) -> LastWords {
        LastWords { journal: journal.map(str::to_owned), console: console.map(str::to_owned) }
    }

    #[test]
    fn an_orderly_mode_needs_one_of_its_witnesses_and_an_abrupt_one_none() {
        for mode in Mode::ALL {
            let witnesses = [words(Some("Reached target"), None), words(None, Some("reboot: Restarting system"))];
            for witness in witnesses {
                match mode.row().ending {
                    Ending::Orderly(wanted) => {
                        assert_eq!(spoken(mode, wanted, witness.clone()).unwrap(), witness);
                        assert!(spoken(mode, wanted, words(None, None)).is_err(), "{mode}");
                    }
                    Ending::Abrupt => {
                        let said = unspoken(mode, witness).unwrap_err().to_string();
                        assert!(said.contains(&format!("asked for {mode}, saw an orderly end")), "{said}");
                        assert!(unspoken(mode, words(None, None)).is_ok());
                    }
                }
            }
        }
    }
}
