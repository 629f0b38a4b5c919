//! The script's output, taken apart into its answers.

use super::state::{Facts, Observed};
use std::collections::BTreeMap;

/// The most that all answers together may be, in bytes. 150 KB are usual.
pub(crate) const MOST: usize = 4_000_000;

/// What each answer begins with.
pub const ANSWER: char = '\x1e';

/// One answer.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Answer {
    /// What the tool printed.
    Text(String),
    /// There is nothing to ask, and why.
    Absent(String),
    /// The tool failed, in its own words.
    Failed(String),
}

/// The answers of one look, by their names.
pub(crate) type Answers = BTreeMap<String, Answer>;

/// All answers by name. An answer without its end was cut off, and counts as failed.
pub(crate) fn answers(output: &str) -> Answers {
    output.split(ANSWER).skip(1).filter_map(one).collect()
}

fn one(frame: &str) -> Option<(String, Answer)> {
    let (name, rest) = frame.split_once('\n')?;
    let answer = match rest.split_once("\n\x1f") {
        None => Answer::Failed("it was cut off: all answers together are more than is read".into()),
        Some((text, end)) => match end.trim_end().split_once(' ').unwrap_or((end.trim_end(), "")) {
            ("0", _) => Answer::Text(text.to_owned()),
            ("absent", why) => Answer::Absent(why.trim().to_owned()),
            ("124", _) => Answer::Failed("it did not end within 40 s".into()),
            (code, said) => Answer::Failed(format!("exit code {code}: {}", said.trim())),
        },
    };
    Some((name.to_owned(), answer))
}

/// What an answer is as a section, by the reader of its text. One that was never given is a failure too, and so is one of
/// `others`, without which the section would look as if something were gone.
pub(crate) fn section(
    answers: &BTreeMap<String, Answer>,
    name: &str,
    others: &[&str],
    read: impl FnOnce(&str) -> Result<Facts, String>,
) -> Observed {
    let failed = others.iter().find_map(|other| match answers.get(*other) {
        Some(Answer::Failed(why)) => Some(format!("{other}: {why}")),
        Some(_) => None,
        None => Some(format!("{other}: {SILENT}")),
    });
    match (answers.get(name), failed) {
        (Some(Answer::Absent(why)), _) => Observed::Absent(why.clone()),
        (Some(Answer::Failed(why)), _) => Observed::Failed(why.clone()),
        (None, _) => Observed::Failed(SILENT.into()),
        (Some(Answer::Text(_)), Some(why)) => Observed::Failed(why),
        (Some(Answer::Text(text)), None) => match read(text) {
            Ok(facts) => Observed::Facts(facts),
            Err(why) => Observed::Failed(format!("its answer cannot be read: {why}")),
        },
    }
}

const SILENT: &str = "the guest did not answer";

/// The text of an answer; empty if there is none.
pub(crate) fn text<'a>(answers: &'a BTreeMap<String, Answer>, name: &str) -> &'a str {
    match answers.get(name) {
        Some(Answer::Text(text)) => text,
        _ => "",
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn answers_are_told_apart_by_how_they_ended() {
        let output = "login banner\x1ea\none\ntwo\n\x1f0 a warning\n\x1eb\n\n\x1fabsent no nft program\n\x1ec\nhalf\n\x1f1 no such \
                      device \n\x1ed\n\n\x1f124 \n\x1ee\ncut";
        let all = answers(output);
        assert_eq!(all["a"], Answer::Text("one\ntwo".into()));
        assert_eq!(all["b"], Answer::Absent("no nft program".into()));
        assert_eq!(all["c"], Answer::Failed("exit code 1: no such device".into()));
        assert_eq!(all["d"], Answer::Failed("it did not end within 40 s".into()));
        assert!(matches!(&all["e"], Answer::Failed(why) if why.contains("cut off")));
        assert_eq!(all.len(), 5);
    }

    #[test]
    fn a_section_is_not_seen_where_one_of_its_answers_is_missing() {
        let facts = |_: &str| Ok(Facts::new());
        let of = |output: &str| section(&answers(output), "a", &["b"], facts);
        assert_eq!(of("\x1ea\none\n\x1f0 \n\x1eb\n\n\x1fabsent no b\n"), Observed::Facts(Facts::new()));
        for output in ["\x1ea\none\n\x1f0 \n", "\x1ea\none\n\x1f0 \n\x1eb\n\n\x1f1 no bus\n"] {
            assert!(matches!(of(output), Observed::Failed(why) if why.starts_with("b: ")), "{output:?}");
        }
        assert_eq!(of("\x1ea\n\n\x1fabsent no a\n\x1eb\n\n\x1fabsent no b\n"), Observed::Absent("no a".into()));
    }
}
