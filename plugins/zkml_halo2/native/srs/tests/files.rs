//! Real and hostile files.

use std::fs;
use std::path::{Path, PathBuf};
use std::time::Instant;

use balance_zkml_srs::*;
use ff::Field;
use group::prime::PrimeCurveAffine;
use halo2_axiom::halo2curves::bn256::{Bn256, Fr, G1Affine};
use halo2_axiom::poly::commitment::{Blind, Params, ParamsProver};
use halo2_axiom::poly::kzg::commitment::ParamsKZG;
use halo2_axiom::poly::EvaluationDomain;
use halo2_axiom::SerdeFormat;
use rand::rngs::OsRng;

const CEREMONY: &str = "tests/fixtures/powersOfTau28_hez_final_08.ptau";

fn quiet() -> Result<(), Error> {
    Ok(())
}

struct Scratch(PathBuf);

impl Scratch {
    fn new(name: &str) -> Self {
        let folder = std::env::temp_dir().join(format!("balance-zkml-srs-{name}-{}", std::process::id()));
        fs::create_dir_all(&folder).unwrap();
        Self(folder)
    }

    fn file(&self, name: &str, bytes: &[u8]) -> PathBuf {
        let path = self.0.join(name);
        fs::write(&path, bytes).unwrap();
        path
    }
}

impl Drop for Scratch {
    fn drop(&mut self) {
        let _ = fs::remove_dir_all(&self.0);
    }
}

fn refusal<T>(result: Result<T, Error>) -> String {
    match result {
        Err(Error::Refused(reason)) => reason,
        Err(error) => panic!("another error: {error}"),
        Ok(_) => panic!("it is accepted"),
    }
}

#[test]
fn the_ceremonys_file_is_known_and_its_lagrange_basis_is_the_one_that_is_computed() {
    let scratch = Scratch::new("ceremony");
    let target = scratch.0.join("raw");
    let facts = import_ptau(Path::new(CEREMONY), &target, None, &quiet).unwrap();
    assert_eq!((facts.k, facts.power, facts.computed_lagrange), (8, 8, false));
    assert_eq!(facts.published, Some("powersOfTau28_hez_final_08.ptau"));
    let srs = read(&target, 8, &quiet).unwrap();
    assert_eq!(lagrange_basis(&srs.g, 8, &quiet).unwrap(), srs.g_lagrange);
    assert_eq!(check(&target, &quiet).unwrap().k, 8);
    // A shorter one from the ceremony's file is the same as the longer one cut.
    let (short, cut) = (scratch.0.join("short"), scratch.0.join("cut"));
    assert!(!import_ptau(Path::new(CEREMONY), &short, Some(5), &quiet).unwrap().computed_lagrange);
    assert!(import_raw(&target, &cut, Some(5), &quiet).unwrap().computed_lagrange);
    assert!(fs::read(&short).unwrap() == fs::read(&cut).unwrap());
    assert_eq!(read(&target, 5, &quiet).unwrap().g_lagrange, read(&short, 5, &quiet).unwrap().g_lagrange);
}

#[test]
fn the_prover_reads_the_same_and_its_two_bases_agree() {
    let scratch = Scratch::new("prover");
    let target = scratch.0.join("raw");
    import_ptau(Path::new(CEREMONY), &target, None, &quiet).unwrap();
    let params = read(&target, 8, &quiet).unwrap().into_params();
    let mut file = fs::File::open(&target).unwrap();
    let own = ParamsKZG::<Bn256>::read_custom(&mut file, SerdeFormat::RawBytes).unwrap();
    let domain = EvaluationDomain::new(1, 8);
    let mut values = domain.empty_lagrange();
    values.iter_mut().for_each(|value| *value = Fr::random(OsRng));
    let coefficients = domain.lagrange_to_coeff(values.clone());
    let commitment = params.commit_lagrange(&values, Blind::default());
    assert_eq!(commitment, params.commit(&coefficients, Blind::default()));
    assert_eq!(commitment, own.commit_lagrange(&values, Blind::default()));
}

