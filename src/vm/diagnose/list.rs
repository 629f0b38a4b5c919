//! What a guest is asked after a failure, as data.
//!
//! How long a boot's units took is in its timeline, which is kept when it has settled; systemd-analyze and cloud-init's own
//! program would cost an emulated processor half a minute for what is known or lies in a file.
//!
//! Nothing here changes the guest: a Docker that is down stays down, though its socket would start it for whoever asks.
//!
//! Nothing here shows a secret: no container's environment, no command lines of processes, no user-data.

/// One question to the guest.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Diagnostic {
    /// The evidence file that the answer goes into.
    pub file: &'static str,
    /// The shell command; `{lines}` becomes the number of lines that are worth fetching.
    pub command: &'static str,
    /// Whether it needs root. The others are asked even where sudo is broken.
    pub root: bool,
    /// How many seconds the guest may work on it.
    pub seconds: u64,
}

/// What a question takes on a busy emulated CPU, with room.
const ORDINARY: u64 = 15;

const fn as_root(file: &'static str, command: &'static str) -> Diagnostic {
    Diagnostic { file, command, root: true, seconds: ORDINARY }
}

const fn as_anybody(file: &'static str, command: &'static str) -> Diagnostic {
    Diagnostic { file, command, root: false, seconds: ORDINARY }
}

/// All questions, the most telling first: the way into the guest may be lost while they are asked.
pub const DIAGNOSTICS: [Diagnostic; 22] = [
    as_root("nft.txt", "nft list ruleset"),
    as_root("iptables.txt", "iptables-save -c; ip6tables-save -c"),
    as_root(
        "docker-ps.txt",
        "if kill -0 \"$(cat /run/docker.pid)\"; then docker ps -a; else echo 'docker does not run'; fi",
    ),
    as_root("listening.txt", "ss -tulnp"),
    as_anybody(
        "failed-units.txt",
        "systemctl --failed --no-pager; systemctl list-jobs --no-pager; systemctl is-system-running",
    ),
    as_root(
        "failed-units-status.txt",
        "for unit in $(systemctl --failed --plain --no-legend | cut -d' ' -f1); do systemctl status --no-pager --full --lines=40 -- \"$unit\"; done",
    ),
    as_root("journal-this-boot.txt", "journalctl --boot=0 --output=short-precise --no-pager --lines={lines}"),
    as_root("journal-previous-boot.txt", "journalctl --boot=-1 --output=short-precise --no-pager --lines={lines}"),
    as_root("journal-errors.txt", "journalctl --boot=0 --priority=err --no-pager --lines={lines}"),
    as_root("boots.txt", "journalctl --list-boots --no-pager; cat /proc/sys/kernel/random/boot_id; uptime"),
    as_anybody("addresses.txt", "ip -details -statistics address"),
    as_anybody("routes.txt", "ip route show table all; ip rule; ip neighbour"),
    as_anybody("resolver.txt", "resolvectl --no-pager status; ls -l /etc/resolv.conf; cat /etc/resolv.conf"),
    as_root(
        "cloud-init.txt",
        "tail -n +1 /run/cloud-init/status.json /run/cloud-init/result.json; grep -E 'WARN|ERROR|Traceback' /var/log/cloud-init.log",
    ),
    // It wants its unit's runtime directory, which goes when the unit fails.
    as_root(
        "sshd.txt",
        "made=; [ -e /run/sshd ] || { mkdir -m 755 /run/sshd && made=1; }; sshd -T; [ -z \"$made\" ] || rmdir /run/sshd; systemctl status --no-pager --full ssh.service ssh.socket",
    ),
    as_root(
        "firewall-files.txt",
        "systemctl status --no-pager --full nftables.service; tail -n +1 /etc/nftables.conf /etc/nftables.d/*",
    ),
    as_root(
        "docker.txt",
        "if kill -0 \"$(cat /run/docker.pid)\"; then docker info; docker network ls; docker network inspect $(docker network ls -q); fi; systemctl status --no-pager --full docker.service",
    ),
    as_root(
        "forwarding.txt",
        "sysctl net.ipv4.ip_forward net.ipv4.conf.all.rp_filter; sysctl -e net.bridge.bridge-nf-call-iptables; lsmod",
    ),
    as_anybody("processes.txt", "ps -eo pid,ppid,user,stat,lstart,time,comm --forest"),
    as_anybody("disks.txt", "df -h; df -i; lsblk -f; findmnt"),
    as_anybody("memory.txt", "free -m; tail -n +1 /proc/pressure/*"),
    as_root("kernel.txt", "uname -a; cat /proc/cmdline; dmesg --ctime | tail -n {lines}"),
];
