//! The integers, lists and texts of the canonical encoding: shortest LEB128, zigzag for signs, lengths in front.

use crate::natural::{Natural, MAX_INTEGER_BYTES};
use crate::Error;

const MAX_WORD_BYTES: usize = 10;

/// Takes encoded values from untrusted bytes; refuses anything that a writer would not write.
pub(crate) struct Reader<'a> {
    data: &'a [u8],
    at: usize,
    what: &'static str,
}

impl<'a> Reader<'a> {
    pub fn new(data: &'a [u8], what: &'static str) -> Self {
        Self { data, at: 0, what }
    }

    /// The refusal of these bytes, with the position reached.
    pub fn fail(&self, reason: impl std::fmt::Display) -> Error {
        Error::new(format!("{}: {reason} at byte {}", self.what, self.at))
    }

    fn byte(&mut self) -> Result<u8, Error> {
        let byte = self.data.get(self.at).copied();
        let byte = byte.ok_or_else(|| self.fail("the data ends in the middle of an integer"))?;
        self.at += 1;
        Ok(byte)
    }

    /// Takes an integer of 0 or more, however long it may be.
    pub fn natural(&mut self) -> Result<Natural, Error> {
        let mut value = Natural::ZERO;
        for group in 0..MAX_INTEGER_BYTES {
            let byte = self.byte()?;
            value.set_group(group, byte & 0x7f);
            if byte < 0x80 {
                if byte == 0 && group > 0 {
                    return Err(self.fail("an integer is not in its shortest form"));
                }
                return Ok(value);
            }
        }
        Err(self.fail("an integer is too long"))
    }

    /// Takes an integer of 0 or more, at most `limit`.
    pub fn uint(&mut self, limit: usize) -> Result<usize, Error> {
        let value = self.natural()?.saturating();
        usize::try_from(value)
            .ok()
            .filter(|&value| value <= limit)
            .ok_or_else(|| self.fail(format!("{value} exceeds the {limit} allowed")))
    }

    /// Takes a signed integer; one beyond `i128` becomes the nearest end of [-(2^127 - 1), 2^127 - 1].
    ///
    /// Every limit of the integer model lies far below, so saturation changes no decision.
    pub fn sint(&mut self) -> Result<i128, Error> {
        let coded = self.natural()?;
        let half = coded.saturating_half();
        Ok(if coded.is_odd() { (-half).saturating_sub(1).max(-i128::MAX) } else { half })
    }

    /// Takes the length of a list whose items need at least one byte each.
    pub fn count(&mut self, limit: usize) -> Result<usize, Error> {
        let count = self.uint(limit)?;
        let left = self.data.len() - self.at;
        if count > left {
            return Err(self.fail(format!("{count} items are announced and {left} bytes are left")));
        }
        Ok(count)
    }

    /// Takes a signed integer of an attribute that is inadmissible beyond 62 bits.
    pub fn narrow(&mut self) -> Result<i64, Error> {
        let value = self.sint()?;
        i64::try_from(value).map_err(|_| self.fail(format!("{value} is beyond the safe width of 62 bits")))
    }

    /// Takes a list of at most `limit` integers of 0 or more, saturated as `sint` does.
    pub fn uints(&mut self, limit: usize) -> Result<Vec<i128>, Error> {
        (0..self.count(limit)?).map(|_| Ok(self.natural()?.saturating())).collect()
    }

    /// Takes a list of at most `limit` signed integers, saturated.
    pub fn sints(&mut self, limit: usize) -> Result<Vec<i128>, Error> {
        (0..self.count(limit)?).map(|_| self.sint()).collect()
    }

    /// Takes a list of at most `limit` signed integers of up to 64 bits.
    pub fn words(&mut self, limit: usize) -> Result<Vec<i64>, Error> {
        let count = self.count(limit)?;
        let mut words = Vec::with_capacity(count); // each takes at least one byte of those that are left
        for _ in 0..count {
            words.push(self.word()?);
        }
        Ok(words)
    }

    fn word(&mut self) -> Result<i64, Error> {
        let mut coded = 0u64;
        for group in 0..MAX_WORD_BYTES {
            let byte = self.byte()?;
            if group == MAX_WORD_BYTES - 1 && byte > 1 {
                break;
            }
            coded |= u64::from(byte & 0x7f) << (7 * group);
            if byte < 0x80 {
                if byte == 0 && group > 0 {
                    return Err(self.fail("an integer of a list is not in its shortest form"));
                }
                return Ok((coded >> 1) as i64 ^ -((coded & 1) as i64));
            }
        }
        Err(self.fail("an integer of a list is too long"))
    }

    /// Takes at most `limit` bytes.
    pub fn blob(&mut self, limit: usize) -> Result<&'a [u8], Error> {
        let count = self.count(limit)?;
        self.at += count;
        Ok(&self.data[self.at - count..self.at])
    }

    /// Takes a text of at most `limit` bytes of UTF-8.
    pub fn text(&mut self, limit: usize) -> Result<String, Error> {
        let bytes = self.blob(limit)?;
        std::str::from_utf8(bytes).map(str::to_owned).map_err(|_| self.fail("a text is not UTF-8"))
    }

    /// Refuses whatever is left.
    pub fn end(&self) -> Result<(), Error> {
        match self.data.len() - self.at {
            0 => Ok(()),
            left => Err(self.fail(format!("{left} bytes follow the end"))),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn word(bytes: &[u8]) -> Result<i64, Error> {
        let mut reader = Reader::new(bytes, "test");
        let value = reader.word()?;
        reader.end().map(|()| value)
    }

    #[test]
    fn words_are_read_in_their_shortest_form_only() {
        assert_eq!(word(&[0]), Ok(0));
        assert_eq!(word(&[1]), Ok(-1));
        assert_eq!(word(&[0x80, 1]), Ok(64));
        let mut least = [0xff; 10];
        least[9] = 1;
        assert_eq!(word(&least), Ok(i64::MIN));
        for wrong in [&[0x80, 0][..], &[0x80], &[], &[0xff; 11], &[0, 0]] {
            assert!(word(wrong).is_err());
        }
        least[9] = 2;
        assert!(word(&least).is_err());
    }

    #[test]
    fn integers_beyond_128_bits_saturate() {
        let mut long = vec![0xff; 40];
        long.push(1);
        assert_eq!(Reader::new(&long, "test").sint(), Ok(-i128::MAX));
        long[0] = 0xfe;
        assert_eq!(Reader::new(&long, "test").sint(), Ok(i128::MAX));
        assert!(Reader::new(&[0xff; 65], "test").sint().is_err());
    }

    #[test]
    fn a_list_cannot_announce_more_items_than_bytes_are_left() {
        assert!(Reader::new(&[5, 0, 0], "test").words(9).is_err());
        assert!(Reader::new(&[2, 0, 0], "test").words(1).is_err());
    }
}
