use super::*;
use crate::audit::condition::{Phase, Severity, When};
use crate::audit::outcome::Verdict;
use crate::audit::probe::Probe;
use crate::audit::scope::{Only, Scope};
use proptest::prelude::*;
use std::collections::BTreeSet;

fn condition(id: &str, phase: Phase, after: &[&str]) -> Condition {
    let id: ConditionId = id.parse().unwrap();
    let probe = match phase {
        Phase::Host => Probe::Build {},
        Phase::Image => Probe::OneImage {},
        Phase::Runtime => Probe::Login {},
    };
    Condition {
        what: format!("{id} holds"),
        hint: format!("mend {id}"),
        after: after.iter().map(|id| id.parse().unwrap()).collect(),
        severity: Severity::Must,
        when: When::Always,
        limit: None,
        phase,
        probe,
        id,
    }
}

/// A world in which some things do not hold.
#[derive(Default)]
struct Fake {
    broken: BTreeSet<String>,
    looked: Vec<String>,
    hangs: bool,
}

impl World for Fake {
    async fn look(&mut self, condition: &Condition) -> Seen {
        self.looked.push(condition.id.to_string());
        if self.hangs {
            std::future::pending::<()>().await;
        }
        match self.broken.contains(condition.id.as_str()) {
            true => Seen::fails("it is broken", format!("{} is broken\nand more lines", condition.id)),
            false => Seen::holds("it is well"),
        }
    }

    fn patience(&self, condition: &Condition) -> Duration {
        if self.hangs { Duration::from_millis(10) } else { condition.limit() }
    }
}

fn audit(conditions: &[Condition], world: &mut Fake, scope: &Scope) -> Vec<Judged> {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_time().build().unwrap();
    let mut results = Vec::new();
    runtime.block_on(run(conditions, |one| scope.leaves_out(one), world, &mut results, |_| ()));
    results
}

fn everything() -> Scope {
    Scope { only: Vec::new(), not_building: None }
}

fn broken(ids: &[&str]) -> Fake {
    Fake { broken: ids.iter().map(|id| (*id).to_owned()).collect(), ..Fake::default() }
}

fn words(results: &[Judged]) -> Vec<String> {
    results.iter().map(|one| format!("{}: {}", one.id, one.line())).collect()
}

#[test]
fn what_depends_on_a_failure_names_its_root_and_the_rest_goes_on() {
    let conditions = [
        condition("boots", Phase::Runtime, &["iso"]),
        condition("iso", Phase::Image, &[]),
        condition("login", Phase::Runtime, &["boots"]),
        condition("tun", Phase::Host, &[]),
        condition("size", Phase::Image, &[]),
    ];
    let mut world = broken(&["iso"]);
    let results = audit(&conditions, &mut world, &everything());
    assert_eq!(
        words(&results),
        ["tun: it is well", "iso: iso is broken", "size: it is well", "boots: blocked by iso", "login: blocked by iso"]
    );
    assert_eq!(world.looked, ["tun", "iso", "size"]);
    assert_eq!(
        results[1].outcome,
        Outcome::Failed { cause: "iso is broken\nand more lines".into(), next: "mend iso".into(), looked: true }
    );
}

#[test]
fn what_is_left_out_blocks_nobody_but_hides_no_failure_above_it() {
    let conditions = [
        condition("iso", Phase::Image, &[]),
        condition("boots", Phase::Runtime, &["iso"]),
        condition("login", Phase::Runtime, &["boots"]),
    ];
    let only =
        |names: &[&str]| Scope { only: names.iter().map(|name| name.parse().unwrap()).collect(), ..everything() };
    let alone = audit(&conditions, &mut broken(&["iso"]), &only(&["login"]));
    assert_eq!(words(&alone), ["iso: not asked for", "boots: not asked for", "login: it is well"]);
    let both = audit(&conditions, &mut broken(&["iso"]), &only(&["image", "login"]));
    assert_eq!(words(&both), ["iso: iso is broken", "boots: not asked for", "login: blocked by iso"]);
    assert_eq!(only(&["nosuch"]).unknown(&conditions).unwrap().as_str(), "nosuch");
    assert_eq!(only(&["runtime"]).only, [Only::Phase(Phase::Runtime)]);
}

#[test]
fn what_belongs_to_the_build_is_skipped_where_an_image_is_given() {
    let conditions = [
        Condition { when: When::Building, ..condition("build", Phase::Host, &[]) },
        condition("iso", Phase::Image, &["build"]),
    ];
    let given = Scope { not_building: Some("--image names one"), ..everything() };
    let after = [condition("shell", Phase::Host, &[]), conditions[0].clone(), conditions[1].clone()];
    let after = after.map(|one| match one.id.as_str() {
        "build" => Condition { after: vec!["shell".parse().unwrap()], ..one },
        _ => one,
    });
    let results = audit(&after, &mut broken(&["shell"]), &given);
    assert_eq!(
        words(&results)[2],
        "iso: it is well",
        "what a build would take is not in the way of an image that is there"
    );
    assert_eq!(
        words(&audit(&conditions, &mut broken(&["build"]), &given)),
        ["build: --image names one", "iso: it is well"]
    );
    assert_eq!(
        words(&audit(&conditions, &mut broken(&["build"]), &everything())),
        ["build: build is broken", "iso: blocked by build"]
    );
}

