//! Who reads each element, and which narrowings can stand in the rows of the layer that they narrow.

use std::collections::{HashMap, HashSet};

use crate::steps::{Affine, Linear, Part, Run, Source, Step, Steps};

/// Readers of the elements of all tensors.
#[derive(Clone)]
pub struct Uses {
    /// How often each element is a term of an expression, by tensor.
    terms: Vec<Vec<u32>>,
    /// How often it is a member of a run.
    runs: Vec<Vec<u32>>,
    /// For a layer's step the narrowing that may stand in its rows, and for that narrowing the layer.
    pairs: HashMap<usize, usize>,
    fused: HashSet<usize>,
    /// Runs that read each tensor first: lists of elements with exponents.
    pub wanted: HashMap<u32, Vec<Vec<(u32, u32)>>>,
}

impl Uses {
    pub fn of(steps: &Steps) -> Self {
        let counts = || steps.tensors.iter().map(|made| vec![0u32; made.size]).collect::<Vec<_>>();
        let mut uses = Self {
            terms: counts(),
            runs: counts(),
            pairs: HashMap::new(),
            fused: HashSet::new(),
            wanted: HashMap::new(),
        };
        for step in &steps.steps {
            match step {
                Step::Linear(linear) => uses.linear(linear),
                Step::Narrow { x, .. } | Step::Range { x, .. } | Step::Sign { x, .. } => uses.read(x),
                Step::Copy { x, .. } | Step::Output { x, .. } => uses.read(x),
                Step::Product { u, v, .. } => {
                    uses.read(u);
                    uses.read(v);
                }
                // the values of a hint are read by nobody but the prover
                Step::Hinted { .. } | Step::Input { .. } => {}
            }
        }
        uses.pair(steps);
        uses
    }

    fn read(&mut self, x: &[Affine]) {
        for term in x.iter().flat_map(|e| &e.terms) {
            if let Source::Element { tensor, at } = term.source {
                self.terms[tensor as usize][at as usize] += 1;
            }
        }
    }

    fn linear(&mut self, linear: &Linear) {
        let mut wanted: HashMap<u32, Vec<Vec<(u32, u32)>>> = HashMap::new();
        for part in &linear.parts {
            match part {
                Part::Taps { run, .. } => self.run(run, &mut wanted),
                Part::Product { left, right, .. } => {
                    self.run(left, &mut wanted);
                    self.run(right, &mut wanted);
                }
                Part::Bias { .. } | Part::Single { .. } => {}
            }
        }
        for (tensor, runs) in wanted {
            self.wanted.entry(tensor).or_insert(runs);
        }
    }

    fn run(&mut self, run: &Run, wanted: &mut HashMap<u32, Vec<Vec<(u32, u32)>>>) {
        let singles: Vec<Option<(u32, u32)>> = run.elements.iter().map(|(x, _)| x.single()).collect();
        for ((x, _), single) in run.elements.iter().zip(&singles) {
            match single {
                Some((tensor, at)) => self.runs[*tensor as usize][*at as usize] += 1,
                None => self.read(std::slice::from_ref(x)),
            }
        }
        let Some(Some((tensor, _))) = singles.first() else { return };
        let members: Option<Vec<(u32, u32)>> = singles
            .iter()
            .zip(&run.elements)
            .map(|(single, (_, exponent))| single.filter(|(t, _)| t == tensor).map(|(_, at)| (at, *exponent)))
            .collect();
        if let Some(members) = members {
            wanted.entry(*tensor).or_default().push(members);
        }
    }

    /// A narrowing fits into a layer's rows if it reads each result exactly once, alone, and nobody else reads them.
    fn pair(&mut self, steps: &Steps) {
        let layers: HashMap<u32, usize> = steps
            .steps
            .iter()
            .enumerate()
            .filter_map(|(at, step)| match step {
                Step::Linear(linear) => Some((linear.out, at)),
                _ => None,
            })
            .collect();
        for (at, step) in steps.steps.iter().enumerate() {
            let Step::Narrow { x, .. } = step else { continue };
            let Some(Some((tensor, _))) = x.first().map(Affine::single) else { continue };
            let Some(&layer) = layers.get(&tensor) else { continue };
            let whole = x.len() == steps.tensors[tensor as usize].size
                && x.iter().all(|e| e.single().is_some_and(|(t, at)| t == tensor && self.count(t, at) == 1));
            if whole {
                self.pairs.insert(layer, at);
            }
        }
    }

    /// The narrowing that could stand in the rows of a layer's step.
    pub fn narrowing(&self, layer: usize) -> Option<usize> {
        self.pairs.get(&layer).copied()
    }

    pub fn fuse(&mut self, narrowing: usize) {
        self.fused.insert(narrowing);
    }

    pub fn fused(&self, narrowing: usize) -> Option<&usize> {
        self.fused.get(&narrowing)
    }

    /// How often an element is read in all.
    pub fn count(&self, tensor: u32, at: u32) -> u32 {
        self.terms[tensor as usize][at as usize] + self.runs[tensor as usize][at as usize]
    }

    /// Whether an element is read by exactly one run and nothing else.
    pub fn only_in_one_run(&self, tensor: u32, at: u32) -> bool {
        self.terms[tensor as usize][at as usize] == 0 && self.runs[tensor as usize][at as usize] == 1
    }
}

impl Uses {
    /// Counts one more reader of every element of a tensor.
    pub fn once_more(&mut self, tensor: u32) {
        for count in &mut self.terms[tensor as usize] {
            *count += 1;
        }
    }

    /// Adds a tensor that one expression reads, element by element.
    pub fn passing(&mut self, size: usize) {
        self.terms.push(vec![1; size]);
        self.runs.push(vec![0; size]);
    }
}
