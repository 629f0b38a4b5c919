//! Asking a guest what is wrong with it, over whatever way in is left.
//!
//! Each question is bounded in time and size on the guest's side, and one that fails never stops the next. A way in
//! that is lost is not tried for ever: after some failures in a row the rest is left out, and that is said.

mod list;
mod ways;

pub use list::{DIAGNOSTICS, Diagnostic};

use host::deadline::Deadline;
use host::shell::quoted;
use std::fmt::Display;
use std::time::Duration;

/// A line of a journal is about this long, in bytes.
const LINE: usize = 120;

/// Failures in a row after which a way in counts as lost.
const LOST_AFTER: u32 = 3;

/// A way into the guest on which shell commands can be run.
pub trait Shell {
    /// Why a command could not be run.
    type Error: Display;

    /// Whether commands run as root; else `sudo` makes it so.
    fn is_root(&self) -> bool;

    /// How many bytes of one answer are worth fetching.
    fn most(&self) -> usize;

    /// Run a command that ends by itself within `limit`; what it wrote to standard output, at most [`Shell::most`].
    fn run(&mut self, command: &str, limit: Duration) -> impl Future<Output = Result<Vec<u8>, Self::Error>>;
}

/// What came of the questions.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Collected {
    /// Files with an answer.
    pub answered: Vec<&'static str>,
    /// Files without one, and why.
    pub missing: Vec<(&'static str, String)>,
}

/// Ask all [`DIAGNOSTICS`] within `limit`; `keep` is handed each file's name and contents as soon as they are there.
pub async fn collect<S: Shell>(shell: &mut S, limit: Duration, keep: &mut dyn FnMut(&str, &[u8])) -> Collected {
    collect_these(&DIAGNOSTICS, shell, limit, keep).await
}

async fn collect_these<S: Shell>(
    diagnostics: &[Diagnostic],
    shell: &mut S,
    limit: Duration,
    keep: &mut dyn FnMut(&str, &[u8]),
) -> Collected {
    let deadline = Deadline::after(limit);
    let mut collected = Collected::default();
    let mut failures_in_a_row = 0;
    for diagnostic in diagnostics {
        let missing = match (failures_in_a_row, deadline.passed()) {
            (LOST_AFTER.., _) => Some("the way into the guest is lost".to_owned()),
            (_, true) => Some(format!("the {} s for all of them are over", limit.as_secs())),
            _ => {
                let command = text(diagnostic, shell.is_root(), shell.most());
                let limit = Duration::from_secs(diagnostic.seconds).min(deadline.left());
                match shell.run(&command, limit).await {
                    Ok(output) => {
                        failures_in_a_row = 0;
                        keep(diagnostic.file, &file(diagnostic, shell.most(), &output));
                        None
                    }
                    Err(error) => {
                        failures_in_a_row += 1;
                        Some(error.to_string())
                    }
                }
            }
        };
        match missing {
            None => collected.answered.push(diagnostic.file),
            Some(why) => collected.missing.push((diagnostic.file, why)),
        }
    }
    collected
}

/// A question as one shell command. The guest ends it in time, its exit code is the last line, and only its end comes:
/// the newest lines of a journal are the ones that matter.
fn text(diagnostic: &Diagnostic, is_root: bool, most: usize) -> String {
    let command = quoted(&asked(diagnostic, most));
    let sudo = if diagnostic.root && !is_root { "sudo -n " } else { "" };
    let seconds = diagnostic.seconds;
    format!(
        "export PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin LC_ALL=C.UTF-8 SYSTEMD_COLORS=0; \
         {{ {sudo}timeout -k 2 {seconds} sh -c {command}; echo \"[exit $?]\"; }} 2>&1 </dev/null | tail -c {most}"
    )
}

/// The question as the guest is asked it.
fn asked(diagnostic: &Diagnostic, most: usize) -> String {
    diagnostic.command.replace("{lines}", &(most / LINE).to_string())
}

/// The file: the question, then the answer, and whether its beginning is missing.
fn file(diagnostic: &Diagnostic, most: usize, output: &[u8]) -> Vec<u8> {
    let mut text = format!("$ {}\n", asked(diagnostic, most)).into_bytes();
    if output.len() >= most {
        text.extend_from_slice(format!("[only the last {most} bytes]\n").as_bytes());
    }
    text.extend_from_slice(output);
    text
}

