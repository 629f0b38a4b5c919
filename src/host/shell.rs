//! Words for a shell.

/// A word as a POSIX shell would need it, quoted where it must be.
pub fn quoted(word: &str) -> String {
    let plain = |c: char| c.is_ascii_alphanumeric() || "@%+=:,./_-".contains(c);
    match !word.is_empty() && word.chars().all(plain) {
        true => word.to_owned(),
        false => format!("'{}'", word.replace('\'', r"'\''")),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_shell_reads_a_word_as_it_was() {
        for word in ["plain", "", "two words", "it's", "$HOME `id` \\ \"x\" *", "new\nline"] {
            let command = format!("printf %s {}", quoted(word));
            let said = crate::cmd::Cmd::new("sh").args(["-c", &command]).run().unwrap();
            assert_eq!(said.stdout, word);
        }
    }
}
