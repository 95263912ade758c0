//! The `.ptau` files of snarkjs: "ptau", version 1, the number of sections, then each as type, size and content.
//!
//! Read are: 1, the header (bytes of a coordinate, the field's prime, power, power of the ceremony); 2, 2^(power+1) - 1
//! powers in G1; 3, 2^power powers in G2, of which the first two; 12, which only files prepared for phase 2 have, the
//! Lagrange bases of 1, 2, 4 ... 2^(power+1) powers one after the other. Points have the coordinates of the raw format.
//! Everything else (alpha, beta, the contributions) serves other proof systems, and only enters the file's digest.

use std::collections::HashMap;
use std::fs::File;
use std::io::{Read, Seek, SeekFrom};
use std::os::unix::fs::FileExt;
use std::path::Path;
use std::sync::atomic::{AtomicBool, Ordering};

use halo2_axiom::halo2curves::bn256::{G1Affine, G2Affine};
use rayon::prelude::*;

use crate::points::{decode_g1, decode_g2_pair, G1_BYTES, G2_BYTES};
use crate::published::published;
use crate::raw::{pieces, read_points, Writer, MAX_COMPUTED};
use crate::{lagrange_basis, Consistency, Error, Facts, Tick, MAX_K};

const MAX_SECTIONS: u32 = 64;
const HEADER: u32 = 1;
const POWERS_G1: u32 = 2;
const POWERS_G2: u32 = 3;
const LAGRANGE_G1: u32 = 12;
/// p, the prime of the coordinates' field, little-endian.
const PRIME: [u8; 32] = [
    0x47, 0xfd, 0x7c, 0xd8, 0x16, 0x8c, 0x20, 0x3c, 0x8d, 0xca, 0x71, 0x68, 0x91, 0x6a, 0x81, 0x97, 0x5d, 0x58, 0x81,
    0x81, 0xb6, 0x45, 0x50, 0xb8, 0x29, 0xa0, 0x31, 0xe1, 0x72, 0x4e, 0x64, 0x30,
];
/// The logarithm of our root of unity of order 2^28, 7^((r-1)/2^28), to the base of snarkjs's, 5^((r-1)/2^28).
const ROOT_LOGARITHM: usize = 52_831_969;

struct Ptau {
    file: File,
    power: u32,
    /// Where each section's content starts.
    sections: HashMap<u32, (u64, u64)>,
}

impl Ptau {
    fn open(path: &Path) -> Result<Self, Error> {
        let mut file = File::open(path)?;
        let size = file.metadata()?.len();
        let mut start = [0; 12];
        file.read_exact(&mut start)?;
        let count = word(&start[8..]);
        if &start[..4] != b"ptau" || word(&start[4..8]) != 1 || count > MAX_SECTIONS {
            return Err(Error::new("this is not a powers-of-tau file of version 1"));
        }
        let mut sections = HashMap::new();
        let mut at = start.len() as u64;
        for _ in 0..count {
            let mut header = [0; 12];
            file.seek(SeekFrom::Start(at))?;
            file.read_exact(&mut header)?;
            let length = u64::from(word(&header[4..8])) | u64::from(word(&header[8..])) << 32;
            let content = at + header.len() as u64;
            at = content.checked_add(length).filter(|&end| end <= size).ok_or_else(|| {
                Error::new(format!("section {} of the file is longer than the file", word(&header[..4])))
            })?;
            if sections.insert(word(&header[..4]), (content, length)).is_some() {
                return Err(Error::new(format!("the file has two sections {}", word(&header[..4]))));
            }
        }
        if at != size {
            return Err(Error::new(format!("{} bytes follow the last section", size - at)));
        }
        let mut ptau = Self { file, power: 0, sections };
        ptau.power = ptau.read_power()?;
        Ok(ptau)
    }

    fn read_power(&mut self) -> Result<u32, Error> {
        let mut header = [0; 44];
        self.seek(HEADER, header.len() as u64)?;
        self.file.read_exact(&mut header)?;
        let power = word(&header[36..40]);
        if word(&header[..4]) != 32 || header[4..36] != PRIME {
            return Err(Error::new("the powers of tau are not over the curve bn254"));
        }
        if !(1..=MAX_K).contains(&power) {
            return Err(Error::new(format!("a file of 2^{power} powers does not exist")));
        }
        Ok(power)
    }

    /// Goes to the start of a section, which must have this size.
    fn seek(&mut self, section: u32, size: u64) -> Result<u64, Error> {
        match self.sections.get(&section) {
            Some(&(start, length)) if length == size => Ok(self.file.seek(SeekFrom::Start(start))?),
            Some((_, length)) => Err(Error::new(format!("section {section} has {length} bytes, not {size}"))),
            None => Err(Error::new(format!("section {section} is missing"))),
        }
    }

    fn second_group(&mut self) -> Result<(G2Affine, G2Affine), Error> {
        self.seek(POWERS_G2, (G2_BYTES as u64) << self.power)?;
        let mut pair = [0; 2 * G2_BYTES];
        self.file.read_exact(&mut pair)?;
        decode_g2_pair(&pair)
    }

    /// Where the Lagrange basis of 2^k powers starts, if the file has any.
    fn lagrange(&mut self, k: u32) -> Result<Option<u64>, Error> {
        if !self.sections.contains_key(&LAGRANGE_G1) {
            return Ok(None);
        }
        let start = self.seek(LAGRANGE_G1, G1_BYTES as u64 * ((4 << self.power) - 1))?;
        Ok(Some(start + G1_BYTES as u64 * ((1 << k) - 1)))
    }

