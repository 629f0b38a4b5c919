//! GRUB's scripts as trees: the grammar of grub-core/script/parser.y. What does not fit into it is told, and the rest is read
//! on, as GRUB itself goes on with the next command.

use super::lexer::{Part, Token, Word, tokens};
use std::rc::Rc;

/// Blocks within blocks; what lies deeper is not read.
const DEEPEST: usize = 48;

/// Commands, one after the other.
pub(super) type Block = Rc<Vec<Command>>;

/// A command.
#[derive(Debug)]
pub(super) enum Command {
    /// A name and its arguments; a block behind them, as `menuentry` has.
    Simple { line: usize, words: Vec<Word>, block: Option<Block> },
    /// `if`, each `elif`, and `else`.
    If { clauses: Vec<(Block, Block)>, otherwise: Block },
    /// `for`.
    For { line: usize, name: String, words: Vec<Word>, body: Block },
    /// `while`, or `until`.
    Loop { line: usize, until: bool, test: Block, body: Block },
    /// `function`.
    Function { name: String, body: Block },
}

/// A script, and what in it means nothing: line and words.
pub(super) struct Script {
    pub(super) commands: Block,
    pub(super) wrong: Vec<(usize, String)>,
}

/// Read a script.
pub(super) fn parse(text: &str) -> Script {
    let mut parser = Parser { tokens: tokens(text).into_iter().peekable(), line: 1, depth: 0, wrong: Vec::new() };
    let mut commands = Vec::new();
    loop {
        commands.extend(parser.commands(&[]));
        match parser.tokens.next() {
            None => break,
            Some(token) => parser.unexpected(&token),
        }
    }
    Script { commands: Rc::new(commands), wrong: parser.wrong }
}

struct Parser {
    tokens: std::iter::Peekable<std::vec::IntoIter<Token>>,
    line: usize,
    depth: usize,
    wrong: Vec<(usize, String)>,
}

/// A word that is only plain text outside quotes: a keyword may be one.
fn plain(word: &Word) -> Option<&str> {
    match word.as_slice() {
        [Part::Text { text, quoted: false }] => Some(text),
        _ => None,
    }
}

impl Parser {
    /// Commands until one of these words stands in the place of a command, or a `}`.
    fn commands(&mut self, ends: &[&str]) -> Vec<Command> {
        let mut found = Vec::new();
        if self.depth >= DEEPEST {
            self.wrong(format!("more than {DEEPEST} blocks within blocks: what lies deeper is not read"));
            self.skip_block();
            return found;
        }
        self.depth += 1;
        loop {
            match self.tokens.peek() {
                None | Some(Token::Close) => break,
                Some(Token::End) => {
                    self.tokens.next();
                }
                Some(Token::Open { .. }) => {
                    self.tokens.next();
                    found.extend(self.block());
                }
                Some(Token::Word { word, .. }) if plain(word).is_some_and(|word| ends.contains(&word)) => break,
                Some(Token::Word { .. }) => found.extend(self.command()),
            }
        }
        self.depth -= 1;
        found
    }

    /// The rest of a block, with its end.
    fn block(&mut self) -> Vec<Command> {
        let found = self.commands(&[]);
        match self.tokens.peek() {
            Some(Token::Close) => drop(self.tokens.next()),
            _ => self.wrong("a block is not closed".into()),
        }
        found
    }

    fn command(&mut self) -> Option<Command> {
        let Some(Token::Word { line, word }) = self.tokens.next() else { return None };
        self.line = line;
        match plain(&word) {
            Some("if") => Some(self.condition()),
            Some(word @ ("while" | "until")) => {
                let until = word == "until";
                let test = self.part(&["do"]);
                let body = self.part(&["done"]);
                Some(Command::Loop { line, until, test, body })
            }
            Some("for") => Some(self.each(line)),
            Some("function") => self.function(),
            Some(stray @ ("then" | "elif" | "else" | "fi" | "do" | "done")) => {
                self.wrong(format!("{stray} stands alone"));
                None
            }
            _ => Some(self.simple(line, word)),
        }
    }