#[test]
fn a_file_before_phase_2_gives_the_same_string() {
    let scratch = Scratch::new("phase1");
    let whole = fs::read(CEREMONY).unwrap();
    // Sections 1 to 7 alone, as before `prepare phase2`.
    let mut early = whole[..181_684 - 12].to_vec();
    early[8] = 7;
    let (a, b) = (scratch.0.join("a"), scratch.0.join("b"));
    let facts = import_ptau(&scratch.file("early", &early), &a, None, &quiet).unwrap();
    assert!(facts.computed_lagrange && facts.published.is_none());
    import_ptau(Path::new(CEREMONY), &b, None, &quiet).unwrap();
    assert!(fs::read(a).unwrap() == fs::read(b).unwrap());
}

#[test]
fn hostile_ceremony_files_are_refused() {
    let scratch = Scratch::new("hostile");
    let whole = fs::read(CEREMONY).unwrap();
    let target = scratch.0.join("raw");
    let attempt = |change: &dyn Fn(&mut Vec<u8>)| {
        let mut bytes = whole.clone();
        change(&mut bytes);
        refusal(import_ptau(&scratch.file("bad", &bytes), &target, None, &quiet))
    };
    let (powers, second, lagrange) = (80, 32_796, 181_684 + 64 * 255);
    assert!(attempt(&|b| b[0] = b'q').contains("not a powers-of-tau file"));
    assert!(attempt(&|b| b.truncate(11)).contains("too early"));
    assert!(attempt(&|b| b.truncate(40)).contains("too early") || attempt(&|b| b.truncate(40)).contains("longer"));
    assert!(attempt(&|b| b.push(0)).contains("follow"));
    assert!(attempt(&|b| b[8] = 255).contains("not a powers-of-tau file"));
    assert!(attempt(&|b| b[20..24].fill(0xff)).contains("longer than the file"));
    assert!(attempt(&|b| b[28] ^= 1).contains("not over the curve"));
    assert!(attempt(&|b| b[60] = 9).contains("section"));
    assert!(attempt(&|b| b[60] = 0).contains("does not exist"));
    assert!(attempt(&|b| b[60] = 60).contains("does not exist"));
    assert!(attempt(&|b| b[powers + 70] ^= 1).contains("point 1 is not a point"));
    assert!(attempt(&|b| b[powers + 64..powers + 128].fill(0)).contains("point 1 is not a point"));
    assert!(attempt(&|b| b[powers + 64 * 9..powers + 64 * 10].fill(0xff)).contains("point 9"));
    // Points of the curve, and yet not the powers.
    assert!(attempt(&|b| b.copy_within(powers + 64..powers + 128, powers)).contains("generator"));
    assert!(attempt(&|b| b.copy_within(powers + 64 * 7..powers + 64 * 8, powers + 64 * 255)).contains("consecutive"));
    assert!(attempt(&|b| b.copy_within(second + 256..second + 384, second + 128)).contains("consecutive"));
    assert!(attempt(&|b| b.copy_within(second..second + 128, second + 128)).contains("consecutive"));
    assert!(attempt(&|b| b[second + 130] ^= 1).contains("s_g2"));
    assert!(attempt(&|b| b.copy_within(second + 128..second + 256, second)).contains("generator of the second"));
    // A Lagrange basis that is another's.
    assert!(attempt(&|b| b.copy_within(lagrange..lagrange + 64, lagrange + 64)).contains("Lagrange"));
    let swapped = attempt(&|b| {
        let first = b[lagrange..lagrange + 64].to_vec();
        b.copy_within(lagrange + 64..lagrange + 128, lagrange);
        b[lagrange + 64..lagrange + 128].copy_from_slice(&first);
    });
    assert!(swapped.contains("Lagrange"));
    for power in [0, 9, 28, 60] {
        refusal(import_ptau(Path::new(CEREMONY), &target, Some(power), &quiet));
    }
}

