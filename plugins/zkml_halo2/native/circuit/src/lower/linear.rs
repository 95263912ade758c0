//! Matrix products and convolutions as products of polynomials in one challenge.

use std::collections::BTreeMap;

use balance_zkml_model::Conv2d;

use super::{broadcast, Lowering, Value};
use crate::steps::{Affine, Coefficient, Linear, Part, Run, Source, Step, Tap};
use crate::Error;

/// A factor of a linear layer: coefficients that are weights or constants, or expressions.
enum Factor {
    Fixed(Vec<Coefficient>),
    Computed(std::sync::Arc<Vec<Affine>>),
}

impl Lowering<'_> {
    fn factor(&mut self, place: usize) -> Result<Factor, Error> {
        if let Value::Weights { node, at } = &self.values[place] {
            let node = *node as u32;
            return Ok(Factor::Fixed(at.iter().map(|&at| Coefficient::Weight { node, at }).collect()));
        }
        let elements = self.elements(place)?;
        let fixed: Option<Vec<Coefficient>> = elements
            .iter()
            .map(|e| match e.terms[..] {
                [] => Some(Coefficient::Constant(e.constant)),
                [term] if e.constant == 0 && term.factor == 1 => match term.source {
                    Source::Weight { node, at } => Some(Coefficient::Weight { node, at }),
                    Source::Element { .. } => None,
                },
                _ => None,
            })
            .collect();
        Ok(fixed.map_or(Factor::Computed(elements), Factor::Fixed))
    }

    fn expressions(factor: Factor) -> std::sync::Arc<Vec<Affine>> {
        match factor {
            Factor::Computed(elements) => elements,
            Factor::Fixed(coefficients) => std::sync::Arc::new(
                coefficients
                    .into_iter()
                    .map(|c| match c {
                        Coefficient::Weight { node, at } => Affine::of(Source::Weight { node, at }),
                        Coefficient::Constant(value) => Affine::constant(value),
                    })
                    .collect(),
            ),
        }
    }

    pub(super) fn matmul(&mut self, place: usize, left: usize, right: usize) -> Result<Value, Error> {
        let (a, b) = (self.fact(left).shape.clone(), self.fact(right).shape.clone());
        let rank = a.len();
        let (m, k, n) = (a[rank - 2], a[rank - 1], b[rank - 1]);
        let out = self.fact(place).shape[..rank - 2].to_vec();
        let (a_at, b_at) = (broadcast(&out, &a[..rank - 2]), broadcast(&out, &b[..rank - 2]));
        let x = self.factor(left)?;
        let w = self.factor(right)?;
        let bound = self.bound(left, right, k);
        match (x, w) {
            (x, Factor::Fixed(w)) if !matches!(x, Factor::Fixed(_)) || a_at.len() * m * k >= b_at.len() * n * k => {
                let x = Self::expressions(x);
                let read = |batch: usize, i: usize, c: usize| &x[(a_at[batch] * m + i) * k + c];
                let weight = |batch: usize, c: usize, j: usize| w[(b_at[batch] * k + c) * n + j];
                Ok(self.weighted(place, &b_at, (m, k, n), bound, read, weight, false))
            }
            (Factor::Fixed(w), x) => {
                // the same with both operands transposed
                let x = Self::expressions(x);
                let read = |batch: usize, j: usize, c: usize| &x[(b_at[batch] * k + c) * n + j];
                let weight = |batch: usize, c: usize, i: usize| w[(a_at[batch] * m + i) * k + c];
                Ok(self.weighted(place, &a_at, (n, k, m), bound, read, weight, true))
            }
            (x, w) => {
                let (x, w) = (Self::expressions(x), Self::expressions(w));
                let left = |batch: usize, i: usize, c: usize| x[(a_at[batch] * m + i) * k + c].clone();
                let right = |batch: usize, c: usize, j: usize| w[(b_at[batch] * k + c) * n + j].clone();
                let elements = self.multiplied(place, a_at.len(), (m, k, n), bound, left, right);
                Ok(self.as_value(elements))
            }
        }
    }

    fn bound(&self, left: usize, right: usize, count: usize) -> i64 {
        let product = self.fact(left).magnitude() * self.fact(right).magnitude() * count as i128;
        i64::try_from(product).unwrap_or(i64::MAX / 4)
    }

    /// y[b, i, j] = sum over c of x[b, i, c] * w[b, c, j], where batches that share their weights share a layer: the rows
    /// of all of them are the positions, the columns of w the channels.
    #[allow(clippy::too_many_arguments)]
    fn weighted<'x>(
        &mut self,
        place: usize,
        weights_of: &[usize],
        (m, k, n): (usize, usize, usize),
        bound: i64,
        read: impl Fn(usize, usize, usize) -> &'x Affine,
        weight: impl Fn(usize, usize, usize) -> Coefficient,
        transposed: bool,
    ) -> Value {
        let mut layers: BTreeMap<usize, Vec<usize>> = BTreeMap::new();
        for (batch, &weights) in weights_of.iter().enumerate() {
            layers.entry(weights).or_default().push(batch);
        }
        let (lo, hi) = self.interval(place);
        let mut elements = vec![Affine::default(); weights_of.len() * m * n];
        for batches in layers.values() {
            let plane = batches.len() * m;
            let out = self.make(plane * n, lo, hi);
            let mut parts = Vec::with_capacity(k);
            for c in 0..k {
                let run = batches.iter().enumerate().flat_map(|(b, &batch)| (0..m).map(move |i| (b, batch, i)));
                let run = run.map(|(b, batch, i)| (read(batch, i, c).clone(), (b * m + i) as u32)).collect();
                let taps = (0..n)
                    .map(|j| Tap { shift: 0, out: j as u32, coefficient: weight(batches[0], c, j) })
                    .filter(|tap| !matches!(tap.coefficient, Coefficient::Constant(0)))
                    .collect();
                parts.push(Part::Taps { run: Run { elements: run }, taps });
            }
            for (b, &batch) in batches.iter().enumerate() {
                for i in 0..m {
                    for j in 0..n {
                        let flat = if transposed { (batch * n + j) * m + i } else { (batch * m + i) * n + j };
                        let at = (j * plane + b * m + i) as u32;
                        elements[flat] = Affine::of(Source::Element { tensor: out, at });
                    }
                }
            }
            let positions = (0..plane as u32).collect();
            self.made.steps.push(Step::Linear(Linear { out, channels: n, plane, positions, bound, parts }));
        }
        self.as_value(elements)
    }

    /// The product of two computed matrices: with X_c = sum x[i, c] r^i and W_c = sum w[c, j] r^(j m) the sum of all X_c W_c
    /// has y[i, j] at the exponent j m + i. Batches are the channels.
    fn multiplied(
        &mut self,
        place: usize,
        batches: usize,
        (m, k, n): (usize, usize, usize),
        bound: i64,
        left: impl Fn(usize, usize, usize) -> Affine,
        right: impl Fn(usize, usize, usize) -> Affine,
    ) -> Vec<Affine> {
        let (lo, hi) = self.interval(place);
        let out = self.make(batches * m * n, lo, hi);
        let mut parts = Vec::with_capacity(batches * k);
        for batch in 0..batches {
            for c in 0..k {
                let x = (0..m).map(|i| (left(batch, i, c), i as u32)).collect();
                let w = (0..n).map(|j| (right(batch, c, j), (j * m) as u32)).collect();
                parts.push(Part::Product {
                    left: Run { elements: x },
                    right: Run { elements: w },
                    out: batch as u32,
                });
            }
        }
        let plane = m * n;
        self.made.steps.push(Step::Linear(Linear {
            out,
            channels: batches,
            plane,
            positions: (0..plane as u32).collect(),
            bound,
            parts,
        }));
        let at = |batch: usize, i: usize, j: usize| (batch * plane + j * m + i) as u32;
        let flat = (0..batches).flat_map(|b| (0..m).flat_map(move |i| (0..n).map(move |j| (b, i, j))));
        flat.map(|(b, i, j)| Affine::of(Source::Element { tensor: out, at: at(b, i, j) })).collect()
    }

    pub(super) fn conv2d(&mut self, place: usize, left: usize, right: usize, conv: &Conv2d) -> Result<Value, Error> {
        let geometry = Geometry::new(&self.fact(left).shape, &self.fact(right).shape, &self.fact(place).shape, conv);
        let bound = self.bound(left, right, geometry.channels * geometry.kernel[0] * geometry.kernel[1]);
        let x = self.elements(left)?;
        match self.factor(right)? {
            Factor::Fixed(w) => Ok(self.convolved(place, &geometry, bound, &x, &w)),
            Factor::Computed(w) => Ok(self.patched(place, &geometry, bound, &x, &w)),
        }
    }

    /// Without patches: the map as a polynomial with a row stride, times the kernel as one, for each phase of the stride.
    fn convolved(&mut self, place: usize, g: &Geometry, bound: i64, x: &[Affine], w: &[Coefficient]) -> Value {
        let (lo, hi) = self.interval(place);
        let spans = g.spans();
        let plane = g.images * spans.image;
        let positions: Vec<u32> = (0..g.images)
            .flat_map(|image| (0..g.out[0]).flat_map(move |y| (0..g.out[1]).map(move |x| (image, y, x))))
            .map(|(image, y, x)| (image * spans.image + spans.origin + y * spans.row + x) as u32)
            .collect();
        let out = self.make(g.outs * positions.len(), lo, hi);
        let mut parts = Vec::new();
        for channel in 0..g.groups * g.channels {
            for phase in &spans.phases {
                let elements: Vec<(Affine, u32)> = (0..g.images)
                    .flat_map(|image| phase.pixels.iter().map(move |p| (image, p)))
                    .map(|(image, &(y, x_at, exponent))| {
                        let flat = ((image * g.groups * g.channels + channel) * g.size[0] + y) * g.size[1] + x_at;
                        (x[flat].clone(), (image * spans.image) as u32 + exponent)
                    })
                    .filter(|(x, _)| x.constant != 0 || !x.terms.is_empty())
                    .collect();
                let group = channel / g.channels;
                let per_group = g.outs / g.groups;
                let mut taps = Vec::new();
                for o in group * per_group..(group + 1) * per_group {
                    for &(a, b, shift) in &phase.taps {
                        let kernel = (o * g.channels + channel % g.channels) * g.kernel[0] + a;
                        let coefficient = w[kernel * g.kernel[1] + b];
                        if !matches!(coefficient, Coefficient::Constant(0)) {
                            taps.push(Tap { shift, out: o as u32, coefficient });
                        }
                    }
                }
                if !elements.is_empty() && !taps.is_empty() {
                    parts.push(Part::Taps { run: Run { elements }, taps });
                }
            }
        }
        let count = positions.len();
        let per_image = g.out[0] * g.out[1];
        self.made.steps.push(Step::Linear(Linear { out, channels: g.outs, plane, positions, bound, parts }));
        let flat = (0..g.images).flat_map(|i| (0..g.outs).flat_map(move |o| (0..per_image).map(move |p| (i, o, p))));
        let at = |(i, o, p): (usize, usize, usize)| (o * count + i * per_image + p) as u32;
        self.as_value(flat.map(|t| Affine::of(Source::Element { tensor: out, at: at(t) })).collect())
    }

    /// A computed kernel: the matrix of patches times the matrix of kernels, for each group.
    fn patched(&mut self, place: usize, g: &Geometry, bound: i64, x: &[Affine], w: &[Affine]) -> Value {
        let per_group = g.outs / g.groups;
        let inner = g.channels * g.kernel[0] * g.kernel[1];
        let per_image = g.out[0] * g.out[1];
        let left = |group: usize, i: usize, c: usize| {
            let (image, p) = (i / per_image, i % per_image);
            let (channel, a, b) = (c / (g.kernel[0] * g.kernel[1]), c / g.kernel[1] % g.kernel[0], c % g.kernel[1]);
            let y = (p / g.out[1] * g.strides[0] + a * g.dilations[0]).checked_sub(g.pads[0]);
            let z = (p % g.out[1] * g.strides[1] + b * g.dilations[1]).checked_sub(g.pads[1]);
            match (y.filter(|&y| y < g.size[0]), z.filter(|&z| z < g.size[1])) {
                (Some(y), Some(z)) => {
                    let plane = image * g.groups * g.channels + group * g.channels + channel;
                    x[(plane * g.size[0] + y) * g.size[1] + z].clone()
                }
                _ => Affine::default(),
            }
        };
        let right = |group: usize, c: usize, j: usize| w[(group * per_group + j) * inner + c].clone();
        let m = g.images * per_image;
        let products = self.multiplied(place, g.groups, (m, inner, per_group), bound, left, right);
        let flat = (0..g.images).flat_map(|i| (0..g.outs).flat_map(move |o| (0..per_image).map(move |p| (i, o, p))));
        let at = |(i, o, p): (usize, usize, usize)| {
            let (group, j) = (o / per_group, o % per_group);
            (group * m + i * per_image + p) * per_group + j
        };
        self.as_value(flat.map(|t| products[at(t)].clone()).collect())
    }
}

