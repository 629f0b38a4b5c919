//! What the kernel sizes by its memory, which is never quite the same at two boots.

use super::state::{Section, State};

/// Parameters that the kernel sizes at boot by the memory that is free then.
const SIZED_BY_MEMORY: [&str; 14] = [
    "fs.epoll.max_user_watches",
    "fs.fanotify.max_user_marks",
    "fs.file-max",
    "fs.inotify.max_user_watches",
    "kernel.threads-max",
    "net.ipv4.tcp_max_orphans",
    "net.ipv4.tcp_mem",
    "net.ipv4.udp_mem",
    "net.netfilter.nf_conntrack_buckets",
    "net.netfilter.nf_conntrack_max",
    "user.max_",
    "vm.admin_reserve_kbytes",
    "vm.min_free_kbytes",
    "vm.user_reserve_kbytes",
];

/// How far two sizes of the same parameter may be apart: more was set by hand.
const DRIFT: f64 = 0.02;

/// How far the kernel's memory itself may be apart: what a kernel gets from firmware and what it gets from kexec is not the
/// same. On a guest of 1 GiB it is 4 % more by kexec where the firmware is UEFI.
const MEMORY: f64 = 0.1;

/// How the memory of two boots compares, as the kernel's own sizing shows it.
pub(super) struct Memory {
    factor: f64,
}

impl Memory {
    /// The kernel derives both of these from its memory and nothing else (`fork_init` in kernel/fork.c). That both were set
    /// by hand, by the same factor, is no chance.
    pub(super) fn between(before: &State, after: &State) -> Self {
        let size = |state: &State, key| state.word(Section::Sysctl, key).parse::<f64>().ok();
        let factor = |key| Some(size(after, key)? / size(before, key)?);
        let factor = match (factor("kernel.threads-max"), factor("user.max_mnt_namespaces")) {
            (Some(a), Some(b)) if (a - b).abs() < 0.001 && (a - 1.0).abs() <= MEMORY => a,
            _ => 1.0,
        };
        Self { factor }
    }

    /// Whether two values are the same but for what the kernel's own sizing makes of it. Of modules any parameter may be sized
    /// so (fuse's `max_user_bgreq`, nf_conntrack's `hashsize`), and none is set by hand to nearly what it was.
    pub(super) fn sizes_alike(&self, section: Section, key: &str, old: &str, new: &str) -> bool {
        let by_memory = match section {
            Section::Sysctl => {
                SIZED_BY_MEMORY.iter().any(|name| key == *name || (name.ends_with('_') && key.starts_with(name)))
            }
            Section::Sys => key.starts_with("module/") && key.contains("/parameters/"),
            _ => false,
        };
        let numbers = |text: &str| text.split_whitespace().map(|n| n.parse::<f64>().ok()).collect::<Option<Vec<_>>>();
        let (Some(old), Some(new)) = (numbers(old), numbers(new)) else { return false };
        let near = |a: f64, b: f64| (a - b).abs() <= DRIFT * a.abs().max(b.abs());
        let alike = |(a, b): (&f64, &f64)| near(*a, *b) || near(a * self.factor, *b);
        by_memory && old.len() == new.len() && old.iter().zip(&new).all(alike)
    }
}

#[cfg(test)]
mod tests {
    use super::super::Diff;
    use super::super::state::{Fact, Observed};
    use super::*;

    fn state(section: Section, facts: &[(&str, &str)]) -> State {
        let facts = facts.iter().map(|(key, fact)| ((*key).to_owned(), Fact::from(*fact))).collect();
        State { sections: [(section, Observed::Facts(facts))].into(), ..State::default() }
    }

    fn differs(section: Section, key: &str, old: &str, new: &str) -> bool {
        !Diff::between(&state(section, &[(key, old)]), &state(section, &[(key, new)])).is_empty()
    }

    #[test]
    fn what_the_kernel_sizes_by_memory_may_drift_and_anything_else_may_not() {
        let fuse = "module/fuse/parameters/max_user_bgreq";
        assert!(!differs(Section::Sys, fuse, "634", "633") && differs(Section::Sys, fuse, "634", "12"));
        assert!(differs(Section::Sys, "module/loop/parameters/max_loop", "8", "9"));
        assert!(differs(Section::Sys, "block/vda/queue/read_ahead_kb", "128", "127"));
        assert!(!differs(Section::Sysctl, "kernel.threads-max", "15235", "15216"));
        assert!(differs(Section::Sysctl, "vm.swappiness", "100", "101"));
    }

    /// Seen by kexec on a guest of 1 GiB with UEFI.
    #[test]
    fn where_the_kernel_has_other_memory_all_that_it_sizes_moves_by_one_factor_and_what_moves_alone_was_set() {
        let before = |watches: &str| {
            let threads = [("kernel.threads-max", "7183"), ("user.max_mnt_namespaces", "3591")];
            state(Section::Sysctl, &[threads[0], threads[1], ("fs.inotify.max_user_watches", watches)])
        };
        let after = |threads: &str, namespaces: &str, watches: &str| {
            let threads = [("kernel.threads-max", threads), ("user.max_mnt_namespaces", namespaces)];
            state(Section::Sysctl, &[threads[0], threads[1], ("fs.inotify.max_user_watches", watches)])
        };
        let differ = |after: &State| -> Vec<String> {
            Diff::between(&before("7100"), after).changes.into_iter().map(|change| change.key).collect()
        };
        assert_eq!(differ(&after("7493", "3746", "7406")), Vec::<String>::new());
        assert_eq!(differ(&after("7493", "3746", "7100")), Vec::<String>::new(), "what a file sets stays");
        assert_eq!(differ(&after("7493", "3746", "8192")), ["fs.inotify.max_user_watches"]);
        assert_eq!(differ(&after("7493", "3591", "7100")), ["kernel.threads-max"]);
        assert_eq!(differ(&after("14986", "7492", "7100")).len(), 2, "twice the memory is another machine");
    }
}