#[test]
fn a_probe_that_hangs_is_given_up_and_counts_as_not_looked_at() {
    let mut world = Fake { hangs: true, ..Fake::default() };
    let results = audit(&[condition("login", Phase::Runtime, &[])], &mut world, &everything());
    let Outcome::Failed { cause, looked: false, .. } = &results[0].outcome else { panic!("{results:?}") };
    assert_eq!(cause, "could not look: no answer within 0 s");
}

#[test]
fn what_was_seen_before_the_work_was_dropped_is_kept() {
    struct Stops;
    impl World for Stops {
        async fn look(&mut self, condition: &Condition) -> Seen {
            if condition.id.as_str() == "b" {
                std::future::pending::<()>().await;
            }
            Seen { observed: "x".into(), verdict: Verdict::Holds, evidence: String::new() }
        }
    }
    let conditions = ["a", "b", "c"].map(|id| condition(id, Phase::Host, &[]));
    let runtime = tokio::runtime::Builder::new_current_thread().enable_time().build().unwrap();
    let (mut results, mut world) = (Vec::new(), Stops);
    runtime.block_on(async {
        let all = run(&conditions, |_| None, &mut world, &mut results, |_| ());
        tokio::time::timeout(Duration::from_millis(20), all).await.unwrap_err();
    });
    assert_eq!(words(&results), ["a: x"]);
}

/// Conditions with arrows to earlier ones only (whatever their places in the list), some of them broken.
fn graphs() -> impl Strategy<Value = (Vec<Condition>, BTreeSet<String>)> {
    let node = (0..3_usize, proptest::collection::vec(any::<prop::sample::Index>(), 0..4), any::<bool>());
    (proptest::collection::vec(node, 1..12), any::<u64>()).prop_map(|(nodes, seed)| {
        let mut phases: Vec<_> = nodes.iter().map(|(phase, ..)| Phase::ALL[*phase]).collect();
        phases.sort();
        let mut conditions: Vec<Condition> = Vec::new();
        let mut bad = BTreeSet::new();
        for (n, (_, after, is_bad)) in nodes.iter().enumerate() {
            let after: Vec<_> = match n {
                0 => Vec::new(),
                n => after.iter().map(|index| format!("c{}", index.index(n))).collect(),
            };
            let after: Vec<&str> = after.iter().map(String::as_str).collect();
            conditions.push(condition(&format!("c{n}"), phases[n], &after));
            if *is_bad {
                bad.insert(format!("c{n}"));
            }
        }
        evidence::experiment::seeded::Seeded::new(seed).shuffle(&mut conditions);
        (conditions, bad)
    })
}

/// Everything that a condition depends on, directly or not.
fn ancestors<'a>(conditions: &'a [Condition], of: &'a Condition) -> BTreeSet<&'a str> {
    let mut all = BTreeSet::new();
    let mut open: Vec<&ConditionId> = of.after.iter().collect();
    while let Some(id) = open.pop() {
        if all.insert(id.as_str()) {
            open.extend(&conditions.iter().find(|one| one.id == *id).unwrap().after);
        }
    }
    all
}

proptest! {
    #[test]
    fn each_condition_passes_fails_or_is_blocked_by_failed_ancestors((conditions, bad) in graphs()) {
        prop_assert!(crate::audit::check::wrong(&conditions).is_empty());
        let mut world = Fake { broken: bad.clone(), ..Fake::default() };
        let results = audit(&conditions, &mut world, &everything());
        prop_assert_eq!(results.len(), conditions.len());
        let failed: BTreeSet<&str> = results.iter().filter(|one| one.failed()).map(|one| one.id.as_str()).collect();
        for (n, judged) in results.iter().enumerate() {
            let own = conditions.iter().find(|one| one.id == judged.id).unwrap();
            let above = ancestors(&conditions, own);
            let roots: BTreeSet<&str> = above.intersection(&failed).copied().collect();
            match &judged.outcome {
                Outcome::Passed => prop_assert!(roots.is_empty() && !bad.contains(judged.id.as_str())),
                Outcome::Failed { .. } => prop_assert!(roots.is_empty() && bad.contains(judged.id.as_str())),
                Outcome::Blocked { by } => {
                    let named: BTreeSet<&str> = by.iter().map(ConditionId::as_str).collect();
                    prop_assert_eq!(named.len(), by.len());
                    prop_assert!(!named.is_empty());
                    prop_assert_eq!(named, roots);
                }
                Outcome::Skipped { .. } => prop_assert!(false, "{:?}", judged),
            }
            prop_assert!(own.after.iter().all(|id| results[..n].iter().any(|one| one.id == *id)), "out of order");
        }
        let phases: Vec<_> = results.iter().map(|one| one.phase).collect();
        prop_assert!(phases.is_sorted());
        let looked: BTreeSet<_> = world.looked.iter().cloned().collect();
        prop_assert_eq!(looked.len(), world.looked.len(), "something was looked at twice");
    }
}