/// Sizes of a convolution; rows first, then columns.
struct Geometry {
    images: usize,
    groups: usize,
    channels: usize,
    outs: usize,
    size: [usize; 2],
    out: [usize; 2],
    kernel: [usize; 2],
    strides: [usize; 2],
    pads: [usize; 2],
    dilations: [usize; 2],
}

/// How a convolution lies on a line of rows.
struct Spans {
    /// Rows of one image.
    image: usize,
    /// Rows from one line of the map to the next.
    row: usize,
    /// The row of the first result.
    origin: usize,
    phases: Vec<Phase>,
}

/// The pixels that one residue of the strides reads, and the taps that read them.
struct Phase {
    /// Line, column and exponent.
    pixels: Vec<(usize, usize, u32)>,
    /// Line and column of the kernel, and the rows that the tap moves by.
    taps: Vec<(usize, usize, u32)>,
}

impl Geometry {
    fn new(x: &[usize], w: &[usize], out: &[usize], conv: &Conv2d) -> Self {
        Self {
            images: x[0],
            groups: conv.groups,
            channels: w[1],
            outs: w[0],
            size: [x[2], x[3]],
            out: [out[2], out[3]],
            kernel: [w[2], w[3]],
            strides: conv.strides,
            pads: [conv.pads[0], conv.pads[1]],
            dilations: conv.dilations,
        }
    }

