//! No false findings: hosts in which nothing is wrong, rebooted again and again from the state that `apply` left.

use crate::lane::{Lane, User};

/// A host, and the playbook that makes it what it is.
const HOSTS: [(&str, &str); 3] = [
    ("askari", ""),
    (
        "plain",
        "- hosts: all\n  become: true\n  gather_facts: false\n  tasks:\n    - ansible.builtin.copy: {content: \"plain\\n\", dest: /etc/plain, mode: \"0644\"}\n",
    ),
    (
        "docked",
        "- hosts: all\n  become: true\n  gather_facts: false\n  tasks:\n    - ansible.builtin.systemd_service: {name: docker.service, enabled: true, state: started}\n",
    ),
];

const VERIFY: &str = "- hosts: all\n  gather_facts: false\n  tasks:\n    - {name: sshd runs, ansible.builtin.command: systemctl is-active ssh, changed_when: false}\n";

/// A host of its own in the lane's project: inventory, playbook, checks, profile.
fn add(lane: &Lane, host: &str, playbook: &str) {
    let write = |path: String, text: String| {
        let path = lane.dir.join(path);
        std::fs::create_dir_all(path.parent().unwrap()).unwrap();
        std::fs::write(path, text).unwrap();
    };
    let repo = "tests/fixtures/boma";
    write(
        format!("{repo}/inventories/{host}/hosts.yml"),
        format!("all: {{hosts: {{{host}: {{ansible_host: 192.0.2.40}}}}}}\n"),
    );
    write(format!("{repo}/playbooks/{host}.yml"), playbook.to_owned());
    write(format!("verify/{host}.yml"), VERIFY.to_owned());
    let profile = serde_json::json!({
        "repo": repo, "inventory": format!("inventories/{host}/hosts.yml"), "verify": format!("verify/{host}.yml"),
        "applies": [{"playbook": format!("playbooks/{host}.yml")}], "mem_mib": 2048, "image": "debian-13-docker",
    });
    write(format!("profiles/{host}.json"), profile.to_string());
}

#[test]
#[ignore = "thirty reboots: make soak (BOMA_CLEAN sets how many of each, BOMA_CLEAN_HOSTS which)"]
fn thirty_clean_reboots_show_no_finding() {
    let wanted: usize = std::env::var("BOMA_CLEAN").ok().map_or(10, |n| n.parse().unwrap());
    let hosts = std::env::var("BOMA_CLEAN_HOSTS").unwrap_or_else(|_| "askari plain docked".into());
    let mut findings = Vec::new();
    for (host, playbook) in HOSTS.into_iter().filter(|(host, _)| hosts.split(' ').any(|own| own == *host)) {
        let lane = Lane::new(User::Caller);
        if !playbook.is_empty() {
            add(&lane, host, playbook);
        }
        lane.quiet(&["up", host, "--timeout", "1800"]).exits(0);
        lane.quiet(&["apply", host]).exits(0);
        for n in 1..=wanted {
            lane.quiet(&["reset", host]).exits(0);
            let ran = lane.boma(&["reboot", host, "--findings", "strict", "--timeout", "900"]);
            let result = lane.result();
            let found = result["state"]["judged"]["findings"].as_array().cloned().unwrap_or_default();
            println!("{host} {n:>2}: exit {}, {} findings", ran.code, found.len());
            findings.extend(found.iter().map(|finding| format!("{host} {n}: {} {}", finding["id"], finding["what"])));
            if ran.code != 0 && found.is_empty() {
                findings.push(format!("{host} {n}: exit {}: {}", ran.code, result["failure"]));
            }
        }
        lane.boma(&["down", host]).exits(0);
        lane.is_empty();
    }
    assert!(findings.is_empty(), "{findings:#?}");
}
