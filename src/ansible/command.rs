//! The command lines of the playbook side and the environment that they run in: pure, so that `plan` can print them.

use super::folder::Folder;
use super::inventory::vars_base;
use super::private::Private;
use super::selection::Selection;
use super::user_vars::UserVars;
use crate::profile::Apply;
use camino::{Utf8Path, Utf8PathBuf};
use host::names::HostName;
use host::programs;
use host::shell::quoted;
use std::fmt;
use std::net::Ipv4Addr;
use vm::network::confine;

/// The playbook side of one VM: everything that its command lines are made of.
#[derive(Clone, Debug)]
pub struct Controller {
    /// The mirrored host.
    pub host: HostName,
    /// The playbook repository, absolute; commands run in it.
    pub repo: Utf8PathBuf,
    /// The real inventory, absolute.
    pub inventory: Utf8PathBuf,
    /// The groups that the profile puts the host in.
    pub groups: Vec<String>,
    /// Files of extra-vars in their order, absolute: the profile's overlays, then the certificate tier.
    pub overlays: Vec<Utf8PathBuf>,
    /// What the user gave with `-e`, in its order.
    pub user: Vec<UserVars>,
    /// Extra variables that are secret, as JSON. They stand in no file of this host: the confinement takes them by its standard
    /// input, and shows them in a file system that ends with the command.
    pub private: Option<Private>,
    /// The folder of our own files.
    pub folder: Folder,
    /// The folder of Ansible's programs, or `PATH`.
    pub bin: Option<Utf8PathBuf>,
    /// The caller's environment; only what is listed in [`KEPT`] gets through.
    pub outer: Vec<(String, String)>,
}

/// Variables of the caller's environment that Ansible may see. Nothing else gets through: no agent, no proxy, no
/// Docker or Kubernetes target, no `ANSIBLE_*` but where the vault's password and the collections are.
pub const KEPT: [&str; 13] = [
    "HOME",
    "USER",
    "LOGNAME",
    "PATH",
    "TZ",
    "XDG_CONFIG_HOME",
    "XDG_DATA_HOME",
    "GNUPGHOME",
    "PASSWORD_STORE_DIR",
    "ANSIBLE_VAULT_PASSWORD_FILE",
    "ANSIBLE_VAULT_IDENTITY_LIST",
    "ANSIBLE_COLLECTIONS_PATH",
    "ANSIBLE_ROLES_PATH",
];

/// The program that runs a playbook.
pub const PLAYBOOK: &str = "ansible-playbook";

/// A command of the playbook side, ready to be started or printed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Invocation {
    /// The command line. No secret is ever in it.
    pub argv: Vec<String>,
    /// The whole environment.
    pub env: Vec<(String, String)>,
    /// The folder to run in.
    pub cwd: Utf8PathBuf,
    /// Extra variables that the command line names by [`confine::STDIN`].
    pub private: Option<Private>,
}

/// The command line as one could type it; the environment is left out.
impl fmt::Display for Invocation {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let words: Vec<_> = self.argv.iter().map(|word| quoted(word)).collect();
        f.write_str(&words.join(" "))
    }
}

/// The folder of Ansible's programs: the repository's own `.venv`, if it has one, else `PATH`.
pub fn find_bin(repo: &Utf8Path) -> Option<Utf8PathBuf> {
    let bin = repo.join(".venv/bin");
    bin.join(PLAYBOOK).exists().then_some(bin)
}

/// What a program of Ansible's is made of: its folder, and the environment of its Python. A virtual environment that was copied
/// or is a link goes on to use the one that it was made in.
pub fn lies_in(program: &Utf8Path) -> Vec<Utf8PathBuf> {
    let python = programs::interpreter(program);
    let environment = python.as_deref().and_then(|python| python.parent()?.parent());
    let all = program.parent().into_iter().chain(environment);
    all.filter(|folder| folder.parent().is_some()).map(Utf8Path::to_owned).collect()
}

impl Controller {
    /// One of the profile's playbooks.
    pub fn apply(&self, apply: &Apply) -> Invocation {
        self.narrowed(apply, &Selection::default())
    }

    /// The same, of which only a part is run.
    pub fn narrowed(&self, apply: &Apply, by: &Selection) -> Invocation {
        self.playbook(&self.repo.join(&apply.playbook), &Selection::of(apply).narrowed(by), &[])
    }

    /// One of the profile's playbooks, only tried: what it would change, and how.
    pub fn check_mode(&self, apply: &Apply) -> Invocation {
        let mut invocation = self.apply(apply);
        // The playbook is the last word.
        let at = invocation.argv.len().saturating_sub(1);
        invocation.argv.splice(at..at, ["--check".to_owned(), "--diff".to_owned()]);
        invocation
    }

