//! The two date formats of ECMA-119, always in UTC.

use std::ops::Range;
use std::time::{Duration, UNIX_EPOCH};

/// The last second of 2155: the short form holds 1900 to 2155.
const LAST: u64 = 5_869_583_999;

/// A moment: year, month, day, hour, minute and second, as digits.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Stamp([u8; 14]);

impl Stamp {
    /// From seconds since 1970; `None` after 2155.
    pub(super) fn from_unix(seconds: u64) -> Option<Self> {
        let moment = (seconds <= LAST).then(|| UNIX_EPOCH + Duration::from_secs(seconds))?;
        let text = humantime::format_rfc3339_seconds(moment).to_string();
        let digits: Vec<_> = text.bytes().filter(u8::is_ascii_digit).collect();
        digits.try_into().ok().map(Self)
    }

    /// Seven bytes, for directory records and Rock Ridge (ECMA-119 9.1.5).
    pub(super) fn short(&self) -> [u8; 7] {
        let number = |part: Range<usize>| self.0[part].iter().fold(0, |n, digit| n * 10 + u16::from(digit - b'0'));
        let year = (number(0..4) - 1900) as u8;
        let [month, day, hour, minute, second] = [4, 6, 8, 10, 12].map(|at| number(at..at + 2) as u8);
        [year, month, day, hour, minute, second, 0]
    }

    /// Seventeen bytes, for volume descriptors (ECMA-119 8.4.26.1).
    pub(super) fn long(&self) -> [u8; 17] {
        let mut bytes = [0; 17];
        bytes[..14].copy_from_slice(&self.0);
        bytes[14..16].copy_from_slice(b"00");
        bytes
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn text(seconds: u64) -> String {
        String::from_utf8_lossy(&Stamp::from_unix(seconds).unwrap().long()[..16]).into_owned()
    }

    #[test]
    fn seconds_become_the_civil_date() {
        assert_eq!(text(0), "1970010100000000");
        assert_eq!(text(951_782_400), "2000022900000000");
        assert_eq!(text(1_795_173_699), "2026112011213900");
        assert_eq!(text(4_107_542_399), "2100022823595900");
        assert_eq!(text(4_107_542_400), "2100030100000000");
    }

    #[test]
    fn a_year_after_2155_is_refused() {
        assert!(Stamp::from_unix(5_869_583_999).is_some());
        assert_eq!(Stamp::from_unix(5_869_584_000), None);
        assert_eq!(Stamp::from_unix(u64::MAX), None);
    }
}
