//! The rules of each operation: the shape of its result, a bound of its intermediates, the interval of its result.

use crate::fact::{check_interval, checked_shape, Fact, SAFE};
use crate::op::{Conv2d, Op};
use crate::wire::Wire;
use crate::Error;

/// Applies an operation's rules and the general limits.
///
/// `squared` says that both operands are the same tensor. Order matters: the bound of the intermediates is checked
/// before the interval is computed, so that interval arithmetic on operands within 62 bits fits `i128`.
pub(crate) fn fact(op: &Op, operands: &[&Fact], squared: bool) -> Result<Fact, Error> {
    let arity = match op {
        Op::Input { .. } | Op::Constant { .. } => Some(0),
        Op::Wire(_) => None,
        Op::Sum { .. }
        | Op::Rescale { .. }
        | Op::Clamp { .. }
        | Op::Lookup { .. }
        | Op::Max { .. }
        | Op::ArgMax { .. } => Some(1),
        Op::Add | Op::Sub | Op::Mul | Op::MatMul | Op::Conv2d(_) | Op::Divide | Op::Less => Some(2),
    };
    if arity.is_some_and(|arity| arity != operands.len()) || operands.is_empty() && arity.is_none() {
        return Err(Error::new(format!("it has {} operands", operands.len())));
    }
    let shape = shape(op, operands)?;
    checked_shape(&shape.iter().map(|&axis| axis as i128).collect::<Vec<_>>())?;
    if peak(op, operands).is_none_or(|peak| peak > SAFE) {
        return Err(Error::new("intermediates may leave the safe width of 62 bits"));
    }
    let (lo, hi) = interval(op, operands, squared)?;
    check_interval(lo, hi)?;
    Ok(Fact { shape, lo, hi })
}

fn shape(op: &Op, operands: &[&Fact]) -> Result<Vec<usize>, Error> {
    match op {
        Op::Input { shape, .. } | Op::Constant { shape, values: None, .. } => Ok(shape.clone()),
        Op::Constant { shape, lo, hi, values: Some(values) } => {
            check_listed(shape, *lo, *hi, values)?;
            Ok(shape.clone())
        }
        Op::Wire(wire) => {
            check_wire(wire, operands)?;
            Ok(wire.shape.clone())
        }
        Op::Add | Op::Sub | Op::Mul | Op::Divide | Op::Less => broadcast(&operands[0].shape, &operands[1].shape),
        Op::Sum { axes } | Op::Max { axes } => reduced(axes, operands[0]),
        Op::ArgMax { axis } => reduced(&[*axis], operands[0]),
        Op::MatMul => product_shape(&operands[0].shape, &operands[1].shape),
        Op::Conv2d(conv) => image_shape(conv, &operands[0].shape, &operands[1].shape),
        Op::Rescale { divisor } if *divisor < 1 => Err(Error::new(format!("the divisor {divisor} is not positive"))),
        Op::Clamp { lo, hi } if lo > hi => Err(Error::new(format!("clamp to the empty interval [{lo}, {hi}]"))),
        Op::Lookup { first, table } => {
            let (x, first) = (operands[0], i128::from(*first));
            if x.lo < first || x.hi >= first + table.len() as i128 {
                let count = table.len();
                let (lo, hi) = (x.lo, x.hi);
                return Err(Error::new(format!("values in [{lo}, {hi}] do not fit a table of {count} from {first}")));
            }
            Ok(x.shape.clone())
        }
        Op::Rescale { .. } | Op::Clamp { .. } => Ok(operands[0].shape.clone()),
    }
}

fn check_listed(shape: &[usize], lo: i64, hi: i64, values: &[i64]) -> Result<(), Error> {
    if shape.iter().product::<usize>() != values.len() {
        return Err(Error::new(format!("{} integers do not fill the shape {shape:?}", values.len())));
    }
    if values.iter().min() != Some(&lo) || values.iter().max() != Some(&hi) {
        return Err(Error::new("the interval of a listed constant is not that of its integers"));
    }
    Ok(())
}

