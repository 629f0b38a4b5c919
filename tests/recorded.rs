//! What the version before the five crates wrote, and what was written for it, is read by this one.

#![allow(clippy::unwrap_used, reason = "a test that cannot go on says so best by failing")]

use boma_qemu::audit::profile::AuditProfile;
use boma_qemu::image::Catalogue;
use boma_qemu::profile::Profile;
use camino::{Utf8Path, Utf8PathBuf};
use evidence::record::Record;
use vm::monitor::events::read_all;

fn fixture(name: &str) -> Utf8PathBuf {
    Utf8Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/fixtures").join(name)
}

fn text(name: &str) -> String {
    std::fs::read_to_string(fixture(name)).unwrap()
}

#[test]
fn a_profile_of_a_host_is_read() {
    let profile = Profile::parse("profiles/askari.json".into(), &text("recorded/askari.json")).unwrap();
    assert_eq!(profile.red_scenario(), Some("red"));
    assert_eq!(profile.all_scenarios()["red"].fails, ["published_port_answers", "container_reaches_out"]);
}

#[test]
fn a_profile_of_an_image_is_read_with_all_its_conditions() {
    let written = text("recorded/pre-nixos.json");
    let profile = AuditProfile::parse("profiles/pre-nixos.json".into(), &written).unwrap();
    let json: serde_json::Value = serde_json::from_str(&written).unwrap();
    let names: Vec<_> = json["conditions"].as_array().unwrap().iter().map(|it| it["id"].as_str().unwrap()).collect();
    assert_eq!(profile.conditions.iter().map(|it| it.id.as_str()).collect::<Vec<_>>(), names);
}

#[test]
fn the_catalogue_of_images_is_read() {
    let catalogue = Catalogue::read(&fixture("recorded/images.json")).unwrap();
    catalogue.entry("debian-13").unwrap();
}

#[test]
fn the_record_and_the_journal_of_a_run_are_read() {
    let record: Record = serde_json::from_str(&text("run/result.json")).unwrap();
    assert!(record.reboot.is_some() && record.checks.len() == 2);
    let journal = read_all(&fixture("run/events.ndjson")).unwrap();
    assert_eq!(journal.len(), text("run/events.ndjson").lines().count());
    assert!(journal.iter().any(|event| event.kind() == "qemu-started"));
}