    /// A tap (a, b) reads line y s + a d of the padded map, that is line y + floor(a d / s) of the phase a d mod s. Two terms
    /// fall on the row of one result only if they belong to it, when a line of the map takes at least as many rows as
    /// both the last column present and the reach of the taps beyond the first column present.
    fn spans(&self) -> Spans {
        let at = |axis: usize, tap: usize| {
            let step = tap.saturating_mul(self.dilations[axis]);
            (step % self.strides[axis], step / self.strides[axis])
        };
        let reach = |axis: usize| (0..self.kernel[axis]).map(|tap| at(axis, tap).1).max().unwrap_or(0);
        let present = |axis: usize, pixel: usize| {
            let padded = pixel + self.pads[axis];
            (padded % self.strides[axis], padded / self.strides[axis])
        };
        // Pixels that no result reads are left out.
        let read = |axis: usize, place: usize| place <= self.out[axis] - 1 + reach(axis);
        let columns: Vec<usize> =
            (0..self.size[1]).map(|pixel| present(1, pixel).1).filter(|&place| read(1, place)).collect();
        let lines: Vec<usize> =
            (0..self.size[0]).map(|pixel| present(0, pixel).1).filter(|&place| read(0, place)).collect();
        let (first, last) = (columns.iter().min().copied().unwrap_or(0), columns.iter().max().copied().unwrap_or(0));
        let top = lines.iter().min().copied().unwrap_or(0);
        let bottom = lines.iter().max().copied().unwrap_or(0);
        // and as many as there are results in a line, so that each has a row of its own.
        let row = (last + 1).max((self.out[1] + reach(1)).saturating_sub(first)).max(self.out[1]);
        let longest = reach(0) * row + reach(1);
        // exponent of a pixel: (line - top) * row + column; of a tap: longest - its reach; so the result (0, 0) stands at
        // longest - top * row, where that may lie before the plane when it reads padding only: shift everything then.
        let shift = (top * row).saturating_sub(longest);
        let origin = longest + shift - top * row;
        let mut phases = Vec::new();
        for down in 0..self.strides[0].min(self.size[0] + self.pads[0]) {
            for right in 0..self.strides[1].min(self.size[1] + self.pads[1]) {
                let taps: Vec<(usize, usize, u32)> = (0..self.kernel[0])
                    .flat_map(|a| (0..self.kernel[1]).map(move |b| (a, b)))
                    .filter(|&(a, b)| at(0, a).0 == down && at(1, b).0 == right)
                    .map(|(a, b)| (a, b, (longest + shift - at(0, a).1 * row - at(1, b).1) as u32))
                    .collect();
                let pixels: Vec<(usize, usize, u32)> = (0..self.size[0])
                    .flat_map(|y| (0..self.size[1]).map(move |x| (y, x)))
                    .filter(|&(y, x)| present(0, y).0 == down && present(1, x).0 == right)
                    .map(|(y, x)| (y, x, present(0, y).1, present(1, x).1))
                    .filter(|&(_, _, line, column)| read(0, line) && read(1, column))
                    .map(|(y, x, line, column)| (y, x, ((line - top) * row + column) as u32))
                    .collect();
                if !taps.is_empty() && !pixels.is_empty() {
                    phases.push(Phase { pixels, taps });
                }
            }
        }
        let highest = longest + shift + (bottom - top) * row + last;
        let results = origin + (self.out[0] - 1) * row + self.out[1] - 1;
        Spans { image: highest.max(results) + 1, row, origin, phases }
    }
}