    /// The verify playbook; `verify` is absolute. It is told where to hand over what it finds.
    pub fn verify(&self, verify: &Utf8Path) -> Invocation {
        self.playbook(verify, &Selection::default(), &[self.folder.checks_vars()])
    }

    /// A program of the user's that tests the VM, in a folder. It has Ansible's environment, and finds the VM by `BOMA_HOST`,
    /// `BOMA_ADDRESS`, `BOMA_SSH_CONFIG` and `BOMA_INVENTORY`; what it writes to `BOMA_REPORT` is read in place of its output.
    pub fn users_program(&self, argv: &[String], cwd: &Utf8Path, address: Ipv4Addr) -> Invocation {
        let mut env = self.environment();
        let folder = &self.folder;
        // Written by `Controller::write_for_programs`.
        let places = [
            ("BOMA_SSH_CONFIG", folder.program_ssh_config()),
            ("BOMA_INVENTORY", folder.program_inventory()),
            ("BOMA_REPORT", folder.program_report()),
        ];
        // Where Ansible looks by itself is where the VM is, too.
        env.retain(|(name, _)| !["ANSIBLE_INVENTORY", "BOMA_EVENTS"].contains(&name.as_str()));
        env.push(("ANSIBLE_INVENTORY".into(), folder.program_inventory().into()));
        env.extend(places.map(|(name, path)| (name.to_owned(), path.into())));
        env.push(("BOMA_ADDRESS".into(), address.to_string()));
        Invocation { argv: argv.to_vec(), env, cwd: cwd.to_owned(), private: None }
    }

    /// A playbook, with files of extra-vars just before the last. The order is the meaning: a later file wins, and
    /// the connection comes last of all.
    pub fn playbook(&self, playbook: &Utf8Path, selection: &Selection, more: &[Utf8PathBuf]) -> Invocation {
        let mut argv = vec![self.program(PLAYBOOK)];
        argv.extend(["--inventory".into(), self.folder.inventory().into()]);
        argv.extend(["--limit".into(), self.host.to_string()]);
        let private = self.private.as_ref().map(|_| Utf8PathBuf::from(confine::STDIN));
        for file in self.extra_vars().iter().chain(&private).chain(more).chain([&self.folder.connection()]) {
            argv.extend(["--extra-vars".into(), format!("@{file}")]);
        }
        argv.extend(selection.args());
        argv.push(playbook.to_string());
        Invocation { argv, env: self.environment(), cwd: self.repo.clone(), private: self.private.clone() }
    }

    /// A command over the *real* inventory, before anything boots: it reads files, and contacts no host.
    pub fn over_real_inventory(&self, program: &str, args: &[&str]) -> Invocation {
        let mut argv = vec![self.program(program)];
        argv.extend(args.iter().map(|arg| (*arg).to_owned()));
        // The real inventory may need the plugins that the repository enables for it.
        let own = ["ANSIBLE_INVENTORY", "ANSIBLE_INVENTORY_ENABLED"];
        let env = self.environment().into_iter().filter(|(name, _)| !own.contains(&name.as_str())).collect();
        Invocation { argv, env, cwd: self.repo.clone(), private: None }
    }

    /// What its commands read and may lie anywhere: the repository, the inventory with what lies beside it, the programs, the
    /// overlays, the user's files, and what ansible.cfg and the environment name.
    pub fn reads(&self) -> Vec<Utf8PathBuf> {
        // What cannot be read here cannot be read there either, and there it is told.
        let config = std::fs::read_to_string(self.repo.join("ansible.cfg")).unwrap_or_default();
        let kept = self.outer.iter().filter(|(name, _)| KEPT.contains(&name.as_str()) && name != "PATH");
        let values = config
            .lines()
            .filter_map(|line| Some(line.split_once('=')?.1))
            .chain(kept.map(|(_, value)| value.as_str()));
        let named: Vec<_> = values.flat_map(|value| self.paths_in(value)).collect();
        let own = [self.repo.clone(), vars_base(&self.inventory).to_owned()];
        let program = match &self.bin {
            Some(bin) => Some(bin.join(PLAYBOOK)),
            None => programs::find(self.path(), PLAYBOOK),
        };
        let programs = program.iter().flat_map(|program| lies_in(program));
        own.into_iter().chain(programs).chain(self.extra_vars()).chain(named).collect()
    }

