//! What is started again and again has one state, whatever it is doing at the moment of a look.

use super::state::{Fact, Known, Observed, Section, State};

/// The state of a unit that systemd starts again and again: as systemd calls it between two attempts.
const UNIT: &str = "activating (auto-restart)";
/// The state of a container that Docker starts again and again: as Docker calls it between two attempts.
const CONTAINER: &str = "restarting";

/// Give what was started again since an earlier look the state that it has between two attempts.
pub(super) fn settle(state: &mut State, earlier: &Known) {
    let again = state.known.restarts.iter();
    let again = again.filter(|(name, times)| **times > earlier.restarts.get(*name).copied().unwrap_or(0));
    let names: Vec<_> = again.map(|(name, _)| name.clone()).collect();
    for name in names {
        match name.strip_prefix("container/") {
            Some(container) => {
                put(state, Section::Containers, format!("{container}/state"), CONTAINER);
                remove(state, Section::Containers, &format!("{container}/health"));
            }
            // Consoles, which are started again after each login, never say that they were.
            None if remove(state, Section::Units, &format!("{name}/restarted")) => {
                put(state, Section::Units, format!("{name}/active"), UNIT);
            }
            None => {}
        }
    }
}

fn put(state: &mut State, section: Section, key: String, value: &str) {
    if let Some(Observed::Facts(facts)) = state.sections.get_mut(&section) {
        facts.insert(key, Fact::from(value));
    }
}

fn remove(state: &mut State, section: Section, key: &str) -> bool {
    match state.sections.get_mut(&section) {
        Some(Observed::Facts(facts)) => facts.remove(key).is_some(),
        _ => false,
    }
}

#[cfg(test)]
mod tests {
    use super::super::Diff;
    use super::*;

    fn looping(times: u64, now: &str) -> State {
        let facts = [
            ("loop.service/active".to_owned(), Fact::from(now)),
            ("loop.service/restarted".to_owned(), Fact::from("by systemd")),
        ];
        let containers =
            [("web/state".to_owned(), Fact::from(if times.is_multiple_of(2) { "exited" } else { "running" }))];
        let mut state = State::default();
        state.sections.insert(Section::Units, Observed::Facts(facts.into()));
        state.sections.insert(Section::Containers, Observed::Facts(containers.into()));
        state.known.restarts = [("loop.service".to_owned(), times), ("container/web".to_owned(), times)].into();
        state
    }

    #[test]
    fn a_crash_loop_is_one_state_however_it_is_met_and_a_loss_for_a_unit_that_ran() {
        let first = looping(3, "active (running)");
        let (mut one, mut two) = (looping(4, "active (running)"), looping(5, "activating (start)"));
        settle(&mut one, &first.known);
        settle(&mut two, &first.known);
        assert!(Diff::between(&one, &two).is_empty());
        let mut well = looping(0, "active (running)");
        settle(&mut well, &Known::default());
        let found = Diff::between(&well, &two).findings(&[]);
        let units: Vec<_> = found.iter().filter_map(super::super::Finding::broken_unit).collect();
        assert_eq!(units, ["loop.service"]);
        assert!(found[0].what.contains("5 times"), "{}", found[0].what);
    }

    #[test]
    fn a_restart_that_helped_is_told_and_is_no_crash_loop() {
        let (first, mut state) = (looping(1, "active (running)"), looping(1, "active (running)"));
        settle(&mut state, &first.known);
        assert_eq!(state.word(Section::Units, "loop.service/active"), "active (running)");
    }
}
