//! Natural numbers as long as the encoding allows: scales are metadata, so they are read exactly and compared, no more.

use std::fmt;

/// Longest encoding of one integer, in bytes of seven bits.
pub(crate) const MAX_INTEGER_BYTES: usize = 64;
const LIMBS: usize = MAX_INTEGER_BYTES * 7 / 64;

/// A natural number below 2^448.
#[derive(Clone, Copy, PartialEq, Eq)]
pub struct Natural([u64; LIMBS]);

impl Natural {
    pub(crate) const ZERO: Self = Self([0; LIMBS]);

    /// Sets the seven bits of a byte of the encoding.
    pub(crate) fn set_group(&mut self, group: usize, bits: u8) {
        let at = 7 * group;
        self.0[at / 64] |= u64::from(bits) << (at % 64);
        if at % 64 > 57 && at / 64 + 1 < LIMBS {
            self.0[at / 64 + 1] |= u64::from(bits) >> (64 - at % 64);
        }
    }

    /// The number, where it is below 2^127; the largest `i128` otherwise.
    pub fn saturating(&self) -> i128 {
        let low = u128::from(self.0[0]) | u128::from(self.0[1]) << 64;
        if self.0[2..].iter().all(|&limb| limb == 0) {
            i128::try_from(low).unwrap_or(i128::MAX)
        } else {
            i128::MAX
        }
    }

    /// The number divided by two, rounded down, where that is below 2^127; the largest `i128` otherwise.
    pub(crate) fn saturating_half(&self) -> i128 {
        let mut half = *self;
        half.halve();
        half.saturating()
    }

    /// Whether it is odd.
    pub fn is_odd(&self) -> bool {
        self.0[0] & 1 == 1
    }

    /// Whether it is zero.
    pub fn is_zero(&self) -> bool {
        self.0 == [0; LIMBS]
    }

    /// Whether no other number than 1 divides both; gcd(0, n) is n.
    pub fn is_coprime(mut self, mut other: Self) -> bool {
        if !self.is_odd() && !other.is_odd() {
            return false;
        }
        // The binary algorithm: the greatest common divisor is odd, so halving an even number keeps it.
        loop {
            if self.is_zero() {
                return other.is_one();
            }
            if other.is_zero() {
                return self.is_one();
            }
            if !self.is_odd() {
                self.halve();
            } else if !other.is_odd() {
                other.halve();
            } else if self.0.iter().rev().ge(other.0.iter().rev()) {
                self.subtract(&other);
            } else {
                other.subtract(&self);
            }
        }
    }

    /// The limbs, least first.
    pub fn limbs(&self) -> &[u64] {
        &self.0
    }

    fn is_one(&self) -> bool {
        self.0[0] == 1 && self.0[1..].iter().all(|&limb| limb == 0)
    }

    fn halve(&mut self) {
        for at in 0..LIMBS {
            let above = self.0.get(at + 1).map_or(0, |&limb| limb << 63);
            self.0[at] = self.0[at] >> 1 | above;
        }
    }

    /// Takes away a number that is not larger.
    fn subtract(&mut self, other: &Self) {
        let mut borrow = false;
        for (limb, &less) in self.0.iter_mut().zip(&other.0) {
            let (value, first) = limb.overflowing_sub(less);
            let (value, second) = value.overflowing_sub(u64::from(borrow));
            *limb = value;
            borrow = first | second;
        }
    }
}

impl fmt::Debug for Natural {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str("0x")?;
        let mut limbs = self.0.iter().rev().skip_while(|&&limb| limb == 0);
        write!(formatter, "{:x}", limbs.next().unwrap_or(&0))?;
        limbs.try_for_each(|limb| write!(formatter, "{limb:016x}"))
    }
}

impl From<u64> for Natural {
    fn from(value: u64) -> Self {
        let mut limbs = [0; LIMBS];
        limbs[0] = value;
        Self(limbs)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parse(value: u128) -> Natural {
        let mut natural = Natural::ZERO;
        for group in 0..19 {
            natural.set_group(group, (value >> (7 * group)) as u8 & 0x7f);
        }
        natural
    }

    #[test]
    fn groups_of_seven_bits_make_the_number() {
        for value in [0, 1, 127, 128, u64::MAX as u128, (1 << 64) + 5, i128::MAX as u128] {
            assert_eq!(parse(value).saturating(), value as i128);
            assert_eq!(parse(value).saturating_half(), (value / 2) as i128);
        }
        assert_eq!(parse(u128::MAX).saturating(), i128::MAX);
        let mut top = Natural::ZERO;
        top.set_group(63, 0x40);
        assert_eq!(top.0[LIMBS - 1], 1 << 63);
        assert_eq!(top.saturating(), i128::MAX);
    }

    #[test]
    fn coprime_agrees_with_the_euclidean_algorithm() {
        fn gcd(a: u128, b: u128) -> u128 {
            if b == 0 {
                a
            } else {
                gcd(b, a % b)
            }
        }
        let mut state = 1u128;
        for round in 0..2000 {
            state = state.wrapping_mul(0x2360_ed05_1fc6_5da4_4385_df64_9fcc_f645).wrapping_add(1);
            let (a, b) = ((state >> 70) % (1 << (round % 50)), state % 1000);
            assert_eq!(parse(a).is_coprime(parse(b)), gcd(a, b) == 1, "{a} {b}");
        }
    }
}
