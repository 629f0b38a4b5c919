//! Judging what was seen of a question. What was not seen, or not in full, is never judged to hold.
//!
//! Fuzzed as `checks`.

use super::guest::Answer;
use super::network::{Reaction, Seen};
use super::probe::{Port, Probe, Protocol, Record};
use std::net::{IpAddr, Ipv4Addr};
use std::time::{Duration, SystemTime, UNIX_EPOCH};

/// What a question came to, with what was seen.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Verdict {
    /// It is as expected.
    Holds(String),
    /// It is not.
    Fails(String),
    /// Nothing is known.
    Unseen(String),
}

impl Verdict {
    /// Whether it holds.
    pub fn holds(&self) -> bool {
        matches!(self, Self::Holds(_))
    }
}

use Verdict::{Fails, Holds, Unseen};

/// The exit codes by which a shell says that it could not run a program.
const NO_PROGRAM: [i32; 2] = [126, 127];

/// A day, in seconds.
const DAY: u64 = 86400;

/// Judge what was seen from the controller's side of the network; `vm` is the VM's address.
pub fn outside(probe: &Probe, seen: &Seen, vm: Ipv4Addr, now: SystemTime) -> Verdict {
    match (probe, seen) {
        (_, Seen::Unseen(why)) => Unseen(why.clone()),
        (_, Seen::No(why)) => Fails(why.clone()),
        (Probe::Tcp { port, expect }, Seen::Port(reaction)) => tcp(*port, *expect, reaction),
        (Probe::Http { status, body: wanted, .. }, Seen::Answer { status: got, body }) => {
            if !status.contains(got) {
                let wanted: Vec<_> = status.iter().map(u16::to_string).collect();
                return Fails(format!("status {got} and not {}", wanted.join(" or ")));
            }
            match wanted {
                Some(pattern) if !pattern.is_in(body) => {
                    Fails(format!("status {got}, and the body does not match {pattern}: {}", shown(body)))
                }
                _ => Holds(format!("status {got}")),
            }
        }
        (Probe::Tls { server_name, issuer: by, names: wanted, days_left, .. }, Seen::Certificate { .. }) => {
            certificate(server_name, by.as_ref(), wanted, *days_left, seen, now)
        }
        (Probe::Dns { record, expect, .. }, Seen::Records { code, values }) => dns(*record, expect, code, values, vm),
        (probe, seen) => Unseen(format!("{seen:?} is no answer to {}", probe.name())),
    }
}

fn tcp(port: u16, expect: Port, reaction: &Reaction) -> Verdict {
    let said = match reaction {
        Reaction::Accepted => format!("port {port} is open"),
        Reaction::Refused => format!("port {port} refuses connections"),
        Reaction::Silent => format!("port {port} does not answer"),
        Reaction::Error(error) => format!("port {port} cannot be reached: {error}"),
    };
    match (expect, reaction) {
        (Port::Open, Reaction::Accepted)
        | (Port::Refused, Reaction::Refused)
        | (Port::Closed, Reaction::Refused | Reaction::Silent) => Holds(said),
        // An error on the way is no word of the VM's: it may be gone, and then nothing is known of its port.
        (Port::Refused | Port::Closed, Reaction::Error(_)) => Unseen(said),
        _ => Fails(said),
    }
}

