//! What a task was given, as words that can be compared.

use crate::playbook::deeds::Deed;

/// Actions that run a program as it is.
const PROGRAMS: [&str; 5] = ["command", "shell", "raw", "script", "expect"];

/// One command of a script, or one call of a module.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Statement {
    /// The module; none where it is a command.
    pub(super) module: Option<String>,
    /// Its words, without quotes. `=`, commas and braces only part them; brackets, pipes and redirections are words of
    /// their own, so that what stands on both sides of one never looks like one phrase.
    pub(super) words: Vec<String>,
}

impl Statement {
    /// Whether these words stand in it one after the other.
    pub(super) fn has(&self, phrase: &[&str]) -> bool {
        self.after(phrase).is_some()
    }

    /// The words that follow the first place of these.
    pub(super) fn after(&self, phrase: &[&str]) -> Option<&[String]> {
        let at = self.words.windows(phrase.len().max(1)).position(|words| words == phrase)?;
        self.words.get(at + phrase.len()..)
    }

    /// Whether this word is in it.
    pub(super) fn has_word(&self, word: &str) -> bool {
        self.words.iter().any(|own| own == word)
    }

    /// Whether it calls one of these programs, by name or by path.
    pub(super) fn calls(&self, programs: &[&str]) -> bool {
        let name = |word: &str| word.rsplit('/').next().unwrap_or(word).to_owned();
        self.words.iter().any(|word| programs.contains(&name(word).as_str()))
    }

    /// Whether it is a call of one of these modules.
    pub(super) fn is(&self, modules: &[&str]) -> bool {
        self.module.as_deref().is_some_and(|module| modules.contains(&module))
    }
}

/// The statements of a deed, in their order.
pub(super) fn statements(deed: &Deed) -> Vec<Statement> {
    let program = PROGRAMS.contains(&deed.module.as_str());
    let all = deed.given.iter().flat_map(|text| match program {
        true => commands(text),
        // No shell reads it: what looks like a quote in a value is none.
        false => vec![words(text)],
    });
    let statement = |words: Vec<String>| Statement { module: (!program).then(|| deed.module.clone()), words };
    all.filter(|words| !words.is_empty()).map(statement).collect()
}

/// A text's words, without a shell's quoting.
pub(super) fn words(text: &str) -> Vec<String> {
    let mut reader = Reader::default();
    for c in text.chars() {
        match c {
            '"' | '\'' => {}
            c => reader.plain(c),
        }
    }
    reader.word_ends();
    reader.words
}

/// The words of each command of a script: commands end with a line, `;`, `&&`, `||` or a comment, where these are not
/// quoted.
fn commands(text: &str) -> Vec<Vec<String>> {
    let mut reader = Reader::default();
    let mut done = Vec::new();
    let mut chars = text.chars().peekable();
    let mut quote = None;
    while let Some(c) = chars.next() {
        match (quote, c) {
            (Some(open), _) if c == open => quote = None,
            (None, '"' | '\'') => quote = Some(c),
            (Some('"') | None, '\\') => match chars.next() {
                None | Some('\n') => reader.word_ends(),
                Some(c) => reader.plain(c),
            },
            (None, '#') if reader.word.is_empty() => {
                chars.by_ref().take_while(|c| *c != '\n').for_each(drop);
                done.push(reader.take());
            }
            (None, '&' | '|') if chars.peek() == Some(&c) => {
                chars.next();
                done.push(reader.take());
            }
            (None, '\n' | ';') => done.push(reader.take()),
            _ => reader.plain(c),
        }
    }
    done.push(reader.take());
    done
}

#[derive(Default)]
struct Reader {
    words: Vec<String>,
    word: String,
}

impl Reader {
    fn plain(&mut self, c: char) {
        match c {
            '=' | ',' | ';' | '{' | '}' => self.word_ends(),
            '(' | ')' | '[' | ']' | '`' | '|' | '&' | '<' | '>' => {
                self.word_ends();
                self.words.push(c.into());
            }
            c if c.is_whitespace() => self.word_ends(),
            c => self.word.push(c),
        }
    }

    fn word_ends(&mut self) {
        if !self.word.is_empty() {
            self.words.push(std::mem::take(&mut self.word));
        }
    }

    fn take(&mut self) -> Vec<String> {
        self.word_ends();
        std::mem::take(&mut self.words)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn told(text: &str) -> Vec<String> {
        commands(text).into_iter().filter(|words| !words.is_empty()).map(|words| words.join(" ")).collect()
    }

    #[test]
    fn a_script_is_cut_into_its_commands_and_quoted_text_is_not() {
        assert_eq!(
            told("a --x=1 && b; c || d | e\n# f; g\nh 'i; j' \\\n k"),
            ["a --x 1", "b", "c", "d | e", "h i j k"]
        );
        assert_eq!(
            told("nft add chain inet f in '{ type filter hook input priority 0; policy drop; }'"),
            ["nft add chain inet f in type filter hook input priority 0 policy drop"]
        );
        assert_eq!(told("nft add chain inet f in { policy drop \\; }"), ["nft add chain inet f in policy drop"]);
        assert_eq!(told("echo a#b"), ["echo a#b"], "no comment begins within a word");
    }

    #[test]
    fn what_stands_on_both_sides_of_a_bracket_or_a_pipe_is_no_phrase() {
        let one = |text: &str| Statement { module: None, words: commands(text).remove(0) };
        assert!(one("sysctl -w a.b=1").has(&["a.b", "1"]));
        assert!(!one("test \"$(sysctl -n a.b)\" = 1").has(&["a.b", "1"]));
        assert!(!one("sysctl a.b | grep 1").has(&["a.b", "1"]));
    }

    #[test]
    fn a_modules_arguments_are_one_statement_whatever_quotes_they_have() {
        let deed = Deed {
            role: String::new(),
            task: "t".into(),
            place: String::new(),
            module: "sysctl".into(),
            given: vec!["name=a.b value=it's 1; state=present".into()],
        };
        let all = statements(&deed);
        assert_eq!(all.len(), 1);
        assert!(all[0].is(&["sysctl"]) && all[0].has(&["name", "a.b", "value"]) && all[0].has(&["state", "present"]));
    }

    #[test]
    fn a_program_is_called_by_its_name_or_its_path() {
        let one = |text: &str| Statement { module: None, words: words(text) };
        assert!(one("sudo /usr/sbin/nft add").calls(&["nft"]) && !one("cat /etc/nft.conf").calls(&["nft"]));
    }
}
