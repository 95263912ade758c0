//! Exact execution on one sample.
//!
//! Operands lie in their intervals, because inputs, weights and every result are checked, and on such operands no
//! intermediate of an admissible model leaves 62 bits: so the arithmetic on `i64` below cannot wrap around.

use std::borrow::Cow;

use rayon::prelude::*;

use crate::fact::Fact;
use crate::op::{Conv2d, Op};
use crate::wire::Wire;
use crate::{Error, Model};

/// Returns every tensor, row-major; `weights` is as `read_weights` returns it, `inputs` in the order of the input nodes.
///
/// Refuses weights and inputs of another number or outside their intervals.
pub fn execute(model: &Model, weights: &[Option<Vec<i64>>], inputs: &[Vec<i64>]) -> Result<Vec<Vec<i64>>, Error> {
    let mut given = inputs.iter();
    let mut tensors: Vec<Vec<i64>> = Vec::with_capacity(model.nodes.len());
    for (place, node) in model.nodes.iter().enumerate() {
        let fact = &model.facts[place];
        let operands: Vec<Operand> =
            node.inputs.iter().map(|&i| Operand { fact: &model.facts[i], values: &tensors[i] }).collect();
        let tensor = match &node.op {
            Op::Input { label, .. } => {
                given.next().cloned().ok_or_else(|| Error::new(format!("input {label} is missing")))?
            }
            Op::Constant { values: Some(values), .. } => values.clone(),
            Op::Constant { values: None, .. } => weights
                .get(place)
                .and_then(Clone::clone)
                .ok_or_else(|| Error::new(format!("the weights of node {place} are missing")))?,
            op => apply(op, &operands, fact),
        };
        if tensor.len() != fact.size() || !tensor.iter().all(|&value| fact.holds(value)) {
            let reason = format!("{} values are not {} in [{}, {}]", tensor.len(), fact.size(), fact.lo, fact.hi);
            return Err(Error::new(reason).at(place, node.op.name()));
        }
        tensors.push(tensor);
    }
    match given.next() {
        None => Ok(tensors),
        Some(_) => Err(Error::new(format!("{} inputs were given, more than the model takes", inputs.len()))),
    }
}

struct Operand<'a> {
    fact: &'a Fact,
    values: &'a [i64],
}

fn apply(op: &Op, operands: &[Operand], fact: &Fact) -> Vec<i64> {
    let pairs = |function: fn(i64, i64) -> i64| pairwise(function, operands, fact);
    let each = |function: &dyn Fn(i64) -> i64| operands[0].values.iter().map(|&x| function(x)).collect();
    match op {
        Op::Input { .. } | Op::Constant { .. } => Vec::new(), // given, never computed
        Op::Wire(wire) => rewire(wire, operands),
        Op::Add => pairs(|x, y| x + y),
        Op::Sub => pairs(|x, y| x - y),
        Op::Mul => pairs(|x, y| x * y),
        Op::Divide => pairs(|x, y| (2 * x + y).div_euclid(2 * y)),
        Op::Less => pairs(|x, y| i64::from(x < y)),
        Op::Sum { .. } => reduce(&operands[0], fact, 0, |sum, x| sum + x),
        Op::Max { .. } => reduce(&operands[0], fact, i64::MIN, i64::max),
        Op::ArgMax { axis } => first_largest(&operands[0], *axis),
        Op::MatMul => multiply(&operands[0], &operands[1], fact),
        Op::Conv2d(conv) => convolve(conv, &operands[0], &operands[1], fact),
        // A shift rounds down, as the formula does.
        Op::Rescale { divisor: d } if d & (d - 1) == 0 => each(&|x| (x + (d >> 1)) >> d.trailing_zeros()),
        Op::Rescale { divisor: d } => each(&|x| (2 * x + d).div_euclid(2 * d)),
        Op::Clamp { lo, hi } => each(&|x| x.max(*lo).min(*hi)),
        Op::Lookup { first, table } => each(&|x| table[(x - first) as usize]),
    }
}

fn rewire(wire: &Wire, operands: &[Operand]) -> Vec<i64> {
    let pool = match operands {
        [only] => Cow::Borrowed(only.values),
        all => Cow::Owned(all.iter().flat_map(|x| x.values).copied().collect()),
    };
    if wire.is_reshape() {
        let size = wire.shape.iter().product();
        return pool[..size].to_vec();
    }
    wire.positions().into_iter().map(|at| pool[at]).collect()
}

/// Steps in a flat array for each axis of a broadcast result: 0 where the operand repeats.
fn steps(shape: &[usize]) -> Vec<usize> {
    let mut unit = 1;
    let mut steps = vec![0; shape.len()];
    for (step, &axis) in steps.iter_mut().zip(shape).rev() {
        *step = if axis == 1 { 0 } else { unit };
        unit *= axis;
    }
    steps
}

/// The offsets of two operands for each index over `axes`, in row-major order.
fn offsets<'a>(axes: &'a [usize], x: &'a [usize], y: &'a [usize]) -> impl Iterator<Item = (usize, usize)> + 'a {
    let mut at = vec![0; axes.len()];
    let (mut left, mut right) = (0, 0);
    let count = axes.iter().product();
    (0..count).map(move |_| {
        let now = (left, right);
        for axis in (0..axes.len()).rev() {
            at[axis] += 1;
            left += x[axis];
            right += y[axis];
            if at[axis] < axes[axis] {
                break;
            }
            left -= x[axis] * axes[axis];
            right -= y[axis] * axes[axis];
            at[axis] = 0;
        }
        now
    })
}

