//! The raw format that the core keeps: k in 4 bytes, the powers, their Lagrange basis, g2 and s_g2.

use std::fs::File;
use std::io::{BufWriter, Read, Seek, SeekFrom, Write};
use std::path::Path;

use halo2_axiom::halo2curves::bn256::{Bn256, G1Affine, G2Affine};
use halo2_axiom::poly::commitment::ParamsProver;
use halo2_axiom::poly::kzg::commitment::ParamsKZG;

use crate::points::{decode_g1, decode_g2_pair, encode_g1, encode_g2_pair, G1_BYTES, G2_BYTES};
use crate::{lagrange_basis, Consistency, Error, Facts, Tick, MAX_K};

/// Points read and checked at once: 4 MiB.
pub(crate) const PIECE: usize = 1 << 16;
/// The longest string whose Lagrange basis is computed: more would take hours.
pub(crate) const MAX_COMPUTED: u32 = 22;

/// A reference string in memory.
pub struct Srs {
    pub k: u32,
    pub g: Vec<G1Affine>,
    pub g_lagrange: Vec<G1Affine>,
    pub g2: G2Affine,
    pub s_g2: G2Affine,
}

impl Srs {
    /// The string as the prover takes it.
    pub fn into_params(self) -> ParamsKZG<Bn256> {
        let smallest = ParamsKZG::<Bn256>::new(1);
        smallest.from_parts(self.k, self.g, Some(self.g_lagrange), self.g2, self.s_g2)
    }
}

/// A file of the format, whose length is that of its k.
pub(crate) struct Source {
    file: File,
    pub k: u32,
    pub g2: G2Affine,
    pub s_g2: G2Affine,
}

impl Source {
    pub fn open(path: &Path) -> Result<Self, Error> {
        let mut file = File::open(path)?;
        let mut header = [0; 4];
        file.read_exact(&mut header)?;
        let k = u32::from_le_bytes(header);
        let size = file.metadata()?.len();
        if k > MAX_K || size != 4 + ((2 * G1_BYTES as u64) << k) + 2 * G2_BYTES as u64 {
            return Err(Error::new(format!(
                "this is not a raw reference string: {size} bytes do not fit its header"
            )));
        }
        let mut pair = [0; 2 * G2_BYTES];
        file.seek(SeekFrom::End(-(pair.len() as i64)))?;
        file.read_exact(&mut pair)?;
        let (g2, s_g2) = decode_g2_pair(&pair)?;
        Ok(Self { file, k, g2, s_g2 })
    }

    /// Goes to the powers, or to their Lagrange basis.
    pub fn rewind(&mut self, lagrange: bool) -> Result<(), Error> {
        let skipped = if lagrange { (G1_BYTES as u64) << self.k } else { 0 };
        self.file.seek(SeekFrom::Start(4 + skipped))?;
        Ok(())
    }

    pub fn read(&mut self, start: usize, count: usize) -> Result<Vec<G1Affine>, Error> {
        read_points(&mut self.file, start, count)
    }
}

/// Reads the next points of a stream; `start` is the place of the first in messages.
pub(crate) fn read_points(source: &mut impl Read, start: usize, count: usize) -> Result<Vec<G1Affine>, Error> {
    let mut bytes = vec![0; count * G1_BYTES];
    source.read_exact(&mut bytes)?;
    decode_g1(&bytes, start)
}

/// The pieces in which n points are read: starts and lengths.
pub(crate) fn pieces(n: usize) -> impl Iterator<Item = (usize, usize)> {
    (0..n).step_by(PIECE).map(move |start| (start, PIECE.min(n - start)))
}

/// Reads a string of the store, cut to 2^k powers, with every point checked to be on the curve.
///
/// Whether the powers are consecutive was checked when the string was imported. A longer string costs the computation of
/// a Lagrange basis each time: `import_raw` makes the cut once.
pub fn read(path: &Path, k: u32, tick: Tick) -> Result<Srs, Error> {
    let mut source = Source::open(path)?;
    if k > source.k {
        return Err(Error::new(format!("the reference string has 2^{} powers, and 2^{k} are needed", source.k)));
    }
    source.rewind(false)?;
    let g = source.read(0, 1 << k)?;
    let g_lagrange = if k == source.k { source.read(0, 1 << k)? } else { lagrange_basis(&g, k, tick)? };
    Ok(Srs { k, g, g_lagrange, g2: source.g2, s_g2: source.s_g2 })
}

/// Checks every point of a file of the raw format, and that they belong together.
pub fn check(path: &Path, tick: Tick) -> Result<Facts, Error> {
    copy(path, None, None, tick)
}

/// Checks a file of the raw format and writes it again, cut to 2^power powers where that is given.
///
/// The target is left half-written when the source is refused.
pub fn import_raw(path: &Path, target: &Path, power: Option<u32>, tick: Tick) -> Result<Facts, Error> {
    copy(path, Some(target), power, tick)
}

fn copy(path: &Path, target: Option<&Path>, power: Option<u32>, tick: Tick) -> Result<Facts, Error> {
    let mut source = Source::open(path)?;
    let k = power.unwrap_or(source.k);
    if k > source.k {
        return Err(Error::new(format!("the reference string has 2^{} powers, fewer than 2^{k}", source.k)));
    }
    let mut out = target.map(|target| Writer::create(target, k)).transpose()?;
    let mut consistency = Consistency::new(k);
    let computed_lagrange = k < source.k;
    if computed_lagrange && k > MAX_COMPUTED {
        return Err(Error::new(format!("a string is cut to at most 2^{MAX_COMPUTED} powers, for that takes long")));
    }
    let mut kept = Vec::new();
    source.rewind(false)?;
    for (start, count) in pieces(1 << k) {
        tick()?;
        let points = source.read(start, count)?;
        consistency.powers(&points)?;
        write(&mut out, &points)?;
        if computed_lagrange {
            kept.extend(points);
        }
    }
    consistency.end_of_powers(&source.g2, &source.s_g2)?;
    if computed_lagrange {
        write(&mut out, &lagrange_basis(&kept, k, tick)?)?;
    } else {
        source.rewind(true)?;
        for (start, count) in pieces(1 << k) {
            tick()?;
            let points = source.read(start, count)?;
            consistency.lagrange(&points);
            write(&mut out, &points)?;
        }
        consistency.end_of_lagrange()?;
    }
    if let Some(out) = out {
        out.finish(&source.g2, &source.s_g2)?;
    }
    Ok(Facts { k, power: source.k, computed_lagrange, blake2b: None, published: None })
}

fn write(out: &mut Option<Writer>, points: &[G1Affine]) -> Result<(), Error> {
    out.as_mut().map_or(Ok(()), |out| out.points(points))
}

/// Writes a file of the format, in order.
pub(crate) struct Writer(BufWriter<File>);

impl Writer {
    pub fn create(target: &Path, k: u32) -> Result<Self, Error> {
        let mut out = BufWriter::new(File::create(target)?);
        out.write_all(&k.to_le_bytes())?;
        Ok(Self(out))
    }

    /// The powers, then their Lagrange basis.
    pub fn points(&mut self, points: &[G1Affine]) -> Result<(), Error> {
        for piece in points.chunks(PIECE) {
            self.0.write_all(&encode_g1(piece))?;
        }
        Ok(())
    }

    pub fn finish(mut self, g2: &G2Affine, s_g2: &G2Affine) -> Result<(), Error> {
        self.0.write_all(&encode_g2_pair(g2, s_g2))?;
        Ok(self.0.into_inner().map_err(|error| error.into_error())?.sync_all()?)
    }
}
