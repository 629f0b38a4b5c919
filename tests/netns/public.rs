//! Roles as they are published run under the confinement as they run without it: `become`, handlers, templates, lookups and
//! work on this side, archives, `fetch`; by an Ansible that pip has put below the home.

use crate::askari::Site;
use crate::at_hand::fixtures;
use crate::world::{Who, must};
use rstest::rstest;
use vm::network::Mode;

/// What is unpacked on the host.
const PROGRAM: &str = "#!/bin/sh\necho fake 1.0\n";

#[rstest]
#[case::namespace_as_root(Who::Root, Mode::Namespace)]
#[case::namespace_as_a_user(Who::User, Mode::Namespace)]
#[case::host(Who::Root, Mode::Host)]
fn public_roles_run_on_the_host_and_on_this_side(#[case] who: Who, #[case] mode: Mode) {
    let site = Site::new(who, mode);
    let world = &site.world;
    // pip's programs name their Python by its whole path.
    world.run_as_who(
        "set -e; mkdir -p $HOME/.venvs; cp -r venv $HOME/.venvs/ansible; cd $HOME/.venvs/ansible
         sed -i \"1s|^#!.*/bin/python.*|#!$PWD/bin/python|\" bin/ansible*",
    );
    std::fs::write(world.path("docker-fake"), PROGRAM).unwrap();
    world.root(&format!(
        "cd {dir} && cp -r {fixtures}/public/. repo/ && chmod 755 docker-fake && mkdir repo/roles/docker/files &&
         tar -cf repo/roles/docker/files/docker.tar docker-fake && printf '[privilege_escalation]\\nbecome_method = su\\n' >> repo/ansible.cfg
         chown -R --reference=home/.venvs repo",
        dir = world.path(""),
        fixtures = fixtures()
    ));
    let tasks = site.play_by(world.path("home/.venvs/ansible/bin"), "site.yml".into()).unwrap_or_else(|error| {
        panic!("{error}\n{}", site.log());
    });
    println!("{tasks} tasks on the VM");
    assert!(tasks > 15, "{}", site.log());
    // Each part has done its work on the host.
    let there = must(
        &site.on_the_vm(),
        "cd /root/applied; cat docker/daemon.json restarted nftables.conf authorized_keys sshd_config 90-hardening.conf; bin/docker-fake",
    );
    let arch = std::env::consts::ARCH;
    let key = std::fs::read_to_string(world.path("home/.ssh/id_ed25519.pub")).unwrap();
    for expected in [
        &format!("arch={arch}"),
        "docker\n",
        "comment \"port 443\"",
        key.trim(),
        "TrustedUserCAKeys /root/applied/ca.pub",
        "kernel.dmesg_restrict = 1",
        "fake 1.0",
    ] {
        assert!(there.contains(expected), "{expected}: {there}");
    }
    // And on this side: what was written to the repository stays, what was written to the home is forgotten.
    let here = world.run_as_who("cat repo/fetched/ca.pub repo/report.txt; ls -d $HOME/.cache/security 2>&1");
    assert!(here.contains("ssh-ed25519 ") && here.contains("/root/applied/ca.pub 0644"), "{here}");
    assert!(here.contains("cannot access"), "{here}");
}
