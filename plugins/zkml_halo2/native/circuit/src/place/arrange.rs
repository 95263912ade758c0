//! Which element stands in which lane: as the runs that read a tensor want it, or below what it is made of.

use std::collections::HashMap;

use super::Placement;
use crate::steps::{Affine, Source};

/// Rows of elements, by lane.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Arrangement {
    pub rows: Vec<Vec<Option<u32>>>,
}

impl Arrangement {
    pub fn packed(size: usize, lanes: usize, width: usize) -> Self {
        let row = |start: usize| {
            (0..lanes).map(|lane| (lane < width && start + lane < size).then_some((start + lane) as u32)).collect()
        };
        Self { rows: (0..size).step_by(width).map(row).collect() }
    }

    /// Runs of equal exponents side by side, or whose exponents begin those of the first; their members one below the other.
    /// None if they are not disjoint.
    pub fn of_runs(runs: &[Vec<(u32, u32)>], size: usize, lanes: usize) -> Option<Self> {
        let mut seen = vec![false; size];
        let mut rows: Vec<Vec<Option<u32>>> = Vec::new();
        let mut at = 0;
        while at < runs.len() {
            let begins = |run: &Vec<(u32, u32)>| {
                run.len() <= runs[at].len() && run.iter().zip(&runs[at]).all(|(own, first)| own.1 == first.1)
            };
            let together = runs[at..].iter().take(lanes).take_while(|run| begins(run)).count();
            for member in 0..runs[at].len() {
                let mut row = vec![None; lanes];
                for (lane, run) in runs[at..at + together].iter().enumerate() {
                    let Some(&(element, _)) = run.get(member) else { continue };
                    if std::mem::replace(&mut seen[element as usize], true) {
                        return None;
                    }
                    row[lane] = Some(element);
                }
                rows.push(row);
            }
            at += together;
        }
        // Elements that no run reads stand behind.
        let left: Vec<u32> = (0..size as u32).filter(|&i| !seen[i as usize]).collect();
        for chunk in left.chunks(lanes) {
            rows.push((0..lanes).map(|lane| chunk.get(lane).copied()).collect());
        }
        Some(Self { rows })
    }
}

impl Placement<'_> {
    pub(super) fn input_arrangement(&self, out: u32, size: usize, packed: bool) -> Arrangement {
        if packed {
            if let Some(wanted) = self.wanted(out, size) {
                return wanted;
            }
        }
        Arrangement::packed(size, self.lanes(), if packed { self.lanes() } else { 1 })
    }

    /// The arrangement that the first layer to read a tensor asks for.
    pub(super) fn wanted(&self, out: u32, size: usize) -> Option<Arrangement> {
        Arrangement::of_runs(self.uses.wanted.get(&out)?, size, self.lanes())
    }

    pub(super) fn arrangement(&self, out: Option<u32>, x: &[Affine]) -> Arrangement {
        if let Some(wanted) = out.and_then(|out| self.wanted(out, x.len())) {
            return wanted;
        }
        self.below(x)
    }

    /// Elements made of values of one row stand in one row, each in the lane of its first value, so that whole rows move.
    fn below(&self, x: &[Affine]) -> Arrangement {
        let lanes = self.lanes();
        let mut rows: Vec<Vec<Option<u32>>> = Vec::new();
        let mut open: HashMap<u32, Vec<usize>> = HashMap::new();
        let mut loose = Vec::new();
        for (i, e) in x.iter().enumerate() {
            let first = e.terms.iter().find_map(|term| match term.source {
                Source::Element { tensor, at } => Some(self.layout.cells[tensor as usize][at as usize]),
                Source::Weight { .. } => None,
            });
            let Some((row, lane)) = first else {
                loose.push(i as u32);
                continue;
            };
            let candidates = open.entry(row).or_default();
            let free = candidates.iter().copied().find(|&r| rows[r][lane as usize].is_none());
            let target = free.unwrap_or_else(|| {
                rows.push(vec![None; lanes]);
                candidates.push(rows.len() - 1);
                rows.len() - 1
            });
            rows[target][lane as usize] = Some(i as u32);
        }
        for chunk in loose.chunks(lanes) {
            rows.push((0..lanes).map(|lane| chunk.get(lane).copied()).collect());
        }
        // Where that leaves most lanes empty it is not worth it.
        if rows.len() > 2 * x.len().div_ceil(lanes) {
            return Arrangement::packed(x.len(), lanes, lanes);
        }
        Arrangement { rows }
    }
}
