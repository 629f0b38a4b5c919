use super::*;
use serde_json::{Value, json};

/// The journal from these kinds and data.
fn journal(kinds: &[(&str, Value)]) -> Vec<Event> {
    let event = |(seq, (kind, data)): (u64, &(&str, Value))| Event::sample(seq, seq as f64 / 10.0, kind, data);
    (1..).zip(kinds).map(event).collect()
}

fn reset(reason: &str) -> (&'static str, Value) {
    ("RESET", json!({ "reason": reason }))
}

fn boot() -> (&'static str, Value) {
    ("boot", json!({"n": 2, "offset": 100}))
}

fn new_kernel() -> (&'static str, Value) {
    ("boot", json!({"n": 2, "offset": 100, "kernel": true}))
}

/// What each mode really gives, as measured.
fn measured(mode: Mode) -> Vec<(&'static str, Value)> {
    let command = |name: &str| ("qmp-command", json!({ "command": name }));
    let exited = ("qemu-exited", json!({"pid": 7, "asked": true}));
    let started = ("qemu-started", json!({"pid": 8}));
    match mode {
        Mode::Guest => vec![reset("guest-reset"), boot(), reset("guest-reset")],
        Mode::Acpi => vec![
            command("system_powerdown"),
            ("POWERDOWN", Value::Null),
            ("SHUTDOWN", json!({"guest": true, "reason": "guest-shutdown"})),
            ("STOP", Value::Null),
            command("system_reset"),
            reset("host-qmp-system-reset"),
            boot(),
            command("cont"),
            ("RESUME", Value::Null),
            reset("guest-reset"),
        ],
        Mode::Reset => vec![command("system_reset"), reset("host-qmp-system-reset"), boot(), reset("guest-reset")],
        Mode::PowerCycle => vec![("power-cycle", json!({"kept_bytes": 4096})), exited, started, boot()],
        Mode::PowerLoss => vec![("power-loss", json!({"lost_bytes": 4096})), exited, started, boot()],
        Mode::Panic => vec![
            ("console-rule", json!({"id": "kernel-panic", "fatal": true})),
            ("GUEST_PANICKED", json!({"action": "run"})),
            reset("guest-reset"),
            boot(),
            reset("guest-reset"),
        ],
        Mode::Watchdog => vec![
            command("set-action"),
            ("WATCHDOG", json!({"action": "reset"})),
            reset("guest-reset"),
            boot(),
            reset("guest-reset"),
        ],
        Mode::Kexec => vec![new_kernel()],
        Mode::SoftReboot => vec![("NIC_RX_FILTER_CHANGED", Value::Null)],
    }
}

fn judge(mode: Mode, kinds: &[(&str, Value)]) -> Result<Evidence, UnexpectedEvent> {
    let mut evidence = Evidence::of(mode);
    journal(kinds).iter().try_for_each(|event| evidence.take(event))?;
    Ok(evidence)
}

#[test]
fn the_table_has_one_row_for_each_mode_in_their_order() {
    assert_eq!(ROWS.map(|row| row.mode), Mode::ALL);
    for mode in Mode::ALL {
        assert_eq!(mode.row().mode, mode);
        assert!(mode.row().over <= mode.row().expected.len().saturating_sub(1));
    }
}

#[test]
fn every_mode_accepts_its_own_evidence() {
    for mode in Mode::ALL {
        let evidence = judge(mode, &measured(mode)).unwrap_or_else(|other| panic!("{mode}: {}", other.0));
        assert!(evidence.complete(), "{mode}");
    }
}

/// Every mode against the evidence of every other one: nothing but its own completes a row without an unexpected event.
#[test]
fn no_mode_accepts_the_evidence_of_another() {
    // A row without expected cannot be told by events from one that shows none: the boot id and the counter tell.
    let silent = |mode| matches!(mode, Mode::Kexec | Mode::SoftReboot);
    for asked in Mode::ALL {
        for saw in Mode::ALL.into_iter().filter(|saw| *saw != asked) {
            match judge(asked, &measured(saw)) {
                Err(_) => {}
                Ok(evidence) if silent(saw) => assert!(!evidence.complete() || silent(asked), "{asked} from {saw}"),
                Ok(evidence) => panic!("asked for {asked}, saw {saw}, and took {:?}", evidence.seen()),
            }
        }
    }
    // But a kexec is seen in a soft reboot.
    assert!(judge(Mode::SoftReboot, &measured(Mode::Kexec)).is_err());
}

