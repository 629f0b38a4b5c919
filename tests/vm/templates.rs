//! Machines that go on from a template: each is one of its own, and a machine like others from then on.

use crate::lane::{Lane, User};
use std::process::Stdio;

/// What nobody else may have.
const OWN: &str = "hostname; cat /etc/hostname /etc/machine-id /etc/ssh/ssh_host_*_key.pub /proc/sys/kernel/random/uuid; \
                   sudo -n sha256sum /var/lib/systemd/random-seed";

struct Templates {
    lane: Lane,
}

impl Templates {
    /// Templates of its own; the golden image is that of every test.
    fn boma(&self, args: &[&str]) -> String {
        let mut command = self.lane.command(args);
        command.env("BOMA_IT_CACHE", self.lane.dir.join("cache"));
        let out = command.stderr(Stdio::inherit()).output().unwrap();
        let said = String::from_utf8_lossy(&out.stdout).into_owned();
        assert!(out.status.success(), "{args:?}: {said}");
        said
    }

    fn began(&self) -> serde_json::Value {
        self.lane.result()["made_of"]["began"].clone()
    }

    fn up(&self) -> (serde_json::Value, Vec<String>) {
        self.boma(&["up", "askari", "--template", "--timeout", "1800"]);
        assert_eq!(self.lane.guest("systemctl --failed --no-legend"), "");
        let late: f64 = self.lane.guest("date +%s.%N").parse().unwrap();
        let now = std::time::SystemTime::UNIX_EPOCH.elapsed().unwrap().as_secs_f64();
        assert!((now - late).abs() < 10.0, "an answer takes a while, and a template's time is older: {late} {now}");
        (self.began(), self.lane.guest(OWN).lines().map(str::to_owned).collect())
    }

    fn file(&self, name: &str) -> std::path::PathBuf {
        let list: serde_json::Value =
            serde_json::from_str(self.boma(&["templates", "--json"]).lines().next().unwrap()).unwrap();
        std::path::Path::new(list["template"]["path"].as_str().unwrap()).join(name)
    }
}

#[test]
#[ignore = "three boots of its own: make soak"]
fn clones_of_a_template_are_machines_of_their_own_and_restart_like_others() {
    let templates = Templates { lane: Lane::new(User::Caller) };
    let (began, one) = templates.up();
    assert_eq!((&began["how"], &began["made"]), (&"template".into(), &true.into()));
    templates.boma(&["down", "askari"]);

    let (began, other) = templates.up();
    assert_eq!((&began["how"], &began["made"]), (&"template".into(), &false.into()));
    assert_eq!((&one[..2], &other[..2]), (&["askari".to_owned(), "askari".to_owned()][..], &one[..2]));
    assert!(one[2..].iter().zip(&other[2..]).all(|(one, other)| one != other), "{one:?} {other:?}");
    templates.boma(&["apply", "askari"]);
    templates.lane.guest_as_root("echo after >/etc/after");
    templates.boma(&["reset", "askari"]);
    templates.lane.guest("test ! -e /etc/after");
    templates.boma(&["reboot", "askari", "--via", "power-cycle", "--timeout", "900"]);
    let after: Vec<_> = templates.lane.guest(OWN).lines().map(str::to_owned).collect();
    assert_eq!(after[..4], other[..4], "a boot makes nothing anew");
    templates.boma(&["down", "askari"]);

    let memory = templates.file("memory");
    std::fs::File::options().write(true).open(&memory).unwrap().set_len(4096).unwrap();
    let (began, _) = templates.up();
    assert_eq!((&began["how"], &began["made"]), (&"template".into(), &true.into()), "another was made");
    templates.boma(&["down", "askari"]);
    templates.boma(&["prune"]);
    templates.lane.is_empty();
}
