//! Hostile text on its way to a terminal, a report or a program: from a boot image, a console's log, an argument. It is
//! seen as what it is, wherever it comes out.

#![allow(clippy::unwrap_used, reason = "a test that cannot go on says so best by failing")]

#[allow(dead_code, reason = "others use more of it")]
mod project;

use host::visible::is_hidden;
use nix::pty::openpty;
use project::Project;
use serde_json::{Value, json};
use std::ffi::OsStr;
use std::fs::File;
use std::io::{Read, Write};
use std::os::unix::ffi::OsStrExt;
use std::process::{Command, Output, Stdio};

/// Names of folders in an image: what each must not do, and how it is seen.
const NAMES: [(&[u8], &str); 7] = [
    (b"\x1b[2J\x1b[HPASSED: own", "⟨U+001B⟩[2J⟨U+001B⟩[HPASSED: own"),
    (b"\x1b]0;title\x07", "⟨U+001B⟩]0;title⟨U+0007⟩"),
    (b"a\nPASSED: all that own must have holds", "a⟨U+000A⟩PASSED: all"),
    ("c1 \u{9b}2J \u{85}".as_bytes(), "c1 ⟨U+009B⟩2J ⟨U+0085⟩"),
    ("bidi \u{202e}\u{2066}\u{61c}".as_bytes(), "bidi ⟨U+202E⟩⟨U+2066⟩⟨U+061C⟩"),
    ("none \u{200b}\u{2028}\u{e0041}".as_bytes(), "none ⟨U+200B⟩⟨U+2028⟩⟨U+E0041⟩"),
    (b"bytes \xff\xfe", "bytes \u{fffd}\u{fffd}"),
];

/// A project with an image whose folders have these names, and an audit that says which they are: a condition for each.
fn audited() -> Project {
    let world = Project::new();
    let mut conditions = Vec::new();
    for (n, (name, _)) in NAMES.iter().enumerate() {
        let folder = world.dir.as_std_path().join(format!("src/{n}")).join(OsStr::from_bytes(name));
        std::fs::create_dir_all(&folder).unwrap();
        std::fs::write(folder.join("id_rsa"), "x").unwrap();
        conditions.push(json!({"id": format!("c{n}"), "phase": "image", "what": "no key", "hint": "take it out",
            "probe": {"files-absent": {"paths": [format!("/{n}/**/id_rsa")]}}}));
    }
    let made = Command::new("xorriso")
        .args(["-as", "mkisofs", "-quiet", "-R", "-V", "EVIL", "-o", "evil.iso", "src"])
        .current_dir(&world.dir)
        .output()
        .unwrap();
    assert!(made.status.success(), "{}", String::from_utf8_lossy(&made.stderr));
    let profile = json!({
        "kind": "audit", "guest": {"dialect": "debian", "user": "x"}, "machine": {"disks": []}, "conditions": conditions
    });
    std::fs::write(world.dir.join("profiles/own.json"), profile.to_string()).unwrap();
    world
}

const AUDIT: [&str; 4] = ["audit", "own", "--image", "evil.iso"];

fn piped(world: &Project, args: &[&str], input: &[u8]) -> Output {
    let mut command = world.command(args);
    let mut child = command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
    child.stdin.take().unwrap().write_all(input).unwrap();
    child.wait_with_output().unwrap()
}

/// What a command draws on a terminal, and its exit code.
fn drawn(world: &Project, args: &[&str], input: Option<&[u8]>) -> (String, Option<i32>) {
    let pty = openpty(None, None).unwrap();
    let mut command = world.command(args);
    command.stdin(if input.is_some() { Stdio::piped() } else { Stdio::null() });
    command.stdout(pty.slave.try_clone().unwrap()).stderr(pty.slave).env("TERM", "xterm-256color");
    let mut child = command.spawn().unwrap();
    // The command holds copies of its own.
    drop(command);
    if let Some(input) = input {
        child.stdin.take().unwrap().write_all(input).unwrap();
    }
    let mut bytes = Vec::new();
    // EIO is how a terminal says that nobody has it open any more.
    let _end = File::from(pty.master).read_to_end(&mut bytes);
    (String::from_utf8(bytes).unwrap(), child.wait().unwrap().code())
}

/// Nothing is hidden in it but line ends.
#[track_caller]
fn shows_all(what: &str, text: &str) {
    let hidden = text.chars().find(|c| is_hidden(*c) && !matches!(c, '\n' | '\t'));
    assert!(hidden.is_none(), "{what} holds {hidden:?}: {text}");
}

