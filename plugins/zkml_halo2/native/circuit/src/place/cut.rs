//! Long runs of public or hidden inputs, cut into shorter ones that stand side by side.
//!
//! A tensor of few channels would fill few lanes. A run X(rho) = sum_i x_i rho^(e_i) is a sum of segments, X(rho) = sum_s
//! rho^(o_s) X_s(rho), and where all X_s have the same exponents their members share rows; each takes the taps of the
//! whole, o_s rows further down.

use std::collections::HashMap;

use super::uses::Uses;
use crate::steps::{Affine, Linear, Part, Run, Step, Steps, Tap};

/// Element of a tensor and its exponent.
type Member = (u32, u32);

/// The layers whose runs of inputs are cut, by step, with the runs that `uses` now wants.
pub fn layers(steps: &Steps, uses: &mut Uses, lanes: usize) -> HashMap<usize, Linear> {
    let inputs: Vec<u32> = steps
        .steps
        .iter()
        .filter_map(|step| match step {
            Step::Input { out, .. } => Some(*out),
            _ => None,
        })
        .collect();
    let mut layers = HashMap::new();
    for (at, step) in steps.steps.iter().enumerate() {
        let Step::Linear(linear) = step else { continue };
        for &tensor in &inputs {
            let linear = layers.get(&at).unwrap_or(linear);
            if let Some((cut, wanted)) = layer(linear, tensor, uses, lanes) {
                uses.wanted.insert(tensor, wanted);
                layers.insert(at, cut);
            }
        }
    }
    layers
}

/// The layer with its runs of a tensor cut, and those runs: the first segments of all, then the second, and so on.
fn layer(linear: &Linear, tensor: u32, uses: &Uses, lanes: usize) -> Option<(Linear, Vec<Vec<Member>>)> {
    let runs: Vec<Option<Vec<Member>>> = linear
        .parts
        .iter()
        .map(|part| match part {
            Part::Taps { run, .. } => members(run, tensor, uses),
            _ => None,
        })
        .collect();
    let pieces = lanes.checked_div(runs.iter().flatten().count())?;
    if pieces < 2 {
        return None;
    }
    let mut parts = Vec::new();
    let mut wanted = vec![Vec::new(); pieces];
    for (part, run) in linear.parts.iter().zip(runs) {
        match (part, run) {
            (Part::Taps { taps, .. }, Some(run)) => {
                for (i, segment) in run.chunks(length(&run, pieces)).enumerate() {
                    parts.push(taps_of(segment, tensor, taps));
                    wanted[i].push(segment.iter().map(|&(at, exponent)| (at, exponent - segment[0].1)).collect());
                }
            }
            _ => parts.push(part.clone()),
        }
    }
    let cut = parts.len() > linear.parts.len();
    cut.then(|| (Linear { parts, ..linear.clone() }, wanted.into_iter().flatten().collect()))
}

fn taps_of(segment: &[Member], tensor: u32, taps: &[Tap]) -> Part {
    let element = |at| Affine::of(crate::steps::Source::Element { tensor, at });
    let elements = segment.iter().map(|&(at, exponent)| (element(at), exponent)).collect();
    Part::Taps { run: Run { elements }, taps: taps.to_vec() }
}

/// The members of a run that reads nothing but elements of this tensor, which nobody else reads, by exponent.
fn members(run: &Run, tensor: u32, uses: &Uses) -> Option<Vec<Member>> {
    let own = |(x, exponent): &(Affine, u32)| {
        let (of, at) = x.single()?;
        (of == tensor && uses.only_in_one_run(tensor, at)).then_some((at, *exponent))
    };
    let mut members =
        run.elements.iter().map(own).collect::<Option<Vec<_>>>().filter(|members| !members.is_empty())?;
    members.sort_unstable_by_key(|member| member.1);
    Some(members)
}

/// How many members the segments have, so that all but a shorter last one have the same exponents: as few as there may be,
/// or as many as whole lines have, or all.
fn length(run: &[Member], pieces: usize) -> usize {
    let line = run.windows(2).take_while(|pair| pair[1].1 == pair[0].1 + 1).count() + 1;
    let lines = run.len().div_ceil(line);
    let alike = |&length: &usize| {
        let shift = |at: usize| run[at].1 - run[at - length].1;
        (length..run.len()).all(|at| shift(at) == shift(at / length * length))
    };
    [run.len().div_ceil(pieces), line * lines.div_ceil(pieces)].into_iter().find(alike).unwrap_or(run.len())
}
