//! The old boot's last words: whether it ended in order.
//!
//! Two witnesses are asked: its journal, by its boot id, so that no other boot can speak for it; and its
//! console, from the asking on. On the console only systemd can say it: its status line for the target that it reaches
//! last, or, where that is not shown, the words of systemd-shutdown once the units were stopped. The kernel says
//! `reboot: Restarting system` for `reboot -f` as well, and a program can write anything: neither counts by itself.

use super::error::RebootError;
use super::mode::Mode;
use super::restart::LastWords;
use super::row::{Ending, HALT, KEXEC, POWEROFF, REBOOT, Reached, Words};
use crate::console::engine::Line;
use crate::console::gap;
use crate::machine::VmDir;
use crate::ssh::{Session, SshError};
use host::names::BootId;
use regex::Regex;
use std::sync::LazyLock;
use std::time::Duration;

const ASK_LIMIT: Duration = Duration::from_secs(60);

/// The targets that a boot reaches only as its last act.
const LAST: [Reached; 4] = [REBOOT, POWEROFF, HALT, KEXEC];
/// The exit code by which the question says that the journal could not be read.
const UNREAD: i32 = 71;

/// A status line for a target that was reached: its name, its description, or both (`status-unit-format`).
static REACHED: LazyLock<Regex> = LazyLock::new(|| pattern(r"^\[ *OK *\] Reached target ([^ ].*?)\.?$"));
/// systemd-shutdown, in the kernel's log. It does not tell whether the units were stopped before.
static SHUTDOWN: LazyLock<Regex> = LazyLock::new(|| {
    pattern(
        r"^\[ *\d+\.\d+\](\[ *[TC] *\d+\])? systemd-shutdown\[1\]: (Rebooting|Powering off|Halting system|Syncing filesystems)",
    )
});
/// The beginning of a kernel record.
static RECORD: LazyLock<Regex> = LazyLock::new(|| pattern(r"^\[ *\d+\.\d+\](\[ *[TC] *\d+\])? "));

fn pattern(text: &str) -> Regex {
    #[expect(clippy::expect_used, reason = "the patterns are literals, compiled by the unit tests")]
    Regex::new(text).expect("a literal pattern")
}

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
            let console =
                in_order(&console(old)?, &words.console).map(|line| (line.text.trim().to_owned(), line.offset));
            let offset = console.as_ref().map(|(_, offset)| *offset);
            spoken(mode, words, LastWords { journal, console: console.map(|(line, _)| line) })
                .map(|words| Said { words, offset })
        }
        Ending::Abrupt => {
            let units: Vec<_> = LAST.iter().map(|last| format!("UNIT={}", last.target)).collect();
            let journal = journal(old, &units.join(" "), "Reached target").await?;
            let console = any_order(&console(old)?).map(|line| line.text.trim().to_owned());
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
    // A journal that cannot be read is not one that says nothing.
    let query = format!(
        "said=$(sudo -n journalctl -q --no-pager -o cat _BOOT_ID={id} _PID=1 {filter}) || exit {UNREAD}; \
         printf '%s\\n' \"$said\" | grep -F '{phrase}'"
    );
    let answer = old.session.ask(&query, ASK_LIMIT).await.map_err(RebootError::After)?;
    match answer.code {
        0 | 1 => Ok(answer.stdout.lines().last().map(|line| line.trim().to_owned())),
        code => Err(RebootError::After(SshError::Failed {
            command: "journalctl for the old boot's last words".into(),
            code,
            said: answer.stderr.trim().to_owned(),
        })),
    }
}

/// The lines of the old boot's console since the asking.
fn console(old: &Old<'_>) -> Result<Vec<Line>, RebootError> {
    gap::lines(&old.vm.console(), old.from..old.to.unwrap_or(u64::MAX)).map_err(RebootError::Console)
}

/// The last words of a boot that stopped its units and reached its last target: the kernel's, where they follow.
fn in_order<'a>(lines: &'a [Line], last: &Reached) -> Option<&'a Line> {
    let reached = lines.iter().rposition(|line| is_reached(line, last.target, last.description));
    let shutdown = || {
        let stopped = lines.iter().position(|line| is_reached(line, "final.target", "Late Shutdown Services"))?;
        let at = lines.iter().rposition(|line| SHUTDOWN.is_match(&line.text))?;
        (at > stopped && last.kernel.is_some()).then_some(at)
    };
    let at = reached.or_else(shutdown)?;
    let kernel = lines[at..].iter().rfind(|line| last.kernel.is_some_and(|words| is_kernels(line, words)));
    kernel.or(lines.get(at))
}

/// The last words of a boot that ended itself, in whatever way, where something else was to end it.
fn any_order(lines: &[Line]) -> Option<&Line> {
    lines.iter().rfind(|line| {
        SHUTDOWN.is_match(&line.text)
            || LAST.iter().any(|last| {
                is_reached(line, last.target, last.description)
                    || last.kernel.is_some_and(|words| is_kernels(line, words))
            })
    })
}