fn check_wire(wire: &Wire, operands: &[&Fact]) -> Result<(), Error> {
    let extent = wire.extent();
    let (size, least, greatest) = extent.ok_or_else(|| Error::new("a wire reads far beyond every pool"))?;
    if size != wire.shape.iter().product::<usize>() as i128 {
        return Err(Error::new(format!("a wire of {size} elements does not fill the shape {:?}", wire.shape)));
    }
    let pool: i128 = operands.iter().map(|x| x.size() as i128).sum();
    if least < 0 || greatest >= pool {
        return Err(Error::new(format!("a wire reads elements {least} to {greatest} of {pool}")));
    }
    Ok(())
}

fn broadcast(x: &[usize], y: &[usize]) -> Result<Vec<usize>, Error> {
    let fits = x.len() == y.len() && x.iter().zip(y).all(|(&m, &n)| m == n || m == 1 || n == 1);
    if !fits {
        return Err(Error::new(format!("shapes {x:?} and {y:?} do not broadcast")));
    }
    Ok(x.iter().zip(y).map(|(&m, &n)| m.max(n)).collect())
}

fn reduced(axes: &[usize], x: &Fact) -> Result<Vec<usize>, Error> {
    let rank = x.shape.len();
    let rising = axes.windows(2).all(|pair| pair[0] < pair[1]);
    if !rising || axes.last().is_none_or(|&axis| axis >= rank) {
        return Err(Error::new(format!("axes {axes:?} are not rising axes of a tensor of rank {rank}")));
    }
    let mut shape = x.shape.clone();
    for &axis in axes {
        shape[axis] = 1;
    }
    Ok(shape)
}

fn product_shape(x: &[usize], y: &[usize]) -> Result<Vec<usize>, Error> {
    if x.len() < 2 || y.len() < 2 || x[x.len() - 1] != y[y.len() - 2] {
        return Err(Error::new(format!("matrices of shapes {x:?} and {y:?} do not multiply")));
    }
    let mut shape = broadcast(&x[..x.len() - 2], &y[..y.len() - 2])?;
    shape.extend([x[x.len() - 2], y[y.len() - 1]]);
    Ok(shape)
}

fn image_shape(conv: &Conv2d, x: &[usize], w: &[usize]) -> Result<Vec<usize>, Error> {
    if x.len() != 4 || w.len() != 4 {
        return Err(Error::new(format!("conv2d takes tensors of rank 4, not {x:?} and {w:?}")));
    }
    let groups = conv.groups;
    if groups.checked_mul(w[1]) != Some(x[1]) || w[0] % groups != 0 {
        return Err(Error::new(format!(
            "kernels of shape {w:?} in {groups} groups do not fit images of shape {x:?}"
        )));
    }
    let mut shape = vec![x[0], w[0]];
    for axis in 0..2 {
        let padded = x[2 + axis] + conv.pads[axis] + conv.pads[axis + 2];
        let span =
            (w[2 + axis] - 1).checked_mul(conv.dilations[axis]).and_then(|reach| (padded - 1).checked_sub(reach));
        let span =
            span.ok_or_else(|| Error::new(format!("kernels of shape {w:?} are larger than the padded image {x:?}")))?;
        shape.push(span / conv.strides[axis] + 1);
    }
    Ok(shape)
}

/// Bounds every intermediate of an operation on `i64`; None where the bound itself is beyond `i128`. Operands are within
/// 62 bits, so that two of them multiply.
fn peak(op: &Op, operands: &[&Fact]) -> Option<i128> {
    let magnitude = |i: usize| operands[i].magnitude();
    match op {
        Op::Input { .. } | Op::Constant { .. } => Some(0),
        Op::Wire(_) => operands.iter().map(|x| x.magnitude()).max(),
        Op::Add | Op::Sub | Op::Less => Some(magnitude(0) + magnitude(1)),
        Op::Mul => Some(magnitude(0) * magnitude(1)),
        Op::Sum { axes } => magnitude(0).checked_mul(reduced_count(axes, operands[0])),
        Op::MatMul | Op::Conv2d(_) => {
            magnitude(0).checked_mul(magnitude(1))?.checked_mul(terms(op, operands[0], operands[1]))
        }
        Op::Rescale { divisor } => Some(2 * (magnitude(0) + i128::from(*divisor))),
        Op::Divide => Some(2 * (magnitude(0) + magnitude(1))),
        Op::Clamp { lo, hi } => Some(magnitude(0).max(i128::from(*lo).abs()).max(i128::from(*hi).abs())),
        Op::Lookup { first, table } => {
            let entry = table.iter().map(|entry| i128::from(*entry).abs()).max()?;
            Some((magnitude(0) + i128::from(*first).abs()).max(entry))
        }
        Op::Max { .. } | Op::ArgMax { .. } => Some(magnitude(0)),
    }
}