#[cfg(test)]
mod tests {
    use super::*;
    use host::cmd::Cmd;

    /// A guest that is this machine's own shell, and that dies after some questions.
    struct Here {
        left: u32,
        most: usize,
    }

    impl Shell for Here {
        type Error = String;
        fn is_root(&self) -> bool {
            true
        }
        fn most(&self) -> usize {
            self.most
        }
        async fn run(&mut self, command: &str, limit: Duration) -> Result<Vec<u8>, String> {
            self.left = self.left.checked_sub(1).ok_or("no answer")?;
            let done = Cmd::new("sh").args(["-c", command]).limit(limit).run().map_err(|e| e.to_string())?;
            Ok(done.stdout.into_bytes())
        }
    }

    fn ask(diagnostics: &[Diagnostic], here: &mut Here, limit: Duration) -> (Collected, Vec<String>) {
        let mut files = Vec::new();
        let mut keep = |name: &str, bytes: &[u8]| files.push(format!("{name}: {}", String::from_utf8_lossy(bytes)));
        let runtime = tokio::runtime::Builder::new_current_thread().build().unwrap();
        let collected = runtime.block_on(collect_these(diagnostics, here, limit, &mut keep));
        (collected, files)
    }

    const fn question(file: &'static str, command: &'static str) -> Diagnostic {
        Diagnostic { file, command, root: true, seconds: 9 }
    }

    #[test]
    fn a_question_that_fails_is_answered_with_its_words_and_the_next_is_asked() {
        let questions = [question("a", "echo it\\'s bad >&2; exit 3"), question("b", "echo fine")];
        let (collected, files) = ask(&questions, &mut Here { left: 9, most: 1000 }, Duration::from_secs(9));
        assert_eq!(collected.answered, ["a", "b"]);
        assert!(files[0].ends_with("it's bad\n[exit 3]\n"), "{files:?}");
        assert!(files[1].starts_with("b: $ echo fine\nfine\n[exit 0]"), "{files:?}");
    }

    #[test]
    fn a_docker_that_is_down_is_not_asked_since_its_socket_would_start_it() {
        let about = DIAGNOSTICS
            .iter()
            .filter(|question| question.command.contains("docker ps") || question.command.contains("docker info"));
        let about: Vec<_> = about.collect();
        assert_eq!(about.len(), 2);
        for question in about {
            let (guard, rest) = question.command.split_once("; then docker ").unwrap();
            assert!(guard.starts_with("if kill -0") && !rest.contains("fi; docker"), "{}", question.command);
        }
    }

    #[test]
    fn of_a_long_answer_the_end_is_kept_and_that_is_said() {
        let (_, files) = ask(&[question("a", "seq 100000")], &mut Here { left: 9, most: 50 }, Duration::from_secs(9));
        assert!(files[0].contains("[only the last 50 bytes]") && files[0].contains("100000\n[exit 0]"), "{files:?}");
    }

    #[test]
    fn a_way_in_that_is_lost_is_not_tried_for_ever() {
        let mut here = Here { left: 1, most: 1000 };
        let (collected, _) = ask(&[question("q", "true"); 9], &mut here, Duration::from_secs(9));
        assert_eq!((collected.answered.len(), collected.missing.len()), (1, 8));
        assert_eq!(collected.missing[0].1, "no answer");
        assert_eq!(collected.missing[7].1, "the way into the guest is lost");
        let (collected, _) = ask(&[question("q", "true")], &mut Here { left: 9, most: 1000 }, Duration::ZERO);
        assert_eq!(collected.missing.len(), 1);
    }

    #[test]
    fn every_question_is_a_shell_command_with_a_file_of_its_own() {
        let mut files: Vec<_> = DIAGNOSTICS.iter().map(|d| d.file).collect();
        files.sort_unstable();
        files.dedup();
        assert_eq!(files.len(), DIAGNOSTICS.len());
        for diagnostic in &DIAGNOSTICS {
            for is_root in [true, false] {
                let command = text(diagnostic, is_root, 1000);
                Cmd::new("sh").args(["-n", "-c", &command]).run().unwrap();
                assert_eq!(command.contains("sudo -n"), diagnostic.root && !is_root);
            }
        }
    }
}