    fn simple(&mut self, line: usize, first: Word) -> Command {
        let mut words = vec![first];
        while let Some(Token::Word { word, .. }) = self.tokens.next_if(|token| matches!(token, Token::Word { .. })) {
            words.push(word);
        }
        let opens = self.tokens.next_if(|token| matches!(token, Token::Open { .. })).is_some();
        let block = opens.then(|| Rc::new(self.block()));
        Command::Simple { line, words, block }
    }

    /// Commands up to a keyword, and the keyword.
    fn part(&mut self, ends: &[&str]) -> Block {
        let found = self.commands(ends);
        self.keyword(ends);
        Rc::new(found)
    }

    fn keyword(&mut self, ends: &[&str]) -> Option<String> {
        let is_end = |token: &Token| matches!(token, Token::Word { word, .. } if plain(word).is_some_and(|word| ends.contains(&word)));
        match self.tokens.next_if(is_end) {
            Some(Token::Word { word, .. }) => plain(&word).map(str::to_owned),
            _ => {
                self.wrong(format!("{} is missing", ends.join(" or ")));
                None
            }
        }
    }

    fn condition(&mut self) -> Command {
        let mut clauses = Vec::new();
        loop {
            let test = self.part(&["then"]);
            let body = Rc::new(self.commands(&["elif", "else", "fi"]));
            clauses.push((test, body));
            match self.keyword(&["elif", "else", "fi"]).as_deref() {
                Some("elif") => {}
                Some("else") => return Command::If { clauses, otherwise: self.part(&["fi"]) },
                _ => return Command::If { clauses, otherwise: Rc::default() },
            }
        }
    }

    fn each(&mut self, line: usize) -> Command {
        let mut words = Vec::new();
        while let Some(Token::Word { word, .. }) = self.tokens.next_if(|token| matches!(token, Token::Word { .. })) {
            words.push(word);
        }
        let mut words = words.into_iter();
        let name = words.next().as_ref().and_then(plain).unwrap_or_default().to_owned();
        // `in` stands between the name and the words.
        let words = words.skip(1).collect();
        while self.tokens.next_if(|token| *token == Token::End).is_some() {}
        self.keyword(&["do"]);
        let body = self.part(&["done"]);
        Command::For { line, name, words, body }
    }

    fn function(&mut self) -> Option<Command> {
        let Some(Token::Word { word, .. }) = self.tokens.next_if(|token| matches!(token, Token::Word { .. })) else {
            self.wrong("a function has no name".into());
            return None;
        };
        while self.tokens.next_if(|token| *token == Token::End).is_some() {}
        if self.tokens.next_if(|token| matches!(token, Token::Open { .. })).is_none() {
            self.wrong("a function has no block".into());
            return None;
        }
        let body = Rc::new(self.block());
        Some(Command::Function { name: plain(&word)?.to_owned(), body })
    }

    /// Go on behind a block that is not read.
    fn skip_block(&mut self) {
        let mut open = 0usize;
        while let Some(token) = self.tokens.peek() {
            match token {
                Token::Open { .. } => open += 1,
                Token::Close if open == 0 => return,
                Token::Close => open -= 1,
                _ => {}
            }
            self.tokens.next();
        }
    }

    fn unexpected(&mut self, token: &Token) {
        let what = match token {
            Token::Word { line, word } => {
                self.line = *line;
                plain(word).unwrap_or("a word").to_owned()
            }
            Token::Close => "}".to_owned(),
            Token::Open { .. } | Token::End => return,
        };
        self.wrong(format!("unexpected {what}"));
    }

    fn wrong(&mut self, what: String) {
        // One is enough where each line of a long file is wrong.
        if self.wrong.len() < 16 {
            self.wrong.push((self.line, what));
        }
    }
}
