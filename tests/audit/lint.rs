//! Profiles that are wrong, profiles that are written from an image, and the list of probes in the runbook.

use crate::project::Project;
use boma_qemu::audit::catalogue;
use camino::Utf8Path;

#[test]
fn all_that_is_wrong_with_a_profiles_form_is_said_at_once_with_its_place() {
    let world = Project::new();
    let profile = r#"{
  "//": "a comment is no field",
  "kind": "audit", "imag": "x.iso",
  "machine": {"vcpu": 2, "// why": "another comment"},
  "conditions": [
    {"id": "a", "phase": "image", "what": "w", "hint": "h", "probe": {"loader-arg": {}}},
    {"id": "b", "phase": "imge", "what": "w", "probe": {"size": {"at-least": 1, "at-most-mib": 2}}},
    {"id": "c", "phase": "runtime", "what": "w", "hint": "h", "probe": {"unit-state": {"unit": "x", "expect": ["runing"]}}},
    {"id": "d", "phase": "runtime", "what": "w", "hint": "h", "limit": "5", "probe": {"console-never": {"pattern": "a(b"}}},
    {"id": "e", "phase": "runtime", "what": "w", "hint": "h", "limit": 5, "probe": {"console-speaks": {"within-s": 60}}},
    {"id": "f", "phase": "runtime", "what": "w", "hint": "h", "probe": {"console-never": {"pattern": "[^\\s\\S]"}}}
  ]
}"#;
    std::fs::write(world.dir.join("profiles/own.json"), profile).unwrap();
    let words = [
        "line 3 column 20: the profile: unknown field `imag`; did you mean `image`?",
        "line 4 column 15: machine: unknown field `vcpu`; did you mean `vcpus`?",
        "line 6 column 71: a: unknown probe `loader-arg`; did you mean `loader-args`?",
        "b: phase: unknown variant `imge`",
        "line 7 column 5: b: missing field `hint`",
        "b: size: unknown field `at-least`; did you mean `at-least-mib`?",
        "c: unit-state: \"runing\" is no state of a unit",
        "d: limit: invalid type",
        "d: console-never: the regular expression \"a(b\" cannot be used: unclosed group",
        "e: limit is 5 s, and within-s alone may take 60 s",
        "f: console-never: the regular expression \"[^\\\\s\\\\S]\" can never match",
    ];
    world.refused(&["audit", "lint", "own"], 2, &words);
    world.refused(&["audit", "lint", world.dir.join("profiles/own.json").as_str()], 2, &words);
    world.refused(&["audit", "own"], 2, &words);
}

#[test]
fn what_boots_needs_a_machine_and_what_only_looks_does_not() {
    let world = Project::new();
    let text = |phase: &str, probe: &str| {
        format!(
            r#"{{"kind": "audit", "image": "x", "conditions": [{{"id": "a", "phase": "{phase}", "what": "w", "hint": "h", "probe": {{"{probe}": {{}}}}}}]}}"#
        )
    };
    std::fs::write(world.dir.join("profiles/looks.json"), text("image", "whole")).unwrap();
    std::fs::write(world.dir.join("profiles/boots.json"), text("runtime", "login")).unwrap();
    let (code, out, _) = world.run(&["audit", "lint", "looks"]);
    assert_eq!((code, out.contains("0 host, 1 image, 0 runtime")), (0, true), "{out}");
    let missing = |key: &str| format!("{key} is missing: these conditions boot the image: a");
    world.refused(&["audit", "lint", "boots"], 2, &[&missing("machine"), &missing("guest")]);
    let (code, ..) = world.run(&["audit", "lint", "pre-nixos"]);
    assert_eq!(code, 0, "the profile that is delivered");
}

/// An image that nobody here made: package grub-rescue-pc.
#[test]
fn a_profile_that_was_written_from_an_iso_says_what_it_found_and_runs() {
    let world = Project::new();
    let image = "/usr/lib/grub-rescue/grub-rescue-cdrom.iso";
    let (code, out, err) = world.run(&["audit", "init", image, "--name", "rescue"]);
    assert_eq!(code, 0, "{out}{err}");
    let text = std::fs::read_to_string(world.dir.join("profiles/rescue.json")).unwrap();
    assert!(text.contains("Boot catalogue, entry 1: BIOS") && text.contains("no entry has a serial console"), "{text}");
    assert_eq!(world.run(&["audit", "lint", "rescue"]).0, 0);
    let (code, out, _) = world.run(&["audit", "rescue"]);
    // Its entry boots what lies on a disk of its user's, so whether the kernel is there nobody knows.
    assert_eq!(code, 4, "{out}");
    let audit = world.audit();
    let failed: Vec<_> =
        audit["conditions"].as_array().unwrap().iter().filter(|one| one["result"] != "passed").collect();
    assert!(failed.iter().any(|one| one["id"] == "loader-files"), "{out}");
    let bios = &audit["boot_paths"][0];
    assert_eq!(
        (bios["by"].as_str(), bios["steps"][2]["ok"].as_bool()),
        (Some("BIOS, from a CD"), Some(true)),
        "{bios}"
    );
}

/// A row of the runbook's table of probes: its name, its fields, and an example.
#[test]
fn the_runbook_has_every_probe_with_its_fields_and_an_example_that_can_be_used() {
    let runbook = Utf8Path::new(env!("CARGO_MANIFEST_DIR")).join("docs/runbook.md");
    let text = std::fs::read_to_string(runbook).unwrap();
    // A key of a host's profile can have the name of a probe.
    let (_, text) = text.split_once("\n## Auditing a boot image\n").unwrap();
    let (text, _) = text.split_once("\n## ").unwrap();
    let row = |line: &str| {
        let cells: Vec<_> = line.trim().trim_matches('|').split(" | ").map(|cell| cell.trim().to_owned()).collect();
        let name = cells.first()?.strip_prefix('`')?.strip_suffix('`')?.to_owned();
        (cells.len() == 4 && catalogue::probes().contains(&name.as_str())).then_some((name, cells))
    };
    let rows: Vec<_> = text.lines().filter_map(row).collect();
    for probe in catalogue::probes() {
        let mine: Vec<_> = rows.iter().filter(|(name, _)| name == probe).collect();
        let [(_, cells)] = mine.as_slice() else { panic!("{probe}: {} rows", mine.len()) };
        let said: Vec<_> =
            cells[1].split(", ").map(|field| field.trim_matches('`')).filter(|field| *field != "–").collect();
        assert_eq!(said, catalogue::fields(probe), "{probe}");
        let example = cells[2].trim_matches('`');
        let parsed: boma_qemu::audit::Probe =
            serde_json::from_str(&format!("{{{example}}}")).unwrap_or_else(|e| panic!("{probe}: {example}: {e}"));
        assert_eq!(&parsed.name(), probe);
    }
}
