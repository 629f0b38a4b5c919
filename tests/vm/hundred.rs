//! Many reboots in a row on one machine: as many proofs, none of them false, and a monitor that does not grow.

use crate::lane::{Lane, TRIM, User};
use std::collections::HashSet;

/// How many, unless `BOMA_REBOOTS` says otherwise.
const REBOOTS: usize = 100;
/// How much the monitor may grow after the first reboots, in KiB.
const GROWTH_KIB: u64 = 4096;

#[test]
#[ignore = "a hundred boots, hours under emulation: make soak"]
fn a_hundred_guest_reboots_are_a_hundred_proofs() {
    let wanted = std::env::var("BOMA_REBOOTS").map_or(REBOOTS, |text| text.parse().unwrap());
    let lane = Lane::new(User::Caller);
    lane.boma(&["up", "askari", "--timeout", "3600"]).exits(0);
    // The shorter the boot, the more of them: neither is what is tested here.
    lane.guest_as_root(TRIM);
    let mut last = lane.guest("cat /proc/sys/kernel/random/boot_id");
    let mut seen = HashSet::from([last.clone()]);
    let mut resets = HashSet::new();
    let mut sizes = Vec::new();
    println!("   n  boot id   RESET event   down s   ssh s  settled s  monitor KiB");
    for n in 1..=wanted {
        lane.quiet(&["reboot", "askari", "--timeout", "3600", "--findings", "report"]).exits(0);
        let reboot = &lane.result()["reboot"];
        let text = |key: &str| reboot[key].as_str().unwrap().to_owned();
        let number = |key: &str| reboot[key].as_f64().unwrap();
        // Each begins where the last one ended, and no kernel was ever seen before.
        assert_eq!((reboot["mode"].as_str(), reboot["proof"].as_str()), (Some("guest"), Some("reboot")));
        assert_eq!(text("boot_id_before"), last, "reboot {n}");
        last = text("boot_id_after");
        assert!(seen.insert(last.clone()), "reboot {n}: the boot id {last} came back");
        assert_eq!(lane.guest("cat /proc/sys/kernel/random/boot_id"), last, "reboot {n}");
        // Each has a RESET and last words of its own.
        let reset = &reboot["evidence"][0];
        assert_eq!((reset["kind"].as_str(), reset["reason"].as_str()), (Some("RESET"), Some("guest-reset")));
        assert!(resets.insert(reset["seq"].as_u64().unwrap()), "reboot {n}: its RESET was another's");
        assert!(!reboot["last_words"]["journal"].is_null() || !reboot["last_words"]["console"].is_null());
        sizes.push(lane.monitor_kib());
        println!(
            "{n:>4}  {}  {:>11} {:>8.1} {:>7.1} {:>10.1} {:>12}",
            &last[..8],
            reset["seq"],
            number("down_s"),
            number("ssh_s"),
            number("settled_s"),
            sizes[n - 1]
        );
    }
    assert_eq!((seen.len(), resets.len()), (wanted + 1, wanted));
    // What the first ones take (buffers that have found their size) is not growth.
    let settled = sizes[..sizes.len().min(5)].iter().max().unwrap();
    let most = sizes.iter().max().unwrap();
    println!(
        "{wanted} reboots, {wanted} proofs; the monitor's memory: {settled} KiB after the first, {most} KiB at most"
    );
    assert!(most - settled <= GROWTH_KIB, "the monitor grew from {settled} to {most} KiB");
    lane.boma(&["down", "askari"]).exits(0);
    lane.is_empty();
}
