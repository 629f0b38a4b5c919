//! The ways to ask, with what each expects: `"probe": {"tcp": {"port": 443}}`. The tag stands outside the fields, as in an audit's
//! profile, so that a typo in either is refused with the line and column where it stands.
//!
//! Fuzzed as `profile`.

use crate::form::pattern::Pattern;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use std::fmt;
use std::net::IpAddr;
use std::str::FromStr;

/// One way to ask.
#[expect(missing_docs, reason = "the sentence over each says what its fields are")]
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case", rename_all_fields = "kebab-case", deny_unknown_fields)]
pub enum Probe {
    // -- from the controller's side of the VM's network
    /// A TCP port of the VM accepts a connection, refuses it, or does not let one come about.
    Tcp {
        port: u16,
        #[serde(default)]
        expect: Port,
    },
    /// An HTTP server on the VM answers a GET with one of these statuses. Redirects are not followed and certificates not
    /// verified: the probe `tls` asks for those.
    Http {
        /// 80, or with `tls` 443.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        port: Option<u16>,
        #[serde(default)]
        tls: bool,
        #[serde(default = "slash")]
        path: String,
        /// The name that it is asked for; the VM's address without it.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        host: Option<String>,
        #[serde(default = "ok")]
        status: Vec<u16>,
        /// What the first MiB of the body has to match.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        body: Option<Pattern>,
    },
    /// A TLS server on the VM has a certificate for a name: by this issuer, for all these names too, and valid for so many days.
    Tls {
        #[serde(default = "https")]
        port: u16,
        server_name: String,
        #[serde(default, skip_serializing_if = "Option::is_none")]
        issuer: Option<Pattern>,
        #[serde(default)]
        names: Vec<String>,
        #[serde(default)]
        days_left: u32,
    },
    /// A name server has these records of a name: the resolver of the network, which the guest asks, or the VM itself.
    Dns {
        name: String,
        #[serde(default)]
        record: Record,
        /// Each has to be among the answers; `vm` is the VM's address.
        expect: Vec<String>,
        #[serde(default)]
        at: Server,
        #[serde(default = "domain")]
        port: u16,
    },

    // -- in the guest, as root
    /// A unit is in a state (`active`, `inactive`, `failed`, `activating`, `deactivating`, `reloading`, or `not-found`, `masked`).
    Unit {
        name: String,
        #[serde(default = "active")]
        state: String,
        #[serde(default, skip_serializing_if = "Option::is_none")]
        sub: Option<String>,
    },
    /// No unit has failed, but for these; `*` is any text in a name.
    FailedUnits {
        #[serde(default)]
        except: Vec<String>,
    },
    /// Something listens on a port: at this very address (`0.0.0.0` and `::` are "any"), or at some.
    Listening {
        port: u16,
        #[serde(default)]
        protocol: Protocol,
        #[serde(default, skip_serializing_if = "Option::is_none")]
        address: Option<IpAddr>,
    },
    /// A file system is mounted there.
    Mount {
        path: String,
        #[serde(default, skip_serializing_if = "Option::is_none")]
        source: Option<String>,
        #[serde(rename = "type", default, skip_serializing_if = "Option::is_none")]
        kind: Option<String>,
        #[serde(default)]
        options: Vec<String>,
    },
    /// A setting of the kernel has this value; white space between words counts as one space.
    Sysctl { key: String, value: String },
    /// A file or folder is there, or not. Links are followed.
    File {
        path: String,
        #[serde(default = "yes")]
        exists: bool,
        /// In octal digits.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        mode: Option<String>,
        #[serde(default, skip_serializing_if = "Option::is_none")]
        owner: Option<String>,
        #[serde(default, skip_serializing_if = "Option::is_none")]
        group: Option<String>,
        /// What the first MiB of it has to match.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        contains: Option<Pattern>,
    },
    /// A command of one's own ends with this code and says this.
    Command {
        run: Run,
        #[serde(default)]
        code: i32,
        #[serde(default, skip_serializing_if = "Option::is_none")]
        stdout: Option<Pattern>,
    },
}

