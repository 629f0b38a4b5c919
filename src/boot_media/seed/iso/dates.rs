//! The two date formats of ECMA-119, always in UTC.

/// A moment, broken down.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Stamp {
    year: u16,
    month: u8,
    day: u8,
    hour: u8,
    minute: u8,
    second: u8,
}

impl Stamp {
    /// From seconds since 1970; `None` after 2155 (the short form holds 1900 to 2155).
    pub(super) fn from_unix(seconds: u64) -> Option<Self> {
        let (days, rest) = (seconds / 86_400, seconds % 86_400);
        // Days to a civil date by 400-year eras that start on 1 March, so that the leap day comes last.
        let shifted = days + 719_468;
        let (era, in_era) = (shifted / 146_097, shifted % 146_097);
        let year_of_era = (in_era - in_era / 1_460 + in_era / 36_524 - in_era / 146_096) / 365;
        let in_year = in_era - (365 * year_of_era + year_of_era / 4 - year_of_era / 100);
        let march_month = (5 * in_year + 2) / 153;
        let day = in_year - (153 * march_month + 2) / 5 + 1;
        let month = if march_month < 10 { march_month + 3 } else { march_month - 9 };
        let year = era * 400 + year_of_era + u64::from(month <= 2);
        if year > 2155 {
            return None;
        }
        // Every part is below its own small bound now: none of the conversions can cut anything off.
        Some(Self {
            year: year as u16,
            month: month as u8,
            day: day as u8,
            hour: (rest / 3600) as u8,
            minute: (rest % 3600 / 60) as u8,
            second: (rest % 60) as u8,
        })
    }

    /// Seven bytes, for directory records and Rock Ridge (ECMA-119 9.1.5).
    pub(super) fn short(&self) -> [u8; 7] {
        [(self.year - 1900) as u8, self.month, self.day, self.hour, self.minute, self.second, 0]
    }

    /// Seventeen bytes, for volume descriptors (ECMA-119 8.4.26.1).
    pub(super) fn long(&self) -> [u8; 17] {
        let Self { year, month, day, hour, minute, second } = self;
        let text = format!("{year:04}{month:02}{day:02}{hour:02}{minute:02}{second:02}00");
        let mut bytes = [0; 17];
        bytes[..16].copy_from_slice(text.as_bytes());
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
