//! The rescue user's password: made at random, kept in one private file, given to the guest as a hash.

use rand::RngExt;
use rand::seq::IndexedRandom;
use sha_crypt::{PasswordHasher, ShaCrypt};

/// Characters that are alike on every keyboard layout's first level and cannot be mistaken for another.
const ALPHABET: &[u8] = b"abcdefghjkmnpqrstuvwxyz23456789";
/// Seven groups of four out of 31 characters: 138 bits.
const GROUPS: usize = 7;
const GROUP: usize = 4;

/// A new password of at least 128 bits, in groups that can be typed.
pub(super) fn new() -> String {
    let mut rng = rand::rng();
    let mut one = || ALPHABET.choose(&mut rng).map_or('a', |b| char::from(*b)); // the alphabet is not empty
    let groups: Vec<String> = (0..GROUPS).map(|_| (0..GROUP).map(|_| one()).collect()).collect();
    groups.join("-")
}

/// Its hash in the form of crypt(3), `$6$` (SHA-512), with a new salt. The default number of rounds is
/// enough: a password of 138 bits cannot be searched for, and the guest may be an emulated machine.
pub(super) fn hash(password: &str) -> Result<String, String> {
    let salt: [u8; 12] = rand::rng().random(); // 16 characters, the most that crypt(3) reads
    match ShaCrypt::SHA512.hash_password_with_salt(password.as_bytes(), &salt) {
        Ok(hash) => Ok(hash.to_string()),
        Err(e) => Err(e.to_string()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use sha_crypt::PasswordVerifier;

    #[test]
    fn a_password_is_typed_easily_and_never_the_same() {
        let (a, b) = (new(), new());
        assert_ne!(a, b);
        assert_eq!(a.len(), GROUPS * GROUP + GROUPS - 1);
        assert!(a.bytes().all(|c| c == b'-' || ALPHABET.contains(&c)), "{a}");
        let bits = (ALPHABET.len() as f64).log2() * (GROUPS * GROUP) as f64;
        assert!(bits >= 128.0, "{bits}");
    }

    #[test]
    fn a_hash_is_one_that_crypt_reads() {
        let hash = hash("correct horse").unwrap();
        assert!(hash.starts_with("$6$rounds=5000$"), "{hash}");
        assert!(ShaCrypt::SHA512.verify_password(b"correct horse", hash.as_str()).is_ok());
        assert!(ShaCrypt::SHA512.verify_password(b"wrong horse", hash.as_str()).is_err());
    }

    #[test]
    fn the_hash_agrees_with_openssl() {
        // `openssl passwd -6 -salt saltstring 'Hello world!'`
        let known =
            "$6$saltstring$svn8UoSVapNtMuq1ukKS4tPQd8iKwSMHWjl/O817G3uBnIFNjnQJuesI68u4OTLiBFdcbYEdFCoEOfaS35inz1";
        assert!(ShaCrypt::SHA512.verify_password(b"Hello world!", known).is_ok());
    }
}