/// What a TCP port does.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case")]
pub enum Port {
    /// It accepts a connection.
    #[default]
    Open,
    /// It says that nobody is there.
    Refused,
    /// No connection comes about, by a refusal or by silence.
    Closed,
}

/// Which name server is asked.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case")]
pub enum Server {
    /// The resolver of the VM's network.
    #[default]
    Network,
    /// The VM.
    Vm,
}

/// A type of DNS records.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "UPPERCASE")]
#[expect(missing_docs, reason = "they are called as DNS calls them")]
pub enum Record {
    #[default]
    A,
    Aaaa,
    Cname,
    Mx,
    Ns,
    Ptr,
    Srv,
    Txt,
}

/// A transport.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case")]
pub enum Protocol {
    /// TCP.
    #[default]
    Tcp,
    /// UDP.
    Udp,
}

/// A command line, or a text for the shell.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(untagged)]
pub enum Run {
    /// For `sh -c`.
    Text(String),
    /// A program and its arguments.
    Argv(Vec<String>),
}

fn slash() -> String {
    "/".into()
}
fn ok() -> Vec<u16> {
    vec![200]
}
fn https() -> u16 {
    443
}
fn domain() -> u16 {
    53
}
fn active() -> String {
    "active".into()
}
fn yes() -> bool {
    true
}

/// The states that a unit can be asked for.
pub const STATES: [&str; 8] =
    ["active", "inactive", "failed", "activating", "deactivating", "reloading", "not-found", "masked"];

impl Probe {
    /// Whether the guest itself is asked.
    pub fn is_inside(&self) -> bool {
        !matches!(self, Self::Tcp { .. } | Self::Http { .. } | Self::Tls { .. } | Self::Dns { .. })
    }

    /// Its tag, as a profile has it.
    pub fn name(&self) -> String {
        // An enum with the tag outside is an object with one key.
        match serde_json::to_value(self) {
            Ok(serde_json::Value::Object(fields)) => fields.keys().next().cloned().unwrap_or_default(),
            _ => String::new(),
        }
    }

