//! Whether anybody still talks to the guest over ssh. A guest that is restored in the middle of a
//! conversation holds a process for somebody who has long gone.

use crate::ssh::Ssh;
use host::cmd::Cmd;
use host::deadline::{Deadline, PROBE_PERIOD};
use std::net::Ipv4Addr;
use std::time::Duration;

/// How long an ended conversation may take to be over on the guest's side too.
const LIMIT: Duration = Duration::from_secs(5);

/// Wait until no connection is open; how many still are in the end. Somebody may be logged in on purpose.
pub(crate) async fn wait(ssh: &Ssh, address: Ipv4Addr) -> usize {
    let deadline = Deadline::after(LIMIT);
    loop {
        let open = open(ssh, address);
        if open == 0 || deadline.passed() {
            return open;
        }
        tokio::time::sleep(PROBE_PERIOD).await;
    }
}

/// The connections to the guest's ssh. Where they cannot be listed there is nothing to wait for.
fn open(ssh: &Ssh, address: Ipv4Addr) -> usize {
    let prefix = ssh.prefix();
    let words = ["ss", "-Hatn", "dst", &format!("{address}:22")].map(str::to_owned);
    let argv: Vec<_> = prefix.iter().cloned().chain(words).collect();
    Cmd::new(&argv[0]).args(&argv[1..]).run().map_or(0, |out| count(&out.stdout))
}

/// Lines of `ss`: state first. In TIME-WAIT the guest has already said its last word.
pub fn count(lines: &str) -> usize {
    lines.lines().filter_map(|line| line.split_whitespace().next()).filter(|state| *state != "TIME-WAIT").count()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_connection_counts_until_both_sides_have_closed_it() {
        let lines = "ESTAB     0 0 10.213.77.1:40000 10.213.77.10:22\n\
                     FIN-WAIT-2 0 0 10.213.77.1:40002 10.213.77.10:22\n\
                     TIME-WAIT 0 0 10.213.77.1:40004 10.213.77.10:22\n";
        assert_eq!(count(lines), 2);
        assert_eq!(count(""), 0);
    }
}
