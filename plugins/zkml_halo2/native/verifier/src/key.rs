//! The verifying key: the shape, the points of the reference string, and halo2's commitments, in one encoding.

use std::io::Write;

use balance_zkml_circuit::hidden;
use balance_zkml_circuit::layout::{PublicPart, RESERVED};
use balance_zkml_circuit::plan::{LARGEST, MOST_LANES, MOST_TABLES, MOST_TAPS};
use balance_zkml_circuit::registration::{Form, RegistrationCircuit};
use balance_zkml_circuit::{Limits, ModelCircuit, Shape};
use group::GroupEncoding;
use halo2_axiom::halo2curves::bn256::{Bn256, Fr, G1Affine};
use halo2_axiom::plonk::{Circuit, VerifyingKey};
use halo2_axiom::poly::kzg::commitment::ParamsKZG;
use halo2_axiom::SerdeFormat;

use crate::bytes::Reader;
use crate::Error;

const MAGIC: &[u8; 8] = b"BALZKML1";
/// Bytes of the reference string cut to one power (`docs/srs.md`).
pub const CUT_BYTES: usize = 388;
/// Rows of blinding at the end of each column: halo2's blinding factors for at most three queries of a column, and one more.
pub const BLINDED: usize = 6;
const MAX_PARTS: usize = 1 << 12;
const MAX_PUBLIC: usize = 1 << 24;

/// What the verifier of private weights needs besides.
#[derive(Clone, Debug)]
pub struct Registered {
    pub form: Form,
    pub key: VerifyingKey<G1Affine>,
}

#[derive(Clone, Debug)]
pub struct Key {
    pub shape: Shape,
    /// What the layout was made with: for the prover, who makes it again.
    pub limits: Limits,
    pub structure_digest: [u8; 32],
    /// The cut reference string.
    pub cut: Vec<u8>,
    pub public_rows: usize,
    pub inputs: Vec<PublicPart>,
    pub outputs: Vec<PublicPart>,
    pub main: VerifyingKey<G1Affine>,
    pub registered: Option<Registered>,
    /// The Lagrange points of the blinding rows, where weights or inputs are committed and linked.
    pub blinding: Vec<G1Affine>,
    /// The Lagrange points of the rows of hidden inputs, rising.
    pub lagrange: Vec<G1Affine>,
}

impl Key {
    pub fn encode(&self) -> Vec<u8> {
        let mut out = Vec::new();
        let mut put = |bytes: &[u8]| out.extend_from_slice(bytes);
        put(MAGIC);
        let s = &self.shape;
        put(&[s.k as u8, u8::from(s.private) | u8::from(s.hidden) << 1, u8::from(s.whole), s.packed as u8]);
        for count in [s.lanes, s.taps, s.tables] {
            put(&(count as u16).to_le_bytes());
        }
        put(&(self.limits.entries as u32).to_le_bytes());
        put(&[self.limits.limb as u8]);
        put(&self.structure_digest);
        put(&self.cut);
        put(&(self.public_rows as u32).to_le_bytes());
        for parts in [&self.inputs, &self.outputs] {
            put(&(parts.len() as u16).to_le_bytes());
            for part in parts {
                put(&part.lo.to_le_bytes());
                put(&part.hi.to_le_bytes());
                put(&[u8::from(part.packed)]);
                put(&(part.cells.len() as u32).to_le_bytes());
                for &(row, lane) in &part.cells {
                    put(&row.to_le_bytes());
                    put(&[lane]);
                }
            }
        }
        commitments(&self.main, &mut out);
        if let Some(registered) = &self.registered {
            out.push(u8::from(registered.form.tied));
            commitments(&registered.key, &mut out);
        }
        for point in self.blinding.iter().chain(&self.lagrange) {
            out.extend_from_slice(point.to_bytes().as_ref());
        }
        out
    }

    /// Reads a key of untrusted origin; refuses all that `encode` does not write.
    pub fn decode(bytes: &[u8]) -> Result<Self, Error> {
        let mut source = Reader::new(bytes, "verifying key");
        if source.take(MAGIC.len())? != MAGIC {
            return Err(source.fail("it is none of this kind or version"));
        }
        let k = source.count(1, LARGEST as usize)? as u32;
        let secret = source.count(1, 3)?;
        let (private, hidden, whole) = (secret & 1 == 1, secret & 2 == 2, source.flag()?);
        let packed = source.count(1, 240)? as u32;
        let (lanes, taps) = (source.count(2, MOST_LANES)?, source.count(2, MOST_TAPS)?);
        let tables = source.count(2, MOST_TABLES)?;
        let sized = k >= 4 && lanes >= 1 && taps >= 1 && tables >= 1 && packed >= 1;
        if !sized || packed as usize * lanes > 248 || (1 << k) <= RESERVED {
            return Err(source.fail("its shape is none"));
        }
        let shape = Shape { k, lanes, taps, tables, private, hidden, whole, packed };
        let limits = Limits { entries: source.count(4, 1 << 24)? as i64, limb: source.count(1, 24)? as u32 };
        let mut structure_digest = [0; 32];
        structure_digest.copy_from_slice(source.take(32)?);
        let cut = source.take(CUT_BYTES)?.to_vec();
        let public_rows = source.count(4, shape.rows())?;
        let inputs = parts(&mut source, &shape, public_rows, hidden)?;
        let outputs = parts(&mut source, &shape, public_rows, false)?;
        let mut taken: Vec<(u32, u8)> = inputs.iter().chain(&outputs).flat_map(|part| part.cells.clone()).collect();
        taken.sort_unstable();
        if taken.windows(2).any(|pair| pair[0] == pair[1]) {
            return Err(source.fail("two public values share a cell"));
        }
        let main = read_key::<ModelCircuit>(&mut source, k, shape)?;
        let registered = if private {
            let form = Form { k, columns: shape.weight_columns(), tied: source.flag()? };
            let key = read_key::<RegistrationCircuit>(&mut source, k, form)?;
            Some(Registered { form, key })
        } else {
            None
        };
        let blinding = source.points(if private || hidden { BLINDED } else { 0 })?;
        let lagrange = source.points(if hidden { hidden::rows_of(&inputs).len() } else { 0 })?;
        source.end()?;
        let blinded = |key: &VerifyingKey<G1Affine>| key.cs().blinding_factors() + 1;
        if blinded(&main) != BLINDED || registered.as_ref().is_some_and(|r| blinded(&r.key) != BLINDED) {
            return Err(Error::new("verifying key: another number of blinding rows"));
        }
        let key = Self {
            shape,
            limits,
            structure_digest,
            cut,
            public_rows,
            inputs,
            outputs,
            main,
            registered,
            blinding,
            lagrange,
        };
        if key.encode() != bytes {
            return Err(Error::new("verifying key: it is not in its one encoding"));
        }
        Ok(key)
    }

