//! The playbook side with the real Ansible, against an ssh server in a network namespace that stands for the VM.
//!
//! Needs ansible-core (in `$BOMA_TEST_ANSIBLE`, the fixture's or the project's `.venv/bin`, or `PATH`), `unshare`,
//! `nsenter`, `ip`, `nft` and `dropbear`; a test that lacks one fails and says so.

#![allow(clippy::unwrap_used, clippy::expect_used)]

mod applied;
mod at_hand;
mod bastions;
mod deeds;
mod draft;
#[path = "../project/executable.rs"]
mod executable;
mod foreign;
mod inputs;
mod inside;
mod looking;
mod mirror;
mod part;
mod passes;
mod playbooks;
mod probes;
#[path = "../project/mod.rs"]
mod project;
mod reals;
mod secrets;
mod world;
