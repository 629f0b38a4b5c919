//! What runs without a unit: processes that a login has left behind, and cron's jobs for the boot.

use super::there;
use crate::observe::state::{Fact, Facts};
use std::collections::{BTreeMap, BTreeSet};

/// Programs that serve a login itself, or the harness' own connection.
const OF_A_LOGIN: [&str; 8] =
    ["sshd", "sshd-session", "sshd-auth", "login", "sudo", "systemd", "(sd-pam)", "dbus-daemon"];

/// Processes whose parent is the first process although they belong to the session of a login: what `nohup`, `&`, `screen`
/// or a daemon that was called by its name leaves behind. By name, with how many there are. The text has lines of
/// `/proc/PID/stat` and of `/proc/PID/cgroup`, each behind its path.
pub(super) fn processes(text: &str) -> Facts {
    let lines = || text.lines().filter_map(|line| line.strip_prefix("/proc/")?.split_once(':'));
    let pid = |path: &str, file: &str| path.strip_suffix(file).map(str::to_owned);
    let of_sessions: BTreeSet<_> = lines().filter_map(|(path, _)| pid(path, "/cgroup")).collect();
    let mut found: BTreeMap<&str, usize> = BTreeMap::new();
    for (path, line) in lines() {
        let name = line.split_once('(').and_then(|(_, rest)| Some(rest.rsplit_once(')')?.0));
        let (Some(pid), Some(name)) = (pid(path, "/stat"), name) else { continue };
        if of_sessions.contains(&pid) && !OF_A_LOGIN.contains(&name) {
            *found.entry(name).or_default() += 1;
        }
    }
    let count = |n: usize| if n == 1 { "1 process".to_owned() } else { format!("{n} processes") };
    found.into_iter().map(|(name, n)| (name.to_owned(), Fact::One(count(n)))).collect()
}

/// What cron says when it begins a job: `(root) CMD (/usr/local/bin/x)`.
fn ran(log: &str, user: &str, command: &str) -> bool {
    // A percent sign ends the command; what follows is its input (crontab(5)).
    let command = command.split('%').next().unwrap_or(command).trim_end();
    log.lines().any(|line| line.trim().strip_prefix(&format!("({user}) CMD (")).is_some_and(|c| c.starts_with(command)))
}

/// The jobs that cron runs once at boot (`@reboot`), by user and command, and whether it did. One whose file was written
/// since the boot cannot have run.
pub(super) fn cron(text: &str, log: &str, written: &BTreeSet<&str>) -> Facts {
    let mut facts = Facts::new();
    for (file, line) in text.lines().filter_map(|line| line.split_once(':')) {
        let Some(rest) = line.trim_start().strip_prefix("@reboot").map(str::trim) else { continue };
        let of_users = file.strip_prefix("/var/spool/cron/").and_then(|path| path.rsplit('/').next());
        let (user, command) = match of_users {
            Some(user) => (user, rest),
            None => rest.split_once(char::is_whitespace).unwrap_or((rest, "")),
        };
        let command = command.trim();
        let value = match (ran(log, user, command), written.contains(file)) {
            (true, _) => "was run at boot",
            (false, true) => "is new since the boot",
            (false, false) => "was not run at boot",
        };
        there(&mut facts, format!("{user}: {command}"), value);
    }
    facts
}

#[cfg(test)]
mod tests {
    use super::super::seen;
    use super::*;

    #[test]
    fn a_process_that_a_login_left_behind_is_a_fact_and_one_of_a_service_is_none() {
        let text = "/proc/81/stat:81 (cron) S 1 81 81 0 -1\n\
                    /proc/702/stat:702 (game server) S 1 702 702 0 -1\n/proc/702/cgroup:0::/user.slice/user-0.slice/session-3.scope\n\
                    /proc/703/stat:703 (game server) S 1 703 703 0 -1\n/proc/703/cgroup:0::/user.slice/user-0.slice/session-3.scope\n\
                    /proc/704/cgroup:0::/user.slice/user-0.slice/session-4.scope\n\
                    /proc/705/stat:705 (sshd-session) S 1 705 705 0 -1\n/proc/705/cgroup:0::/user.slice/user-0.slice/session-4.scope\n";
        assert_eq!(seen(processes(text)), ["game server = 2 processes"]);
    }

    #[test]
    fn a_job_for_the_boot_is_known_by_whether_cron_has_run_it() {
        let text = "/etc/cron.d/mesh:@reboot root /usr/local/sbin/mesh-up --now\n\
                    /var/spool/cron/crontabs/bob:@reboot  /home/bob/serve 2>&1 | logger\n\
                    /etc/crontab:@reboot root late\n";
        let log = "(CRON) INFO (Running @reboot jobs)\n(root) CMD (/usr/local/sbin/mesh-up --now)\n";
        assert_eq!(
            seen(cron(text, log, &["/etc/crontab"].into())),
            [
                "bob: /home/bob/serve 2>&1 | logger = was not run at boot",
                "root: /usr/local/sbin/mesh-up --now = was run at boot",
                "root: late = is new since the boot",
            ]
        );
    }
}
