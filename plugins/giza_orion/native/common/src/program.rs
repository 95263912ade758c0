//! A Cairo program as it is hashed: the builtins its `main` takes, and every word of its segment.
//!
//! `"balance-orion-program" 0x01 | builtins u16 | words u32 | words x 32 bytes`, all little-endian. There is exactly one
//! encoding of a program, and its Blake2s-256 digest is what a verifying key names.

use blake2::{Blake2s256, Digest};

use crate::{require, Refused};

const MAGIC: &[u8] = b"balance-orion-program\x01";

/// Programs longer than the largest memory table could hold are refused before anything is allocated.
pub const MAX_FELTS: usize = 1 << 20;

/// A number below P = 2^251 + 17 * 2^192 + 1, as eight little-endian 32-bit words.
pub type Felt = [u32; 8];

const PRIME: Felt = [1, 0, 0, 0, 0, 0, 17, 0x0800_0000];

/// What runs before `main`, with the two words that depend on the program left out (`None`):
/// `ap += n_builtins; call rel main; jmp rel 0`. stwo-cairo's verifier demands the same words.
const HEADER: [Option<u64>; 6] =
    [Some(0x0407_8001_7fff_7fff), None, Some(0x1104_8001_8001_8000), None, Some(0x0107_8001_7fff_7fff), Some(0)];

/// A builtin whose pointers `main` receives and returns, in the order in which Cairo lists them.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Builtin {
    Output,
    RangeCheck,
    Bitwise,
    Poseidon,
    RangeCheck96,
    AddMod,
    MulMod,
}

impl Builtin {
    pub const ALL: [Self; 7] = [
        Self::Output,
        Self::RangeCheck,
        Self::Bitwise,
        Self::Poseidon,
        Self::RangeCheck96,
        Self::AddMod,
        Self::MulMod,
    ];

    /// Place among Cairo's eleven builtins, which is also the builtin's bit in the encoding.
    pub const fn place(self) -> u32 {
        match self {
            Self::Output => 0,
            Self::RangeCheck => 2,
            Self::Bitwise => 4,
            Self::Poseidon => 7,
            Self::RangeCheck96 => 8,
            Self::AddMod => 9,
            Self::MulMod => 10,
        }
    }
}

/// A program whose encoding was checked.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Program {
    builtins: u16,
    felts: Vec<Felt>,
}

impl Program {
    /// The program of these builtins and words, or why it is none.
    pub fn new(builtins: u16, felts: Vec<Felt>) -> Result<Self, Refused> {
        let allowed = Builtin::ALL.iter().fold(0, |mask, builtin| mask | 1u16 << builtin.place());
        require!(builtins & !allowed == 0, "the program uses builtins that are not supported (mask {builtins:#x})");
        require!(builtins & 1 == 1, "the program has no output builtin");
        require!(felts.len() > HEADER.len(), "the program has no more than its header's {} words", HEADER.len());
        require!(felts.len() <= MAX_FELTS, "the program has {} words, the limit is {MAX_FELTS}", felts.len());
        for (index, felt) in felts.iter().enumerate() {
            require!(is_canonical(felt), "word {index} of the program is not below the field's prime");
        }
        for (index, expected) in HEADER.iter().enumerate() {
            let expected = if index == 1 { Some(u64::from(builtins.count_ones())) } else { *expected };
            if let Some(expected) = expected {
                require!(
                    felts[index] == from_u64(expected),
                    "word {index} of the program's header must be {expected:#x}"
                );
            }
        }
        Ok(Self { builtins, felts })
    }

    /// Read the one encoding of a program.
    pub fn decode(bytes: &[u8]) -> Result<Self, Refused> {
        let rest = bytes.strip_prefix(MAGIC);
        let Some((head, words)) = rest.and_then(<[u8]>::split_first_chunk::<6>) else {
            return Err(Refused("not a program of encoding version 1".into()));
        };
        let builtins = u16::from_le_bytes([head[0], head[1]]);
        let count = u32::from_le_bytes([head[2], head[3], head[4], head[5]]) as usize;
        require!(count <= MAX_FELTS, "the program has {count} words, the limit is {MAX_FELTS}");
        require!(
            words.len() == 32 * count,
            "the program announces {count} words and has {} bytes of them",
            words.len()
        );
        Self::new(builtins, words.chunks_exact(32).map(felt_from_bytes).collect())
    }