fn pairwise(function: fn(i64, i64) -> i64, operands: &[Operand], fact: &Fact) -> Vec<i64> {
    let (x, y) = (&operands[0], &operands[1]);
    if x.fact.shape == y.fact.shape {
        return x.values.iter().zip(y.values).map(|(&x, &y)| function(x, y)).collect();
    }
    let (left, right) = (steps(&x.fact.shape), steps(&y.fact.shape));
    offsets(&fact.shape, &left, &right).map(|(i, j)| function(x.values[i], y.values[j])).collect()
}

fn reduce(x: &Operand, fact: &Fact, start: i64, join: fn(i64, i64) -> i64) -> Vec<i64> {
    let mut result = vec![start; fact.size()];
    let to = steps(&fact.shape); // 0 for the reduced axes, which have size 1
    for (&value, (at, _)) in x.values.iter().zip(offsets(&x.fact.shape, &to, &to)) {
        result[at] = join(result[at], value);
    }
    result
}

fn first_largest(x: &Operand, axis: usize) -> Vec<i64> {
    let (count, inner) = (x.fact.shape[axis], x.fact.shape[axis + 1..].iter().product::<usize>());
    let blocks = x.values.chunks_exact(count * inner);
    let first = |block: &[i64], column: usize| {
        let best =
            (1..count).fold(
                0,
                |best, i| {
                    if block[i * inner + column] > block[best * inner + column] {
                        i
                    } else {
                        best
                    }
                },
            );
        best as i64
    };
    blocks.flat_map(|block| (0..inner).map(move |column| first(block, column))).collect()
}

fn multiply(x: &Operand, y: &Operand, fact: &Fact) -> Vec<i64> {
    let rank = fact.shape.len();
    let (rows, depth, columns) = (x.fact.shape[rank - 2], x.fact.shape[rank - 1], y.fact.shape[rank - 1]);
    let batch = &fact.shape[..rank - 2];
    let (left, right) = (steps(&x.fact.shape[..rank - 2]), steps(&y.fact.shape[..rank - 2]));
    let mut result = vec![0; fact.size()];
    let pairs: Vec<_> = offsets(batch, &left, &right).collect();
    // One task for each row of the result; a row is a sum of rows of y, so that memory is read in order.
    result.par_chunks_mut(columns).enumerate().with_min_len(1 + (1 << 14) / (depth * columns)).for_each(
        |(at, row)| {
            let (i, j) = pairs[at / rows];
            let xs = &x.values[(i * rows + at % rows) * depth..][..depth];
            let ys = y.values[j * depth * columns..].chunks_exact(columns);
            for (&factor, terms) in xs.iter().zip(ys).filter(|(&factor, _)| factor != 0) {
                row.iter_mut().zip(terms).for_each(|(sum, &term)| *sum += factor * term);
            }
        },
    );
    result
}

fn convolve(conv: &Conv2d, x: &Operand, w: &Operand, fact: &Fact) -> Vec<i64> {
    let [_, channels, height, width] = axes(x.fact);
    let [outputs, depth, kh, kw] = axes(w.fact);
    let [_, _, rows, columns] = axes(fact);
    let [top, left, ..] = conv.pads;
    let mut result = vec![0; fact.size()];
    // One task for each plane (sample n, output o); each adds shifted and strided image rows times one weight.
    result.par_chunks_mut(rows * columns).enumerate().for_each(|(plane, sums)| {
        let (n, o) = (plane / outputs, plane % outputs);
        let group = o / (outputs / conv.groups);
        for tap in 0..depth * kh * kw {
            let (c, a, b) = (tap / (kh * kw), tap / kw % kh, tap % kw);
            let weight = w.values[o * depth * kh * kw + tap];
            if weight == 0 {
                continue;
            }
            let image = &x.values[(n * channels + group * depth + c) * height * width..][..height * width];
            let (down, across) = (a * conv.dilations[0], b * conv.dilations[1]);
            let (from, to) = inside(columns, across, left, conv.strides[1], width);
            if from == to {
                continue;
            }
            let first = from * conv.strides[1] + across - left;
            for i in 0..rows {
                let Some(line) = (i * conv.strides[0] + down).checked_sub(top).filter(|&line| line < height) else {
                    continue;
                };
                let values = image[line * width..][first..width].iter().step_by(conv.strides[1]);
                sums[i * columns..][from..to].iter_mut().zip(values).for_each(|(sum, &value)| *sum += weight * value);
            }
        }
    });
    result
}

/// The positions j of a result's row at which j * stride + across - left stands in an image's row.
fn inside(columns: usize, across: usize, left: usize, stride: usize, width: usize) -> (usize, usize) {
    let from = left.saturating_sub(across).div_ceil(stride).min(columns);
    let end = (width + left).saturating_sub(across).div_ceil(stride).min(columns);
    (from, end.max(from))
}

fn axes(fact: &Fact) -> [usize; 4] {
    [fact.shape[0], fact.shape[1], fact.shape[2], fact.shape[3]]
}
