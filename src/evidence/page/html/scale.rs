//! Bars on a scale of seconds, as SVG whose places are percentages: it fits any width, and its text keeps its size.

use maud::{Markup, html};

/// From 0 to some number of seconds.
#[derive(Clone, Copy, Debug)]
pub(super) struct Scale {
    total: f64,
}

impl Scale {
    /// A scale that ends with the last of what is drawn on it.
    pub(super) fn to(seconds: f64) -> Self {
        Self { total: if seconds > 0.0 { seconds } else { 1.0 } }
    }

    /// Where a time stands, as a percentage.
    pub(super) fn place(self, seconds: f64) -> String {
        format!("{:.2}%", (seconds / self.total * 100.0).clamp(0.0, 100.0))
    }

    /// A length, as a percentage; one of nothing is still a sign that something was there.
    pub(super) fn share(self, seconds: f64) -> String {
        format!("{:.2}%", (seconds / self.total * 100.0).clamp(0.25, 100.0))
    }

    /// Where it ends, in seconds.
    pub(super) fn total(self) -> f64 {
        self.total
    }

    /// The ticks: four to eight round numbers.
    pub(super) fn ticks(self) -> Vec<f64> {
        let steps = [0.1, 0.2, 0.5, 1.0, 2.0, 5.0, 10.0, 15.0, 30.0, 60.0, 120.0, 300.0, 600.0, 1200.0, 3600.0];
        let step = steps.into_iter().find(|step| self.total / step <= 7.0).unwrap_or(self.total / 4.0);
        (0..).map(|n| f64::from(n) * step).take_while(|at| *at <= self.total).collect()
    }

    /// The ticks' numbers, for the head of a column of bars.
    pub(super) fn axis(self) -> Markup {
        html! {
            svg.axis aria-hidden="true" height="15" {
                @for at in self.ticks() {
                    // The last number must not stand outside of the box.
                    @let anchor = if at == 0.0 { "start" } else if at > self.total * 0.96 { "end" } else { "middle" };
                    text x=(self.place(at)) y="11" text-anchor=(anchor) { (tick(at)) }
                }
            }
        }
    }

    /// The lines below the ticks, as a background.
    pub(super) fn grid(self) -> Markup {
        html! { @for at in self.ticks() { line.grid x1=(self.place(at)) x2=(self.place(at)) y1="0" y2="100%" {} } }
    }

    /// One bar over the grid. The numbers stand beside it as text, so it is for the eye only.
    pub(super) fn bar(self, at: f64, took: f64, class: &str) -> Markup {
        html! {
            svg aria-hidden="true" {
                (self.grid())
                rect class=(class) x=(self.place(at)) y="7" height="11" width=(self.share(took)) rx="1" {}
            }
        }
    }
}

fn tick(at: f64) -> String {
    match at {
        0.0 => "0 s".into(),
        _ if at >= 120.0 && at % 60.0 == 0.0 => format!("{:.0} min", at / 60.0),
        _ if at.fract() == 0.0 => format!("{at:.0}"),
        _ => format!("{at:.1}"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn there_are_a_few_round_ticks_whatever_the_length() {
        for total in [0.0, 0.3, 7.0, 42.0, 260.0, 2000.0, 90_000.0] {
            let ticks = Scale::to(total).ticks();
            assert!((3..=9).contains(&ticks.len()), "{total}: {ticks:?}");
        }
        assert_eq!(Scale::to(42.0).ticks(), [0.0, 10.0, 20.0, 30.0, 40.0]);
    }

    #[test]
    fn nothing_is_drawn_outside() {
        assert_eq!(Scale::to(10.0).place(25.0), "100.00%");
        assert_eq!(Scale::to(0.0).place(0.0), "0.00%");
    }
}