    /// The encoding that `decode` reads.
    pub fn encode(&self) -> Vec<u8> {
        let mut bytes = Vec::with_capacity(MAGIC.len() + 6 + 32 * self.felts.len());
        bytes.extend_from_slice(MAGIC);
        bytes.extend_from_slice(&self.builtins.to_le_bytes());
        bytes.extend_from_slice(&(self.felts.len() as u32).to_le_bytes());
        self.felts.iter().for_each(|felt| bytes.extend_from_slice(&felt_to_bytes(felt)));
        bytes
    }

    /// Blake2s-256 of the encoding: what a verifying key names.
    pub fn hash(&self) -> [u8; 32] {
        Blake2s256::digest(self.encode()).into()
    }

    pub fn felts(&self) -> &[Felt] {
        &self.felts
    }

    /// Bit `Builtin::place` is set for each builtin present.
    pub const fn mask(&self) -> u16 {
        self.builtins
    }

    pub fn builtins(&self) -> impl Iterator<Item = Builtin> + '_ {
        Builtin::ALL.into_iter().filter(|builtin| self.builtins >> builtin.place() & 1 == 1)
    }
}

/// Whether the words are the one way to write their number.
pub fn is_canonical(felt: &Felt) -> bool {
    felt.iter().rev().lt(PRIME.iter().rev())
}

pub fn felt_to_bytes(felt: &Felt) -> [u8; 32] {
    let mut bytes = [0; 32];
    for (place, word) in bytes.chunks_exact_mut(4).zip(felt) {
        place.copy_from_slice(&word.to_le_bytes());
    }
    bytes
}

/// The number in up to 32 little-endian bytes, not yet known to be canonical.
pub fn felt_from_bytes(bytes: &[u8]) -> Felt {
    let mut felt = [0; 8];
    for (word, place) in felt.iter_mut().zip(bytes.chunks(4)) {
        *word = place.iter().rev().fold(0, |sum, byte| sum << 8 | u32::from(*byte));
    }
    felt
}

fn from_u64(value: u64) -> Felt {
    felt_from_bytes(&value.to_le_bytes())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn program() -> Program {
        let mut felts: Vec<Felt> = [0x0407_8001_7fff_7fff, 2, 0x1104_8001_8001_8000, 4, 0x0107_8001_7fff_7fff, 0, 7]
            .into_iter()
            .map(from_u64)
            .collect();
        felts.push([0, 0, 0, 0, 0, 0, 17, 0x0800_0000]); // P - 1
        Program::new(0b101, felts).unwrap()
    }

    #[test]
    fn an_encoding_is_read_back() {
        let program = program();
        assert_eq!(Program::decode(&program.encode()), Ok(program));
    }

    #[test]
    fn every_builtin_pattern_has_its_own_hash() {
        let mut other = program();
        other.builtins = 0b1_0001;
        assert_ne!(program().hash(), other.hash());
    }

    #[test]
    fn what_is_not_canonical_is_refused() {
        let good = program();
        for (index, word) in [(7, PRIME), (7, [u32::MAX; 8]), (1, from_u64(3)), (5, from_u64(1)), (0, from_u64(0))] {
            let mut felts = good.felts.clone();
            felts[index] = word;
            assert!(Program::new(good.builtins, felts).is_err(), "word {index} = {word:?}");
        }
        for mask in [0, 0b100, 0b1001, 0b111, 1 << 15 | 0b101] {
            assert!(Program::new(mask, good.felts.clone()).is_err(), "mask {mask:#b}");
        }
    }

    #[test]
    fn bytes_that_end_early_or_late_are_refused() {
        let bytes = program().encode();
        for length in 0..bytes.len() {
            assert!(Program::decode(&bytes[..length]).is_err());
        }
        assert!(Program::decode(&[bytes.as_slice(), &[0]].concat()).is_err());
    }
}
