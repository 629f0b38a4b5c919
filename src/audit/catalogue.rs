//! The probes and their fields, as the type itself has them.

use super::probe::Probe;
use crate::form::names;

/// All probes.
pub fn probes() -> &'static [&'static str] {
    names::tags::<Probe>()
}

/// The fields of a probe; none if there is no such probe.
pub fn fields(probe: &str) -> &'static [&'static str] {
    names::fields::<Probe>(probe)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::audit::Condition;
    use names::{keys, meant};

    #[test]
    fn the_names_are_those_of_the_types() {
        assert!(probes().contains(&"unit-state") && probes().len() > 40, "{:?}", probes());
        assert_eq!(fields("unit-state"), ["unit", "expect", "sub"]);
        assert_eq!(fields("login"), [""; 0]);
        assert!(keys::<Condition>().contains(&"severity"));
    }

    #[test]
    fn a_typo_is_told_with_the_name_that_was_meant() {
        assert_eq!(meant("unit-stat", probes()), "; did you mean `unit-state`?");
        assert_eq!(meant("expct", fields("unit-state")), "; did you mean `expect`?");
        assert_eq!(meant("zzz", fields("unit-state")), "; there are unit, expect, sub");
    }
}
