//! The `boma-qemu` program.

#![deny(clippy::disallowed_methods, clippy::disallowed_macros)]

use boma_qemu::certificates::{authority, issue};
use boma_qemu::checks::network as look;
use boma_qemu::{cli, jobs};
use host::{print, programs, sys};
use std::process::ExitCode;
use vm::{connect, forward, monitor, network};

fn main() -> ExitCode {
    sys::set_path(&programs::widened(&programs::path()));
    print::tell_panics();
    let args: Vec<String> = std::env::args().skip(1).collect();
    // Hidden subcommands run before anything else: they join namespaces, which needs a single thread.
    match args.split_first() {
        Some((name, rest)) if name == network::enter::NAME => network::enter::main(rest),
        Some((name, rest)) if name == network::holder::NAME => network::holder::main(rest),
        Some((name, rest)) if name == network::confine::NAME => network::confine::main(rest),
        Some((name, rest)) if name == network::confine::INIT_NAME => network::confine::init_main(rest),
        Some((name, rest)) if name == network::keep::NAME => network::keep::main(rest),
        Some((name, rest)) if name == monitor::NAME => monitor::main(rest),
        Some((name, rest)) if name == connect::NAME => connect::main(rest),
        Some((name, rest)) if name == look::NAME => look::main(rest),
        Some((name, rest)) if name == network::authority::NAME => authority::main(rest),
        Some((name, rest)) if name == issue::NAME => issue::main(rest),
        Some((name, rest)) if name == forward::NAME => forward::main(rest),
        Some((name, rest)) if name == jobs::ttl::NAME => jobs::ttl::main(rest),
        _ => cli::main(),
    }
}