    /// Where its playbooks, roles, collections and variables lie: the repository, what is beside the inventory, and what
    /// ansible.cfg and the environment add to these.
    pub fn sources(&self) -> Vec<Utf8PathBuf> {
        let config = std::fs::read_to_string(self.repo.join("ansible.cfg")).unwrap_or_default();
        let is_about = |name: &str| name.ends_with("roles_path") || name.contains("collections_path");
        let set = config.lines().filter_map(|line| line.split_once('=')).filter(|(key, _)| is_about(key.trim()));
        let kept = self.outer.iter().filter(|(name, _)| is_about(&name.to_ascii_lowercase()));
        let values = set.map(|(_, value)| value).chain(kept.map(|(_, value)| value.as_str()));
        let named: Vec<_> = values.flat_map(|value| self.paths_in(value)).collect();
        [self.repo.clone(), vars_base(&self.inventory).to_owned()].into_iter().chain(named).collect()
    }

    /// The paths in a setting: of several, with a label (`prod@~/.vault`), of the home, or relative to the repository.
    fn paths_in(&self, value: &str) -> Vec<Utf8PathBuf> {
        let home = self.outer.iter().find(|(name, _)| name == "HOME").map_or("", |(_, home)| home);
        let words = value.split([':', ',', '@']).map(str::trim).filter(|word| word.contains('/'));
        words
            .map(|word| word.strip_prefix("~/").map_or(self.repo.join(word), |rest| Utf8Path::new(home).join(rest)))
            .collect()
    }

    /// The files of extra-vars before ours: overlays, certificate tier, the user's own.
    fn extra_vars(&self) -> Vec<Utf8PathBuf> {
        let user = self.user.iter().enumerate().map(|(n, vars)| match vars {
            UserVars::File(path) => path.clone(),
            UserVars::Pair { .. } | UserVars::Json(_) => self.folder.user_vars(n),
        });
        self.overlays.iter().cloned().chain(user).collect()
    }

    /// Where the caller's programs are.
    fn path(&self) -> &str {
        self.outer.iter().find(|(name, _)| name == "PATH").map_or("/usr/bin:/bin", |(_, path)| path)
    }

    fn program(&self, name: &str) -> String {
        self.bin.as_ref().map_or_else(|| name.to_owned(), |bin| bin.join(name).into())
    }

    /// The whole environment of a command: what is kept of the caller's, then ours. An `ANSIBLE_*` variable is
    /// stronger than ansible.cfg; each one here stands against a setting that would break the mirror or leak.
    fn environment(&self) -> Vec<(String, String)> {
        let kept = self.outer.iter().filter(|(name, _)| KEPT.contains(&name.as_str()) && name != "PATH");
        let mut env: Vec<(String, String)> = kept.cloned().collect();
        env.sort();
        let path = self.path();
        let path = self.bin.as_ref().map_or_else(|| path.to_owned(), |bin| format!("{bin}:{path}"));
        let mut set = |name: &str, value: &str| env.push((name.to_owned(), value.to_owned()));
        set("PATH", &path);
        // Ansible refuses to start in a locale that is not UTF-8.
        set("LC_ALL", "C.UTF-8");
        // Ansible ignores an ansible.cfg in a world-writable folder, with a warning only.
        let config = self.repo.join("ansible.cfg");
        if config.exists() {
            set("ANSIBLE_CONFIG", config.as_str());
        }
        set("ANSIBLE_INVENTORY", self.folder.inventory().as_str());
        for (name, value) in FIXED {
            set(name, value);
        }
        let folder = &self.folder;
        let places = [
            ("ANSIBLE_CALLBACK_PLUGINS", folder.callbacks()),
            ("ANSIBLE_SSH_CONTROL_PATH_DIR", folder.control()),
            ("ANSIBLE_PERSISTENT_CONTROL_PATH_DIR", folder.control()),
            ("ANSIBLE_LOCAL_TEMP", folder.tmp()),
            ("BOMA_EVENTS", folder.events()),
            ("BOMA_CONNECTION", folder.connection()),
            ("BOMA_REFUSES", folder.refuses()),
        ];
        for (name, path) in places {
            set(name, path.as_str());
        }
        set("BOMA_HOST", self.host.as_str());
        env
    }
}

