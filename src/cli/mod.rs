//! The command line: arguments in, one exit code out.
//!
//! Not fuzzed: what is read here is what the user gives, and evidence of this program's own.

mod args;
mod attach;
mod audit;
mod change;
mod check;
mod ci;
mod dispatch;
mod experiment;
mod image;
mod init;
mod lint;
mod look;
mod observe;
mod pages;
mod prove;
mod reach;
mod say;
mod script;
mod several;
mod shell;
mod snapshot;
mod verdict;

use anstyle::{AnsiColor, Style};
use args::Cli;
use clap::Parser;
use host::failure::{Exit, Failure};
use host::presence::{IN_MEMORY, ignore};
use host::print;
use host::visible::{Painted, block};
use say::Say;
use std::fmt::Write;
use std::process::ExitCode;
use tracing_subscriber::fmt::format::FmtSpan;

/// Run the program with this process's arguments.
pub fn main() -> ExitCode {
    let cli = match Cli::try_parse() {
        Ok(cli) => cli,
        Err(error) => {
            let code = if error.use_stderr() { Exit::Usage } else { Exit::Passed };
            // It repeats what was given to us, so it goes through the door like all text of others.
            match code {
                Exit::Passed => print::help(&error),
                // As plain text it would have lost the escape sequences that were given to it.
                _ => print::err(error.render().ansi().to_string().trim_end()),
            }
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
    let mut text = Painted::default();
    text.paint(AnsiColor::Red.on_default().bold(), "error:");
    ignore(write!(text, " {}", hanging(&failure.chain.join(": "))), IN_MEMORY);
    if let Some(next) = &failure.next {
        ignore(writeln!(text), IN_MEMORY);
        text.paint(Style::new().bold(), "next:");
        ignore(write!(text, "  {}", hanging(next)), IN_MEMORY);
    }
    print::err_painted(&text);
    say.object(&serde_json::json!({"event": "failure", "code": failure.exit.code(), "failure": failure}));
}

/// Every line but the first behind the words that begin the text: none can look like a line of ours.
fn hanging(text: &str) -> String {
    block(text).trim_end().replace('\n', "\n       ")
}

/// The program's own trace, for its developers: `-vv`, or RUST_LOG.
fn trace(verbose: u8) {
    // Of our own crates only: what the libraries trace is for those who ask for it by RUST_LOG.
    let level = match verbose {
        0 | 1 => "warn",
        _ => "warn,boma_qemu=debug,evidence=debug,vm=debug,boot_media=debug,host=debug",
    };
    let filter = tracing_subscriber::EnvFilter::try_from_default_env().unwrap_or_else(|_| level.into());
    // A span is printed when it ends, with the time that it took.
    tracing_subscriber::fmt()
        .with_env_filter(filter)
        .with_span_events(FmtSpan::CLOSE)
        .with_ansi(false)
        .with_writer(|| print::Trace)
        .init();
}
