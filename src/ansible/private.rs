//! A text that is a secret.

use std::fmt;

/// A text that is never shown, not even for debugging.
#[derive(Clone, PartialEq, Eq)]
pub struct Private(String);

impl Private {
    /// Hide a text.
    pub fn new(text: String) -> Self {
        Self(text)
    }
}

impl std::ops::Deref for Private {
    type Target = str;

    fn deref(&self) -> &str {
        &self.0
    }
}

impl fmt::Debug for Private {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("…")
    }
}
