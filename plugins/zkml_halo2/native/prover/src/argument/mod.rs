//! halo2's argument, as `halo2_axiom::plonk::verify_proof` checks it, for the circuits of this backend: of degree three, in
//! phases, without look-ups of halo2's own.
//!
//! The library's own prover gives the same proofs; this one is made for many narrow columns: a transform is the work of one
//! thread, with its roots at hand, and polynomials that are opened at the same points are added up before anything else.
//!
//! What hides the witness: the last rows of every advice column and of every running product are random, and so is one more
//! polynomial, as long as a column, that is added to the opening at x.

mod assigning;
mod constraints;
mod fourier;
mod opening;
mod permutation;

use ff::Field;
use group::Curve;
use halo2_axiom::halo2curves::bn256::{Fr, G1Affine, G1};
use halo2_axiom::plonk::{Circuit, ProvingKey};
use halo2_axiom::poly::Rotation;
use halo2_axiom::transcript::{Blake2bWrite, Challenge255, Transcript, TranscriptWrite};
use rand::rngs::OsRng;
use rand::SeedableRng;
use rand_chacha::ChaCha20Rng;
use rayon::prelude::*;

use crate::string::{Phase, Powers};
use crate::Error;
use assigning::Assigning;
use constraints::Constraints;
use fourier::{Coset, Fourier};
use opening::{value_at, Opened};
use permutation::Names;

pub type Write = Blake2bWrite<Vec<u8>, G1Affine, Challenge255<G1Affine>>;

/// The degree of constraints for which a quotient has less than twice as many coefficients as there are rows.
const DEGREE: usize = 3;
/// Rows whose constraints are evaluated together.
const CHUNK: usize = 1 << 8;

/// Proves that a circuit is satisfied with these public values, a column of each kind, and returns what blinds its advice:
/// the last rows of each column.
pub fn prove<C: Circuit<Fr>>(
    params: &Powers,
    proving: &ProvingKey<G1Affine>,
    circuit: &C,
    public: &[&[Fr]],
    transcript: &mut Write,
) -> Result<Vec<Vec<Fr>>, Error> {
    let key = proving.get_vk();
    let (cs, domain) = (key.cs(), key.get_domain());
    let n = 1usize << domain.k();
    let blinded = cs.blinding_factors() + 1;
    let foreign = || Error::new("a circuit of another kind than this prover is made for");
    let copied = permutation::columns(proving).ok_or_else(foreign)?;
    if cs.degree() != DEGREE || !cs.lookups().is_empty() {
        return Err(foreign());
    }
    if public.len() != cs.num_instance_columns() || public.iter().any(|column| column.len() > n - blinded) {
        return Err(Error::new("the public values are not those of this circuit"));
    }
    let failed = |error: std::io::Error| Error(error.to_string());
    let fourier = Fourier::new(domain);
    let mut random = ChaCha20Rng::from_rng(OsRng)
        .map_err(|error| Error(format!("the system gives no random numbers: {error}")))?;

    key.hash_into(transcript).map_err(failed)?;
    params.begin(Phase::Commit);
    let assigned = Assigning::new(params, key, public, transcript, &mut random).run(circuit)?;
    let (mut advice, challenges) = (assigned.advice, assigned.challenges);
    let blinds = advice.iter().map(|column| column[n - blinded..].to_vec()).collect();

    // halo2's look-ups, of which there are none, would take one.
    transcript.squeeze_challenge();
    let beta = *transcript.squeeze_challenge_scalar::<()>();
    let gamma = *transcript.squeeze_challenge_scalar::<()>();
    let names = Names { beta, gamma };
    let mut products = names.products(proving, &copied, &advice, n - blinded);
    for product in &mut products {
        // The row where the product ends is checked, and tells nothing.
        product[n - blinded + 1..].fill_with(|| Fr::random(&mut random));
    }
    write_points(transcript, &products.par_iter().map(|z| params.sum_of_values(z)).collect::<Vec<_>>())?;
    let mask = random_polynomial(n, &mut random);
    write_points(transcript, &[params.sum(&mask)])?;
    let y = *transcript.squeeze_challenge_scalar::<()>();

    params.begin(Phase::Quotient);
    advice.par_iter_mut().chain(&mut products).for_each(|column| fourier.coefficients(column));
    let columns = Columns { advice, products, public: public_polynomials(public, n, &fourier) };
    let constraints = Constraints::new(cs, &challenges)?;
    let parts = fourier.cosets.each_ref().map(|coset| {
        quotient_on(coset, (proving, fourier.omega, blinded), &columns, (&constraints, &copied, names), y)
    });
    let halves = fourier.halves(parts);
    write_points(transcript, &halves.each_ref().map(|half| params.sum(half)))?;
    let x = *transcript.squeeze_challenge_scalar::<()>();

    params.begin(Phase::Open);
    let to_n = x.pow_vartime([n as u64]);
    let quotient: Vec<Fr> = halves[0].iter().zip(&halves[1]).map(|(lower, upper)| *lower + *upper * to_n).collect();
    drop(halves);
    let point = |rotation: i32| domain.rotate_omega(x, Rotation(rotation));
    let last = -(blinded as i32);
    let Columns { advice, products, .. } = &columns;
    let of_advice: Vec<(&[Fr], i32)> =
        cs.advice_queries().iter().map(|(column, at)| (&advice[column.index()][..], at.0)).collect();
    let of_fixed: Vec<(&[Fr], i32)> =
        cs.fixed_queries().iter().map(|(column, at)| (&proving.fixed_polys()[column.index()][..], at.0)).collect();
    let masks: [(&[Fr], i32); 1] = [(&mask, 0)];
    let of_names: Vec<(&[Fr], i32)> = proving.permutation().polys().iter().map(|s| (&s[..], 0)).collect();
    let of_products: Vec<(&[Fr], i32)> = products
        .iter()
        .enumerate()
        .flat_map(|(i, z)| {
            let chained = (i + 1 < products.len()).then_some((&z[..], last));
            [(&z[..], 0), (&z[..], 1)].into_iter().chain(chained)
        })
        .collect();
    let evaluated = |queries: &[(&[Fr], i32)]| -> Vec<Fr> {
        queries.par_iter().map(|(polynomial, rotation)| value_at(polynomial, point(*rotation))).collect()
    };
    // Values are written in one order, and opened in another.
    let written = [&of_advice[..], &of_fixed, &masks, &of_names, &of_products];
    let values = written.map(evaluated);
    for value in values.iter().flatten() {
        transcript.write_scalar(*value).map_err(failed)?;
    }
    let [of_advice, of_fixed, masks, of_names, of_products] =
        std::array::from_fn(|i| grouped(written[i], &values[i]));
    let quotient = Opened { polynomial: &quotient, values: vec![(0, value_at(&quotient, x))] };
    let opened: Vec<Opened> = of_advice
        .into_iter()
        .chain(of_products)
        .chain(of_fixed)
        .chain(of_names)
        .chain([quotient])
        .chain(masks)
        .collect();
    opening::open(params, &opened, point, transcript)?;
    Ok(blinds)
}