    /// Points of a Lagrange basis in our order: snarkjs has another root of unity, so that its order is another.
    fn read_lagrange(&self, basis: u64, k: u32, start: usize, count: usize) -> Result<Vec<G1Affine>, Error> {
        let mut bytes = vec![0; count * G1_BYTES];
        bytes.par_chunks_mut(G1_BYTES).enumerate().with_min_len(1 << 10).try_for_each(|(at, point)| {
            let place = ((start + at) * ROOT_LOGARITHM) & ((1 << k) - 1);
            self.file.read_exact_at(point, basis + (place * G1_BYTES) as u64)
        })?;
        decode_g1(&bytes, start)
    }
}

fn word(bytes: &[u8]) -> u32 {
    bytes.iter().take(4).rev().fold(0, |word, &byte| word << 8 | u32::from(byte))
}

/// Imports a powers-of-tau file, cut to 2^power powers where that is given, and writes it in the raw format.
///
/// Every point that is taken is checked, and all of them for consistency. The target is left half-written when the
/// source is refused.
pub fn import_ptau(path: &Path, target: &Path, power: Option<u32>, tick: Tick) -> Result<Facts, Error> {
    let mut source = Ptau::open(path)?;
    let k = power.unwrap_or(source.power);
    if !(1..=source.power).contains(&k) {
        let power = source.power;
        return Err(Error::new(format!("2^{k} powers cannot be taken from a file of 2^{power}")));
    }
    let stop = AtomicBool::new(false);
    std::thread::scope(|scope| {
        let digest = scope.spawn(|| digest(path, &stop));
        let written = write(&mut source, target, k, tick);
        stop.store(written.is_err(), Ordering::Relaxed);
        let digest = digest.join().map_err(|_| Error::new("the file's digest could not be taken"))?;
        let (computed_lagrange, digest) = (written?, digest?);
        let published = published(source.power, &digest);
        Ok(Facts { k, power: source.power, computed_lagrange, blake2b: Some(digest), published })
    })
}

/// Writes the string; tells whether its Lagrange basis had to be computed.
fn write(source: &mut Ptau, target: &Path, k: u32, tick: Tick) -> Result<bool, Error> {
    let (g2, s_g2) = source.second_group()?;
    let lagrange = source.lagrange(k)?;
    if lagrange.is_none() && k > MAX_COMPUTED {
        return Err(Error::new(format!(
            "the file has no Lagrange basis, and of more than 2^{MAX_COMPUTED} powers it is not computed: take a file \
             that is prepared for phase 2"
        )));
    }
    let mut out = Writer::create(target, k)?;
    let mut consistency = Consistency::new(k);
    let mut kept = Vec::new();
    source.seek(POWERS_G1, G1_BYTES as u64 * ((2 << source.power) - 1))?;
    for (start, count) in pieces(1 << k) {
        tick()?;
        let points = read_points(&mut source.file, start, count)?;
        consistency.powers(&points)?;
        out.points(&points)?;
        if lagrange.is_none() {
            kept.extend(points);
        }
    }
    consistency.end_of_powers(&g2, &s_g2)?;
    match lagrange {
        None => out.points(&lagrange_basis(&kept, k, tick)?)?,
        Some(basis) => {
            for (start, count) in pieces(1 << k) {
                tick()?;
                let points = source.read_lagrange(basis, k, start, count)?;
                consistency.lagrange(&points);
                out.points(&points)?;
            }
            consistency.end_of_lagrange()?;
        }
    }
    out.finish(&g2, &s_g2)?;
    Ok(lagrange.is_none())
}

/// BLAKE2b-512 of a file, as hexadecimal digits.
fn digest(path: &Path, stop: &AtomicBool) -> Result<String, Error> {
    let mut file = File::open(path)?;
    let mut state = blake2b_simd::State::new();
    let mut piece = vec![0; 1 << 20];
    loop {
        let count = file.read(&mut piece)?;
        if count == 0 {
            return Ok(state.finalize().to_hex().to_string());
        }
        if stop.load(Ordering::Relaxed) {
            return Err(Error::Stopped);
        }
        state.update(&piece[..count]);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use ff::{Field, PrimeField};
    use halo2_axiom::halo2curves::bn256::Fr;

    #[test]
    fn the_roots_of_unity_are_related_as_the_constant_says() {
        // (r - 1) / 2^28, least limb first.
        let minus_one = (-Fr::ONE).to_repr();
        let mut limbs = [0u64; 4];
        for (limb, bytes) in limbs.iter_mut().zip(minus_one.as_ref().chunks(8)) {
            *limb = bytes.iter().rev().fold(0, |sum, &byte| sum << 8 | u64::from(byte));
        }
        let odd: Vec<u64> = (0..4).map(|i| limbs[i] >> 28 | limbs.get(i + 1).map_or(0, |limb| limb << 36)).collect();
        let theirs = Fr::from(5).pow_vartime(&odd);
        assert_eq!(theirs.pow_vartime([ROOT_LOGARITHM as u64]), Fr::ROOT_OF_UNITY);
    }

    #[test]
    fn the_prime_is_that_of_the_curve() {
        use halo2_axiom::halo2curves::bn256::Fq;
        let mut minus_one = (-Fq::ONE).to_repr();
        minus_one.as_mut()[0] += 1;
        assert_eq!(minus_one.as_ref(), PRIME);
    }
}
