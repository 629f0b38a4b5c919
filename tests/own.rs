//! What is not ours stays as it is, byte for byte and mode for mode: beside the folders that are named to the program,
//! in them, and under names that look like its own.

#![allow(clippy::unwrap_used, reason = "a test that cannot go on says so best by failing")]

#[allow(dead_code, reason = "each test takes what it needs of it")]
mod project;

use camino::{Utf8Path, Utf8PathBuf};
use host::dirs::make_private;
use host::ledger::folder;
use project::Project;
use serde_json::Value;
use std::fs::{Permissions, create_dir_all, set_permissions, write};
use std::io::{BufRead, BufReader};
use std::os::unix::fs::{MetadataExt, PermissionsExt, symlink};
use std::process::{Command, Output, Stdio};

/// Every file and folder below, with its mode, its bytes and when it was changed.
fn tree(dir: &Utf8Path) -> String {
    let list =
        "find . -printf '%y %m %u %s %C@ %p %l\\n' | sort; find . -type f -print0 | sort -z | xargs -0r sha256sum";
    let out = Command::new("sh").args(["-c", list]).current_dir(dir).output().unwrap();
    assert!(out.status.success());
    String::from_utf8(out.stdout).unwrap()
}

fn mode(path: &Utf8Path, mode: u32) {
    set_permissions(path, Permissions::from_mode(mode)).unwrap();
}

fn said(out: &Output) -> String {
    String::from_utf8_lossy(&[&out.stdout[..], &out.stderr].concat()).into_owned()
}

/// What stands between backquotes and begins so: commands for the user.
fn commands(said: &str, begin: &str) -> Vec<String> {
    said.split('`').skip(1).step_by(2).filter(|text| text.starts_with(begin)).map(str::to_owned).collect()
}

fn sh(script: &str) {
    assert!(Command::new("sh").args(["-ec", script]).status().unwrap().success(), "{script}");
}

/// The object of that event among the lines of JSON.
fn event(out: &Output, name: &str) -> Value {
    let text = String::from_utf8_lossy(&out.stdout).into_owned();
    let mut all = text.lines().filter_map(|line| serde_json::from_str::<Value>(line).ok());
    all.find(|object| object["event"] == name).unwrap_or_else(|| panic!("no {name} in: {text}"))
}

/// Every command that looks for something to remove. None of them gets so far that a VM boots.
const REMOVERS: [&[&str]; 6] = [
    &["prune"],
    &["prune", "--all"],
    &["net", "down"],
    &["down", "askari"],
    &["up", "askari", "--image", "nosuch"],
    &["cycle", "askari", "--image", "nosuch"],
];