#[test]
fn hostile_raw_files_are_refused() {
    let scratch = Scratch::new("raw");
    let (source, target) = (scratch.0.join("source"), scratch.0.join("target"));
    make_test(6, &source, &quiet).unwrap();
    let whole = fs::read(&source).unwrap();
    assert_eq!(whole.len(), 4 + 128 * 64 + 256);
    let attempt = |change: &dyn Fn(&mut Vec<u8>)| {
        let mut bytes = whole.clone();
        change(&mut bytes);
        let bad = scratch.file("bad", &bytes);
        let reason = refusal(import_raw(&bad, &target, None, &quiet));
        assert_eq!(refusal(check(&bad, &quiet)), reason);
        reason
    };
    assert!(attempt(&|b| b.clear()).contains("too early"));
    assert!(attempt(&|b| b[0] = 5).contains("header"));
    assert!(attempt(&|b| b[3] = 255).contains("header"));
    assert!(attempt(&|b| b.push(0)).contains("header"));
    assert!(attempt(&|b| b[100] ^= 4).contains("point 1 "));
    assert!(attempt(&|b| b.copy_within(4 + 64 * 9..4 + 64 * 10, 4 + 64 * 40)).contains("consecutive"));
    assert!(attempt(&|b| b.copy_within(4 + 64 * 99..4 + 64 * 100, 4 + 64 * 100)).contains("Lagrange"));
    let mut other = Vec::new();
    make_test(6, &target, &quiet).unwrap();
    other.extend(fs::read(&target).unwrap());
    let end = whole.len() - 128;
    assert!(attempt(&|b| b[end..].copy_from_slice(&other[end..])).contains("consecutive"));
    assert!(import_raw(&source, &target, None, &quiet).is_ok());
    assert!(fs::read(&target).unwrap() == whole);
}

#[test]
fn a_test_string_is_consistent_and_never_the_same_twice() {
    let scratch = Scratch::new("test");
    let (a, b) = (scratch.0.join("a"), scratch.0.join("b"));
    for k in [1, 2, 7] {
        make_test(k, &a, &quiet).unwrap();
        make_test(k, &b, &quiet).unwrap();
        assert!(check(&a, &quiet).is_ok());
        assert!(fs::read(&a).unwrap() != fs::read(&b).unwrap());
        let srs = read(&a, k, &quiet).unwrap();
        assert_eq!(lagrange_basis(&srs.g, k, &quiet).unwrap(), srs.g_lagrange);
    }
    refusal(make_test(29, &a, &quiet));
    refusal(make_test(0, &a, &quiet));
}

#[test]
fn work_stops_when_asked() {
    let scratch = Scratch::new("stop");
    let stop = || Err(Error::Stopped);
    assert!(matches!(make_test(8, &scratch.0.join("a"), &stop), Err(Error::Stopped)));
    assert!(matches!(import_ptau(Path::new(CEREMONY), &scratch.0.join("a"), None, &stop), Err(Error::Stopped)));
}

/// User and system time of this process.
fn processor_seconds() -> f64 {
    let stat = fs::read_to_string("/proc/self/stat").unwrap();
    let fields: Vec<&str> = stat.rsplit(')').next().unwrap().split_whitespace().collect();
    (fields[11].parse::<f64>().unwrap() + fields[12].parse::<f64>().unwrap()) / 100.0
}

/// `cargo test --release -p balance-zkml-srs -- --ignored --nocapture` prints the times of larger strings.
#[test]
#[ignore = "a measurement"]
fn times() {
    let scratch = Scratch::new("times");
    let path = scratch.0.join("a");
    for k in [10, 13, 15, 17] {
        let start = Instant::now();
        make_test(k, &path, &quiet).unwrap();
        let made = start.elapsed();
        let start = Instant::now();
        check(&path, &quiet).unwrap();
        let checked = start.elapsed();
        let start = Instant::now();
        let srs = read(&path, k, &quiet).unwrap();
        let loaded = start.elapsed();
        println!("k={k}: made {made:?}, checked {checked:?}, read {loaded:?}");
        if k > 13 {
            continue;
        }
        let cpu = processor_seconds();
        lagrange_basis(&srs.g, k, &quiet).unwrap();
        let ours = processor_seconds() - cpu;
        let cpu = processor_seconds();
        halo2_axiom::arithmetic::g_to_lagrange::<G1Affine>(srs.g.iter().map(|point| point.to_curve()).collect(), k);
        println!("k={k}: Lagrange basis {ours:.2} CPU s, halo2's own {:.2} CPU s", processor_seconds() - cpu);
    }
}
