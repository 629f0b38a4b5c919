//! GRUB's `test`: grub-core/commands/test.c; manual, section "test".

use super::value::known;
use super::world::Tri;

/// How two words are compared; the last turns one into a number.
type Compare = fn(&str, &str, &dyn Fn(&str) -> i64) -> bool;

/// Answer an expression; `file` tells whether a file is there, as `-e`, `-f`, `-d` and `-s` ask.
pub(super) fn test(words: &[String], file: &mut dyn FnMut(&str, &str) -> Tri) -> Tri {
    let mut expression = Expression { words, at: 0, file };
    let answer = expression.either();
    // What is left over is an expression that is not one.
    if expression.at < words.len() { Tri::Maybe } else { answer }
}

struct Expression<'a> {
    words: &'a [String],
    at: usize,
    file: &'a mut dyn FnMut(&str, &str) -> Tri,
}

impl Expression<'_> {
    fn word(&self, ahead: usize) -> Option<&str> {
        self.words.get(self.at + ahead).map(String::as_str)
    }

    fn either(&mut self) -> Tri {
        let mut answer = self.both();
        while self.word(0) == Some("-o") {
            self.at += 1;
            answer = match (answer, self.both()) {
                (Tri::Yes, _) | (_, Tri::Yes) => Tri::Yes,
                (Tri::No, Tri::No) => Tri::No,
                _ => Tri::Maybe,
            };
        }
        answer
    }

    fn both(&mut self) -> Tri {
        let mut answer = self.one();
        // Words that stand side by side must all hold, as with `-a` between them.
        while self.word(0).is_some_and(|word| !matches!(word, "-o" | ")")) {
            self.at += usize::from(self.word(0) == Some("-a"));
            answer = match (answer, self.one()) {
                (Tri::No, _) | (_, Tri::No) => Tri::No,
                (Tri::Yes, Tri::Yes) => Tri::Yes,
                _ => Tri::Maybe,
            };
        }
        answer
    }

    fn one(&mut self) -> Tri {
        let mut not = false;
        while self.word(0) == Some("!") && self.word(1).is_some() {
            self.at += 1;
            not = !not;
        }
        let answer = self.plain();
        if not { answer.not() } else { answer }
    }

    fn plain(&mut self) -> Tri {
        if let Some(operator) = self.word(1)
            && let Some(answer) =
                self.word(2).and_then(|right| binary(self.word(0).unwrap_or_default(), operator, right))
        {
            self.at += 3;
            return answer;
        }
        let (Some(word), behind) = (self.word(0), self.word(1)) else { return Tri::No };
        let (answer, used) = match (word, behind) {
            ("(", Some(_)) => return self.in_brackets(),
            ("-n", Some(text)) => (filled(text), 2),
            ("-z", Some(text)) => (filled(text).not(), 2),
            (what @ ("-e" | "-f" | "-d" | "-s"), Some(path)) => {
                let (what, path) = (what.to_owned(), known(path));
                (path.map_or(Tri::Maybe, |path| (self.file)(&what, &path)), 2)
            }
            (text, _) => (filled(text), 1),
        };
        self.at += used;
        answer
    }

    fn in_brackets(&mut self) -> Tri {
        self.at += 1;
        let answer = self.either();
        if self.word(0) == Some(")") {
            self.at += 1;
        }
        answer
    }
}

fn filled(text: &str) -> Tri {
    known(text).map_or(Tri::Maybe, |text| Tri::of(!text.is_empty()))
}

/// Two texts and what stands between them; nothing if that is no operator.
fn binary(left: &str, operator: &str, right: &str) -> Option<Tri> {
    let number = |text: &str| text.trim().parse::<i64>().unwrap_or(0);
    let compare: Compare = match operator {
        "=" | "==" => |a, b, _| a == b,
        "!=" => |a, b, _| a != b,
        "<" => |a, b, _| a < b,
        "<=" => |a, b, _| a <= b,
        ">" => |a, b, _| a > b,
        ">=" => |a, b, _| a >= b,
        "-eq" => |a, b, n| n(a) == n(b),
        "-ne" => |a, b, n| n(a) != n(b),
        "-lt" => |a, b, n| n(a) < n(b),
        "-le" => |a, b, n| n(a) <= n(b),
        "-gt" => |a, b, n| n(a) > n(b),
        "-ge" => |a, b, n| n(a) >= n(b),
        // What the files' times are is not looked at.
        "-nt" | "-ot" | "-pgt" | "-plt" => return Some(Tri::Maybe),
        _ => return None,
    };
    Some(match (known(left), known(right)) {
        // Which device it is, the image does not say.
        (Some(left), Some(right)) if left != right && (super::is_device(&left) || super::is_device(&right)) => {
            Tri::Maybe
        }
        (Some(left), Some(right)) => Tri::of(compare(&left, &right, &number)),
        _ => Tri::Maybe,
    })
}