/// Settings that are the same in every run.
const FIXED: [(&str, &str); 25] = [
    ("ANSIBLE_INVENTORY_ENABLED", "yaml"),
    ("ANSIBLE_INVENTORY_ANY_UNPARSED_IS_FAILED", "1"),
    // The real host's facts must not be taken for the VM's, nor the VM's be kept as the real host's.
    ("ANSIBLE_CACHE_PLUGIN", "memory"),
    ("ANSIBLE_TRANSPORT", "ssh"),
    ("ANSIBLE_HOST_KEY_CHECKING", "1"),
    // Our events, and the output as everybody knows it; a repository's own callbacks (chat messages, say) stay out.
    ("ANSIBLE_CALLBACKS_ENABLED", "boma_events,boma_others"),
    ("ANSIBLE_STDOUT_CALLBACK", "default"),
    ("ANSIBLE_NOCOLOR", "1"),
    ("ANSIBLE_FORCE_COLOR", "0"),
    ("ANSIBLE_NOCOWS", "1"),
    // Output is kept as evidence: nothing that prints arguments or file contents.
    ("ANSIBLE_VERBOSITY", "0"),
    ("ANSIBLE_DEBUG", "0"),
    ("ANSIBLE_DIFF_ALWAYS", "0"),
    ("ANSIBLE_DISPLAY_ARGS_TO_STDOUT", "0"),
    ("ANSIBLE_KEEP_REMOTE_FILES", "0"),
    ("ANSIBLE_LOG_PATH", "/dev/null"),
    ("ANSIBLE_RETRY_FILES_ENABLED", "0"),
    // Nobody is there to answer.
    ("ANSIBLE_ASK_PASS", "0"),
    ("ANSIBLE_ASK_VAULT_PASS", "0"),
    ("ANSIBLE_BECOME_ASK_PASS", "0"),
    ("ANSIBLE_ENABLE_TASK_DEBUGGER", "0"),
    // A host that is known and a task that is on the way are not to be given up for a slow emulated CPU.
    ("ANSIBLE_TIMEOUT", "60"),
    ("ANSIBLE_DISPLAY_SKIPPED_HOSTS", "1"),
    ("ANSIBLE_DISPLAY_OK_HOSTS", "1"),
    ("ANSIBLE_DISPLAY_FAILED_STDERR", "0"),
];

