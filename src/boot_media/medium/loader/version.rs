//! Comparing versions and ids as systemd-boot sorts its menu.
//!
//! Format: UAPI.10 "Version Format Specification".

use std::cmp::Ordering;

/// Compare two versions.
pub(super) fn compare(a: &str, b: &str) -> Ordering {
    let (mut a, mut b) = (a.as_bytes(), b.as_bytes());
    loop {
        a = skip(a);
        b = skip(b);
        // A tilde comes before everything, even the end: a release candidate is older than the release.
        for (mark, has) in
            [(b'~', Ordering::Less), (b'-', Ordering::Less), (b'^', Ordering::Less), (b'.', Ordering::Less)]
        {
            // An end comes after a tilde, and before the other marks.
            if mark != b'~' && (a.is_empty() || b.is_empty()) {
                return a.len().cmp(&b.len()).then(Ordering::Equal);
            }
            match (a.first() == Some(&mark), b.first() == Some(&mark)) {
                (true, true) => {
                    (a, b) = (&a[1..], &b[1..]);
                    break;
                }
                (true, false) => return has,
                (false, true) => return has.reverse(),
                (false, false) => {}
            }
        }
        let digits = |text: &[u8]| text.iter().take_while(|byte| byte.is_ascii_digit()).count();
        let letters = |text: &[u8]| text.iter().take_while(|byte| byte.is_ascii_alphabetic()).count();
        let order = if digits(a) > 0 || digits(b) > 0 {
            let (one, other) = (a.split_at(digits(a)), b.split_at(digits(b)));
            (a, b) = (one.1, other.1);
            let (one, other) = (without_zeros(one.0), without_zeros(other.0));
            one.len().cmp(&other.len()).then_with(|| one.cmp(other))
        } else {
            let (one, other) = (a.split_at(letters(a)), b.split_at(letters(b)));
            (a, b) = (one.1, other.1);
            // Capitals come before small letters.
            one.0.cmp(other.0)
        };
        if order != Ordering::Equal || (a.is_empty() && b.is_empty()) {
            return order;
        }
    }
}

/// Without what is neither letter, digit nor a mark.
fn skip(text: &[u8]) -> &[u8] {
    let counts = |byte: &u8| byte.is_ascii_alphanumeric() || matches!(byte, b'~' | b'-' | b'^' | b'.');
    &text[text.iter().position(counts).unwrap_or(text.len())..]
}

fn without_zeros(digits: &[u8]) -> &[u8] {
    &digits[digits.iter().position(|digit| *digit != b'0').unwrap_or(digits.len())..]
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn versions_are_in_the_order_of_the_specification() {
        // Its own example: each is older than the next.
        let order = [
            "~1",
            "",
            "ab",
            "abb",
            "abc",
            "0001",
            "002",
            "12",
            "122",
            "122.9",
            "123~rc1",
            "123",
            "123-a",
            "123-a.1",
            "123-a1",
            "123-a1.1",
            "123-3",
            "123-3.1",
            "123^patch1",
            "123^1",
            "123.a-1",
            "123.1-1",
            "123a-1",
            "124",
        ];
        for (n, older) in order.iter().enumerate() {
            for newer in &order[n + 1..] {
                assert_eq!(compare(older, newer), Ordering::Less, "{older:?} {newer:?}");
                assert_eq!(compare(newer, older), Ordering::Greater, "{newer:?} {older:?}");
            }
            assert_eq!(compare(older, older), Ordering::Equal);
        }
    }
}
