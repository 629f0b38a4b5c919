//! An audit as the tests of its texts need one.

use crate::audit::image::{BootPath, BootStep};
use crate::audit::outcome::{Audit, Judged, Outcome};
use crate::audit::{Phase, Severity};

/// One in which something of everything happened.
pub(crate) fn audit() -> Audit {
    let name = "pre-nixos".parse().unwrap();
    let one = |phase, id: &str, outcome, observed: &str, seconds| Judged {
        id: id.parse().unwrap(),
        phase,
        what: format!("What {id} is about holds."),
        severity: if id == "disk-free-runs" { Severity::Should } else { Severity::Must },
        outcome,
        observed: observed.into(),
        evidence: String::new(),
        file: None,
        seconds,
    };
    let failed = |cause: &str, next: &str| Outcome::Failed { cause: cause.into(), next: next.into(), looked: true };
    let blocked = |by: &str| Outcome::Blocked { by: vec![by.parse().unwrap()] };
    let skipped = Outcome::Skipped { reason: "--image names an image, so nothing is built".into() };
    let unit = "pre-nixos.service failed: exit-code, exit code 5; it last said: vgcreate: no disk /dev/vda";
    let mut audit = Audit::begin(&name, "/runs/x".into());
    audit.started = "2026-11-21T12:00:00Z".into();
    audit.version = "0.1.0".into();
    audit.image = Some("/images/nixos.iso".into());
    audit.machine = Some("tcg, BIOS, 2048 MiB".into());
    audit.seconds = 153.2;
    audit.conditions = vec![
        one(Phase::Host, "qemu-devices", Outcome::Passed, "3 of 3 are there", 0.31),
        one(Phase::Host, "nix-flake", skipped, "", 0.0),
        one(
            Phase::Host,
            "disk-free-runs",
            failed("/ has 12 MiB free, 512 MiB are needed", "free some space"),
            "/ has 12 MiB free",
            0.0,
        ),
        one(
            Phase::Image,
            "serial-in-loaders",
            Outcome::Passed,
            "9 entries of 2 configurations | each has console=ttyS0,115200",
            0.1,
        ),
        one(
            Phase::Runtime,
            "storage-service",
            failed(unit, "read its journal below; run it by hand: systemctl start pre-nixos"),
            "failed (failed)",
            61.9,
        ),
        one(Phase::Runtime, "volume-group", blocked("storage-service"), "", 0.0),
    ];
    audit.conditions[4].evidence = "ActiveState=failed\n```\nvgcreate: no disk /dev/vda\n".into();
    audit.conditions[4].file = Some("conditions/storage-service.txt".into());
    let step = |what: &str, found: &str, ok| BootStep { what: what.into(), found: found.into(), ok };
    audit.boot_paths = vec![
        BootPath {
            by: "BIOS, from a CD".into(),
            steps: vec![
                step("boot image", "1: BIOS, no emulation", true),
                step("default entry", "\"NixOS\": /bzImage", true),
            ],
        },
        BootPath { by: "UEFI, from a CD".into(), steps: vec![step("boot image", "no such entry", false)] },
    ];
    audit.conclude();
    audit
}
