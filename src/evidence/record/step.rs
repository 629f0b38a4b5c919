//! What a stage has come to, as it goes into the record.

use super::{Began, BootSeen, Changed, CheckMode, Checks, Idempotence, OnTop, Partial, Phase, Playbook, Record, Shown};
use crate::ends::Ends;
use crate::observe::{Across, Policy};
use crate::playbook::deeds;
use crate::playbook::events::TaskResult;
use crate::way::WayIn;
use vm::reboot::{Mode, Restart, Seen};

/// One thing that was done or seen.
#[derive(Clone, Debug)]
pub enum Step {
    /// A phase has ended.
    Phase(Phase),
    /// Which golden image the VM is made of, and its SHA-512 where that is known.
    Image(String, Option<String>),
    /// How the VM began.
    Began(Began),
    /// QEMU's version.
    Qemu(String),
    /// ansible-core's version.
    Ansible(String),
    /// The accelerator, and why that one.
    Accel(String),
    /// The extra variables of an `apply`.
    ExtraVars(Vec<String>),
    /// The playbooks begin (`false`), or have come to their end.
    Applied(bool),
    /// From now on this is the part of them that is run; none: all of them.
    Partial(Option<Partial>),
    /// What of the profile is not as it was at `up`.
    Changed(Vec<Changed>),
    /// What is applied first has been: the playbook runs so far were its own, and it has them.
    OnTop(Box<OnTop>),
    /// Packages that were installed before the change.
    Packages(Vec<String>),
    /// A playbook has run that prepares the guest for the change.
    Prepared(Playbook),
    /// A playbook has run.
    Playbook(Playbook),
    /// What tasks did to the VM.
    Tasks(Vec<TaskResult>),
    /// The playbooks have run a second time.
    Idempotence(Idempotence),
    /// The passes in check mode were made, or left out.
    CheckMode(CheckMode),
    /// The checks have run.
    Checks(Checks),
    /// The host has shown a certificate.
    Certificate(Shown),
    /// A boot has settled.
    Boot(BootSeen),
    /// The guest was logged in to.
    Way(WayIn),
    /// A restart is asked for.
    Via(Mode),
    /// A restart is proved.
    Proved(Box<Restart>),
    /// The machine was restarted while it was looked at.
    Restarts(Vec<Seen>),
    /// The guest was seen alive, in seconds after the restart had settled.
    Alive(f64),
    /// The state across the restart was compared; none where that is not known, or not any more.
    State(Box<Option<Across>>),
    /// From now on, this is what findings do to the run.
    Findings(Policy),
    /// The state is judged by that.
    Judged,
    /// The end state was compared with that of a fresh host.
    Ends(Box<Ends>),
    /// The checks that a proof has never seen red.
    NeverRed(Vec<String>),
    /// The VM is to stay.
    Kept,
}

impl Record {
    /// Add what a stage has come to.
    pub fn add(&mut self, step: Step) {
        match step {
            Step::Phase(phase) => self.phases.push(phase),
            Step::Image(image, sum) => (self.made_of.image, self.made_of.image_sha512) = (image, sum),
            Step::Began(began) => self.made_of.began = Some(began),
            Step::Qemu(version) => self.made_of.qemu = version,
            Step::Ansible(version) => self.made_of.ansible = version,
            Step::Accel(accel) => self.made_of.accel = accel,
            Step::ExtraVars(vars) => self.made_of.extra_vars = vars,
            // A part that came to its end is no whole.
            Step::Applied(whole) => self.applied = Some(whole && self.partial.is_none()),
            Step::Partial(partial) => self.partial = partial,
            Step::Changed(changed) => self.changed = changed,
            Step::OnTop(on_top) => {
                self.playbooks.clear();
                self.on_top = Some(*on_top);
            }
            Step::Packages(packages) => self.made_of.packages = packages,
            Step::Prepared(playbook) => self.prepared.push(playbook),
            Step::Playbook(playbook) => self.playbooks.push(playbook),
            Step::Tasks(results) => deeds::add(&mut self.deeds, &results),
            Step::Idempotence(second) => self.idempotence = Some(second),
            Step::CheckMode(passes) => self.check_mode = Some(passes),
            Step::Checks(checks) => self.checks.push(checks),
            Step::Certificate(shown) => self.certificate = Some(shown),
            Step::Boot(seen) => self.boots.push(seen),
            Step::Way(way) => self.way = Some(way),
            Step::Via(mode) => self.via = Some(mode),
            Step::Proved(restart) => self.proved(*restart),
            Step::Restarts(seen) => self.restarts = seen,
            Step::Alive(seconds) => self.alive_s = Some(seconds),
            Step::State(across) => self.state = *across,
            Step::Findings(policy) => self.findings = policy,
            Step::Judged => {
                if let Some(state) = &mut self.state {
                    state.strict = self.findings == Policy::Strict;
                }
            }
            Step::Ends(ends) => self.ends = Some(*ends),
            Step::NeverRed(checks) => self.never_red = Some(checks),
            Step::Kept => self.kept = true,
        }
    }
}