/// All that is no part of the key, as coefficients.
struct Columns {
    advice: Vec<Vec<Fr>>,
    products: Vec<Vec<Fr>>,
    public: Vec<Vec<Fr>>,
}

/// The sum of all constraints, each times a power of y, divided by X^n - 1, on a coset.
fn quotient_on(
    coset: &Coset,
    (proving, omega, blinded): (&ProvingKey<G1Affine>, Fr, usize),
    columns: &Columns,
    (constraints, copied, names): (&Constraints, &[usize], Names),
    y: Fr,
) -> Vec<Fr> {
    let advice = coset.values(&columns.advice);
    let products = coset.values(&columns.products);
    let instance = coset.values(&columns.public);
    let fixed: Vec<&[Fr]> = proving.fixed_polys().iter().map(|p| &p[..]).collect();
    let fixed = coset.values(&fixed);
    let names_of: Vec<&[Fr]> = proving.permutation().polys().iter().map(|p| &p[..]).collect();
    let permuted = coset.values(&names_of);
    let marks = coset.values(&[&proving.l0()[..], &proving.l_last()[..], &proving.l_active_row()[..]]);
    let n = marks[0].len();
    let table = constraints::Table { fixed: &fixed, advice: &advice, instance: &instance };
    let copies = permutation::Table {
        columns: copied.iter().map(|&column| &advice[column][..]).collect(),
        permuted: &permuted,
        products: &products,
        first: &marks[0],
        last: &marks[1],
        active: &marks[2],
        shift: coset.shift,
        omega,
        to_last: n - blinded,
    };
    let inverse = (coset.shift.pow_vartime([n as u64]) - Fr::ONE).invert().unwrap_or(Fr::ZERO);
    let mut sums = vec![Fr::ZERO; n];
    sums.par_chunks_mut(CHUNK).enumerate().for_each(|(i, sums)| {
        constraints.fold(&table, i * CHUNK, y, sums);
        copies.fold(names, i * CHUNK, y, sums);
        sums.iter_mut().for_each(|sum| *sum *= inverse);
    });
    sums
}

fn write_points(transcript: &mut Write, points: &[G1]) -> Result<(), Error> {
    let mut affine = vec![G1Affine::default(); points.len()];
    G1::batch_normalize(points, &mut affine);
    affine.into_iter().try_for_each(|point| transcript.write_point(point)).map_err(|error| Error(error.to_string()))
}

fn random_polynomial(n: usize, random: &mut ChaCha20Rng) -> Vec<Fr> {
    std::iter::repeat_with(|| Fr::random(&mut *random)).take(n).collect()
}

fn public_polynomials(public: &[&[Fr]], n: usize, fourier: &Fourier) -> Vec<Vec<Fr>> {
    let polynomial = |values: &&[Fr]| {
        let mut column = values.to_vec();
        column.resize(n, Fr::ZERO);
        fourier.coefficients(&mut column);
        column
    };
    public.par_iter().map(polynomial).collect()
}

/// The polynomials with all that is asked of each, in order of appearance.
fn grouped<'a>(queries: &[(&'a [Fr], i32)], values: &[Fr]) -> Vec<Opened<'a>> {
    let mut opened: Vec<Opened> = Vec::new();
    for (&(polynomial, rotation), &value) in queries.iter().zip(values) {
        match opened.iter_mut().find(|one| std::ptr::eq(one.polynomial, polynomial)) {
            Some(one) => one.values.push((rotation, value)),
            None => opened.push(Opened { polynomial, values: vec![(rotation, value)] }),
        }
    }
    opened.iter_mut().for_each(|one| one.values.sort_unstable_by_key(|(rotation, _)| *rotation));
    opened
}
