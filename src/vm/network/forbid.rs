//! Putting more out of reach while the network is up: a name or a host that was added to the never list. Nothing is ever
//! taken off it before the network goes.

use super::dir::NetDir;
use super::plan::NetPlan;
use super::{NetError, Network, dnsmasq, read_json};
use host::cmd::Cmd;
use host::dirs::write_private;
use host::lock::Lock;
use host::names::IfName;
use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;
use std::collections::{BTreeMap, BTreeSet};
use std::io::ErrorKind;
use std::net::{IpAddr, Ipv4Addr};

impl Network {
    /// From now on these are never to be reached either, with the addresses that they have; connections that stand end.
    /// What is new on the list is handed back.
    pub fn forbid(&mut self, never: &BTreeMap<String, Vec<IpAddr>>) -> Result<Vec<String>, NetError> {
        let dir = self.dir();
        let who = format!("pid {}, which adds to the never list", std::process::id());
        let _lock = Lock::take(&dir.lock(), &who)?;
        // Somebody else may have changed it since it was read.
        *self = read_json(&dir.ready())?;
        let plan = with(&self.plan, never);
        if plan == self.plan {
            return Ok(Vec::new());
        }
        plan.check()?;
        // A network of an earlier version has none: its dnsmasq would not look, and its holder would not follow the names.
        let refused = dir.refused();
        std::fs::metadata(&refused).map_err(|source| NetError::File { path: refused.clone(), source })?;
        let known: BTreeSet<_> = self.plan.never_v4().map(|(_, address)| address).collect();
        let fresh = plan.never_v4().map(|(_, address)| address).filter(|address| !known.contains(address));
        add(&self.enter_net_admin(), &plan.name, &fresh.collect())?;
        write_private(&refused, dnsmasq::refused(&plan))?;
        read_again(&dir)?;
        let named = |of: &NetPlan, name: &str| of.never.get(name).cloned();
        let new: Vec<_> = plan.never.keys().filter(|name| named(&plan, name) != named(&self.plan, name)).collect();
        let new = new.into_iter().cloned().collect();
        // It is told once it holds. The holder follows the names that stand here.
        self.plan = plan;
        // Plain data with string keys: serialising it cannot fail.
        write_private(&dir.plan(), serde_json::to_vec_pretty(&self.plan).unwrap_or_default())?;
        write_private(&dir.ready(), serde_json::to_vec_pretty(self).unwrap_or_default())?;
        Ok(new)
    }
}

/// The plan with more on its never list.
fn with(plan: &NetPlan, never: &BTreeMap<String, Vec<IpAddr>>) -> NetPlan {
    let mut plan = plan.clone();
    for (name, addresses) in never {
        let all = plan.never.entry(name.clone()).or_default();
        all.extend(addresses);
        all.sort();
        all.dedup();
    }
    plan
}

/// Add addresses to the set that is judged before every exception.
pub(super) fn add(prefix: &[String], table: &IfName, addresses: &BTreeSet<Ipv4Addr>) -> Result<(), NetError> {
    if addresses.is_empty() {
        return Ok(());
    }
    let words: Vec<_> = addresses.iter().map(Ipv4Addr::to_string).collect();
    let elements = format!("{{ {} }}", words.join(", "));
    let add = ["nft", "add", "element", "inet", table.as_str(), "never", &elements];
    Cmd::new(&prefix[0]).args(&prefix[1..]).args(add).run().map(drop).map_err(NetError::Command)
}

/// Let dnsmasq read anew what it refuses; what it has answered before is forgotten.
fn read_again(dir: &NetDir) -> Result<(), NetError> {
    let path = dir.dnsmasq_pid();
    let file = |source| NetError::File { path: path.clone(), source };
    let text = std::fs::read_to_string(&path).map_err(file)?;
    let pid = text.trim().parse().map_err(|_| file(ErrorKind::InvalidData.into()))?;
    kill(Pid::from_raw(pid), Signal::SIGHUP).map_err(|errno| file(errno.into()))
}

#[cfg(test)]
mod tests {
    use super::super::plan::tests::sample;
    use super::*;

    #[test]
    fn a_list_only_grows_and_what_stands_on_it_already_changes_nothing() {
        let plan = sample();
        assert_eq!(with(&plan, &BTreeMap::new()), plan);
        assert_eq!(with(&plan, &plan.never), plan);
        let more = [("askari".to_owned(), vec!["198.51.100.7".parse().unwrap()]), ("new".to_owned(), Vec::new())];
        let grown = with(&plan, &more.into());
        assert_eq!((grown.never["askari"].len(), grown.never["new"].len()), (3, 0));
    }
}