fn is_reached(line: &Line, target: &str, description: &str) -> bool {
    let Some(found) = REACHED.captures(&line.text) else { return false };
    let what = &found[1];
    what == target || what == description || what.strip_prefix(target).is_some_and(|rest| rest.starts_with(" - "))
}

fn is_kernels(line: &Line, words: &str) -> bool {
    RECORD.find(&line.text).is_some_and(|stamp| line.text[stamp.end()..].starts_with(words))
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

    const STAMP: &str = "[  812.345678] ";

    fn lines(texts: &[&str]) -> Vec<Line> {
        let mut engine = crate::console::engine::Engine::new(0);
        let mut lines = Vec::new();
        for text in texts {
            engine.feed(format!("{text}\r\n").as_bytes(), |line| lines.push(line));
        }
        engine.flush(|line| lines.push(line));
        lines
    }

    fn reboot(texts: &[&str]) -> Option<String> {
        in_order(&lines(texts), &REBOOT).map(|line| line.text.clone())
    }

    #[test]
    fn systemd_says_it_in_each_of_its_forms_and_the_kernel_beside_it() {
        let restarting = format!("{STAMP}reboot: Restarting system");
        for status in [
            "[  OK  ] Reached target reboot.target - System Reboot.",
            "[  OK  ] Reached target reboot.target.",
            "[  OK  ] Reached target System Reboot.",
            "[\x1b[0;32m  OK  \x1b[0m] Reached target \x1b[0;1;39mreboot.target\x1b[0m - System Reboot.",
        ] {
            assert_eq!(reboot(&[status, &restarting]).as_ref(), Some(&restarting), "{status}");
            assert!(reboot(&[status]).is_some_and(|said| said.contains("Reached target")), "{status}");
        }
        let shutdown = format!("{STAMP}systemd-shutdown[1]: Rebooting.");
        let stopped = "[  OK  ] Reached target final.target - Late Shutdown Services.";
        assert_eq!(reboot(&[stopped, &shutdown, &restarting]), Some(restarting));
    }

    #[test]
    fn nothing_that_a_forced_reboot_or_a_program_says_is_an_orderly_end() {
        let at = |text: &str| format!("{STAMP}{text}");
        let restarting = at("reboot: Restarting system");
        for said in [
            // reboot(2) at once: `systemctl reboot --force --force`, `reboot -f`, in the middle of the shutdown, too.
            vec![],
            vec!["[  OK  ] Stopped target multi-user.target - Multi-User System."],
            vec![
                "         Stopping hostile-force.service...",
                "[  OK  ] Reached target shutdown.target - System Shutdown.",
            ],
            // `systemctl reboot --force`: systemd-shutdown without the units having been stopped.
            vec![
                "[  812.000000] systemd-shutdown[1]: Syncing filesystems and block devices.",
                "[  812.1] systemd-shutdown[1]: Rebooting.",
            ],
            // Programs, wall, /etc/issue, ForwardToConsole.
            vec!["Broadcast message from root@askari: Reached target reboot.target - System Reboot."],
            vec!["[  810.1] myapp[812]: Reached target reboot.target - System Reboot."],
            vec!["myapp[812]: [  OK  ] Reached target reboot.target - System Reboot."],
            vec!["Reached target reboot.target - System Reboot."],
            vec!["[  OK  ] Reached target my-reboot.target - reboot.target - System Reboot."],
            vec!["[  OK  ] Started reboot.target-watch.service - System Reboot."],
            vec!["[  OK  ] Reached target poweroff.target - System Power Off."],
        ] {
            let said: Vec<_> = said.into_iter().chain([restarting.as_str()]).collect();
            assert_eq!(reboot(&said), None, "{said:?}");
        }
        assert_eq!(reboot(&["myapp: reboot: Restarting system"]), None);
    }

    #[test]
    fn an_end_of_its_own_is_seen_and_what_programs_say_of_one_is_not() {
        let any = |text: &str| any_order(&lines(&[text])).is_some();
        for text in [
            "[  OK  ] Reached target poweroff.target - System Power Off.",
            "[  OK  ] Reached target System Halt.",
            "[  812.000000] systemd-shutdown[1]: Powering off.",
            "[  812.000000] reboot: Restarting system",
            "[  812.000000][    T1] kexec_core: Starting new kernel",
        ] {
            assert!(any(text), "{text}");
        }
        for text in [
            "reboot: Restarting system",
            "[  812.000000] myapp[812]: reboot: Restarting system",
            "[  OK  ] Started reboot.service - the reboot: Power down daemon.",
            "Broadcast message: Reached target reboot.target",
        ] {
            assert!(!any(text), "{text}");
        }
    }
}
