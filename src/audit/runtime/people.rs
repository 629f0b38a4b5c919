//! What the user who logs in may do.

use super::{Answer, Asked, last_line, quoted};
use crate::audit::outcome::Seen;
use crate::form::pattern::Pattern;

/// What sudo allows the user, asked by the user where that is still possible: a password that is wanted shows then.
pub(super) fn sudo_list(asked: &Asked<'_>) -> String {
    match asked.as_root {
        true => format!("sudo -n -l -U {}", quoted(asked.user)),
        false => "sudo -n -l".into(),
    }
}

pub(super) fn judge_sudo(expect: &Pattern, answer: &Answer) -> Seen {
    let said = last_line(&answer.output);
    match expect.line_in(&answer.output) {
        _ if answer.code != 0 => Seen::fails(said, format!("sudo -l says: {said}")),
        Some(line) => Seen::holds(line.trim()),
        None => Seen::fails(said, format!("sudo -l does not say {expect} but {said:?}")),
    }
}

/// The user's groups, and a line of sudoers that begins with the user's name.
pub(super) fn membership(asked: &Asked<'_>) -> String {
    let user = quoted(asked.user);
    format!(
        "echo \"groups: $(id -nG {user})\"; grep -hs -- \"^[[:space:]]*\"{user}\"[[:space:]]\" /etc/sudoers /etc/sudoers.d/*; :"
    )
}

pub(super) fn judge_membership(asked: &Asked<'_>, groups: &[String], answer: &Answer) -> Seen {
    let own = answer.output.lines().find_map(|line| line.strip_prefix("groups:")).unwrap_or_default();
    let own: Vec<&str> = own.split_whitespace().collect();
    if own.is_empty() {
        let said = last_line(&answer.output);
        return Seen::fails(said, format!("there is no user {}: {said}", asked.user));
    }
    let named = answer.output.lines().map(str::trim).find(|line| line.starts_with(asked.user));
    let member = groups.iter().find(|group| own.contains(&group.as_str()));
    match (member, named) {
        (Some(group), _) => Seen::holds(format!("{} is in {group}", asked.user)),
        (None, Some(line)) => Seen::holds(format!("sudoers: {line}")),
        (None, None) => Seen::fails(
            own.join(" "),
            format!(
                "{} is in {}, in none of {}, and not named in sudoers",
                asked.user,
                own.join(" "),
                groups.join(", ")
            ),
        ),
    }
}
