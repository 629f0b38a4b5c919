//! GRUB's script language, cut into tokens: the lexer of grub-core/script/yylex.l.

/// The longest name of a variable, bytes.
const LONGEST_NAME: usize = 256;

/// A part of a word.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Part {
    /// Text as it stands; whether it is in quotes, where `*` is no pattern.
    Text { text: String, quoted: bool },
    /// A variable; outside quotes its value is cut into words at its spaces.
    Variable { name: String, quoted: bool },
}

/// A word, before its variables have values.
pub(super) type Word = Vec<Part>;

/// What a script consists of.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Token {
    /// A word, with its line.
    Word { line: usize, word: Word },
    /// The end of a command: a line end or `;`.
    End,
    /// `{`, with its line.
    Open { line: usize },
    /// `}`.
    Close,
}

/// Cut a script into its tokens.
pub(super) fn tokens(text: &str) -> Vec<Token> {
    let mut lexer = Lexer { rest: text, line: 1, start: 1, word: None, found: Vec::new() };
    while lexer.step() {}
    lexer.end_word();
    lexer.found.push(Token::End);
    lexer.found
}

struct Lexer<'a> {
    rest: &'a str,
    line: usize,
    /// The line on which the word began.
    start: usize,
    /// The word that is being read; it may be empty, as `''` is.
    word: Option<Word>,
    found: Vec<Token>,
}

impl Lexer<'_> {
    fn next(&mut self) -> Option<char> {
        let next = self.rest.chars().next()?;
        self.rest = &self.rest[next.len_utf8()..];
        self.line += usize::from(next == '\n');
        Some(next)
    }

    /// Read on; `false` at the end.
    fn step(&mut self) -> bool {
        let line = self.line;
        let Some(next) = self.next() else { return false };
        match next {
            ' ' | '\t' | '\r' => self.end_word(),
            '\n' | ';' | '|' | '&' => {
                self.end_word();
                self.found.push(Token::End);
            }
            '#' if self.word.is_none() => self.skip_line(),
            '{' => {
                self.end_word();
                self.found.push(Token::Open { line });
            }
            '}' => {
                self.end_word();
                self.found.push(Token::Close);
            }
            '\'' => self.quoted(),
            '"' => self.double_quoted(),
            '\\' => match self.next() {
                Some('\n') | None => {}
                Some(plain) => self.push(plain, true),
            },
            '$' => self.variable(false),
            plain => self.push(plain, false),
        }
        true
    }

    fn begin_word(&mut self) -> &mut Word {
        if self.word.is_none() {
            self.start = self.line;
        }
        self.word.get_or_insert_default()
    }

    fn push(&mut self, plain: char, quoted: bool) {
        let word = self.begin_word();
        match word.last_mut() {
            Some(Part::Text { text, quoted: same }) if *same == quoted => text.push(plain),
            _ => word.push(Part::Text { text: plain.into(), quoted }),
        }
    }

    fn end_word(&mut self) {
        if let Some(word) = self.word.take() {
            self.found.push(Token::Word { line: self.start, word });
        }
    }

    /// The comment ends before its line does, so that the line is counted.
    fn skip_line(&mut self) {
        self.rest = self.rest.find('\n').map_or("", |end| &self.rest[end..]);
    }

    /// Quotes make a word even of nothing.
    fn begin_quotes(&mut self) {
        self.begin_word().push(Part::Text { text: String::new(), quoted: true });
    }

    fn quoted(&mut self) {
        self.begin_quotes();
        while let Some(next) = self.next().filter(|next| *next != '\'') {
            self.push(next, true);
        }
    }

    fn double_quoted(&mut self) {
        self.begin_quotes();
        while let Some(next) = self.next().filter(|next| *next != '"') {
            match next {
                '\\' => match self.next() {
                    Some(special @ ('$' | '"' | '\\')) => self.push(special, true),
                    Some('\n') | None => {}
                    Some(plain) => ['\\', plain].map(|c| self.push(c, true)).into_iter().collect(),
                },
                '$' => self.variable(true),
                plain => self.push(plain, true),
            }
        }
    }

    fn variable(&mut self, quoted: bool) {
        let is_name = |c: char| c.is_ascii_alphanumeric() || c == '_';
        // A brace that is closed on another line, or far away, was not meant for this one.
        let in_braces = self.rest.strip_prefix('{').and_then(|rest| {
            let end = rest.bytes().take(LONGEST_NAME).position(|b| matches!(b, b'}' | b'\n'))?;
            rest[end..].strip_prefix('}').map(|behind| (&rest[..end], behind))
        });
        let (name, rest) = match in_braces {
            Some(found) => found,
            _ => match self.rest.strip_prefix(['?', '@', '*', '#']) {
                Some(rest) => (&self.rest[..1], rest),
                None => self.rest.split_at(self.rest.find(|c| !is_name(c)).unwrap_or(self.rest.len())),
            },
        };
        if name.is_empty() {
            return self.push('$', quoted);
        }
        let name = name.to_owned();
        self.rest = rest;
        self.begin_word().push(Part::Variable { name, quoted });
    }
}
