//! A name that must never be reached can get another address while a VM runs. It is looked up again and again, by the
//! host's own means, and what it has then is out of reach as well.
//!
//! Our dnsmasq could only block what it answers, and it answers none of these names; but a guest has other ways to learn
//! an address: another resolver, an alias, a configuration file.

use super::dir::NetDir;
use super::forbid::add;
use super::{NetError, NetPlan, Network, read_json};
use host::lookup::{self, LookupError};
use host::names::IfName;
use host::print;
use std::collections::BTreeSet;
use std::io::ErrorKind;
use std::net::{IpAddr, Ipv4Addr};
use std::sync::mpsc::{Receiver, TryRecvError, channel};
use std::time::Duration;

/// The pause between two looks at all names; longer with very many of them, for the resolver's sake.
const PAUSE: Duration = Duration::from_secs(3);
const PAUSE_PER_NAME: Duration = Duration::from_millis(25);

/// Follows the names of a never list, in a thread of its own: a lookup can take long.
#[derive(Debug)]
pub(crate) struct Follow {
    failed: Receiver<NetError>,
}

struct Follower {
    /// Its plan has the names; a command may add some.
    dir: NetDir,
    names: Vec<String>,
    known: BTreeSet<Ipv4Addr>,
    /// Names that could not be looked up the last time: that is told once.
    silent: BTreeSet<String>,
    table: IfName,
    prefix: Vec<String>,
}

impl Follow {
    /// Begin; it ends with the process. After the process has dropped its capabilities.
    pub(crate) fn start(network: &Network) -> Result<Self, NetError> {
        let plan = &network.plan;
        let mut follower = Follower {
            dir: network.dir(),
            names: names(plan),
            known: plan.never_v4().map(|(_, address)| address).collect(),
            silent: BTreeSet::new(),
            table: plan.name.clone(),
            prefix: network.enter_net_admin(),
        };
        let (tell, failed) = channel();
        let work = move || {
            let pause = PAUSE.max(PAUSE_PER_NAME * u32::try_from(follower.names.len()).unwrap_or(u32::MAX));
            let error = loop {
                if let Err(error) = follower.look() {
                    break error;
                }
                std::thread::sleep(pause);
            };
            // Nobody listens any more only where the process ends.
            drop(tell.send(error));
        };
        let started = std::thread::Builder::new().name("never list".into()).spawn(work);
        started.map_err(|source| NetError::Start { program: "a thread for the never list".into(), source })?;
        Ok(Self { failed })
    }

    /// Why it no longer follows, if so. Told once.
    pub(crate) fn failed(&self) -> Option<NetError> {
        match self.failed.try_recv() {
            Ok(error) => Some(error),
            Err(TryRecvError::Empty) => None,
            Err(TryRecvError::Disconnected) => Some(NetError::Unfollowed),
        }
    }
}

/// The names on the list that can have other addresses.
fn names(plan: &NetPlan) -> Vec<String> {
    plan.never.keys().filter(|name| name.parse::<IpAddr>().is_err()).cloned().collect()
}

impl Follower {
    fn look(&mut self) -> Result<(), NetError> {
        match read_json(&self.dir.plan()) {
            Ok(plan) => self.names = names(&plan),
            // The network is on its way out, and these are followed until it is gone.
            Err(NetError::File { source, .. }) if source.kind() == ErrorKind::NotFound => {}
            Err(error) => return Err(error),
        }
        for name in self.names.clone() {
            match lookup::ipv4(&name) {
                Ok(found) => {
                    self.silent.remove(&name);
                    let fresh: Vec<_> = found.into_iter().filter(|address| !self.known.contains(address)).collect();
                    if !fresh.is_empty() {
                        self.forbid(&name, &fresh)?;
                    }
                }
                Err(LookupError::None) => {}
                // What it had stays forbidden.
                Err(LookupError::Unknown(why)) => {
                    if self.silent.insert(name.clone()) {
                        print::err(&format!("cannot see whether {name} has another address now: {why}"));
                    }
                }
            }
        }
        Ok(())
    }

    fn forbid(&mut self, name: &str, fresh: &[Ipv4Addr]) -> Result<(), NetError> {
        add(&self.prefix, &self.table, &fresh.iter().copied().collect())?;
        let words: Vec<_> = fresh.iter().map(Ipv4Addr::to_string).collect();
        print::err(&format!("{name} is now at {}: never to be reached", words.join(", ")));
        self.known.extend(fresh);
        Ok(())
    }
}
