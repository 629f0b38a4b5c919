//! The command line: arguments in, one exit code out.

mod args;
mod attach;
mod audit;
mod check;
mod dispatch;
mod experiment;
mod image;
mod look;
mod say;
mod script;
mod shell;
mod verdict;

use crate::failure::{Exit, Failure};
use crate::host::presence::ignore;
use crate::host::secrets::mask;
use args::Cli;
use clap::Parser;
use say::Say;
use std::process::ExitCode;

/// Run the program with this process's arguments.
pub fn main() -> ExitCode {
    let cli = match Cli::try_parse() {
        Ok(cli) => cli,
        Err(error) => {
            let code = if error.use_stderr() { Exit::Usage } else { Exit::Passed };
            ignore(error.print(), "the reader has closed the pipe");
            return ExitCode::from(code.code());
        }
    };
    trace(cli.common.verbose);
    let say = Say::new(cli.common.json, cli.common.verbose > 0);
    match dispatch::run(cli, &say) {
        Ok(code) => ExitCode::from(code),
        Err(failure) => {
            tell(&say, &failure);
            ExitCode::from(failure.exit.code())
        }
    }
}

/// One failure: what, why, what next. On standard error, and as an object with `--json`.
fn tell(say: &Say, failure: &Failure) {
    let (red, bold, reset) = ("\x1b[1;31m", "\x1b[1m", "\x1b[0m");
    anstream::eprintln!("{red}error:{reset} {}", mask(&failure.chain.join(": ")));
    if let Some(next) = &failure.next {
        anstream::eprintln!("{bold}next:{reset}  {}", mask(next));
    }
    say.object(&serde_json::json!({"event": "failure", "code": failure.exit.code(), "failure": failure}));
}

/// The program's own trace, for its developers: `-vv`, or RUST_LOG.
fn trace(verbose: u8) {
    let level = if verbose > 1 { "boma_qemu=debug" } else { "warn" };
    let filter = tracing_subscriber::EnvFilter::try_from_default_env().unwrap_or_else(|_| level.into());
    tracing_subscriber::fmt().with_env_filter(filter).with_writer(std::io::stderr).init();
}