fn reduced_count(axes: &[usize], x: &Fact) -> i128 {
    axes.iter().map(|&axis| x.shape[axis] as i128).product()
}

/// The number of products that one element of a linear layer's result is the sum of.
fn terms(op: &Op, x: &Fact, w: &Fact) -> i128 {
    match op {
        Op::MatMul => x.shape[x.shape.len() - 1] as i128,
        _ => w.shape[1..].iter().product::<usize>() as i128,
    }
}

fn interval(op: &Op, operands: &[&Fact], squared: bool) -> Result<(i128, i128), Error> {
    Ok(match op {
        Op::Input { lo, hi, .. } | Op::Constant { lo, hi, .. } => (i128::from(*lo), i128::from(*hi)),
        Op::Wire(_) => join(operands.iter().flat_map(|x| [x.lo, x.hi])),
        Op::Add => (operands[0].lo + operands[1].lo, operands[0].hi + operands[1].hi),
        Op::Sub => (operands[0].lo - operands[1].hi, operands[0].hi - operands[1].lo),
        Op::Mul if squared => {
            let x = operands[0];
            let least = if x.lo <= 0 && 0 <= x.hi { 0 } else { (x.lo * x.lo).min(x.hi * x.hi) };
            (least, x.magnitude() * x.magnitude())
        }
        Op::Mul => products(operands[0], operands[1]),
        Op::Sum { axes } => {
            let count = reduced_count(axes, operands[0]);
            (count * operands[0].lo, count * operands[0].hi)
        }
        Op::MatMul | Op::Conv2d(_) => {
            let (mut low, mut high) = products(operands[0], operands[1]);
            if matches!(op, Op::Conv2d(conv) if conv.pads != [0; 4]) {
                (low, high) = (low.min(0), high.max(0));
            }
            let count = terms(op, operands[0], operands[1]);
            (low * count, high * count)
        }
        Op::Rescale { divisor } => {
            let divisor = i128::from(*divisor);
            let rescaled = |x: i128| (2 * x + divisor).div_euclid(2 * divisor);
            (rescaled(operands[0].lo), rescaled(operands[0].hi))
        }
        Op::Divide => {
            let (x, y) = (operands[0], operands[1]);
            if y.lo < 1 {
                return Err(Error::new(format!("the divisor may be {}, which is not positive", y.lo)));
            }
            let divided = |a: i128, b: i128| (2 * a + b).div_euclid(2 * b);
            join([divided(x.lo, y.lo), divided(x.lo, y.hi), divided(x.hi, y.lo), divided(x.hi, y.hi)])
        }
        Op::Clamp { lo, hi } => {
            let clamped = |x: i128| x.max(i128::from(*lo)).min(i128::from(*hi));
            (clamped(operands[0].lo), clamped(operands[0].hi))
        }
        Op::Lookup { first, table } => {
            let first = i128::from(*first);
            let (from, to) = ((operands[0].lo - first) as usize, (operands[0].hi - first) as usize);
            join(table[from..=to].iter().map(|&entry| i128::from(entry)))
        }
        Op::Less => (i128::from(operands[0].hi < operands[1].lo), i128::from(operands[0].lo < operands[1].hi)),
        Op::Max { .. } => (operands[0].lo, operands[0].hi),
        Op::ArgMax { axis } => (0, operands[0].shape[*axis] as i128 - 1),
    })
}

/// The four products of ends, each within 2^124.
fn products(x: &Fact, y: &Fact) -> (i128, i128) {
    join([x.lo * y.lo, x.lo * y.hi, x.hi * y.lo, x.hi * y.hi])
}

/// The least and the greatest; never called with nothing.
fn join(values: impl IntoIterator<Item = i128>) -> (i128, i128) {
    values.into_iter().fold((i128::MAX, i128::MIN), |(least, most), value| (least.min(value), most.max(value)))
}
