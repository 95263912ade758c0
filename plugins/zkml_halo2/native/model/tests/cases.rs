//! The reader and the executor do what the core's do: `cases.py` wrote what those answer.
//!
//! Set `BALANCE_CASES` to the path of a larger file of such cases to run it instead.

use balance_zkml_model::{execute, read_structure, read_weights, Model};
use sha2::{Digest, Sha256};

struct Cases<'a>(&'a [u8]);

impl<'a> Cases<'a> {
    fn kind(&mut self) -> Option<u8> {
        let (kind, rest) = self.0.split_first()?;
        self.0 = rest;
        Some(*kind)
    }

    fn blob(&mut self) -> &'a [u8] {
        let (length, rest) = self.0.split_first_chunk::<4>().expect("a length");
        let (blob, rest) = rest.split_at(u32::from_le_bytes(*length) as usize);
        self.0 = rest;
        blob
    }
}

fn inputs(model: &Model, mut given: &[u8]) -> Vec<Vec<i64>> {
    let words = |blob: &[u8]| blob.chunks_exact(8).map(|word| i64::from_le_bytes(word.try_into().unwrap())).collect();
    let mut inputs = Vec::new();
    for place in model.input_nodes() {
        let (blob, rest) = given.split_at(8 * model.facts[place].size());
        inputs.push(words(blob));
        given = rest;
    }
    assert!(given.is_empty());
    inputs
}

fn facts(model: &Model) -> String {
    let axes = |shape: &[usize]| shape.iter().map(usize::to_string).collect::<Vec<_>>().join(",");
    model.facts.iter().map(|fact| format!("{} {} {}\n", axes(&fact.shape), fact.lo, fact.hi)).collect()
}

/// Runs a model on the extreme values that its structure allows: nothing wraps around, and all results keep to their
/// intervals, which `execute` checks. Debug builds panic where arithmetic overflows.
fn executes_at_the_ends(model: &Model) {
    if model.facts.iter().map(|fact| fact.size()).sum::<usize>() > 100_000 {
        return;
    }
    for high in [false, true] {
        let filled = |place: usize| {
            let fact = &model.facts[place];
            vec![if high { fact.hi } else { fact.lo } as i64; fact.size()]
        };
        let mut weights = vec![None; model.nodes.len()];
        model.weight_nodes().for_each(|place| weights[place] = Some(filled(place)));
        let given: Vec<_> = model.input_nodes().map(filled).collect();
        execute(model, &weights, &given).expect("results within their intervals");
        let mut long = given.clone();
        long.push(vec![0]);
        assert!(execute(model, &weights, &long).is_err());
        if let Some(first) = long.first_mut() {
            first.push(0);
            assert!(execute(model, &weights, &long[..given.len()]).is_err() || given.is_empty());
        }
    }
}

#[test]
fn answers_are_those_of_the_core() {
    let path = std::env::var("BALANCE_CASES").unwrap_or_else(|_| "tests/cases.bin".into());
    let data = std::fs::read(path).expect("the file of cases");
    let mut cases = Cases(&data);
    let mut counts = [0; 4];
    while let Some(kind) = cases.kind() {
        counts[kind as usize] += 1;
        let structure = cases.blob();
        let read = read_structure(structure);
        match kind {
            0 => assert!(read.is_err(), "case {counts:?} is read: {read:?}"),
            1 => {
                let model = read.expect("a structure");
                assert_eq!(facts(&model), std::str::from_utf8(cases.blob()).unwrap());
                executes_at_the_ends(&model);
            }
            2 => {
                let model = read.expect("a structure");
                let weights = read_weights(&model, cases.blob()).expect("weights");
                let given = inputs(&model, cases.blob());
                let tensors = execute(&model, &weights, &given).expect("tensors");
                let mut state = Sha256::new();
                tensors.iter().flatten().for_each(|value| state.update(value.to_le_bytes()));
                assert_eq!(state.finalize().as_slice(), cases.blob(), "case {counts:?}: {model:?}");
                assert!(execute(&model, &weights, &given[..given.len() - 1]).is_err());
            }
            _ => assert!(read_weights(&read.expect("a structure"), cases.blob()).is_err()),
        }
    }
    assert!(counts.iter().all(|&count| count > 5), "{counts:?}");
    println!("{counts:?}");
}
