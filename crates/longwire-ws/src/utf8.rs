//! UTF-8 that arrives in pieces (RFC 6455, 8.1).

/// The text is not UTF-8.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct InvalidUtf8;

/// Validates a text piece by piece and fails at the first byte that cannot belong to it, even in the middle of a character.
///
/// ```
/// use longwire_ws::utf8::Validator;
/// let mut text = Validator::default();
/// text.push(b"\xe4\xbd").unwrap(); // two of the three bytes of a character
/// assert!(text.push(b"\x28").is_err()); // which no continuation byte completes
/// ```
#[derive(Clone, Copy, Debug, Default)]
pub struct Validator {
    /// A character cut off at the end of the last piece: at most three of its bytes.
    pending: [u8; 4],
    pending_len: u8,
}

impl Validator {
    /// Takes the next piece.
    ///
    /// # Errors
    /// Whatever may come after it, the text is not UTF-8. What is pushed after an error is judged as if the bad byte had not
    /// come.
    pub fn push(&mut self, piece: &[u8]) -> Result<(), InvalidUtf8> {
        let mut rest = piece;
        while self.pending_len > 0 {
            let Some((&byte, after)) = rest.split_first() else { return Ok(()) };
            rest = after;
            let len = usize::from(self.pending_len);
            self.pending[len] = byte;
            match std::str::from_utf8(&self.pending[..=len]) {
                Ok(_) => self.pending_len = 0,
                Err(error) if error.error_len().is_none() => self.pending_len += 1,
                Err(_) => return Err(InvalidUtf8),
            }
        }
        match simdutf8::compat::from_utf8(rest) {
            Ok(_) => Ok(()),
            Err(error) if error.error_len().is_none() => {
                let cut = &rest[error.valid_up_to()..];
                self.pending[..cut.len()].copy_from_slice(cut);
                self.pending_len = cut.len() as u8;
                Ok(())
            }
            Err(_) => Err(InvalidUtf8),
        }
    }

    /// Says whether the text may end here.
    ///
    /// # Errors
    /// It would end in the middle of a character.
    pub fn finish(&self) -> Result<(), InvalidUtf8> {
        if self.pending_len == 0 { Ok(()) } else { Err(InvalidUtf8) }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    /// The index of the first byte after which no continuation could make valid UTF-8: what "fail at the first bad byte" means.
    fn first_bad(bytes: &[u8]) -> Option<usize> {
        (1..=bytes.len())
            .find(|&n| matches!(std::str::from_utf8(&bytes[..n]), Err(e) if e.error_len().is_some()))
            .map(|n| n - 1)
    }

    proptest! {
        /// RFC 6455, 8.1: byte by byte, and in any split, the verdict falls at the same byte.
        #[test]
        fn fails_at_the_first_bad_byte_in_any_split(text in ".{0,12}", junk in proptest::collection::vec(any::<u8>(), 0..4), split in 1usize..9) {
            let mut bytes = text.into_bytes();
            bytes.extend(junk);
            let mut single = Validator::default();
            let failed_at = bytes.iter().position(|byte| single.push(&[*byte]).is_err());
            prop_assert_eq!(failed_at, first_bad(&bytes));

            let mut pieces = Validator::default();
            let ok = bytes.chunks(split).all(|piece| pieces.push(piece).is_ok());
            prop_assert_eq!(ok, failed_at.is_none());
            if ok {
                prop_assert_eq!(pieces.finish().is_ok(), std::str::from_utf8(&bytes).is_ok());
            }
        }
    }

    #[test]
    fn a_push_after_an_error_does_no_harm() {
        let mut text = Validator::default();
        text.push(b"\xf0\x90\x80").unwrap();
        for _ in 0..5 {
            assert_eq!(text.push(b"x"), Err(InvalidUtf8));
        }
        assert_eq!(text.push(b"\x80"), Ok(()));
    }

    /// RFC 6455, 8.1, and RFC 3629, 3.
    #[test]
    fn surrogates_overlong_forms_and_too_large_characters_are_refused() {
        for bad in [&b"\xed\xa0"[..], b"\xc0", b"\xe0\x80", b"\xf4\x90", b"\xf5", b"\x80", b"\xff"] {
            let mut text = Validator::default();
            assert_eq!(text.push(bad), Err(InvalidUtf8), "{bad:x?}");
        }
    }
}
