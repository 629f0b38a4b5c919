//! The way in, as a run sees it: asked after each playbook and after the reboot, and judged at the end.
//!
//! What the real inventory says is what the host must answer to. A way that a playbook moved is gone over from then on, and
//! one that only the reboot moved is a loss like any other.

use super::run::Run;
use super::target::Target;
use camino::{Utf8Path, Utf8PathBuf};
use evidence::record::Step;
use evidence::way::WayIn;
use host::deadline::Deadline;
use host::dirs::write_private;
use host::failure::{Exit, Failure};
use host::names::SnapshotName;
use std::sync::Arc;
use std::time::Duration;
use vm::access::{self, When};
use vm::machine::VmDir;
use vm::ssh::{Session, Ways, write_ways};

/// How long a guest that runs may take to let the harness in.
const LIMIT: Duration = Duration::from_secs(180);

impl Run<'_> {
    /// Log in, by whatever way answers, and go by it from now on.
    pub async fn way_in(&mut self) -> Result<(), Failure> {
        let (vm, deadline) = (self.vm(), Deadline::after(LIMIT));
        let (ssh, mut watch) = (vm.ssh()?, vm.watch()?);
        let login = access::login(vm.dir(), &ssh, When::Running, &mut watch, &deadline);
        let session = super::stop::or_stopped(async { Ok(login.await?) }).await?;
        let ways = self.go_by(&session)?;
        // What came before this stage's end is the playbooks'.
        self.keep(Step::Way(WayIn { applied: ways.changes.clone(), ..way(&ways, &session) }));
        self.vm().kept().share(session);
        Ok(())
    }

    /// The same after a reboot, which has logged in already.
    pub async fn way_after_reboot(&mut self) -> Result<Arc<Session>, Failure> {
        let session = self.vm().session(LIMIT).await?;
        let ways = self.go_by(&session)?;
        let applied = self.record().way.as_ref().map(|way| way.applied.clone()).unwrap_or_default();
        let rebooted = ways.changes.iter().skip(applied.len()).cloned().collect();
        self.keep(Step::Way(WayIn { applied, rebooted, ..way(&ways, &session) }));
        Ok(session)
    }

    /// From now on everything goes by the way that this connection went; what has changed of the ways is told.
    fn go_by(&self, session: &Session) -> Result<Ways, Failure> {
        let vm = self.vm().dir();
        access::answered(vm, session)?;
        let known = self.record().way.as_ref().map_or(0, |way| way.changes().count());
        let ways = Ways::load(&vm.ways())?;
        for change in ways.changes.iter().skip(known) {
            self.progress().note(&change.what);
        }
        self.target().write_connection()?;
        Ok(ways)
    }

    /// What a playbook that could not reach the guest ended with, and the cause if the guest itself knows it.
    pub(super) async fn with_its_way(&mut self, failure: Failure) -> Failure {
        if failure.exit != Exit::Lost || !self.vm().dir().is_alive() || super::stop::asked() {
            return failure;
        }
        match self.way_in().await {
            Ok(()) => failure,
            Err(why) => Failure { chain: [failure.chain, why.chain].concat(), ..why },
        }
    }

    /// The verdict on the way in.
    pub fn judge_way(&self) -> Result<(), Failure> {
        match self.record().way.as_ref().and_then(WayIn::wrong) {
            None => Ok(()),
            Some((what, next)) => Err(Failure::new(Exit::Verify, what).next(next)),
        }
    }
}

/// Keep the ways as they are now with the snapshot that was taken now, and the host keys that are pinned.
pub(super) fn keep_with(vm: &VmDir, snapshot: &SnapshotName) -> Result<(), Failure> {
    kept_with(vm, snapshot).iter().try_for_each(|(now, kept)| copied(now, kept))
}

/// The machine goes back to a snapshot: so do the ways into it.
pub(super) fn back_to(target: &Target<'_>, snapshot: &SnapshotName) -> Result<(), Failure> {
    let vm = target.vm.dir();
    kept_with(vm, snapshot).iter().try_for_each(|(now, kept)| copied(kept, now))?;
    write_ways(vm, &Ways::load(&vm.ways())?)?;
    target.write_connection()
}

/// A copy of a file that only its owner can read.
pub(super) fn copied(from: &Utf8Path, to: &Utf8Path) -> Result<(), Failure> {
    let unreadable = |e| Failure::new(Exit::Lost, format!("cannot read {from}: {e}"));
    Ok(write_private(to, std::fs::read(from).map_err(unreadable)?)?)
}

/// What says how the guest is reached, and where it is kept with a snapshot.
fn kept_with(vm: &VmDir, snapshot: &SnapshotName) -> [(Utf8PathBuf, Utf8PathBuf); 2] {
    let kept = vm.snapshot(snapshot);
    [(vm.ways(), kept.join("ways.json")), (vm.known_hosts(), kept.join("known_hosts"))]
}

fn way(ways: &Ways, session: &Session) -> WayIn {
    let (is, answered) = session.way();
    WayIn {
        answered: answered.clone(),
        is,
        inventory: ways.inventory.clone(),
        applied: Vec::new(),
        rebooted: Vec::new(),
        become_password: ways.become_password,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use vm::ssh::{About, Change, Rank, Way};

    fn way_in(port: u16, is: Rank) -> WayIn {
        let way = |port| Way { port, user: "ansible".into() };
        WayIn {
            answered: way(port),
            is,
            inventory: way(22),
            applied: Vec::new(),
            rebooted: Vec::new(),
            become_password: false,
        }
    }

    fn change(about: About) -> Vec<Change> {
        vec![Change { about, what: "it moved".into() }]
    }

    #[test]
    fn a_way_that_nothing_expects_is_wrong_and_the_inventorys_is_right() {
        assert_eq!(way_in(22, Rank::Inventory).wrong(), None);
        let moved = WayIn { applied: change(About::Way), ..way_in(2222, Rank::Inventory) };
        assert_eq!(moved.wrong(), None, "the inventory says so");
        assert!(!moved.is_plain());
        let (what, next) = WayIn { rebooted: change(About::Way), ..way_in(2222, Rank::Unexpected) }.wrong().unwrap();
        assert!(what.contains("it moved") && next.contains("ansible_port: 2222"), "{what}; {next}");
        assert!(way_in(2222, Rank::Unexpected).wrong().is_some());
        let (what, _) = way_in(2222, Rank::BreakGlass).wrong().unwrap();
        assert!(what.contains("only the break-glass way leads in") && what.contains("not by port 22"), "{what}");
    }

    #[test]
    fn what_a_playbook_changes_is_noted_and_what_a_reboot_changes_is_a_loss() {
        for about in [About::Key, About::HostKey] {
            assert_eq!(WayIn { applied: change(about), ..way_in(22, Rank::Inventory) }.wrong(), None);
            assert!(WayIn { rebooted: change(about), ..way_in(22, Rank::Inventory) }.wrong().is_some(), "{about:?}");
        }
        // Before the reboot it answered as the inventory says, and now as a fresh guest does.
        assert!(WayIn { rebooted: change(About::Way), ..way_in(22, Rank::Fresh) }.wrong().is_some());
        assert_eq!(WayIn { rebooted: change(About::Way), ..way_in(22, Rank::Inventory) }.wrong(), None);
    }

    #[test]
    fn sudo_with_a_password_is_right_where_the_inventory_has_it() {
        let asks = WayIn { applied: change(About::Sudo), ..way_in(22, Rank::Inventory) };
        assert!(asks.wrong().unwrap().1.contains("ansible_become_password"));
        assert_eq!(WayIn { become_password: true, ..asks }.wrong(), None);
    }
}
