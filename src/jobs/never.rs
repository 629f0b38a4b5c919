//! The never list: the names and addresses of everything real, which neither the guest nor the playbooks may reach.

use crate::ansible::hosts::RealHosts;
use host::failure::{Exit, Failure};
use host::lookup::{self, LookupError};
use host::names::HostName;
use std::collections::BTreeMap;
use std::net::IpAddr;
use std::sync::Mutex;

/// Names that are looked up at once: each waits for an answer, and for one that does not come some seconds.
const AT_ONCE: usize = 16;
/// How many of those that are missing an error names.
const TOLD: usize = 8;

/// A never list, and what is not on it although it should be.
#[derive(Debug, Default, PartialEq, Eq)]
pub(super) struct Never {
    /// Every name, with the addresses that it has now.
    pub(super) list: BTreeMap<String, Vec<IpAddr>>,
    /// What there is no address of, with the reason.
    pub(super) missing: BTreeMap<String, String>,
}

impl Never {
    /// Of every real host, and of what the profile names besides.
    pub(super) fn of(real: &RealHosts, also: &[String]) -> Self {
        Self::with(real, also, &lookup::all)
    }

    /// A host's name and what says where it is are both looked up: the one may be its public address, the other that
    /// by which it is managed. A name beside an address may be a mere label, and then has none.
    fn with(
        real: &RealHosts,
        also: &[String],
        look: &(impl Fn(&str) -> Result<Vec<IpAddr>, LookupError> + Sync),
    ) -> Self {
        let mut needed = BTreeMap::new();
        let mut list: BTreeMap<String, Vec<IpAddr>> = BTreeMap::new();
        for (host, addresses) in &real.hosts {
            let told = !addresses.is_empty() || real.unknown.contains_key(host);
            *needed.entry(host.as_str()).or_insert(false) |= !told;
            for address in addresses {
                match address.parse() {
                    Ok(address) => list.entry(plain(host)).or_default().push(address),
                    Err(_) => *needed.entry(address).or_insert(false) = true,
                }
            }
        }
        needed.extend(also.iter().map(|name| (name.as_str(), true)));
        let mut missing = real.unknown.clone();
        for (name, found) in looked_up(needed.keys().copied(), look) {
            // A resolver that is not asked for names without a dot says that it cannot.
            let is_label = !needed[name] && !name.contains('.');
            match found {
                Ok(found) => list.entry(plain(name)).or_default().extend(found),
                Err(error) => {
                    list.entry(plain(name)).or_default();
                    if needed[name] || (error != LookupError::None && !is_label) {
                        missing.insert(name.to_owned(), error.to_string());
                    }
                }
            }
        }
        for addresses in list.values_mut() {
            addresses.sort();
            addresses.dedup();
        }
        Self { list, missing }
    }

    /// What is missing, in words, if something is.
    pub(super) fn lacks(&self) -> Option<String> {
        let told: Vec<_> = self.missing.iter().take(TOLD).map(|(name, why)| format!("{name} ({why})")).collect();
        let more = self.missing.len().saturating_sub(TOLD);
        let and = if more > 0 { format!(" and {more} more") } else { String::new() };
        (!told.is_empty()).then(|| format!("{}{and}", told.join(", ")))
    }
}

/// The error that a run does not start, with the way out.
pub(super) fn incomplete(host: &HostName, lacks: &str) -> Failure {
    Failure::new(
        Exit::Usage,
        format!("the never list is not complete, so the run does not start: {lacks}"),
    )
    .next(format!(
        "go where these names can be looked up, or write addresses into the inventory; or set \"never_unresolved\": \"note\" in \
         profiles/{host}.json to run all the same: then only their names are refused"
    ))
}

/// A name as DNS compares it.
fn plain(name: &str) -> String {
    name.trim_end_matches('.').to_ascii_lowercase()
}

type Found<'a> = (&'a str, Result<Vec<IpAddr>, LookupError>);

