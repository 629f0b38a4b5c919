//! An authority for certificates on the VM's network: a certificate is issued by it, and its token is nowhere.

use crate::driver::Job;
use crate::guest::Guest;
use crate::world::{Who, World};
use boma_qemu::certificates::chain;
use boma_qemu::certificates::issue::{Issued, Wanted};
use host::ledger::{Change, Ledger};
use rstest::rstest;
use std::time::SystemTime;
use vm::network::authority::{Authority, AuthorityDir};
use vm::network::confine::Confinement;
use vm::network::{Egress, Mode, NetDir, NetPlan};

const ADDRESS: &str = "10.213.77.3";

/// A network with an authority, and the prefix that confines a command on the controller's side.
struct Site {
    world: World,
    plan: NetPlan,
    prefix: Vec<String>,
    dir: AuthorityDir,
}

impl Site {
    fn new(who: Who) -> Self {
        let world = World::new(who);
        let mut plan = world.plan(Mode::Namespace);
        plan.stubs.insert("www.zone.test".into(), plan.vm.ip);
        let names = boma_qemu::certificates::names();
        plan.authority = Some(Authority { address: ADDRESS.parse().unwrap(), zone: "zone.test".into(), names });
        world.ensure(&plan).unwrap();
        let folder = world.path("state/vms/askari/ansible");
        let made = world.command(&["mkdir".into(), "-p".into(), folder.join("cp").into()]);
        assert!(made.status.success());
        let allowed = Confinement { visible: vec![world.path("boma-qemu")], ..Confinement::default() };
        let job = Job::Confine { state: world.path("state"), name: plan.name.clone(), folder, allowed };
        let prefix = world.job(&job);
        let dir = NetDir::at(world.path("state/net/boma-it")).authority();
        Self { world, plan, prefix, dir }
    }

    fn token(&self) -> String {
        boma_qemu::certificates::authority::token(&self.dir).unwrap()
    }

    fn issue(&self, token: &str, names: &[&str]) -> Result<Issued, String> {
        let wanted = Wanted {
            directory: "https://acme-v02.api.letsencrypt.org:14000/dir".into(),
            root: Some(std::fs::read_to_string(self.dir.root()).unwrap()),
            names: names.iter().map(|name| (*name).to_owned()).collect(),
            zone: "zone.test".into(),
            token: token.to_owned(),
            contact: None,
            account: None,
        };
        let script = format!(
            "printf '%s' {} | {} @issue",
            host::shell::quoted(&serde_json::to_string(&wanted).unwrap()),
            self.world.path("boma-qemu")
        );
        let argv = [self.prefix.clone(), ["sh".into(), "-c".into(), script].to_vec()].concat();
        let out = self.world.command(&argv);
        match out.status.success() {
            true => Ok(serde_json::from_slice(&out.stdout).unwrap()),
            false => Err(String::from_utf8_lossy(&out.stderr).into_owned() + &String::from_utf8_lossy(&out.stdout)),
        }
    }

    fn log(&self) -> String {
        std::fs::read_to_string(self.world.path("state/net/boma-it/authority.log")).unwrap()
    }
}

#[rstest]
#[case::as_root(Who::Root)]
#[case::as_a_user(Who::User)]
fn a_certificate_is_issued_by_dns_challenge_and_its_token_is_in_no_file(#[case] who: Who) {
    let site = Site::new(who);
    let token = site.token();
    let issued = site.issue(&token, &["zone.test", "*.zone.test"]).unwrap();
    let chain = chain::of_pem(&issued.chain).unwrap();
    let issuers = std::fs::read_to_string(site.dir.issuers()).unwrap();
    let roots = chain::roots_of_pem(&issuers).unwrap();
    for name in ["zone.test", "www.zone.test"] {
        chain::verify(&chain, &roots, name, SystemTime::now()).unwrap();
    }
    assert!(chain::verify(&chain, &roots, "other.test", SystemTime::now()).is_err());
    assert!(issued.key.contains("PRIVATE KEY"));
    // The stub of a name in the zone hides its challenge from nobody.
    site.issue(&token, &["www.zone.test"]).unwrap();
    let log = site.log();
    for (what, status) in [("PUT", 201), ("DELETE", 204)] {
        for place in ["_acme-challenge", "_acme-challenge.www"] {
            let line = format!("{what} /v5/livedns/domains/zone.test/records/{place}/TXT: {status}");
            assert!(log.contains(&line), "{line}: {log}");
        }
    }
    let found = std::process::Command::new("grep").args(["-rl", &token, site.world.path("state").as_str()]).output();
    assert_eq!(String::from_utf8_lossy(&found.unwrap().stdout), "");
    let error = site.issue("another", &["zone.test"]).err().unwrap();
    assert!(error.contains("403"), "{error}");
    assert_eq!(site.world.seen(), "", "nothing was asked outside");
    assert_eq!(site.world.release(&site.plan), []);
    assert_eq!(site.world.processes(), Vec::<String>::new());
}

#[test]
fn the_guest_reaches_the_authority_by_the_real_names_until_it_is_cut_off_and_no_other_port_of_it() {
    let site = Site::new(Who::Root);
    let Site { world, plan, .. } = &site;
    let guest = Guest::plug(world, plan);
    guest.dhcp(world, plan);
    for name in boma_qemu::certificates::names() {
        assert_eq!(guest.look_up(world, plan, &name).as_deref(), Some(ADDRESS), "{name}");
    }
    assert_eq!(guest.look_up(world, plan, "mail.zone.test"), None, "the zone is served here alone");
    assert_eq!(
        [443, 14000, 15000, 5353, 22].map(|port| guest.connects(ADDRESS, port)),
        [true, true, false, false, false]
    );
    let job = Job::Egress { state: world.path("state"), name: plan.name.clone(), egress: Egress::None };
    world.job::<Result<(), String>>(&job).unwrap();
    assert_eq!([443, 14000].map(|port| guest.connects(ADDRESS, port)), [false, false]);
}

#[test]
fn an_authority_ends_with_the_holder_of_its_network() {
    let site = Site::new(Who::Root);
    let holder = site.world.ready(&site.plan)["holder"]["pid"].as_i64().unwrap();
    site.world.root(&format!("kill -KILL {holder}"));
    site.world.until("everything ends", || site.world.processes().is_empty());
    assert_eq!(site.world.release(&site.plan), []);
}

#[test]
fn an_acme_server_that_ends_is_told_by_name_and_one_that_is_missing_is_no_network() {
    let site = Site::new(Who::Root);
    let network = NetDir::at(site.world.path("state/net/boma-it"));
    let ledger = Ledger::open(&network.ledger()).unwrap();
    let pebble = ledger.changes().find_map(|change| match change {
        Change::Process { role, id } if role == "pebble" => Some(*id),
        _ => None,
    });
    pebble.unwrap().end(std::time::Duration::ZERO).unwrap();
    site.world.until("it is told", || network.broken_why().unwrap().is_some_and(|why| why.contains("pebble")));
    assert_eq!(site.world.release(&site.plan), []);
    site.world.root("mount --bind /dev/null /usr/bin/pebble");
    let error = site.world.ensure(&site.plan).err().unwrap().to_string();
    assert!(error.contains("pebble"), "{error}");
    assert_eq!(site.world.processes(), Vec::<String>::new());
}
