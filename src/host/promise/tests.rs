use super::*;
use crate::testing::{scratch, soon};
use std::process::{Command, Stdio};

fn place() -> (tempfile::TempDir, Place) {
    let (keep, dir) = scratch();
    let place = Place::in_folder(dir.join("promises"));
    (keep, place)
}

fn need(what: &str, guest: u64, min_free: u64) -> Need {
    Need { what: what.into(), guest: MiB(guest), beside: MiB(384), vcpus: 1, min_free: MiB(min_free) }
}

fn held(what: &str, mem: u64, used: Option<u64>, ticket: u64, waits: bool) -> Held {
    let entry =
        Entry { what: what.into(), mem: MiB(mem), vcpus: 1, by: ProcessId::own(), monitor: None, ticket, waits };
    Held { entry, uid: 1000, used: used.map(MiB) }
}

fn host(left: u64) -> Room {
    Room { group: None, left: MiB(left) }
}

#[test]
fn what_is_promised_and_not_used_yet_is_not_there_for_the_next_one() {
    let need = need("cycle b", 3072, 4096);
    let fits = |left, others: &[Held]| judge(&need, &[host(left)], others, 10).is_ok();
    assert!(fits(6144, &[]));
    // The first has promised and begun; nothing of it shows in what is free.
    assert!(!fits(6144, &[held("cycle a", 3456, None, 1, false)]));
    assert!(!fits(6144, &[held("cycle a", 3456, Some(0), 1, false)]));
    // What it uses is gone from what is free, and is not counted twice.
    assert!(fits(4200, &[held("cycle a", 3456, Some(3400), 1, false)]));
    assert!(fits(4200, &[held("cycle a", 3456, Some(9000), 1, false)]), "more than was promised");
}

#[test]
fn the_vm_itself_has_to_fit_with_what_it_takes_beside_its_guest() {
    let need = need("up a", 1000, 0);
    let least = 1000 + 384;
    assert!(judge(&need, &[host(least)], &[], 1).is_ok());
    let refused = judge(&need, &[host(least - 1)], &[], 1).unwrap_err();
    assert!(refused.to_string().contains("the VM takes up to 1000 MiB"), "{refused}");
    assert!(!refused.may_pass(), "nobody is there to be waited for");
    let huge = Need { guest: MiB(u64::MAX), ..need };
    assert!(judge(&huge, &[host(u64::MAX - 1)], &[held("a", u64::MAX, None, 1, false)], 2).is_err());
}

#[test]
fn a_refusal_names_who_holds_what_and_the_way_out() {
    let others = [held("cycle a", 3456, Some(1200), 1, false), held("up c", 2000, None, 2, false)];
    let refused = judge(&need("cycle b", 3072, 4096), &[host(6144)], &others, 10).unwrap_err();
    let said = refused.to_string();
    let pid = std::process::id();
    for word in [
        "1888 MiB of memory are available beside what is promised (6144 MiB are free now",
        &format!("`cycle a` (pid {pid}, uid 1000) has 3456 MiB, of which 1200 MiB are used"),
        "`up c`",
        "a run wants 4096 MiB",
    ] {
        assert!(said.contains(word), "{word}: {said}");
    }
    assert!(refused.next().unwrap().starts_with("wait for them with --wait, or "));
}

#[test]
fn without_others_the_words_are_of_memory_alone() {
    let said = |left, min_free| {
        let refused = judge(&need("up a", 3072, min_free), &[host(left)], &[], 1).unwrap_err();
        crate::failure::Failure::from(PromiseError::Refused(refused)).to_string()
    };
    assert_eq!(
        said(3500, 4096),
        "3500 MiB of memory are available, and a run wants 4096 MiB (the VM takes up to 3072 MiB of it)\n  \
         next: stop something that uses memory, or accept less with --min-free-mib 3500",
    );
    assert!(said(3200, 4096).contains("lower mem_mib in the profile and give --min-free-mib as much"));
    assert!(said(3200, 0).contains("lower mem_mib in the profile"));
}

#[test]
fn whoever_came_first_is_not_overtaken_and_waiting_is_of_use_only_where_others_are_in_the_way() {
    let small = need("small", 500, 0);
    let large = held("large", 5000, None, 5, true);
    // A wish that came before counts like a promise; one that came later does not.
    assert!(judge(&small, &[host(5500)], std::slice::from_ref(&large), 9).is_err());
    assert!(judge(&small, &[host(5500)], &[large], 2).is_ok());
    let used = |used| judge(&need("b", 3000, 0), &[host(500)], &[held("a", 3456, used, 1, false)], 9).unwrap_err();
    assert!(used(Some(3400)).may_pass());
    assert!(!used(Some(100)).may_pass(), "not even without the other");
}

#[test]
fn the_narrowest_place_decides_and_only_those_in_a_group_take_of_it() {
    let own = memory::groups_of(std::process::id().cast_signed()).unwrap();
    let group = |path: &str, left| Room { group: Some(path.into()), left: MiB(left) };
    let other = [held("a", 3456, None, 1, false)];
    let need = need("b", 1000, 0);
    let refused = judge(&need, &[host(9000), group(own[0].as_str(), 3000)], &other, 9).unwrap_err();
    assert!(refused.to_string().contains("in the control group"), "{refused}");
    assert!(judge(&need, &[host(9000), group("/sys/fs/cgroup/elsewhere", 3000)], &other, 9).is_ok());
}

