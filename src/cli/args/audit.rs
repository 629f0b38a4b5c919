//! What `audit` takes.

use super::examples;
use crate::audit::scope::Only;
use camino::Utf8PathBuf;
use clap::{Args, Subcommand};
use host::names::HostName;

pub(super) const EXAMPLES: &str = "\
Examples:
  boma-qemu audit pre-nixos --list                       what would be looked at
  boma-qemu audit pre-nixos --only host                  is this machine fit for it?
  boma-qemu audit pre-nixos --image result/iso/nixos.iso
  boma-qemu audit pre-nixos                              build the image first
  boma-qemu audit init result/iso/nixos.iso              a profile for an image that has none
  boma-qemu audit lint nixos                             what is wrong with a profile, all at once

Exit codes: 0 all that must hold does, 6 something does not, 4 nobody could look, else as for all commands.";

/// What is audited, and how.
#[derive(Clone, Debug, Args)]
#[command(args_conflicts_with_subcommands = true, subcommand_negates_reqs = true)]
pub(crate) struct AuditArgs {
    #[command(subcommand)]
    pub(crate) command: Option<AuditCommand>,
    /// The audit's profile, `profiles/NAME.json` with "kind": "audit"
    #[arg(value_name = "NAME", required = true)]
    pub(crate) name: Option<HostName>,
    /// The image, as a path or a glob, instead of the profile's; nothing is built then
    #[arg(long, value_name = "PATH")]
    pub(crate) image: Option<Utf8PathBuf>,
    /// Only these: phases (host, image, runtime) and conditions, with commas between them
    #[arg(long, value_name = "PHASE|ID,...", value_delimiter = ',')]
    pub(crate) only: Vec<Only>,
    /// Print the conditions and do nothing
    #[arg(long)]
    pub(crate) list: bool,
    /// Keep the machine that was booted
    #[arg(long)]
    pub(crate) keep: bool,
    /// How long all of it may take
    #[arg(long, value_name = "SECONDS", default_value_t = 14_400, value_parser = clap::value_parser!(u64).range(1..=604_800))]
    pub(crate) timeout: u64,
}

/// What is done with a profile instead of running it.
#[derive(Clone, Debug, Subcommand)]
pub(crate) enum AuditCommand {
    /// Write a commented profile from what is in an image
    #[command(after_help = examples::AUDIT_INIT)]
    Init {
        /// The image: an ISO, a raw or qcow2 disk, an OVA
        #[arg(value_name = "IMAGE")]
        image: Utf8PathBuf,
        /// What the profile is called; from the image's name otherwise
        #[arg(long, value_name = "NAME")]
        name: Option<HostName>,
        /// Where to write it, `-` for standard output; profiles/NAME.json otherwise. What is there is not overwritten
        #[arg(long, short, value_name = "FILE")]
        output: Option<Utf8PathBuf>,
    },
    /// Say everything that is wrong with a profile, and do nothing
    #[command(after_help = examples::AUDIT_LINT)]
    Lint {
        /// Its name, or its file
        #[arg(value_name = "NAME|FILE")]
        profile: Utf8PathBuf,
    },
}