fn looked_up<'a>(
    names: impl Iterator<Item = &'a str> + Send,
    look: &(impl Fn(&str) -> Result<Vec<IpAddr>, LookupError> + Sync),
) -> Vec<Found<'a>> {
    let names = Mutex::new(names);
    let next = || names.lock().ok()?.next();
    let work = || std::iter::from_fn(next).map(|name| (name, look(name))).collect::<Vec<_>>();
    std::thread::scope(|scope| {
        let workers: Vec<_> = (0..AT_ONCE).map(|_| scope.spawn(work)).collect();
        let join = |worker: std::thread::ScopedJoinHandle<'_, _>| {
            worker.join().unwrap_or_else(|panic| std::panic::resume_unwind(panic))
        };
        workers.into_iter().flat_map(join).collect()
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    /// DNS as it is where this is tested.
    fn look(name: &str) -> Result<Vec<IpAddr>, LookupError> {
        match name {
            "web.example.net" => Ok(vec!["203.0.113.7".parse().unwrap(), "2001:db8::7".parse().unwrap()]),
            "web.internal" => Ok(vec!["10.1.2.3".parse().unwrap()]),
            "gone.example.net" => Err(LookupError::None),
            _ => Err(LookupError::Unknown("no answer".into())),
        }
    }

    fn real(hosts: &[(&str, &[&str])]) -> RealHosts {
        let hosts = hosts.iter().map(|(name, of)| ((*name).into(), of.iter().map(|a| (*a).into()).collect()));
        RealHosts { hosts: hosts.collect(), ..RealHosts::default() }
    }

    fn never(hosts: &[(&str, &[&str])], also: &[&str]) -> Never {
        let also: Vec<_> = also.iter().map(|name| (*name).to_owned()).collect();
        Never::with(&real(hosts), &also, &look)
    }

    #[test]
    fn a_hosts_name_and_its_address_are_both_on_the_list() {
        let never = never(&[("Web.example.net.", &["web.internal", "192.0.2.5"]), ("web.example.net", &[])], &[]);
        insta::assert_snapshot!(format!("{:?}", never.list), @r#"{"web.example.net": [192.0.2.5, 203.0.113.7, 2001:db8::7], "web.internal": [10.1.2.3]}"#);
    }

    #[test]
    fn what_cannot_be_looked_up_is_missing_and_its_name_still_on_the_list() {
        let never = never(&[("askari", &[]), ("ubongo", &["mgmt.example.net"])], &["gone.example.net"]);
        let missing: Vec<_> = never.missing.keys().collect();
        assert_eq!(missing, ["askari", "gone.example.net", "mgmt.example.net"]);
        assert_eq!(never.list.keys().collect::<Vec<_>>(), ["askari", "gone.example.net", "mgmt.example.net", "ubongo"]);
        let failure = incomplete(&"askari".parse().unwrap(), &never.lacks().unwrap());
        assert!(
            failure.next.is_some_and(|next| next.contains(r#""never_unresolved": "note" in profiles/askari.json"#))
        );
    }

    #[test]
    fn a_label_beside_an_address_needs_none_of_its_own_but_a_name_that_nobody_could_be_asked_about_does() {
        let here: &[&str] = &["192.0.2.5"];
        assert_eq!(never(&[("askari", here), ("gone.example.net", here)], &[]).lacks(), None);
        assert!(never(&[("shop.example.net", here)], &[]).missing.contains_key("shop.example.net"));
    }

    #[test]
    fn a_host_whose_template_failed_is_told_once_and_with_that_reason() {
        let mut real = real(&[("askari", &[])]);
        real.unknown.insert("askari".into(), "'x' is undefined".into());
        let never = Never::with(&real, &[], &look);
        assert_eq!(never.lacks().unwrap(), "askari ('x' is undefined)");
    }

    #[test]
    fn a_long_list_of_missing_names_is_cut() {
        let missing = (0..12).map(|n| (format!("host{n:02}"), "no".into())).collect();
        let never = Never { missing, ..Never::default() };
        assert!(never.lacks().unwrap().ends_with("host07 (no) and 4 more"));
    }
}
