//! What `audit` takes.

use crate::audit::scope::Only;
use camino::Utf8PathBuf;
use clap::Args;

pub(super) const EXAMPLES: &str = "\
Examples:
  boma-qemu audit pre-nixos --list                       what would be looked at
  boma-qemu audit pre-nixos --only host                  is this machine fit for it?
  boma-qemu audit pre-nixos --image result/iso/nixos.iso
  boma-qemu audit pre-nixos                              build the image first

Exit codes: 0 all that must hold does, 6 something does not, 4 nobody could look, else as for all commands.";

/// What is audited, and how.
#[derive(Clone, Debug, Args)]
pub(crate) struct AuditArgs {
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
