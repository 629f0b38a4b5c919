//! How long work on an image tells what it does, and how it is stopped.

use host::print;
use indicatif::{ProgressBar, ProgressStyle};
use std::sync::Mutex;
use std::time::{Duration, Instant};

/// The one who waits for an image.
pub trait Watch {
    /// Something worth a line: a step begins, a fall-back is taken.
    fn say(&self, line: &str);
    /// That many bytes of so many are there.
    fn progress(&self, done: u64, total: Option<u64>);
    /// Whether the user wants it to stop. Asked at least every 200 ms.
    fn stopped(&self) -> bool;
}

/// Watches for nothing and says nothing.
#[derive(Clone, Copy, Debug, Default)]
pub struct Silent;

impl Watch for Silent {
    fn say(&self, _: &str) {}
    fn progress(&self, _: u64, _: Option<u64>) {}
    fn stopped(&self) -> bool {
        false
    }
}

/// Lines on standard error, each with the seconds since the start, and a progress bar if it is a terminal.
pub struct Terminal<F: Fn() -> bool> {
    start: Instant,
    bar: Mutex<Option<ProgressBar>>,
    stopped: F,
}

impl<F: Fn() -> bool> Terminal<F> {
    /// Begin now; `stopped` is asked whether the user wants to stop.
    pub fn new(stopped: F) -> Self {
        Self { start: Instant::now(), bar: Mutex::new(None), stopped }
    }

    fn with_bar<T>(&self, act: impl FnOnce(&mut Option<ProgressBar>) -> T) -> T {
        // A panic elsewhere does not make a progress bar unusable.
        act(&mut self.bar.lock().unwrap_or_else(std::sync::PoisonError::into_inner))
    }
}

impl<F: Fn() -> bool> Watch for Terminal<F> {
    fn say(&self, line: &str) {
        self.with_bar(|bar| {
            if let Some(bar) = bar.take() {
                bar.finish_and_clear();
            }
            print::err(&format!("{:6.1} s  {line}", self.start.elapsed().as_secs_f64()));
        });
    }

    fn progress(&self, done: u64, total: Option<u64>) {
        self.with_bar(|bar| {
            let bar = bar.get_or_insert_with(new_bar);
            if let Some(total) = total {
                bar.set_length(total);
            }
            bar.set_position(done);
            if total == Some(done) {
                bar.finish_and_clear();
            }
        });
    }

    fn stopped(&self) -> bool {
        (self.stopped)()
    }
}

/// indicatif draws on standard error, and only if that is a terminal.
fn new_bar() -> ProgressBar {
    let style =
        ProgressStyle::with_template("{bar:40} {binary_bytes}/{binary_total_bytes} {binary_bytes_per_sec} {eta} left");
    let bar = ProgressBar::no_length();
    if let Ok(style) = style {
        bar.set_style(style);
    }
    bar.enable_steady_tick(Duration::from_millis(200));
    bar
}