/// Of escape sequences there are only colours and what keeps the live line (its own line cleared, the cursor up and down); nothing
/// else is hidden.
#[track_caller]
fn draws_only_our_own(screen: &str) {
    let own = regex::Regex::new("\u{1b}\\[[0-9;]*m|\u{1b}\\[2K|\u{1b}\\[[0-9]*[AB]|\u{1b}\\[\\?25[lh]|\r").unwrap();
    shows_all("the screen", &own.replace_all(screen, ""));
}

#[test]
fn several_runs_have_a_live_line_each_and_draw_nothing_else() {
    let world = Project::new();
    let profiles = world.dir.join("profiles");
    std::fs::copy(profiles.join("askari.json"), profiles.join("ubongo.json")).unwrap();
    let args = ["cycle", "askari,ubongo", "--jobs", "2", "--min-free-mib", "999999999"];
    let (screen, code) = drawn(&world, &args, None);
    assert_eq!(code, Some(3), "{screen}");
    draws_only_our_own(&screen);
    for host in ["askari", "ubongo"] {
        assert!(screen.contains(&format!("{host}: preflight FAILED")), "{screen}");
    }
}

#[test]
fn names_in_an_image_are_drawn_as_what_they_are() {
    let world = audited();
    let (screen, code) = drawn(&world, &AUDIT, None);
    assert_eq!(code, Some(6), "{screen}");
    draws_only_our_own(&screen);
    for (_, seen) in NAMES {
        let first = seen.split(' ').next().unwrap();
        assert!(screen.contains(first), "{first} is not in {screen}");
    }
    let colours = regex::Regex::new("\u{1b}\\[[0-9;]*[mK]|\r").unwrap();
    let forged = colours.replace_all(&screen, "").lines().any(|line| line.trim_start().starts_with("PASSED"));
    assert!(!forged, "{screen}");
}

#[test]
fn pipes_reports_and_programs_get_it_as_it_is_seen_or_escaped() {
    let world = audited();
    for args in [
        &AUDIT[..],
        &["--json", "audit", "own", "--image", "evil.iso"],
        &["-vv", "audit", "own", "--image", "evil.iso"],
    ] {
        let out = piped(&world, args, b"");
        assert_eq!(out.status.code(), Some(6), "{args:?}");
        shows_all("standard output", std::str::from_utf8(&out.stdout).unwrap());
        shows_all("standard error", std::str::from_utf8(&out.stderr).unwrap());
    }
    let read = |name: &str| std::fs::read_to_string(world.dir.join("runs/latest").join(name)).unwrap();
    for name in ["report.md", "junit.xml", "audit.json"] {
        shows_all(name, &read(name));
    }
    for (_, seen) in &NAMES[..6] {
        assert!(read("junit.xml").contains(seen), "{seen} is not in junit.xml");
    }
    assert!(!read("report.md").lines().any(|line| line.trim_start_matches(['#', ' ']).starts_with("PASSED")));
    let audit: Value = serde_json::from_str(&read("audit.json")).unwrap();
    let said = audit["conditions"].to_string();
    assert!(
        said.contains("\\u001b[2J") && said.contains('\u{9b}') && said.contains('\u{202e}'),
        "the very characters: {said}"
    );
}

#[test]
fn a_console_that_is_checked_cannot_draw() {
    let world = Project::new();
    let log = "You are in emergency mode \u{9b}31mRED \u{202e} \u{2028}x\n".as_bytes();
    let (screen, code) = drawn(&world, &["check-console", "-"], Some(log));
    assert_eq!(code, Some(8), "{screen}");
    assert!(screen.contains("emergency mode ⟨U+009B⟩31mRED ⟨U+202E⟩ ⟨U+2028⟩x"), "{screen}");
    draws_only_our_own(&screen);
    let out = piped(&world, &["check-console", "-", "--json"], log);
    let text = String::from_utf8(out.stdout).unwrap();
    shows_all("JSON", &text);
    let lines: Vec<Value> = text.lines().map(|line| serde_json::from_str(line).unwrap()).collect();
    assert!(lines[0]["finding"].to_string().contains('\u{9b}'), "a program gets the very characters: {text}");
}

#[test]
fn an_argument_that_is_repeated_cannot_draw() {
    let world = Project::new();
    for args in [
        &["cycle", "askari", "--certs", "\u{1b}[2Jgold\u{202e}"][..],
        &["\u{1b}[2J\u{9b}H"],
        &["cycle", "ask\u{1b}[2Jari"],
        &["check-console", "/nosuch\u{1b}[2J\nPASSED"],
        &["audit", "pre-nixos", "--image", "\u{1b}]0;x\u{7}.iso"],
    ] {
        let (screen, code) = drawn(&world, args, None);
        assert_eq!(code, Some(2), "{screen}");
        draws_only_our_own(&screen);
        assert!(screen.contains("⟨U+001B⟩"), "{screen}");
    }
}
