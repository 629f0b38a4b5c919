//! A network whose state folder goes away under it: nobody can find its holder any more, so it must end by itself.

use crate::world::{Who, World};
use rstest::rstest;
use vm::network::Mode;

#[rstest]
#[case::namespace_as_root(Who::Root, Mode::Namespace)]
#[case::namespace_as_a_user(Who::User, Mode::Namespace)]
#[case::host(Who::Root, Mode::Host)]
fn a_network_whose_folder_is_deleted_ends_and_takes_all_of_it_along(#[case] who: Who, #[case] mode: Mode) {
    let world = World::new(who);
    let (plan, before) = (world.plan(mode), world.state());
    world.ensure(&plan).unwrap();
    world.root(&format!("rm -rf {}", world.path("state")));
    world.until("every process ends", || world.processes().is_empty());
    assert_eq!(world.state(), before);
}

#[test]
fn a_folder_that_was_put_in_the_place_of_a_networks_own_is_left_alone() {
    let world = World::new(Who::Root);
    let (plan, before) = (world.plan(Mode::Host), world.state());
    world.ensure(&plan).unwrap();
    let (net, old) = (world.path("state/net"), world.path("state/old"));
    // The ledger of somebody else, under the name that was the network's own.
    world.root(&format!("mv {net} {old} && mkdir -p {net}/boma-it && echo theirs > {net}/boma-it/ledger.ndjson"));
    world.until("every process ends", || world.processes().is_empty());
    assert_eq!(world.state(), before);
    assert_eq!(std::fs::read_to_string(net.join("boma-it/ledger.ndjson")).unwrap(), "theirs\n");
}