/// The caller's environment, for [`Controller::outer`]. A variable that is not UTF-8 is none that is kept.
pub fn outer_environment() -> Vec<(String, String)> {
    std::env::vars_os().filter_map(|(k, v)| Some((k.into_string().ok()?, v.into_string().ok()?))).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn controller() -> Controller {
        Controller {
            host: "askari".parse().unwrap(),
            repo: "/no/repo".into(),
            inventory: "/no/repo/inventories/production/offsite.yml".into(),
            groups: vec!["offsite_hosts".into()],
            overlays: vec!["/p/overrides/askari.yml".into(), "/p/certs/internal.yml".into()],
            private: None,
            user: vec!["@/u/red.yml".parse().unwrap(), "token=hunter2".parse().unwrap()],
            folder: Folder::at("/s/ansible"),
            bin: Some("/no/repo/.venv/bin".into()),
            outer: [("PATH", "/usr/bin"), ("HOME", "/home/u"), ("SSH_AUTH_SOCK", "/x"), ("ANSIBLE_INVENTORY", "/y")]
                .map(|(k, v)| (k.to_owned(), v.to_owned()))
                .to_vec(),
        }
    }

    #[test]
    fn extra_vars_come_in_the_order_overlays_tier_user_connection() {
        let apply = Apply { playbook: "playbooks/site.yml".into(), tags: vec!["base".into(), "web".into()] };
        insta::assert_snapshot!(controller().apply(&apply).to_string().replace(" --", "\n  --"), @r"
        /no/repo/.venv/bin/ansible-playbook
          --inventory /s/ansible/inventory/hosts.json
          --limit askari
          --extra-vars @/p/overrides/askari.yml
          --extra-vars @/p/certs/internal.yml
          --extra-vars @/u/red.yml
          --extra-vars @/s/ansible/user-1.json
          --extra-vars @/s/ansible/connection.json
          --tags=base,web /no/repo/playbooks/site.yml
        ");
    }

    #[test]
    fn a_pass_in_check_mode_is_the_same_command_that_only_tries() {
        let apply = Apply { playbook: "playbooks/site.yml".into(), tags: vec!["base".into()] };
        let said = controller().check_mode(&apply).to_string();
        assert_eq!(
            said.replace("--check --diff ", ""),
            controller().apply(&apply).to_string(),
            "the tags and variables of the real run"
        );
        assert!(said.ends_with("--check --diff /no/repo/playbooks/site.yml"), "{said}");
    }

    #[test]
    fn the_verify_playbook_is_told_where_to_hand_over_and_the_connection_is_still_last() {
        insta::assert_snapshot!(controller().verify("/p/verify/verify.yml".into()).to_string().replace(" --", "\n  --"), @r"
        /no/repo/.venv/bin/ansible-playbook
          --inventory /s/ansible/inventory/hosts.json
          --limit askari
          --extra-vars @/p/overrides/askari.yml
          --extra-vars @/p/certs/internal.yml
          --extra-vars @/u/red.yml
          --extra-vars @/s/ansible/user-1.json
          --extra-vars @/s/ansible/checks-vars.json
          --extra-vars @/s/ansible/connection.json /p/verify/verify.yml
        ");
    }

    #[test]
    fn the_environment_is_ours_but_for_what_is_listed() {
        let env = controller().apply(&Apply { playbook: "x.yml".into(), tags: vec![] }).env;
        let text: Vec<_> = env.iter().map(|(name, value)| format!("{name}={value}")).collect();
        insta::assert_snapshot!(text.join("\n"), @r"
        HOME=/home/u
        PATH=/no/repo/.venv/bin:/usr/bin
        LC_ALL=C.UTF-8
        ANSIBLE_INVENTORY=/s/ansible/inventory/hosts.json
        ANSIBLE_INVENTORY_ENABLED=yaml
        ANSIBLE_INVENTORY_ANY_UNPARSED_IS_FAILED=1
        ANSIBLE_CACHE_PLUGIN=memory
        ANSIBLE_TRANSPORT=ssh
        ANSIBLE_HOST_KEY_CHECKING=1
        ANSIBLE_CALLBACKS_ENABLED=boma_events,boma_others
        ANSIBLE_STDOUT_CALLBACK=default
        ANSIBLE_NOCOLOR=1
        ANSIBLE_FORCE_COLOR=0
        ANSIBLE_NOCOWS=1
        ANSIBLE_VERBOSITY=0
        ANSIBLE_DEBUG=0
        ANSIBLE_DIFF_ALWAYS=0
        ANSIBLE_DISPLAY_ARGS_TO_STDOUT=0
        ANSIBLE_KEEP_REMOTE_FILES=0
        ANSIBLE_LOG_PATH=/dev/null
        ANSIBLE_RETRY_FILES_ENABLED=0
        ANSIBLE_ASK_PASS=0
        ANSIBLE_ASK_VAULT_PASS=0
        ANSIBLE_BECOME_ASK_PASS=0
        ANSIBLE_ENABLE_TASK_DEBUGGER=0
        ANSIBLE_TIMEOUT=60
        ANSIBLE_DISPLAY_SKIPPED_HOSTS=1
        ANSIBLE_DISPLAY_OK_HOSTS=1
        ANSIBLE_DISPLAY_FAILED_STDERR=0
        ANSIBLE_CALLBACK_PLUGINS=/s/ansible/plugins/callback
        ANSIBLE_SSH_CONTROL_PATH_DIR=/s/ansible/cp
        ANSIBLE_PERSISTENT_CONTROL_PATH_DIR=/s/ansible/cp
        ANSIBLE_LOCAL_TEMP=/s/ansible/tmp
        BOMA_EVENTS=/s/ansible/events.ndjson
        BOMA_CONNECTION=/s/ansible/connection.json
        BOMA_REFUSES=/s/ansible/refuses.sh
        BOMA_HOST=askari
        ");
    }

    #[test]
    fn a_value_of_the_users_never_reaches_an_argv_or_an_error() {
        let controller = controller();
        let run = controller.apply(&Apply { playbook: "x.yml".into(), tags: vec![] });
        assert!(!format!("{run:?} {controller:?}").contains("hunter2"));
        let error = "to ken=hunter2".parse::<UserVars>().unwrap_err().to_string();
        assert!(error.contains("to ken") && !error.contains("hunter2"), "{error}");
    }

    #[test]
    fn what_the_configuration_names_is_read_wherever_it_lies() {
        let dir = tempfile::tempdir().unwrap();
        let repo = Utf8PathBuf::from_path_buf(dir.path().to_owned()).unwrap();
        let config = "[defaults]\nroles_path = roles:/tmp/x/roles\nvault_identity_list=a@~/.v, b@../w\nforks = 5\n";
        std::fs::write(repo.join("ansible.cfg"), config).unwrap();
        let reads = Controller { repo: repo.clone(), ..controller() }.reads();
        for path in ["/tmp/x/roles".into(), "/home/u/.v".into(), repo.join("../w"), "/no/repo/.venv/bin".into()] {
            assert!(reads.contains(&path), "{path}: {reads:?}");
        }
    }
}
