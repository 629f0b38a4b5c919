//! GRUB's script language, cut into commands: the lexer of grub-core/script/yylex.l in the parts that configurations use.

/// The longest name of a variable, bytes.
const LONGEST_NAME: usize = 256;

/// A part of a word.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Part {
    Text(String),
    Variable(String),
}

/// A word, before its variables have values.
pub(super) type Word = Vec<Part>;

/// What a script consists of.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Statement {
    /// A command, with the line of its first word; whether a block follows.
    Command { line: usize, words: Vec<Word>, opens: bool },
    /// The end of a block.
    Close,
}

/// Cut a script into its commands.
pub(super) fn statements(text: &str) -> Vec<Statement> {
    let mut lexer = Lexer { rest: text, line: 1, start: 1, word: None, words: Vec::new(), found: Vec::new() };
    while lexer.step() {}
    lexer.end(false);
    lexer.found
}

struct Lexer<'a> {
    rest: &'a str,
    line: usize,
    /// The line of the first word.
    start: usize,
    /// The word that is being read; it may be empty, as `''` is.
    word: Option<Word>,
    words: Vec<Word>,
    found: Vec<Statement>,
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
        let Some(next) = self.next() else { return false };
        match next {
            ' ' | '\t' | '\r' => self.end_word(),
            '\n' | ';' | '|' | '&' => self.end(false),
            '#' if self.word.is_none() => self.skip_line(),
            '{' if self.word.is_none() => self.end(true),
            '}' if self.word.is_none() => {
                self.end(false);
                self.found.push(Statement::Close);
            }
            '\'' => self.quoted(),
            '"' => self.double_quoted(),
            '\\' => match self.next() {
                Some('\n') | None => {}
                Some(plain) => self.push(plain),
            },
            '$' => self.variable(),
            plain => self.push(plain),
        }
        true
    }

    fn begin_word(&mut self) -> &mut Word {
        if self.word.is_none() && self.words.is_empty() {
            self.start = self.line;
        }
        self.word.get_or_insert_default()
    }

    fn push(&mut self, plain: char) {
        let word = self.begin_word();
        match word.last_mut() {
            Some(Part::Text(text)) => text.push(plain),
            _ => word.push(Part::Text(plain.into())),
        }
    }

    fn end_word(&mut self) {
        self.words.extend(self.word.take());
    }

    /// End the command, if there is one.
    fn end(&mut self, opens: bool) {
        self.end_word();
        if opens || !self.words.is_empty() {
            let words = std::mem::take(&mut self.words);
            self.found.push(Statement::Command { line: self.start, words, opens });
        }
    }

    /// The comment ends before its line does, so that the line is counted.
    fn skip_line(&mut self) {
        self.rest = self.rest.find('\n').map_or("", |end| &self.rest[end..]);
    }

    fn quoted(&mut self) {
        self.begin_word();
        while let Some(next) = self.next().filter(|next| *next != '\'') {
            self.push(next);
        }
    }

    fn double_quoted(&mut self) {
        self.begin_word();
        while let Some(next) = self.next().filter(|next| *next != '"') {
            match next {
                '\\' => match self.next() {
                    Some(special @ ('$' | '"' | '\\')) => self.push(special),
                    Some('\n') | None => {}
                    Some(plain) => ['\\', plain].map(|c| self.push(c)).into_iter().collect(),
                },
                '$' => self.variable(),
                plain => self.push(plain),
            }
        }
    }

    fn variable(&mut self) {
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
            return self.push('$');
        }
        let name = name.to_owned();
        self.rest = rest;
        self.begin_word().push(Part::Variable(name));
    }
}
