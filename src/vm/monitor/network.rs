//! The network that the VM is in, watched: a part of it that dies is an event within half a second.

use crate::network::NetDir;
use host::deadline::Deadline;
use host::failure::Failure;
use host::presence::ignore;
use std::time::Duration;
use tokio::sync::mpsc;

/// How often it is looked at: a file and a lock.
const PERIOD: Duration = Duration::from_millis(250);

/// How long it may be impossible to look at it.
const UNSEEN_LIMIT: Duration = Duration::from_secs(5);

/// Look at the network until it is broken, and say once why.
pub(super) async fn watch(network: NetDir, broken: mpsc::UnboundedSender<String>) {
    // Since when it could not be looked at.
    let mut unseen: Option<Deadline> = None;
    loop {
        let why = match network.broken_why() {
            Ok(why) => {
                unseen = None;
                why
            }
            // A shortage on the host passes; a network that nobody can see any more is as good as none.
            Err(error) => unseen
                .get_or_insert_with(|| Deadline::after(UNSEEN_LIMIT))
                .passed()
                .then(|| format!("it could not be looked at for {UNSEEN_LIMIT:?}: {}", Failure::from(error))),
        };
        if let Some(why) = why {
            ignore(broken.send(why), "nobody listens any more only when the monitor ends");
            return;
        }
        tokio::time::sleep(PERIOD).await;
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use camino::Utf8PathBuf;
    use host::lock::Lock;

    #[tokio::test]
    async fn a_network_that_breaks_or_loses_its_holder_is_told_without_being_asked() {
        for holder_dies in [false, true] {
            let dir = tempfile::tempdir().unwrap();
            let network = NetDir::at(Utf8PathBuf::from_path_buf(dir.path().to_owned()).unwrap());
            let mut alive = Some(Lock::try_take(&network.alive(), "the holder").unwrap());
            let (send, mut heard) = mpsc::unbounded_channel();
            tokio::spawn(watch(network.clone(), send));
            let early = tokio::time::timeout(Duration::from_millis(600), heard.recv()).await;
            assert!(early.is_err(), "it is well: {early:?}");
            match holder_dies {
                true => drop(alive.take()),
                false => std::fs::write(network.broken(), "dnsmasq ended with signal: 9 (SIGKILL)").unwrap(),
            }
            let told = tokio::time::timeout(Duration::from_secs(20), heard.recv()).await;
            let why = told.unwrap().unwrap();
            assert!(why.contains(if holder_dies { "holder" } else { "dnsmasq" }), "{why}");
        }
    }
}
