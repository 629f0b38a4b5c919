//! The table: what, the median with the least and the most, how many, and the bar.

use std::fmt;

/// What was measured.
#[derive(Default)]
pub(crate) struct Table {
    rows: Vec<[String; 5]>,
    samples: Vec<Vec<f64>>,
}

impl Table {
    /// A figure that was taken several times.
    pub(crate) fn row(&mut self, what: &str, unit: &str, bar: &str, mut samples: Vec<f64>) {
        samples.sort_by(f64::total_cmp);
        let (least, most) = (samples[0], samples[samples.len() - 1]);
        let range = if samples.len() > 1 { format!("{} .. {}", short(least), short(most)) } else { String::new() };
        let bar = if bar.is_empty() { String::new() } else { format!("{bar} {unit}") };
        let value = format!("{} {unit}", short(median(&samples)));
        self.rows.push([what.into(), value, range, samples.len().to_string(), bar]);
        self.samples.push(samples);
    }

    /// The ratio of two medians.
    pub(crate) fn ratio(&mut self, what: &str, bar: &str, above: &[f64], below: &[f64]) {
        let ratio = median(above) / median(below);
        self.rows.push([what.into(), format!("{ratio:.3}"), String::new(), String::new(), bar.into()]);
        self.samples.push(vec![ratio]);
    }
}

impl Table {
    /// The same as data, with every sample.
    pub(crate) fn json(&self) -> serde_json::Value {
        let row = |(row, samples): (&[String; 5], &Vec<f64>)| serde_json::json!({"what": row[0].trim(), "median": row[1], "bar": row[4], "samples": samples});
        self.rows.iter().zip(&self.samples).map(row).collect()
    }
}

impl fmt::Display for Table {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut line = |[what, value, range, n, bar]: [&str; 5]| {
            writeln!(f, "{}", format!("{what:<46} {value:>12}   {range:<18} {n:>3}   {bar}").trim_end())
        };
        line(["what", "median", "least .. most", "n", "bar"])?;
        self.rows.iter().try_for_each(|row| line(row.each_ref().map(String::as_str)))
    }
}

fn median(samples: &[f64]) -> f64 {
    let mut sorted = samples.to_vec();
    sorted.sort_by(f64::total_cmp);
    let half = sorted.len() / 2;
    if sorted.len() % 2 == 1 { sorted[half] } else { (sorted[half - 1] + sorted[half]) / 2.0 }
}

/// Three digits that say something.
fn short(value: f64) -> String {
    match value {
        0.0..0.1 => format!("{value:.4}"),
        0.1..10.0 => format!("{value:.2}"),
        _ => format!("{value:.1}"),
    }
}

/// The load average of the last minute, for the reader to judge the figures by.
pub(crate) fn load() -> String {
    let text = std::fs::read_to_string("/proc/loadavg").unwrap_or_default();
    text.split(' ').next().unwrap_or_default().to_owned()
}
