//! What the commands take that run several hosts, or one in several ways.

use crate::plan::options::Certs;
use clap::Args;
use host::names::HostName;
use vm::reboot::Mode;

/// How many runs may be at work at once.
#[derive(Clone, Copy, Debug, Args)]
pub(crate) struct JobsArgs {
    /// Of several runs, so many may be at work at once, as far as there is memory for them
    #[arg(long, value_name = "N", default_value_t = 1, value_parser = clap::value_parser!(u16).range(1..=64))]
    jobs: u16,
}

impl JobsArgs {
    /// How many.
    pub(crate) fn at_once(self) -> usize {
        self.jobs.into()
    }
}

/// What a matrix is made of: each host in each of the ways.
#[derive(Clone, Debug, Args)]
pub(crate) struct MatrixArgs {
    /// The hosts
    #[arg(long, value_name = "HOST,...", value_delimiter = ',', required = true)]
    pub(crate) hosts: Vec<HostName>,
    /// How each is restarted
    #[arg(long, value_enum, value_name = "MODE,...", value_delimiter = ',')]
    pub(crate) via: Vec<Mode>,
    /// Catalogue names or paths of disk images
    #[arg(long, value_name = "NAME|PATH,...", value_delimiter = ',')]
    pub(crate) image: Vec<String>,
    /// The certificate tiers
    #[arg(long, value_enum, value_name = "TIER,...", value_delimiter = ',')]
    pub(crate) certs: Vec<Certs>,
    #[command(flatten)]
    pub(crate) jobs: JobsArgs,
    /// Options of `cycle` for each of the runs
    #[arg(last = true, value_name = "OPTIONS")]
    pub(crate) options: Vec<String>,
}