    /// The inputs that stand among the public values: all, or none.
    pub fn public_inputs(&self) -> &[PublicPart] {
        if self.shape.hidden {
            &[]
        } else {
            &self.inputs
        }
    }

    /// What of the reference string a verifier uses.
    pub fn params(&self) -> Result<ParamsKZG<Bn256>, Error> {
        let cut = ParamsKZG::<Bn256>::read_custom(&mut &self.cut[..], SerdeFormat::RawBytes)
            .map_err(|error| Error(format!("verifying key: {error}")))?;
        params_of(&cut, self.shape.k)
    }
}

fn params_of(cut: &ParamsKZG<Bn256>, k: u32) -> Result<ParamsKZG<Bn256>, Error> {
    use group::prime::PrimeCurveAffine;
    use halo2_axiom::halo2curves::bn256::G2Affine;
    use halo2_axiom::halo2curves::CurveAffine;
    use halo2_axiom::poly::commitment::ParamsProver;
    let (g, g2, s_g2) = (cut.get_g()[0], cut.g2(), cut.s_g2());
    let sound = |point: &G2Affine| {
        let order_less_one = -Fr::from(1);
        bool::from(point.is_on_curve()) && (*point * order_less_one + *point) == group::Group::identity()
    };
    if g != G1Affine::generator() || g2 != G2Affine::generator() || s_g2 == G2Affine::identity() || !sound(&s_g2) {
        return Err(Error::new("verifying key: its points are not those of a reference string"));
    }
    Ok(cut.from_parts(k, vec![g], Some(vec![g]), g2, s_g2))
}

fn parts(source: &mut Reader, shape: &Shape, rows: usize, hidden: bool) -> Result<Vec<PublicPart>, Error> {
    let count = source.count(2, MAX_PARTS)?;
    let mut parts = Vec::with_capacity(count);
    for _ in 0..count {
        let (lo, hi) = (source.number(8)? as i64, source.number(8)? as i64);
        let packed = source.flag()?;
        let cells = source.count(4, MAX_PUBLIC)?;
        let span = i128::from(hi) - i128::from(lo);
        if span < 0 || span > i128::from(i64::MAX) || (packed && !hidden && span >= 1 << shape.packed.min(63)) {
            return Err(source.fail("an interval is none"));
        }
        if cells > source.rest().len() / 5 {
            return Err(source.fail("it ends too early"));
        }
        let mut places = Vec::with_capacity(cells);
        for _ in 0..cells {
            let row = source.count(4, rows.saturating_sub(1))? as u32;
            let lane = source.count(1, if packed || hidden { shape.lanes - 1 } else { 0 })? as u8;
            places.push((row, lane));
        }
        parts.push(PublicPart { node: None, lo, hi, cells: places, packed });
    }
    Ok(parts)
}

fn commitments(key: &VerifyingKey<G1Affine>, out: &mut Vec<u8>) {
    for point in key.fixed_commitments().iter().chain(key.permutation().commitments()) {
        out.extend_from_slice(point.to_bytes().as_ref());
    }
}

/// halo2's key from its commitments: how many there are follows from the shape.
fn read_key<C: Circuit<Fr>>(source: &mut Reader, k: u32, params: C::Params) -> Result<VerifyingKey<G1Affine>, Error>
where
    C::Params: Clone,
{
    let mut cs = halo2_axiom::plonk::ConstraintSystem::<Fr>::default();
    C::configure_with_params(&mut cs, params.clone());
    let (fixed, copied) = (cs.num_fixed_columns(), cs.permutation().get_columns().len());
    let mut encoded = vec![2];
    let write = |out: &mut Vec<u8>, bytes: &[u8]| out.write_all(bytes).map_err(|e| Error::new(e.to_string()));
    write(&mut encoded, &k.to_le_bytes())?;
    write(&mut encoded, &[0])?;
    write(&mut encoded, &(fixed as u32).to_le_bytes())?;
    for _ in 0..fixed + copied {
        write(&mut encoded, source.point()?.to_bytes().as_ref())?;
    }
    VerifyingKey::read::<_, C>(&mut &encoded[..], SerdeFormat::Processed, params)
        .map_err(|error| Error(format!("verifying key: {error}")))
}