    /// What cannot work about it.
    pub fn wrong(&self) -> Vec<String> {
        let mut wrong = Vec::new();
        let mut say = |bad: bool, what: String| wrong.extend(bad.then_some(what));
        match self {
            Self::Tcp { port, .. } | Self::Listening { port, .. } => say(*port == 0, no_port()),
            Self::Http { port, path, host, status, .. } => {
                say(*port == Some(0), no_port());
                let is_path = path.starts_with('/') && path.chars().all(|c| c.is_ascii_graphic());
                say(
                    !is_path,
                    format!("path: {path:?} does not begin with / or has characters that must be escaped as %XX"),
                );
                say(host.as_deref().is_some_and(|host| !is_name(host)), format!("host: {host:?} is not a host name"));
                say(status.is_empty(), "status: the list is empty, so no answer would do".into());
                let odd = status.iter().find(|status| !(100..600).contains(*status));
                say(odd.is_some(), format!("status: {} is not a status of HTTP", odd.copied().unwrap_or_default()));
            }
            Self::Tls { port, server_name, names, .. } => {
                say(*port == 0, no_port());
                say(!is_name(server_name), format!("server-name: {server_name:?} is not a host name"));
                let odd = names.iter().find(|name| !is_name(name.strip_prefix("*.").unwrap_or(name)));
                say(odd.is_some(), format!("names: {:?} is not a host name", odd.map_or("", |name| name)));
            }
            Self::Dns { name, record, expect, port, .. } => {
                say(*port == 0, no_port());
                say(!is_name(name.strip_suffix('.').unwrap_or(name)), format!("name: {name:?} is not a name"));
                say(expect.is_empty(), "expect: the list is empty, so nothing is asked".into());
                let odd = expect.iter().find(|value| !fits(*record, value));
                say(odd.is_some(), format!("expect: {:?} is no value of such a record", odd.map_or("", |value| value)));
            }
            Self::Unit { name, state, .. } => {
                say(!is_unit(name), format!("name: {name:?} is not a unit's name, with its type (x.service)"));
                say(!STATES.contains(&state.as_str()), format!("state: {state:?} is none of {}", STATES.join(", ")));
            }
            Self::FailedUnits { except } => {
                let odd = except.iter().find(|name| name.is_empty() || *name == "*");
                say(odd.is_some(), "except: a name is empty or takes every unit out, so nothing is asked".into());
            }
            Self::Mount { path, .. } => say(!is_absolute(path), not_absolute(path)),
            Self::Sysctl { key, value } => {
                let fine = |c: char| c.is_ascii_alphanumeric() || "._-/@:".contains(c);
                let up = key.split(['/', '.']).any(str::is_empty) || key.starts_with(['-', '/']);
                say(key.is_empty() || up || !key.chars().all(fine), format!("key: {key:?} is not a setting's name"));
                say(value.contains('\0'), "value: there is a NUL in it".into());
            }
            Self::File { path, exists, mode, owner, group, contains } => {
                say(!is_absolute(path), not_absolute(path));
                let more = mode.is_some() || owner.is_some() || group.is_some() || contains.is_some();
                say(!exists && more, "exists: what is not there has no mode, owner, group or content".into());
                let octal =
                    |mode: &str| (3..=4).contains(&mode.len()) && mode.bytes().all(|b| (b'0'..b'8').contains(&b));
                say(mode.as_deref().is_some_and(|mode| !octal(mode)), "mode: it has three or four octal digits".into());
            }
            Self::Command { run, .. } => {
                let (empty, nul) = match run {
                    Run::Text(text) => (text.trim().is_empty(), text.contains('\0')),
                    Run::Argv(argv) => {
                        (argv.first().is_none_or(String::is_empty), argv.iter().any(|w| w.contains('\0')))
                    }
                };
                say(empty, "run: there is no command".into());
                say(nul, "run: there is a NUL in it".into());
            }
        }
        wrong
    }
}

fn no_port() -> String {
    "port: 0 is not a port".into()
}

fn is_absolute(path: &str) -> bool {
    path.starts_with('/') && !path.contains('\0')
}

fn not_absolute(path: &str) -> String {
    format!("path: {path:?} is not absolute")
}

/// A host name as it is asked for: labels of letters, digits, hyphens and underscores.
fn is_name(name: &str) -> bool {
    let label = |label: &str| {
        (1..64).contains(&label.len()) && label.chars().all(|c| c.is_ascii_alphanumeric() || c == '-' || c == '_')
    };
    name.len() < 254 && name.split('.').all(label)
}

fn is_unit(name: &str) -> bool {
    let fine = |c: char| c.is_ascii_alphanumeric() || ":-_.\\@".contains(c);
    let kind = name.rsplit_once('.').is_some_and(|(before, kind)| !before.is_empty() && !kind.is_empty());
    kind && !name.starts_with('-') && name.chars().all(fine)
}

fn fits(record: Record, value: &str) -> bool {
    match record {
        Record::A => value == "vm" || std::net::Ipv4Addr::from_str(value).is_ok(),
        Record::Aaaa => std::net::Ipv6Addr::from_str(value).is_ok(),
        _ => !value.is_empty(),
    }
}

impl fmt::Display for Record {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::A => "A",
            Self::Aaaa => "AAAA",
            Self::Cname => "CNAME",
            Self::Mx => "MX",
            Self::Ns => "NS",
            Self::Ptr => "PTR",
            Self::Srv => "SRV",
            Self::Txt => "TXT",
        })
    }
}

/// The words after "is" or "are" of a command, for people.
impl fmt::Display for Run {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Text(text) => f.write_str(text),
            Self::Argv(argv) => {
                f.write_str(&argv.iter().map(|word| host::shell::quoted(word)).collect::<Vec<_>>().join(" "))
            }
        }
    }
}