#[test]
fn a_missing_sign_leaves_the_row_open() {
    for mode in Mode::ALL {
        let row = mode.row();
        for left_out in 0..row.expected.len() {
            let mut kinds = measured(mode);
            kinds.retain(|(kind, _)| *kind != row.expected[left_out].kind);
            assert!(!judge(mode, &kinds).is_ok_and(|evidence| evidence.complete()), "{mode} without {left_out}");
        }
    }
}

#[test]
fn one_event_too_many_is_unexpected_in_every_mode() {
    let surplus = [
        ("SHUTDOWN", json!({"reason": "guest-shutdown"})),
        ("SHUTDOWN", json!({"reason": "host-qmp-quit"})),
        ("POWERDOWN", Value::Null),
        ("WATCHDOG", json!({"action": "none"})),
        ("GUEST_PANICKED", json!({"action": "run"})),
        ("qemu-exited", json!({"asked": false})),
        ("qemu-exited", json!({"asked": true})),
        ("qemu-started", json!({"pid": 9})),
        ("restore", json!({"snapshot": "applied"})),
        reset("host-qmp-system-reset"),
    ];
    for mode in Mode::ALL {
        for event in &surplus {
            let mut kinds = measured(mode);
            kinds.push(event.clone());
            let UnexpectedEvent(seen) = judge(mode, &kinds).expect_err(&format!("{mode} and then {event:?}"));
            assert_eq!(seen.seq as usize, kinds.len(), "{mode}: {seen}");
        }
    }
}

#[test]
fn a_second_restart_by_the_guest_is_told_from_the_firmwares_reset_by_its_boot() {
    for mode in Mode::ALL {
        let mut kinds = measured(mode);
        kinds.extend([reset("guest-reset"), boot()]);
        assert!(judge(mode, &kinds).is_err(), "{mode}, then another reboot");
    }
    let twice = [reset("host-qmp-system-reset"), boot(), reset("guest-reset"), reset("guest-reset")];
    assert!(judge(Mode::Reset, &twice).is_err(), "the firmware resets once");
    let first = [reset("guest-reset"), boot(), reset("host-qmp-system-reset"), boot()];
    assert!(judge(Mode::Reset, &first).is_err(), "the guest was faster than the reset button");
}

#[test]
fn a_reset_that_is_late_is_no_firmwares() {
    let take = |late: f64| {
        let mut evidence = Evidence::of(Mode::Reset);
        let ours = json!({"guest": false, "reason": "host-qmp-system-reset"});
        let events = [
            Event::sample(1, 10.0, "RESET", &ours),
            Event::sample(2, 10.0, "boot", &Value::Null),
            Event::sample(3, 10.0 + late, "RESET", &Value::Null),
        ];
        events.iter().try_for_each(|event| evidence.take(event))
    };
    assert!(take(0.15).is_ok() && take(1.9).is_ok());
    assert!(take(2.1).is_err(), "it restarted before it said a word");
}

#[test]
fn the_firmwares_reset_is_kept_as_what_it_is() {
    let evidence = judge(Mode::Reset, &measured(Mode::Reset)).unwrap().concluded();
    let shown: Vec<_> = evidence.seen().iter().map(|seen| (seen.kind.as_str(), seen.firmware)).collect();
    assert_eq!(shown, [("RESET", false), ("RESET", true)]);
    assert_eq!(evidence.last().unwrap().seq, 2);
}

#[test]
fn a_kernel_without_a_reset_while_a_reset_is_waited_for_is_a_kexec() {
    for mode in Mode::ALL.into_iter().filter(|mode| *mode != Mode::Kexec) {
        assert!(judge(mode, &[new_kernel()]).is_err(), "{mode}");
    }
    let said_twice = [reset("guest-reset"), boot(), reset("guest-reset"), new_kernel()];
    assert!(judge(Mode::Guest, &said_twice).unwrap().complete());
}

#[test]
fn the_sign_that_the_old_boot_is_over_is_the_rows_own() {
    let over = |mode| judge(mode, &measured(mode)).unwrap().over().map(|seen| seen.kind.clone());
    assert_eq!(over(Mode::Acpi).as_deref(), Some("SHUTDOWN"));
    assert_eq!(over(Mode::PowerCycle).as_deref(), Some("qemu-exited"));
    assert_eq!(over(Mode::Panic).as_deref(), Some("GUEST_PANICKED"));
    assert_eq!(over(Mode::SoftReboot), None);
}
