use balance_zkml_circuit::*;
use balance_zkml_model as model;
use halo2_axiom::halo2curves::bn256::{Bn256, Fr, G1Affine};
use halo2_axiom::plonk::*;
use halo2_axiom::poly::commitment::{Params, ParamsProver};
use halo2_axiom::poly::kzg::{commitment::{KZGCommitmentScheme, ParamsKZG}, multiopen::{ProverSHPLONK, VerifierSHPLONK}, strategy::SingleStrategy};
use halo2_axiom::transcript::*;
use rand::{rngs::StdRng, SeedableRng, Rng};
use std::time::Instant;

fn leb(d: &[u8], p: &mut usize) -> usize { let mut v = 0; let mut s = 0; loop { let b = d[*p]; *p += 1; v |= ((b & 127) as usize) << s; s += 7; if b < 128 { return v; } } }
fn cpu() -> f64 { let s = std::fs::read_to_string("/proc/self/stat").unwrap(); let f: Vec<f64> = s[s.rfind(')').unwrap() + 4..].split_whitespace().map(|x| x.parse::<f64>().unwrap_or(0.)).collect(); (f[10] + f[11]) / 100.0 }
fn rss() -> f64 { let s = std::fs::read_to_string("/proc/self/status").unwrap(); s.lines().find(|l| l.starts_with("VmHWM")).map(|l| l.split_whitespace().nth(1).unwrap().parse::<f64>().unwrap() / 1024.).unwrap() }
fn main() {
    let a: Vec<String> = std::env::args().collect();
    let get = |n: &str, d: i64| a.iter().position(|x| x == &format!("--{n}")).map(|i| a[i + 1].parse().unwrap()).unwrap_or(d);
    let data = std::fs::read(&a[1]).unwrap();
    let mut p = 12;
    let n = leb(&data, &mut p); let structure = &data[p..p + n]; p += n;
    let n = leb(&data, &mut p); p += n;
    let n = leb(&data, &mut p); let weights = &data[p..p + n];
    let m = model::read_structure(structure).unwrap();
    let w = model::read_weights(&m, weights).unwrap();
    let mut rng = StdRng::seed_from_u64(get("seed", 1) as u64);
    let inputs: Vec<Vec<i64>> = m.input_nodes().map(|i| { let f = &m.facts[i]; (0..f.size()).map(|_| rng.gen_range(f.lo as i64..=f.hi as i64)).collect() }).collect();
    let all = model::execute(&m, &w, &inputs).unwrap();
    let shape = Shape { k: get("k", 13) as u32, lanes: get("l", 2) as usize, taps: get("t", 5) as usize, tables: get("s", 1) as usize, private: get("p", 0) == 1, whole: get("w", 0) == 1, packed: get("b", 8) as u32 };
    let limits = Limits { entries: get("e", 4096), limb: get("limb", 11) as u32 };
    if get("plan", 0) == 1 {
        let t = Instant::now();
        let plan = plan(&m, get("p", 0) == 1, None).unwrap();
        println!("planned in {:?}: {:?} {:?} left {} right {} tables {} cost {:.3} s {} MB", t.elapsed(), plan.layout.shape, plan.limits, plan.layout.fills.len(), plan.layout.summands.len(), plan.layout.tables.outs.len(), plan.layout.shape.seconds(), plan.layout.shape.bytes() / 1000000);
        return run(&m, &w, &inputs, &all, plan.layout, &get);
    }
    let t = Instant::now();
    let steps = match lower(&m, limits) { Ok(s) => s, Err(e) => { println!("lower: {e}"); return } };
    println!("steps {} in {:?}", steps.steps.len(), t.elapsed());
    let t = Instant::now();
    let digits = |node: u32| weights::digits_of(&m, node);
    let layout = match place(&steps, shape, limits, &digits) { Ok(l) => l, Err(e) => { println!("place: {e}"); return } };
    println!("placed in {:?}: left {} right {} of {} entries {} public {}", t.elapsed(), layout.fills.len(), layout.summands.len(), shape.rows(), layout.tables.outs.len(), layout.public_rows);
    run(&m, &w, &inputs, &all, layout, &get)
}
fn run(m: &model::Model, w: &Vec<Option<Vec<i64>>>, inputs: &Vec<Vec<i64>>, all: &Vec<Vec<i64>>, layout: Layout, get: &dyn Fn(&str, i64) -> i64) {
    let shape = layout.shape;
    if get("rows", 0) == 1 { for b in &layout.blocks { let sm = &layout.summands[b.summands.clone()]; let ones = sm.iter().filter(|s| matches!(s.x, layout::Operand::Power(_))).count(); let consts = sm.iter().filter(|s| s.weights.is_empty()).count(); println!("block rows {} right {} (const {consts}, of one {ones}) moves {} fill {:?}", b.end - b.start, sm.len(), b.moves.len(), layout.fills[b.start]); } }
    let t = Instant::now();
    let witness = witness::fill(&layout, w, inputs).unwrap();
    println!("filled in {:?}", t.elapsed());
    for (i, (_, tensor)) in m.outputs.iter().enumerate() { assert_eq!(witness.outputs[i], all[*tensor], "output {i}"); }
    let public = statement::public_column(&layout, inputs, &witness.outputs).unwrap();
    let circuit = ModelCircuit { layout: &layout, weights: w, witness: Some(&witness) };
    if get("mock", 0) == 1 {
        let mock = halo2_axiom::dev::MockProver::run(shape.k, &circuit, vec![public.clone()]).unwrap();
        match mock.verify() { Ok(()) => println!("mock ok"), Err(e) => { println!("mock {} failures", e.len()); for f in e.iter().take(8) { println!("{f:?}"); } } }
    }
    if get("real", 0) == 1 {
        let params = ParamsKZG::<Bn256>::setup(shape.k, StdRng::seed_from_u64(42));
        let key = ModelCircuit { layout: &layout, weights: w, witness: None };
        let t = Instant::now();
        let vk = keygen_vk(&params, &key).unwrap();
        let tv = t.elapsed();
        let pk = keygen_pk(&params, vk, &key).unwrap();
        println!("vk {tv:?} vk+pk {:?} degree {} adv {} fixed {} perm {}", t.elapsed(), pk.get_vk().cs().degree(), pk.get_vk().cs().num_advice_columns(), pk.get_vk().cs().num_fixed_columns(), pk.get_vk().cs().permutation().get_columns().len());
        for _ in 0..get("reps", 3) {
            let c = cpu(); let t = Instant::now();
            let witness = witness::fill(&layout, w, inputs).unwrap();
            let circuit = ModelCircuit { layout: &layout, weights: w, witness: Some(&witness) };
            let mut tr = Blake2bWrite::<_, G1Affine, Challenge255<_>>::init(vec![]);
            create_proof::<KZGCommitmentScheme<Bn256>, ProverSHPLONK<'_, Bn256>, Challenge255<G1Affine>, _, _, _>(&params, &pk, &[circuit], &[&[&public]], StdRng::seed_from_u64(1), &mut tr).unwrap();
            let proof = tr.finalize();
            let (e, c) = (t.elapsed(), cpu() - c);
            let mut tr = Blake2bRead::<_, G1Affine, Challenge255<_>>::init(&proof[..]);
            let t = Instant::now();
            let ok = verify_proof::<KZGCommitmentScheme<Bn256>, VerifierSHPLONK<'_, Bn256>, _, _, _>(params.verifier_params(), pk.get_vk(), SingleStrategy::new(&params), &[&[&public]], &mut tr).is_ok();
            let tv = t.elapsed();
            let mut bad: Vec<Fr> = public.clone(); let last = bad.len() - 1; bad[last] += Fr::from(1);
            let mut tr = Blake2bRead::<_, G1Affine, Challenge255<_>>::init(&proof[..]);
            let forged = verify_proof::<KZGCommitmentScheme<Bn256>, VerifierSHPLONK<'_, Bn256>, _, _, _>(params.verifier_params(), pk.get_vk(), SingleStrategy::new(&params), &[&[&bad]], &mut tr).is_ok();
            println!("prove {e:?} cpu {c:.2} verify {tv:?} ok {ok} forged {forged} proof {} B rss {:.0} MB", proof.len(), rss());
        }
        let _ = params.k();
    }
}
