//! How a fresh host and an upgraded one differ in the end, as the verdict has it.

use super::SHOWN;
use evidence::record::Record;
use host::visible::line;
use std::fmt::Write;

/// The comparison of both, if there was one.
pub(super) fn write(record: &Record, out: &mut String) -> std::fmt::Result {
    let Some(ends) = &record.ends else { return Ok(()) };
    let allowed = if ends.allowed.is_empty() { String::new() } else { format!(", {} allowed", ends.allowed.len()) };
    writeln!(out, "  {:<10} {}{allowed}", "both", ends.summary())?;
    for one in ends.findings.iter().take(SHOWN) {
        writeln!(out, "             {}", line(&one.to_string()))?;
    }
    if ends.findings.len() > SHOWN {
        writeln!(out, "             and {} more in result.json", ends.findings.len() - SHOWN)?;
    }
    for (one, why) in ends.allowed.iter().take(SHOWN) {
        writeln!(out, "             {}, allowed: {}", line(one.name()), line(why))?;
    }
    for why in &ends.unseen {
        writeln!(out, "             could not be seen: {}", line(why))?;
    }
    writeln!(out, "             {}", ends.not_looked)?;
    writeln!(out, "             the fresh host: {}", ends.fresh)
}