/// Folders of somebody's, under names that could be ours.
fn strangers(state: &Utf8Path) {
    let folders =
        ["preflight-checklist", "preflight-AbCd12", "net/mynotes/deep", "vms/olddata", "vms/damaged", "notes"];
    for folder in folders {
        create_dir_all(state.join(folder)).unwrap();
        write(state.join(folder).join("precious"), folder).unwrap();
    }
    write(state.join("vms/damaged/ledger.ndjson"), "nonsense\n").unwrap();
    create_dir_all(state.join("net/torn")).unwrap();
    write(state.join("net/torn/ledger.ndjson"), r#"{"step":"intent","seq":0,"#).unwrap();
    symlink("../notes", state.join("vms/link")).unwrap();
    symlink("notes", state.join("preflight-link")).unwrap();
    write(state.join("preflight-file"), "x").unwrap();
    write(state.join("vms/plain"), "x").unwrap();
    mode(&state.join("notes"), 0o2775);
    mode(&state.join("vms/olddata/precious"), 0o464);
}

#[test]
fn a_state_folder_that_is_not_this_users_alone_is_refused_and_stays_as_it_is() {
    for wide in [0o2775, 0o1777, 0o755, 0o750] {
        let world = Project::new();
        let state = world.dir.join("s");
        std::fs::create_dir(&state).unwrap();
        strangers(&state);
        mode(&state, wide);
        symlink("s", world.dir.join("l")).unwrap();
        let before = tree(&world.dir);
        for (args, named) in REMOVERS.iter().flat_map(|args| [(args, "s"), (args, "l")]) {
            let out = world.command(args).env("BOMA_STATE", world.dir.join(named)).output().unwrap();
            let said = said(&out);
            assert_eq!(out.status.code(), Some(2), "{args:?}: {said}");
            assert!(said.contains("BOMA_STATE") && said.contains(&format!("{wide:04o}")), "{said}");
            assert_eq!(tree(&world.dir), before, "{args:?}");
        }
        // What it says helps.
        let told = said(&world.command(&["prune"]).output().unwrap());
        let [make] = &commands(&told, "mkdir")[..] else { panic!("{told}") };
        let args = ["-c", &format!("{make} && exec \"$0\" prune"), env!("CARGO_BIN_EXE_boma-qemu")];
        let own = world.command(&[]);
        let envs = own.get_envs().filter_map(|(name, value)| Some((name, value?)));
        let out = Command::new("sh").args(args).envs(envs).current_dir(&world.dir).output().unwrap();
        assert!(out.status.success(), "{}", said(&out));
    }
}

#[test]
fn a_folder_of_another_user_is_refused_as_state() {
    if !nix::unistd::geteuid().is_root() {
        return; // Only root can give a folder away.
    }
    let world = Project::new();
    let state = world.dir.join("s");
    make_private(&state).unwrap();
    std::os::unix::fs::chown(&state, Some(40042), None).unwrap();
    let before = tree(&world.dir);
    for args in REMOVERS {
        world.refused(args, 2, &["belongs to uid 40042", "mkdir -m 0700"]);
    }
    assert_eq!(tree(&world.dir), before);
}

#[test]
fn what_has_no_ledger_of_ours_survives_every_command_and_is_in_nobodys_way() {
    let world = Project::new();
    let state = world.dir.join("s");
    make_private(&state).unwrap();
    strangers(&state);
    create_dir_all(world.dir.join("vms/olddata")).unwrap();
    create_dir_all(world.dir.join("runs/notes")).unwrap();
    write(world.dir.join("runs/latest"), "mine").unwrap();
    create_dir_all(world.dir.join("cache/.build-debian-13-1/root")).unwrap();
    write(world.dir.join("cache/.debian-13.part"), "half").unwrap();
    make_private(&world.dir.join("promises")).unwrap();
    // The lock of the commands, and of a network and an image that were looked at, are ours; so is what memory is promised.
    let kept = || -> String {
        let ours = |line: &&str| line.ends_with(".lock ") || line.contains(".lock\n") || line.contains(" ./runs/2");
        let folders = |line: &&str| {
            line.starts_with("d ")
                && [" ./s ", " ./s/net ", " ./runs ", " ./cache ", " ./promises "].iter().any(|at| line.contains(at))
        };
        let all = tree(&world.dir);
        all.lines()
            .filter(|line| !ours(line) && !line.ends_with(".lock") && !folders(line))
            .map(|line| format!("{line}\n"))
            .collect()
    };
    let before = kept();
    for args in REMOVERS {
        let out = world.command(args).output().unwrap();
        let said = said(&out);
        assert_eq!(kept(), before, "{args:?}: {said}");
        match args[0] {
            "prune" | "net" => assert_eq!(out.status.code(), Some(7), "{args:?}: {said}"),
            "down" => assert_eq!(out.status.code(), Some(0), "{args:?}: {said}"),
            // They go on to what they fail for, and send nobody to a command that would say the same.
            _ => assert!(out.status.code() != Some(7) && !said.contains("`boma-qemu prune`"), "{args:?}: {said}"),
        }
        assert!(!said.contains("removed: "), "{said}");
    }
    let out = world.command(&["down", "olddata"]).output().unwrap();
    assert_eq!((out.status.code(), kept() == before), (Some(7), true), "{}", said(&out));
    // Each is told with the command for it, and after that it is over.
    let told = said(&world.command(&["prune"]).output().unwrap());
    let by_hand = commands(&told, "rm ");
    assert_eq!(by_hand.len(), 9, "{told}");
    by_hand.iter().for_each(|command| sh(command));
    let out = world.command(&["prune"]).output().unwrap();
    assert!(out.status.success(), "{}", said(&out));
    for stays in
        ["s/notes/precious", "s/preflight-file", "s/vms/plain", "s/preflight-link", "runs/latest", "vms/olddata"]
    {
        assert!(world.dir.join(stays).symlink_metadata().is_ok(), "{stays}");
    }
    assert_eq!(state.join("notes").metadata().unwrap().mode() & 0o7777, 0o2775);
}

#[test]
fn a_folder_where_the_vms_own_is_to_be_is_named_with_the_command_for_it() {
    let world = Project::new();
    let vm = world.dir.join("s/vms/askari");
    make_private(vm.parent().unwrap().parent().unwrap()).unwrap();
    create_dir_all(&vm).unwrap();
    write(vm.join("precious"), "x").unwrap();
    for args in [&["up", "askari"][..], &["cycle", "askari"]] {
        let out = world.command(args).output().unwrap();
        let said = said(&out);
        assert_eq!(out.status.code(), Some(2), "{said}");
        assert!(commands(&said, "rm ").contains(&format!("rm -r -- {vm}")) && !said.contains("`boma-qemu"), "{said}");
    }
    assert!(vm.join("precious").exists());
    let status = said(&world.command(&["status"]).output().unwrap());
    assert!(status.contains(&format!("rm -r -- {vm}")) && !status.contains("prune"), "{status}");
}

#[test]
fn what_killed_commands_left_is_found_by_prune() {
    let world = Project::new();
    let (state, cache) = (world.dir.join("s"), world.dir.join("cache"));
    make_private(&state).unwrap();
    create_dir_all(&cache).unwrap();
    for made in [state.join("preflight-AbCd12"), state.join("vms/askari"), state.join("net/boma-it")] {
        drop(folder::make(&made).unwrap());
        create_dir_all(made.join("a/b")).unwrap();
    }
    // Killed between the folder and its first entry.
    create_dir_all(state.join("preflight-XyZ012")).unwrap();
    std::fs::create_dir(cache.join(".build-debian-13-1")).unwrap();
    drop(folder::adopt(&cache.join(".build-debian-13-1")).unwrap());
    write(cache.join(".debian-13.part"), "half").unwrap();
    write(cache.join(".debian-13.part.json"), r#"{"address":"https://x/y","sha512":"0","validator":null}"#).unwrap();
    let out = world.command(&["prune", "--json"]).output().unwrap();
    assert!(out.status.success(), "{}", said(&out));
    let removed = &event(&out, "removed")["removed"];
    assert_eq!(removed["leftovers"].as_array().unwrap().len(), 4, "{removed}");
    assert_eq!((&removed["vms"][0], &removed["networks"][0]), (&"askari".into(), &"boma-it".into()));
    for (folder, left) in [(&state, ["images", "net", "run.lock", "vms"].as_slice()), (&cache, &[".debian-13.lock"])] {
        for entry in folder.read_dir_utf8().unwrap() {
            let entry = entry.unwrap();
            assert!(left.contains(&entry.file_name()), "{} is left", entry.path());
        }
    }
}

/// An image with the record that it would have.
fn image(cache: &Utf8Path, name: &str, seed: u8) -> Utf8PathBuf {
    let mut bytes = vec![seed; 1 << 20];
    bytes[510..512].copy_from_slice(&[0x55, 0xaa]);
    create_dir_all(cache).unwrap();
    write(cache.join("new"), &bytes).unwrap();
    let out = Command::new("sha512sum").arg(cache.join("new")).output().unwrap();
    let digest = String::from_utf8(out.stdout).unwrap()[..128].to_owned();
    let file = format!("{name}-{}.qcow2", &digest[..12]);
    let path = cache.join(&file);
    std::fs::rename(cache.join("new"), &path).unwrap();
    let meta = path.metadata().unwrap();
    let stamp = serde_json::json!({
        "inode": meta.ino(), "bytes": meta.len(), "mtime": meta.mtime(), "mtime_ns": meta.mtime_nsec(),
        "ctime": meta.ctime(), "ctime_ns": meta.ctime_nsec(),
    });
    let record = serde_json::json!({
        "image": name, "file": file, "origin": {"how": "fetched", "address": "https://cloud.debian.org/x"},
        "sha512": digest, "bytes": meta.len(), "format": "raw", "virtual_bytes": meta.len(),
        "date": "2099-01-01T00:00:00Z", "stamp": stamp,
    });
    write(path.with_extension("json"), record.to_string()).unwrap();
    path
}

#[test]
fn a_record_in_a_cache_that_others_can_write_to_is_not_believed_unless_the_catalogue_pins_it() {
    let world = Project::new();
    let cache = world.dir.join("cache");
    let path = image(&cache, "debian-13", 1);
    let run = |args: &[&str]| world.command(args).output().unwrap();
    let current = || event(&run(&["image", "list", "--json"]), "image")["image"]["current"].clone();
    assert_eq!((current(), run(&["image", "verify"]).status.code()), (true.into(), Some(0)));
    for wide in [0o2775, 0o777, 0o1777] {
        mode(&cache, wide);
        let out = run(&["image", "list"]);
        assert!(out.status.success() && said(&out).starts_with("REFUSED"), "{}", said(&out));
        assert_eq!((current(), run(&["image", "verify"]).status.code()), (false.into(), Some(2)));
    }
    mode(&cache, 0o2775);
    let record: Value = serde_json::from_slice(&std::fs::read(path.with_extension("json")).unwrap()).unwrap();
    let images = world.dir.join("profiles/images.json");
    let mut catalogue: Value = serde_json::from_slice(&std::fs::read(&images).unwrap()).unwrap();
    catalogue["debian-13"]["fetch"]["sha512"] = record["sha512"].clone();
    write(&images, catalogue.to_string()).unwrap();
    assert_eq!((current(), run(&["image", "verify"]).status.code()), (true.into(), Some(0)));
    write(&path, "other bytes").unwrap();
    assert_eq!(run(&["image", "verify"]).status.code(), Some(2));
    assert_eq!(cache.metadata().unwrap().mode() & 0o7777, 0o2775);
}

#[test]
fn a_bad_record_is_named_and_the_others_are_listed_all_the_same() {
    let world = Project::new();
    let cache = world.dir.join("cache");
    let (good, led) = (image(&cache, "debian-13", 1), image(&cache, "debian-12", 2));
    let secret = world.dir.join("secret.img");
    std::fs::rename(&led, &secret).unwrap();
    symlink(&secret, &led).unwrap();
    create_dir_all(cache.join("x.json")).unwrap();
    write(cache.join("y.json"), "{}").unwrap();
    let out = world.command(&["image", "list"]).output().unwrap();
    let text = said(&out);
    assert!(out.status.success() && text.contains("current") && text.contains(good.as_str()), "{text}");
    for (name, why) in [("x.json", "a folder"), ("y.json", "no record"), (led.file_name().unwrap(), "a link")] {
        assert!(text.lines().any(|line| line.contains(name) && line.contains(why)), "{name}: {text}");
    }
    assert_eq!(
        world.command(&["image", "verify"]).output().unwrap().status.code(),
        Some(2),
        "not all of it was hashed"
    );
    assert_eq!(world.command(&["image", "verify", "debian-13"]).output().unwrap().status.code(), Some(0));
    for nothing in ["debian-12", "nosuch"] {
        assert_eq!(world.command(&["image", "verify", nothing]).output().unwrap().status.code(), Some(2), "{nothing}");
    }
    Project::new().refused(&["image", "verify", "nosuch"], 2, &["nothing was verified"]);
}

/// A server with a certificate of an authority of its own, and beside it one without TLS; each line is what was asked.
const SERVER: &str = r#"
import http.server, ssl, sys, threading
folder = sys.argv[1]
class Handler(http.server.SimpleHTTPRequestHandler):
    def __init__(self, *args): super().__init__(*args, directory=folder)
    def log_message(self, *args): pass
    def do_GET(self):
        print("plain" if self.server is plain else "tls", self.path, flush=True)
        if self.path.startswith("/away/"):
            self.send_response(302)
            self.send_header("Location", f"http://127.0.0.1:{plain.server_port}/{self.path[6:]}")
            self.end_headers()
        else:
            super().do_GET()
plain = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler)
tls = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler)
context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
context.load_cert_chain("server.pem", "server.key")
tls.socket = context.wrap_socket(tls.socket, server_side=True)
threading.Thread(target=plain.serve_forever, daemon=True).start()
print(tls.server_port, plain.server_port, flush=True)
tls.serve_forever()
"#;