fn certificate(
    server: &str,
    by: Option<&crate::form::pattern::Pattern>,
    wanted: &[String],
    days_left: u32,
    seen: &Seen,
    now: SystemTime,
) -> Verdict {
    let Seen::Certificate { issuer, names, not_after, not_before, .. } = seen else {
        return Unseen("no certificate was seen".into());
    };
    let is_for = |name: &str| {
        let name = name.to_ascii_lowercase();
        names.iter().any(|own| *own == name || own.strip_prefix("*.").is_some_and(|rest| under(&name, rest)))
    };
    let Ok(now) = now.duration_since(UNIX_EPOCH).map(|time| time.as_secs()) else {
        return Unseen("this host's clock is before 1970".into());
    };
    if let Some(pattern) = by.filter(|pattern| !pattern.is_in(issuer)) {
        return Fails(format!("its issuer is {issuer:?}, which does not match {pattern}"));
    }
    if let Some(missing) = std::iter::once(server).chain(wanted.iter().map(String::as_str)).find(|name| !is_for(name)) {
        return Fails(format!("it is not for {missing} but for {}", listed(names)));
    }
    if *not_before > now {
        return Fails(format!("it is not valid before {}", day(*not_before)));
    }
    let left = not_after.saturating_sub(now) / DAY;
    match *not_after < now {
        true => Fails(format!("it ended on {}", day(*not_after))),
        false if left < u64::from(days_left) => Fails(format!("it ends on {}, in {left} days", day(*not_after))),
        false => Holds(format!("of {issuer}, until {}", day(*not_after))),
    }
}

/// Whether a name is one label below another.
fn under(name: &str, rest: &str) -> bool {
    name.split_once('.').is_some_and(|(label, above)| !label.is_empty() && above == rest)
}

fn day(seconds: u64) -> String {
    let text = moment(seconds);
    text.split_once('T').map_or(text.clone(), |(day, _)| day.to_owned())
}

/// A time in seconds since 1970, as RFC 3339 has it.
pub fn moment(seconds: u64) -> String {
    // What no calendar of this program's reaches is told in seconds.
    let time = UNIX_EPOCH.checked_add(Duration::from_secs(seconds));
    match time.filter(|_| seconds < 253_402_300_800) {
        Some(time) => humantime::format_rfc3339_seconds(time).to_string(),
        None => format!("{seconds} s after 1970"),
    }
}

fn dns(record: Record, expect: &[String], code: &str, values: &[String], vm: Ipv4Addr) -> Verdict {
    let wanted = expect.iter().map(|value| match (record, value.as_str()) {
        (Record::A, "vm") => vm.to_string(),
        (Record::Aaaa, value) => {
            value.parse::<IpAddr>().map_or_else(|_| value.to_owned(), |address| address.to_string())
        }
        (Record::Txt | Record::A, value) => value.to_owned(),
        (_, value) => value.trim_end_matches('.').to_ascii_lowercase(),
    });
    let has = |value: &str| {
        values.iter().any(|own| match record {
            Record::Txt => own == value,
            _ => own.trim_end_matches('.').eq_ignore_ascii_case(value),
        })
    };
    match wanted.into_iter().find(|value| !has(value)) {
        None => Holds(listed(values)),
        Some(missing) if values.is_empty() => Fails(format!("no {record} record ({code}), and {missing} is expected")),
        Some(missing) => Fails(format!("{record} is {}, without {missing}", listed(values))),
    }
}

/// Judge what the guest answered.
pub fn inside(probe: &Probe, answer: &Answer) -> Verdict {
    if answer.late && !matches!(probe, Probe::Command { code, .. } if *code == answer.code) {
        return Unseen(format!("the guest did not come to an end with it ({})", said(answer)));
    }
    match probe {
        Probe::Unit { name, state, sub } => unit(name, state, sub.as_deref(), answer),
        Probe::FailedUnits { except } => failed_units(except, answer),
        Probe::Listening { port, protocol, address } => listening(*port, *protocol, *address, answer),
        Probe::Mount { path, source, kind, options } => {
            mount(path, [source.as_deref(), kind.as_deref()], options, answer)
        }
        Probe::Sysctl { key, value } => sysctl(key, value, answer),
        Probe::File { .. } => super::judge_file::file(probe, answer),
        Probe::Command { code, stdout, .. } => {
            if NO_PROGRAM.contains(&answer.code) && *code != answer.code {
                return Unseen(format!("it could not be run ({})", said(answer)));
            }
            if answer.code != *code {
                return Fails(format!("it ended with {} and not {code}: {}", answer.code, said(answer)));
            }
            match stdout {
                Some(pattern) if pattern.is_in(&answer.output) => {
                    Holds(pattern.line_in(&answer.output).map_or_else(|| shown(&answer.output), shown))
                }
                Some(_) if answer.cut => {
                    Unseen("it says more than is read of it (1 MiB), and nothing before matches".into())
                }
                Some(pattern) => Fails(format!("what it says does not match {pattern}: {}", shown(&answer.output))),
                None => Holds(format!("it ended with {code}")),
            }
        }
        other => Unseen(format!("{} is not asked in the guest", other.name())),
    }
}

