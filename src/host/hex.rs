//! Bytes as text.

/// Bytes in lower-case hexadecimal, as `sha256sum` prints a digest.
pub fn hex(bytes: impl AsRef<[u8]>) -> String {
    bytes.as_ref().iter().map(|byte| format!("{byte:02x}")).collect()
}

#[cfg(test)]
mod tests {
    #[test]
    fn each_byte_has_two_digits() {
        assert_eq!(super::hex([0, 10, 255]), "000aff");
        assert_eq!(super::hex([0_u8; 0]), "");
    }
}
