//! Sums, differences, products and quotients, element by element.

use std::collections::BTreeMap;

use super::narrow::bits_for;
use super::{broadcast, groups, Lowering, Narrowing, Value};
use crate::steps::{Affine, Coefficient, Hint, Linear, Part, Run, Source, Step, Tap};
use crate::Error;

use std::sync::Arc;

impl Lowering<'_> {
    /// The elements of an operand, repeated to the shape of the result.
    fn spread_out(&mut self, place: usize, input: usize) -> Result<Vec<Affine>, Error> {
        let positions = broadcast(&self.fact(place).shape, &self.fact(input).shape);
        let elements = self.elements(input)?;
        Ok(positions.into_iter().map(|p| elements[p].clone()).collect())
    }

    /// The weights that an operand consists of, repeated to the shape of the result.
    fn weights_out(&self, place: usize, input: usize) -> Option<Vec<Source>> {
        let Value::Weights { node, at } = &self.values[input] else { return None };
        let positions = broadcast(&self.fact(place).shape, &self.fact(input).shape);
        Some(positions.into_iter().map(|p| Source::Weight { node: *node as u32, at: at[p] }).collect())
    }

    pub(super) fn add(&mut self, place: usize, left: usize, right: usize, factor: i64) -> Result<Value, Error> {
        if factor == 1 {
            for (layer, weights) in [(left, right), (right, left)] {
                if let Some(value) = self.biased(place, layer, weights)? {
                    return Ok(value);
                }
            }
        }
        let (x, y) = (self.spread_out(place, left)?, self.spread_out(place, right)?);
        let sum = super::narrow::sums(&x, &y, factor)?;
        self.settled(place, sum)
    }

    /// Weights added to the untouched results of a linear layer become part of the layer; so do those added to its
    /// rounded quotients, for round(x / d) + w = round((x + d w) / d).
    fn biased(&mut self, place: usize, layer: usize, weights: usize) -> Result<Option<Value>, Error> {
        if self.readers[layer] != 1 || !self.sole[layer] || self.fact(layer).shape != self.fact(place).shape {
            return Ok(None);
        }
        let Some(weights) = self.weights_out(place, weights) else { return Ok(None) };
        match self.values[layer].clone() {
            Value::Elements(elements) => {
                let ends = self.interval(place);
                Ok(self.joined(&elements, &weights, 1, ends).then_some(Value::Elements(elements)))
            }
            Value::Narrowing(narrowing) if narrowing.chain.is_empty() => {
                // The quotients and what they become are known to fit; with the divisor again they may not.
                let (lo, hi) = self.interval(place);
                let wide = |end: i64| end.checked_mul(narrowing.divisor).filter(|end| end.abs() < 1 << 61);
                let (Some(lo), Some(hi)) = (wide(lo), wide(hi)) else { return Ok(None) };
                // what is rounded to these
                let (lo, hi) = (lo - narrowing.divisor / 2, hi + (narrowing.divisor - 1) / 2);
                if !self.joined(&narrowing.x, &weights, narrowing.divisor, (lo, hi)) {
                    return Ok(None);
                }
                Ok(Some(Value::Narrowing(Arc::new(Narrowing { lo, hi, ..(*narrowing).clone() }))))
            }
            _ => Ok(None),
        }
    }

    /// Adds weights times a factor to the layer that these elements are the results of, if they are; the sums are in an
    /// interval.
    fn joined(&mut self, elements: &[Affine], weights: &[Source], factor: i64, (lo, hi): (i64, i64)) -> bool {
        let Some((tensor, _)) = elements.first().and_then(Affine::single) else { return false };
        let singles: Option<Vec<u32>> =
            elements.iter().map(|e| e.single().filter(|&(t, _)| t == tensor).map(|(_, at)| at)).collect();
        let Some(singles) = singles else { return false };
        let Some(step) = self.made.steps.iter().rposition(|step| matches!(step, Step::Linear(l) if l.out == tensor))
        else {
            return false;
        };
        let Step::Linear(linear) = &mut self.made.steps[step] else { return false };
        let count = linear.positions.len();
        let mut seen = vec![None; linear.channels * count];
        for (&at, &weight) in singles.iter().zip(weights) {
            if seen[at as usize].replace(weight).is_some() {
                return false;
            }
        }
        let coefficient = |source: Source| match source {
            Source::Weight { node, at } => Coefficient::Weight { node, at },
            Source::Element { .. } => Coefficient::Constant(0),
        };
        let uniform = seen.chunks(count).all(|channel| channel.iter().all(|w| w.is_some() && *w == channel[0]));
        linear.parts.push(if uniform && count > 1 {
            let coefficients = seen.iter().step_by(count).flatten().map(|&w| coefficient(w)).collect();
            Part::Bias { coefficients, factor }
        } else {
            let coefficients = seen
                .iter()
                .enumerate()
                .filter_map(|(i, w)| w.map(|w| ((i / count) as u32, (i % count) as u32, coefficient(w))))
                .collect();
            Part::Single { coefficients, factor }
        });
        linear.bound = linear.bound.saturating_add(lo.saturating_abs().max(hi.saturating_abs()));
        let made = &mut self.made.tensors[tensor as usize];
        (made.lo, made.hi) = (made.lo.min(lo), made.hi.max(hi));
        true
    }

    pub(super) fn mul(&mut self, place: usize, left: usize, right: usize) -> Result<Value, Error> {
        for (x, weights) in [(left, right), (right, left)] {
            let Some(weights) = self.weights_out(place, weights) else { continue };
            if !matches!(self.values[x], Value::Weights { .. }) {
                let x = self.spread_out(place, x)?;
                if let Some(value) = self.scaled_channels(place, &x, &weights) {
                    return Ok(value);
                }
            }
        }
        let (x, y) = (self.spread_out(place, left)?, self.spread_out(place, right)?);
        let factor = |e: &Affine| e.terms.is_empty().then_some(e.constant);
        let mut out: Vec<Affine> = Vec::with_capacity(x.len());
        let mut open = Vec::new();
        for (i, (x, y)) in x.iter().zip(&y).enumerate() {
            out.push(match (factor(x), factor(y)) {
                (_, Some(factor)) => x.scaled(factor)?,
                (Some(factor), _) => y.scaled(factor)?,
                _ => {
                    open.push(i);
                    Affine::default()
                }
            });
        }
        if !open.is_empty() {
            let (lo, hi) = self.interval(place);
            let u = open.iter().map(|&i| x[i].clone()).collect();
            let v = open.iter().map(|&i| y[i].clone()).collect();
            for (i, product) in open.into_iter().zip(self.product(u, v, lo, hi)) {
                out[i] = product;
            }
        }
        Ok(self.as_value(out))
    }

    /// Weights that each multiply equally many elements: a linear layer with one channel for each weight.
    fn scaled_channels(&mut self, place: usize, x: &[Affine], weights: &[Source]) -> Option<Value> {
        let mut channels: BTreeMap<Source, Vec<usize>> = BTreeMap::new();
        for (i, &weight) in weights.iter().enumerate() {
            channels.entry(weight).or_default().push(i);
        }
        let plane = channels.values().next()?.len();
        if channels.values().any(|members| members.len() != plane) {
            return None;
        }
        let (lo, hi) = self.interval(place);
        let out = self.make(x.len(), lo, hi);
        let mut elements = vec![Affine::default(); x.len()];
        let mut parts = Vec::new();
        for (channel, (weight, members)) in channels.iter().enumerate() {
            let Source::Weight { node, at } = *weight else { return None };
            let run = members.iter().enumerate().map(|(position, &i)| (x[i].clone(), position as u32)).collect();
            let coefficient = Coefficient::Weight { node, at };
            let taps = vec![Tap { shift: 0, out: channel as u32, coefficient }];
            parts.push(Part::Taps { run: Run { elements: run }, taps });
            for (position, &i) in members.iter().enumerate() {
                elements[i] = Affine::of(Source::Element { tensor: out, at: (channel * plane + position) as u32 });
            }
        }
        self.made.steps.push(Step::Linear(Linear {
            out,
            channels: channels.len(),
            plane,
            positions: (0..plane as u32).collect(),
            bound: lo.saturating_abs().max(hi.saturating_abs()),
            parts,
        }));
        Some(self.as_value(elements))
    }

    pub(super) fn sum(&mut self, place: usize, input: usize, axes: &[usize]) -> Result<Value, Error> {
        let x = self.elements(input)?;
        let sums: Result<Vec<Affine>, Error> = groups(&self.fact(input).shape, axes)
            .iter()
            .map(|group| Affine::total(group.iter().map(|&p| &x[p])))
            .collect();
        self.settled(place, sums?)
    }

    /// floor((2x + y) / (2y)): the quotient is given, and 2x + y - 2yq and 2y - 1 - that are shown not to be negative.
    pub(super) fn divide(&mut self, place: usize, left: usize, right: usize) -> Result<Value, Error> {
        let (least, most) = self.interval(right);
        let x = self.spread_out(place, left)?;
        if least == most {
            let (lo, hi) = self.interval(left);
            return Ok(Value::Narrowing(Arc::new(Narrowing { x, lo, hi, divisor: least, chain: vec![] })));
        }
        let y = self.spread_out(place, right)?;
        let (lo, hi) = self.interval(place);
        let q = self.hinted(Hint::Rounded, x.clone(), y.clone(), lo, hi)?;
        let (a, b) = (i128::from(lo), i128::from(hi));
        let bound = a.abs().max(b.abs()) * i128::from(most);
        let bound = i64::try_from(bound).unwrap_or(i64::MAX);
        let product = self.product(y.clone(), q.clone(), -bound, bound);
        let mut below = Vec::with_capacity(x.len());
        let mut above = Vec::with_capacity(x.len());
        for ((x, y), product) in x.iter().zip(&y).zip(&product) {
            let r = x.plus(product, 2, -2)?.plus(y, 1, 1)?;
            let mut rest = y.plus(&r, 2, -1)?;
            rest.constant = rest.constant.checked_sub(1).ok_or_else(Error::too_wide)?;
            below.push(r);
            above.push(rest);
        }
        let bits = bits_for(2 * i128::from(most));
        self.range(below, bits);
        self.range(above, bits);
        Ok(self.as_value(q))
    }
}
