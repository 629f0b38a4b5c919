//! The limits that the program sets itself, measured: printed, never asserted. Run with
//! `cargo bench --bench limits`; it boots six VMs one after the other. The table is in `target/bench/limits.json`, too.
//!
//! How long `up` takes to the first login is compared with the same QEMU started by hand ([`by_hand`]):
//! same golden image, a fresh overlay of the same size, the same seed, the same command line, a network made
//! by the same code. What the hand has ready before it starts the clock (overlay, seed, network) counts against
//! `up`, and so does the look at the inputs. Both sides see the first login in the same way: an ssh master
//! that has logged in with the pinned host key makes its socket. The two take turns, so that a machine that is busy
//! with something else is so for both. Where it is so now and not then, their ratio says nothing; what `up` does
//! before the guest runs, as a share of the boot that follows, still does.
//!
//! `BOMA_BENCH_RUNS` (2) is how often each side boots; 0 leaves the VMs out.

#![allow(clippy::unwrap_used, reason = "a measurement that cannot go on says so best by failing")]
#![allow(clippy::print_stdout, reason = "it is made to print")]

mod by_hand;
mod project;
mod table;

use boot_media::seed::iso::{File, write};
use by_hand::ByHand;
use project::{HOST, Project, Up};
use std::time::Instant;
use table::{Table, load};

fn main() {
    let runs: usize = std::env::var("BOMA_BENCH_RUNS").map_or(2, |n| n.parse().unwrap());
    let project = Project::new();
    let mut table = Table::default();
    println!("load average at the start: {}", load());
    table.row("release binary", "MiB", "< 15", vec![project.binary_bytes() as f64 / MIB]);
    table.row("seed ISO, 4000 bytes of user data", "ms", "< 1", (0..100).map(|_| seed_iso()).collect());
    table.row("plan, the whole process", "ms", "< 20", (0..20).map(|_| project.timed(&["plan", HOST]) * 1e3).collect());
    if runs > 0 {
        boots(&project, runs, &mut table);
    }
    println!("load average at the end:   {}\n\n{table}", load());
    let dir = std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join("target/bench");
    std::fs::create_dir_all(&dir).unwrap();
    std::fs::write(dir.join("limits.json"), format!("{:#}\n", table.json())).unwrap();
}

const MIB: f64 = (1 << 20) as f64;

/// The first boot is for the caches, and for the seed and the keys that the hand uses.
fn boots(project: &Project, runs: usize, table: &mut Table) {
    let (mut ups, mut hands, mut downs, mut sizes) = (Vec::new(), Vec::new(), Vec::new(), Vec::new());
    let boot = |say: &str| {
        let up = project.up(&[]);
        println!(
            "{say}: {:.2} s to the first login, {:.2} s of it before the guest runs; load {}",
            up.login,
            up.before_guest,
            load()
        );
        up
    };
    boot("up, not counted");
    sizes.push(project.monitor_bytes() / MIB);
    let hand = ByHand::like(project);
    downs.push(project.timed(&["down", HOST]));
    for _ in 0..runs {
        let seconds = hand.first_login();
        println!("by hand: {seconds:.2} s to the first login; load {}", load());
        hands.push(seconds);
        ups.push(boot("up"));
        sizes.push(project.monitor_bytes() / MIB);
        downs.push(project.timed(&["down", HOST]));
    }
    let of = |part: fn(&Up) -> f64| ups.iter().map(part).collect::<Vec<_>>();
    table.row("up, to the first login", "s", "", of(|up| up.login));
    table.row("  of it before the guest runs", "s", "", of(|up| up.before_guest));
    let share = |up: &Up| 100.0 * up.before_guest / (up.login - up.before_guest);
    table.row("  as a share of the boot that follows", "%", "<= 3", ups.iter().map(share).collect());
    table.row("the same QEMU by hand, to the first login", "s", "", hands.clone());
    table.ratio("up over by hand", "<= 1.03", &of(|up| up.login), &hands);
    table.ratio("  from the start of QEMU on", "", &of(|up| up.login - up.before_guest), &hands);
    goes_on(project, runs, table, &ups);
    table.row("down of a VM that runs, the whole process", "s", "< 0.3", downs);
    table.row("the monitor's resident memory after the boot", "MiB", "< 20", sizes);
}

/// A VM that goes on from a template, and from its own snapshot. The template is made by the first.
fn goes_on(project: &Project, runs: usize, table: &mut Table, cold: &[Up]) {
    project.up(&["--template"]);
    let (mut logins, mut resets) = (Vec::new(), Vec::new());
    for _ in 0..runs {
        project.timed(&["down", HOST]);
        let up = project.up(&["--template"]);
        println!("from the template: {:.2} s to the first login; load {}", up.login, load());
        logins.push(up.login);
    }
    project.timed(&["snapshot", HOST, "bench"]);
    for _ in 0..runs {
        resets.push(project.reset("bench"));
    }
    project.timed(&["down", HOST]);
    table.row("up from a template, to the first login", "s", "<= 2.5", logins.clone());
    let cold: Vec<_> = cold.iter().map(|up| up.login).collect();
    table.ratio("up over up from a template", ">= 15", &cold, &logins);
    table.row("reset, to the first login", "s", "<= 1", resets.iter().map(|reset| reset.0).collect());
    table.row("  to the end of its proof", "s", "", resets.iter().map(|reset| reset.1).collect());
}

/// Milliseconds for one seed as large as a real one.
fn seed_iso() -> f64 {
    let files = [("meta-data", 80), ("network-config", 300), ("user-data", 4000)];
    let files = files.map(|(name, length)| File::new(name, vec![b'x'; length]));
    let start = Instant::now();
    std::hint::black_box(write("cidata", std::hint::black_box(&files), 1_795_173_699)).unwrap();
    start.elapsed().as_secs_f64() * 1e3
}