#[test]
fn a_promise_counts_while_its_holder_lives_and_is_removed_by_the_next() {
    let (_keep, place) = place();
    let first = Promise::take(&place, &need("cycle a", 64, 0), None).unwrap();
    let there = || look(&place).unwrap().0.into_iter().map(|held| held.entry.what).collect::<Vec<_>>();
    assert_eq!(there(), ["cycle a"]);
    // Standard input is inherited: this is what a monitor does with it.
    let inherits = |mut command: Command| command.arg("60").stdin(first.file().try_clone().unwrap()).spawn().unwrap();
    let mut monitor = inherits(Command::new("sleep"));
    first.held_by(ProcessId::of(monitor.id().cast_signed()).unwrap());
    drop(first);
    assert_eq!(there(), ["cycle a"], "the monitor has it");
    assert!(look(&place).unwrap().0[0].used.is_some());
    monitor.kill().unwrap();
    monitor.wait().unwrap();
    assert!(soon(|| there().is_empty()));
    let left = std::fs::read_dir(place.folder()).unwrap().count();
    assert_eq!(left, 0, "what nobody holds is removed");
    drop(Promise::take(&place, &need("cycle b", 64, 0), None).unwrap());
    assert_eq!(std::fs::read_dir(place.folder()).unwrap().count(), 0, "a run that came to nothing leaves nothing");
}

#[test]
fn a_promise_of_a_process_that_was_killed_counts_for_nothing() {
    let (_keep, place) = place();
    let mut child = Command::new(std::env::current_exe().unwrap());
    child.args(["--exact", "promise::tests::holder", "--nocapture"]).env("PROMISE_IN", place.folder());
    let mut child = child.stdout(Stdio::piped()).spawn().unwrap();
    let there = || look(&place).unwrap().0.len();
    assert!(soon(|| there() == 1));
    child.kill().unwrap();
    child.wait().unwrap();
    assert!(soon(|| there() == 0));
}

/// Not a test: what the one above kills.
#[test]
fn holder() {
    let Ok(folder) = std::env::var("PROMISE_IN") else { return };
    let _held = Promise::take(&Place::in_folder(folder.into()), &need("killed", 64, 0), None).unwrap();
    std::thread::sleep(Duration::from_secs(60));
}

#[test]
fn of_two_that_come_at_once_one_waits_until_the_other_has_ended() {
    let (_keep, place) = place();
    let free = memory::available().unwrap().0;
    // Each alone leaves less than half, so that the two cannot be there together, whatever else runs here.
    let want = || need("cycle", free * 6 / 10, 0);
    let (tell, told) = std::sync::mpsc::channel();
    let waited = std::sync::atomic::AtomicUsize::new(0);
    std::thread::scope(|scope| {
        for _ in 0..2 {
            let (tell, place, waited) = (tell.clone(), &place, &waited);
            scope.spawn(move || {
                let waiting = |refused: &Refused| {
                    assert!(refused.holders().contains("`cycle`"), "{refused}");
                    waited.fetch_add(1, std::sync::atomic::Ordering::Relaxed);
                };
                let promise = Promise::take(place, &want(), Some(&waiting)).unwrap();
                tell.send(std::time::Instant::now()).unwrap();
                std::thread::sleep(Duration::from_millis(700));
                drop(promise);
            });
        }
    });
    let times: Vec<_> = told.try_iter().collect();
    let gap = times[1].duration_since(times[0]);
    assert!(gap >= Duration::from_millis(700), "they were there together: {gap:?}");
    assert!(waited.into_inner() > 0);
    assert_eq!(std::fs::read_dir(place.folder()).unwrap().count(), 0);
}

#[test]
fn without_waiting_the_second_is_refused_and_leaves_nothing() {
    let (_keep, place) = place();
    let free = memory::available().unwrap().0;
    let _first = Promise::take(&place, &need("cycle a", free * 6 / 10, 0), None).unwrap();
    let error = Promise::take(&place, &need("cycle b", free * 6 / 10, 0), None).unwrap_err();
    assert!(matches!(&error, PromiseError::Refused(refused) if refused.holders().contains("cycle a")), "{error}");
    assert_eq!(error.exit(), Exit::Host);
    assert_eq!(std::fs::read_dir(place.folder()).unwrap().count(), 1);
}

#[test]
fn a_promise_that_cannot_be_read_is_not_none() {
    let (_keep, place) = place();
    let _first = Promise::take(&place, &need("cycle a", 64, 0), None).unwrap();
    let file = std::fs::read_dir(place.folder()).unwrap().next().unwrap().unwrap().path();
    std::fs::write(&file, "much\n").unwrap();
    let error = Promise::take(&place, &need("cycle b", 64, 0), None).unwrap_err();
    assert!(matches!(error, PromiseError::Io { .. }), "{error}");
}