/// Why an answer of a program of the guest's is none, if so.
pub(super) fn unasked(answer: &Answer) -> Option<Verdict> {
    match answer.code {
        0 if answer.cut => Some(Unseen("the guest said more than is read (1 MiB)".into())),
        0 => None,
        _ => Some(Unseen(said(answer))),
    }
}

fn unit(name: &str, state: &str, sub: Option<&str>, answer: &Answer) -> Verdict {
    if let Some(unseen) = unasked(answer) {
        return unseen;
    }
    let property = |key: &str| {
        let lines = answer.output.lines().filter_map(|line| line.split_once('='));
        lines.filter(|(own, _)| *own == key).map(|(_, value)| value.trim()).next()
    };
    let (Some(load), Some(active), Some(own_sub)) =
        (property("LoadState"), property("ActiveState"), property("SubState"))
    else {
        return Unseen(format!("systemd does not say in which state {name} is: {}", shown(&answer.output)));
    };
    let told = match property("Result").filter(|result| !matches!(*result, "success" | "")) {
        Some(result) => format!("{active} ({own_sub}), result {result}"),
        None => format!("{active} ({own_sub})"),
    };
    let is = match state {
        "not-found" | "masked" => load == state,
        // A name that nobody knows is inactive, too.
        _ => active == state && load != "not-found",
    };
    match (is, sub) {
        (true, Some(sub)) if sub != own_sub => Fails(format!("{name} is {told} and not {sub}")),
        (true, _) => Holds(told),
        (false, _) if load != "loaded" && state != load => Fails(format!("{name} is {load} ({told})")),
        (false, _) => Fails(format!("{name} is {told} and not {state}")),
    }
}

fn failed_units(except: &[String], answer: &Answer) -> Verdict {
    if let Some(unseen) = unasked(answer) {
        return unseen;
    }
    let failed: Vec<_> =
        answer.output.lines().filter_map(|line| line.split_whitespace().find(|word| *word != "●")).collect();
    let allowed = |unit: &str| except.iter().any(|name| glob::Pattern::new(name).is_ok_and(|name| name.matches(unit)));
    let (allowed, red): (Vec<_>, Vec<_>) = failed.into_iter().partition(|unit| allowed(unit));
    match (red.is_empty(), allowed.is_empty()) {
        (true, true) => Holds("none has failed".into()),
        (true, false) => Holds(format!("none has failed but {}", allowed.join(", "))),
        (false, _) => Fails(format!("failed: {}", red.join(", "))),
    }
}

fn listening(port: u16, protocol: Protocol, address: Option<IpAddr>, answer: &Answer) -> Verdict {
    if let Some(unseen) = unasked(answer) {
        return unseen;
    }
    // State, two queues, and the local address: `ss -H -l -n`.
    let local: Option<Vec<_>> =
        answer.output.lines().map(|line| line.split_whitespace().nth(3)?.rsplit_once(':')).collect();
    let Some(local) = local else { return Unseen("a line of ss has no local address".into()) };
    let at: Vec<_> = local.iter().filter(|(_, own)| own.parse() == Ok(port)).map(|(host, _)| bare(host)).collect();
    let is = |host: &&str| match (address, *host) {
        (None, _) => true,
        // ss writes `*` for a socket that takes IPv4 and IPv6.
        (Some(wanted), "*") => wanted.is_unspecified(),
        (Some(wanted), host) => host.parse() == Ok(wanted),
    };
    let kind = if protocol == Protocol::Tcp { "TCP" } else { "UDP" };
    match (at.iter().any(is), address) {
        (true, _) => Holds(format!("{kind} port {port} at {}", at.join(", "))),
        (false, Some(wanted)) if !at.is_empty() => {
            Fails(format!("{kind} port {port} is listened on at {}, not at {wanted}", at.join(", ")))
        }
        (false, _) => Fails(format!("nothing listens on {kind} port {port}")),
    }
}