const CERTIFICATES: &str = "
new='-newkey ec -pkeyopt ec_paramgen_curve:P-256 -nodes -subj'
openssl req -x509 $new /CN=authority -keyout authority.key -out authority.pem -days 2
openssl req $new /CN=server -keyout server.key -out server.csr
echo subjectAltName=IP:127.0.0.1 > extensions
openssl x509 -req -in server.csr -CA authority.pem -CAkey authority.key -CAcreateserial -days 2 -extfile extensions -out server.pem";

#[test]
fn an_image_is_fetched_by_https_and_by_nothing_that_a_server_leads_to() {
    let world = Project::new();
    let site = world.dir.join("site");
    create_dir_all(&site).unwrap();
    let disk = image(&site, "debian-13", 3);
    std::fs::rename(disk, site.join("disk.qcow2")).unwrap();
    sh(&format!("exec 2>/dev/null; cd {}; {CERTIFICATES}; cd site; sha512sum disk.qcow2 > SHA512SUMS", world.dir));
    let mut server = Command::new("python3");
    server.args(["-c", SERVER, site.as_str()]).current_dir(&world.dir).stdout(Stdio::piped()).stderr(Stdio::null());
    let mut server = server.spawn().unwrap();
    let mut lines = BufReader::new(server.stdout.take().unwrap()).lines().map(Result::unwrap);
    let first = lines.next().unwrap();
    let (tls, plain) = first.split_once(' ').unwrap();
    let fetch = |address: &str, sums: &str, trusted: bool| {
        let images = world.dir.join("profiles/images.json");
        let mut catalogue: Value = serde_json::from_slice(&std::fs::read(&images).unwrap()).unwrap();
        catalogue["debian-13"]["fetch"] = serde_json::json!({"address": address, "sums": sums});
        write(&images, catalogue.to_string()).unwrap();
        let mut command = world.command(&["image", "fetch"]);
        if trusted {
            command.env("SSL_CERT_FILE", world.dir.join("authority.pem"));
        }
        command.output().unwrap()
    };
    let (good, sums) = (format!("https://127.0.0.1:{tls}/disk.qcow2"), format!("https://127.0.0.1:{tls}/SHA512SUMS"));
    let away = format!("https://127.0.0.1:{tls}/away");
    let outs = [
        // What the catalogue may not say.
        (fetch(&format!("http://127.0.0.1:{plain}/disk.qcow2"), &sums, true), 2, "https://"),
        (fetch(&good, &format!("http://127.0.0.1:{plain}/SHA512SUMS"), true), 2, "https://"),
        (fetch(&good, &format!("{away}/SHA512SUMS"), true), 3, "not https"),
        (fetch(&format!("{away}/disk.qcow2"), &sums, true), 3, "not https"),
        // A server that nobody vouches for.
        (fetch(&good, &sums, false), 3, "cannot be reached"),
    ];
    for (out, code, words) in &outs {
        assert_eq!(out.status.code(), Some(*code), "{}", said(out));
        assert!(said(out).contains(words), "{}", said(out));
    }
    let cached = || {
        world
            .dir
            .join("cache")
            .read_dir_utf8()
            .unwrap()
            .filter(|e| e.as_ref().unwrap().file_name().ends_with(".qcow2"))
            .count()
    };
    assert_eq!(cached(), 0);
    let out = fetch(&good, &sums, true);
    assert!(out.status.success() && cached() == 1, "{}", said(&out));
    assert!(world.command(&["image", "verify"]).output().unwrap().status.success());
    server.kill().unwrap();
    server.wait().unwrap();
    let asked: Vec<_> = lines.collect();
    assert!(asked.iter().all(|line| line.starts_with("tls ")), "{asked:?}");
    assert!(asked.contains(&"tls /away/disk.qcow2".to_owned()), "{asked:?}");
}
