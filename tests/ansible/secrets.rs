//! Planted tokens: given with `-e`, in a file of extra-vars, in the vault, in the caller's environment. A playbook that
//! hides nothing says them all; nothing that we write, print or start may.

use crate::at_hand::{ansible, block_on};
use crate::world::{VM, World, run};
use boma_qemu::ansible::run::{Applied, Runner};
use boma_qemu::ansible::{Controller, UserVars};
use boma_qemu::profile::Apply;
use camino::Utf8Path;
use host::secrets;
use std::os::unix::fs::PermissionsExt;
use std::time::Duration;

const PAIR: &str = "tok-Pair-7c1f\"9 b2";
const FILE: &str = "tok-File-55d0e1aa";
const VAULT: &str = "tok-Vault-90ff<12>";
const INLINE: &str = "tok-Inline-3b3b3b";
const ENVIRONMENT: &str = "tok-Environment-0042";
const TOKENS: [&str; 5] = [PAIR, FILE, VAULT, INLINE, ENVIRONMENT];

/// Says everything in every way: a debug message, a command's line and output, a loop's labels, a failure.
const PLAYBOOK: &str = r#"
- hosts: web
  gather_facts: false
  vars: { all_of_them: ["{{ given }}", "{{ deploy_token }}", "{{ vaulted }}", "{{ inline }}"] }
  tasks:
    - debug: { msg: "{{ all_of_them }}" }
    - debug: { msg: "{{ item }}" }
      loop: "{{ all_of_them }}"
    - copy: { content: "{{ all_of_them | join }}", dest: /root/them }
    - command: sleep 2
    - command: { argv: "{{ ['printf', '%s\n'] + all_of_them }}" }
      failed_when: false
    - shell: "cat /root/them >&2; exit 3"
    - command: { argv: "{{ ['false'] + all_of_them }}" }
"#;

fn vault(world: &World, args: &[&str]) -> String {
    let bin = ansible().map_or_else(|| "ansible-vault".to_owned(), |bin| bin.join("ansible-vault").into());
    run(&bin, &[args, &["--vault-password-file", world.path("repo/password").as_str()]].concat())
}

/// A repository with two vaulted values, and what a user gives to `up`.
fn planted(world: &World) -> Controller {
    world.write("password", "open\n");
    world.write("ansible.cfg", "[defaults]\ninterpreter_python = /usr/bin/python3\nvault_password_file = password\n[connection]\npipelining = True\n");
    let file = world.write("group_vars/web/vault.yml", &format!("vaulted: \"{VAULT}\"\n"));
    vault(world, &["encrypt", file.as_str()]);
    let inline = vault(world, &["encrypt_string", INLINE]).replace('\n', "\n  ");
    world.write("group_vars/web/vars.yml", &format!("inline: {inline}\n"));
    world.write("site.yml", PLAYBOOK);
    let file = world.write("../given.yml", &format!("deploy_token: {FILE}\n"));
    let mut controller = world.controller();
    controller.user = vec![UserVars::Pair { key: "given".into(), value: PAIR.into() }, UserVars::File(file)];
    controller.outer.push(("A_TOKEN".into(), ENVIRONMENT.into()));
    controller
}

/// Processes that show a token: their command lines.
fn shown_by_processes() -> Vec<String> {
    let mut found = Vec::new();
    for entry in std::fs::read_dir("/proc").unwrap().filter_map(Result::ok) {
        let read = |file: &str| {
            String::from_utf8_lossy(&std::fs::read(entry.path().join(file)).unwrap_or_default()).replace('\0', " ")
        };
        let (line, environment) = (read("cmdline"), read("environ"));
        if TOKENS.iter().any(|token| line.contains(token) || environment.contains(token)) {
            found.push(line);
        }
    }
    found
}

fn files(folder: &Utf8Path, found: &mut Vec<camino::Utf8PathBuf>) {
    for entry in folder.read_dir_utf8().unwrap().filter_map(Result::ok) {
        match entry.file_type().unwrap() {
            kind if kind.is_dir() => files(entry.path(), found),
            kind if kind.is_file() => found.push(entry.path().to_owned()),
            _ => {}
        }
    }
}

#[test]
fn planted_tokens_are_in_no_process_no_output_no_log_no_event_and_no_error() {
    let world = World::new().repo();
    let controller = planted(&world);
    // As `up` and `apply` do it.
    secrets::know(controller.user.iter().flat_map(UserVars::secrets));
    let found = world.look(&controller, &[world.path("repo/site.yml")]).unwrap();
    secrets::know(found.secrets);
    controller.write_folder(&world.connection(), &found.inline).unwrap();
    let (prefix, log) = (world.prefix(), world.path("ansible.log"));
    let runner =
        Runner { controller: &controller, address: VM, prefix: &prefix, log: &log, limit: Duration::from_secs(90) };
    let watch = std::thread::spawn(|| {
        let looks = (0..40).map(|_| {
            std::thread::sleep(Duration::from_millis(100));
            shown_by_processes()
        });
        looks.flatten().collect::<Vec<_>>()
    });
    let mut output = String::new();
    let apply = Apply { playbook: "site.yml".into(), tags: Vec::new() };
    let Applied { outcome, judged, .. } =
        block_on(runner.apply(&apply, &mut |line| output += &format!("{line}\n"))).unwrap();
    let error = host::failure::Failure::from(judged.unwrap_err()).to_string();
    assert_eq!(outcome.recap.failures, 1, "{output}");
    assert!(output.contains("******") && error.contains("******"), "they were said, and masked: {output}\n{error}");
    // The stand-in's own processes are the VM's, and what a task's command line is there is the task's affair.
    let shown: Vec<_> = watch.join().unwrap().into_iter().filter(|line| !line.starts_with("printf ")).collect();
    assert_eq!(shown, Vec::<String>::new());
    let results = format!("{:?}", outcome.results);
    for token in TOKENS {
        for way in [token.to_owned(), token.replace('"', "\\\"")] {
            for (what, text) in [("output", &output), ("error", &error), ("results", &results), ("log", &world.log())] {
                assert!(!text.contains(&way), "{token} in the {what}: {text}");
            }
        }
    }
    let mut all = Vec::new();
    files(&world.path("state"), &mut all);
    let own = [controller.folder.user_vars(0)];
    for file in all {
        let mode = |path: &Utf8Path| std::fs::metadata(path).unwrap().permissions().mode() & 0o777;
        assert_eq!(mode(&file) & 0o077, 0, "{file} can be read by others");
        let text = String::from_utf8_lossy(&std::fs::read(&file).unwrap()).into_owned();
        let told = TOKENS.iter().any(|token| text.contains(token) || text.contains(&token.replace('"', "\\\"")));
        assert_eq!(told, own.contains(&file), "{file}: {text}");
        assert_eq!(mode(&world.path("state")), 0o700);
    }
}