/// An address of ss's without brackets and interface.
fn bare(host: &str) -> &str {
    let host = host.split('%').next().unwrap_or(host);
    host.trim_start_matches('[').trim_end_matches(']')
}

fn mount(path: &str, [source, kind]: [Option<&str>; 2], options: &[String], answer: &Answer) -> Verdict {
    if let Some(unseen) = unasked(answer) {
        return unseen;
    }
    let wanted = if path.len() > 1 { path.trim_end_matches('/') } else { path };
    // What was mounted last is what is seen.
    let found = answer.output.lines().rev().find_map(|line| {
        let mut words = line.split(' ');
        let (from, at, own, set) = (words.next()?, words.next()?, words.next()?, words.next()?);
        (unescaped(at) == wanted).then(|| (unescaped(from), own, set))
    });
    let Some((from, own, set)) = found else { return Fails(format!("nothing is mounted at {path}")) };
    let told = format!("{from} of type {own} with {set}");
    let missing = options.iter().find(|option| !set.split(',').any(|own| own == option.as_str()));
    match missing {
        _ if source.is_some_and(|source| source != from) || kind.is_some_and(|kind| kind != own) => {
            Fails(format!("at {path} is {told}"))
        }
        Some(option) => Fails(format!("at {path} is {told}, without {option}")),
        None => Holds(told),
    }
}

/// A word of /proc/mounts: white space and backslashes are octal there.
fn unescaped(word: &str) -> String {
    [("\\040", " "), ("\\011", "\t"), ("\\012", "\n"), ("\\134", "\\")]
        .iter()
        .fold(word.to_owned(), |word, (from, to)| word.replace(from, to))
}

fn sysctl(key: &str, value: &str, answer: &Answer) -> Verdict {
    if super::judge_file::is_missing(answer) {
        return Fails(format!("there is no setting {key}"));
    }
    if let Some(unseen) = unasked(answer) {
        return unseen;
    }
    let words = |text: &str| text.split_whitespace().collect::<Vec<_>>().join(" ");
    let own = words(&answer.output);
    match own == words(value) {
        true => Holds(own),
        false => Fails(format!("{key} is {own:?} and not {value:?}")),
    }
}

/// What a command said, in one line.
pub(super) fn said(answer: &Answer) -> String {
    let text = if answer.errors.trim().is_empty() { &answer.output } else { &answer.errors };
    match text.trim().is_empty() {
        true => format!("exit code {}, without a word", answer.code),
        false => format!("exit code {}: {}", answer.code, shown(text)),
    }
}

/// The end of a text in one short line.
pub(super) fn shown(text: &str) -> String {
    let lines: Vec<_> = text.lines().map(str::trim).filter(|line| !line.is_empty()).collect();
    let joined = lines[lines.len().saturating_sub(3)..].join(" | ");
    match joined.chars().count() {
        0 => "(nothing)".into(),
        1..=300 => joined,
        _ => joined.chars().take(300).collect::<String>() + "…",
    }
}

fn listed(all: &[String]) -> String {
    match all.is_empty() {
        true => "nothing".into(),
        false => all.join(", "),
    }
}

#[cfg(test)]
#[path = "judge_tests.rs"]
mod tests;
