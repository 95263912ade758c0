//! From the operations of an integer model to steps.

mod compare;
mod elementwise;
mod linear;
pub(crate) mod narrow;

use std::sync::Arc;

use balance_zkml_model::{Fact, Model, Op};

use crate::steps::{Affine, Chain, Function, Made, Source, Step, Steps};
use crate::Error;

/// What the look-ups of a circuit can hold.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Limits {
    /// Largest number of entries of one table.
    pub entries: i64,
    /// Bits of a limb of a range check; 2^limb entries are at most `entries`.
    pub limb: u32,
}

impl Limits {
    /// Whether quotients of [first, last] that nothing is done with have one table for `size` elements: one beyond a limb's,
    /// which is there anyway, has to be worth its columns.
    pub(crate) fn one_look_up(&self, first: i64, last: i64, size: usize) -> bool {
        let span = i128::from(last) - i128::from(first);
        let worth = (1i128 << self.limb).max(4 * size as i128);
        span < i128::from(self.entries) && (span < worth || !self.two_digits(first, last))
    }

    /// Whether a table holds what stands above a limb's digits.
    pub(crate) fn two_digits(&self, first: i64, last: i64) -> bool {
        (i128::from(last) - i128::from(first)) >> self.limb < i128::from(self.entries)
    }
}

/// What is known of a tensor while its readers are lowered.
#[derive(Clone, Debug)]
enum Value {
    Elements(Arc<Vec<Affine>>),
    /// Some elements of one tensor of weights.
    Weights {
        node: usize,
        at: Arc<Vec<u32>>,
    },
    /// A narrowing that may yet grow: chain(round(x / divisor)) of x in [lo, hi].
    Narrowing(Arc<Narrowing>),
}

#[derive(Clone, Debug)]
struct Narrowing {
    x: Vec<Affine>,
    lo: i64,
    hi: i64,
    divisor: i64,
    chain: Chain,
}

pub(crate) struct Lowering<'a> {
    model: &'a Model,
    limits: Limits,
    /// Whether inputs are hidden, so that the circuit itself has to keep them in their intervals.
    hidden: bool,
    values: Vec<Value>,
    /// How many nodes and outputs read each tensor.
    readers: Vec<usize>,
    /// Whether the layer that a tensor is the results of, if there is one, is read through this tensor alone.
    sole: Vec<bool>,
    /// About how many expressions an element of each tensor ends up in.
    spread: Vec<f64>,
    made: Steps,
}

/// Returns the model as steps, or why it has none under these limits.
pub fn lower(model: &Model, limits: Limits, hidden: bool) -> Result<Steps, Error> {
    let mut readers = vec![0; model.nodes.len()];
    for node in &model.nodes {
        for &input in &node.inputs {
            readers[input] += 1;
        }
    }
    for (_, tensor) in &model.outputs {
        readers[*tensor] += 1;
    }
    let spread = spreads(model);
    let mut lowering = Lowering {
        model,
        limits,
        hidden,
        values: Vec::with_capacity(model.nodes.len()),
        readers,
        sole: Vec::with_capacity(model.nodes.len()),
        spread,
        made: Steps::default(),
    };
    for place in 0..model.nodes.len() {
        let before = lowering.made.tensors.len();
        let value = lowering.node(place).map_err(|error| match error {
            Error::Unsupported(text) => {
                Error::Unsupported(format!("node {place} {}: {text}", model.nodes[place].op.name()))
            }
            Error::TooSmall(text) => {
                Error::TooSmall(format!("node {place} {}: {text}", model.nodes[place].op.name()))
            }
            other => other,
        })?;
        let sole = lowering.read_alone(place, &value, before);
        lowering.sole.push(sole);
        lowering.values.push(value);
    }
    for (_, tensor) in &model.outputs {
        let x = lowering.elements(*tensor)?.to_vec();
        let fact = &model.facts[*tensor];
        lowering.made.steps.push(Step::Output { x, lo: fact.lo as i64, hi: fact.hi as i64 });
    }
    Ok(lowering.made)
}

/// Into about how many expressions each element is copied if nothing on the way is made a cell.
fn spreads(model: &Model) -> Vec<f64> {
    let mut spread = vec![0.0f64; model.nodes.len()];
    for (_, tensor) in &model.outputs {
        spread[*tensor] += 1.0;
    }
    for place in (0..model.nodes.len()).rev() {
        let node = &model.nodes[place];
        let size = model.facts[place].size() as f64;
        for &input in &node.inputs {
            let own = model.facts[input].size() as f64;
            spread[input] += match &node.op {
                Op::Add | Op::Sub | Op::Wire(_) | Op::Mul => spread[place].max(1.0) * (size / own),
                Op::Sum { .. } => spread[place].max(1.0),
                Op::Divide | Op::Less => (size / own).max(1.0),
                _ => 1.0,
            };
        }
    }
    spread
}

impl Lowering<'_> {
    fn node(&mut self, place: usize) -> Result<Value, Error> {
        let node = &self.model.nodes[place];
        let inputs = &node.inputs;
        match &node.op {
            Op::Input { lo, hi, .. } => {
                let size = self.model.facts[place].size();
                let out = self.make(size, *lo, *hi);
                self.made.steps.push(Step::Input { out, node: place });
                if self.hidden {
                    self.in_range(&elements_of(out, size), *lo, *hi)?;
                }
                Ok(self.tensor(out, size))
            }
            Op::Constant { values: Some(values), .. } => {
                Ok(Value::Elements(Arc::new(values.iter().map(|&v| Affine::constant(v)).collect())))
            }
            Op::Constant { .. } => {
                let size = self.model.facts[place].size() as u32;
                Ok(Value::Weights { node: place, at: Arc::new((0..size).collect()) })
            }
            Op::Wire(wire) => self.wire(inputs, &wire.positions()),
            Op::Add => self.add(place, inputs[0], inputs[1], 1),
            Op::Sub => self.add(place, inputs[0], inputs[1], -1),
            Op::Mul => self.mul(place, inputs[0], inputs[1]),
            Op::Sum { axes } => self.sum(place, inputs[0], axes),
            Op::MatMul => self.matmul(place, inputs[0], inputs[1]),
            Op::Conv2d(conv) => self.conv2d(place, inputs[0], inputs[1], conv),
            Op::Rescale { divisor } => {
                let x = self.elements(inputs[0])?.to_vec();
                let (lo, hi) = self.interval(inputs[0]);
                Ok(Value::Narrowing(Arc::new(Narrowing { x, lo, hi, divisor: *divisor, chain: vec![] })))
            }
            Op::Clamp { lo, hi } => self.chained(inputs[0], Function::Clamp { lo: *lo, hi: *hi }),
            Op::Lookup { first, table } => {
                self.chained(inputs[0], Function::Table { first: *first, table: Arc::new(table.clone()) })
            }
            Op::Divide => self.divide(place, inputs[0], inputs[1]),
            Op::Less => self.less(place, inputs[0], inputs[1]),
            Op::Max { axes } => self.max(place, inputs[0], axes),
            Op::ArgMax { axis } => self.argmax(place, inputs[0], *axis),
        }
    }

    /// Whether a value's first element is of a layer that was made for it, or is read through one tensor after the other.
    fn read_alone(&self, place: usize, value: &Value, before: usize) -> bool {
        let elements = match value {
            Value::Elements(elements) => elements.as_slice(),
            Value::Narrowing(narrowing) => &narrowing.x,
            Value::Weights { .. } => return false,
        };
        let Some((tensor, _)) = elements.first().and_then(Affine::single) else { return false };
        let node = &self.model.nodes[place];
        let handed_on = |&input: &usize| self.readers[input] == 1 && self.sole[input];
        match &node.op {
            Op::MatMul | Op::Conv2d(_) | Op::Mul => tensor as usize >= before,
            Op::Rescale { .. } => handed_on(&node.inputs[0]),
            Op::Wire(_) => node.inputs.len() == 1 && handed_on(&node.inputs[0]),
            Op::Add => node.inputs.iter().any(handed_on),
            _ => false,
        }
    }

    /// Shows that hidden inputs are in [lo, hi], unless their rows look them up: x - lo >= 0 and hi - x >= 0, by limbs.
    fn in_range(&mut self, x: &[Affine], lo: i64, hi: i64) -> Result<(), Error> {
        let span = i128::from(hi) - i128::from(lo);
        if span < i128::from(self.limits.entries) {
            return Ok(());
        }
        let bits = 128 - span.leading_zeros();
        let from = |end: i64, sign: i64| {
            let end = Affine::constant(end);
            x.iter().map(|x| end.plus(x, -sign, sign)).collect::<Result<Vec<_>, Error>>()
        };
        self.made.steps.push(Step::Range { x: from(lo, 1)?, bits });
        self.made.steps.push(Step::Range { x: from(hi, -1)?, bits });
        Ok(())
    }

    /// A function of a tensor, taken together with a narrowing that nobody else reads.
    fn chained(&mut self, input: usize, function: Function) -> Result<Value, Error> {
        if self.readers[input] == 1 {
            if let Value::Narrowing(narrowing) = &self.values[input] {
                let mut grown = (**narrowing).clone();
                grown.chain.push(function);
                return Ok(Value::Narrowing(Arc::new(grown)));
            }
        }
        let x = self.elements(input)?.to_vec();
        let (lo, hi) = self.interval(input);
        Ok(Value::Narrowing(Arc::new(Narrowing { x, lo, hi, divisor: 1, chain: vec![function] })))
    }

    fn wire(&mut self, inputs: &[usize], positions: &[usize]) -> Result<Value, Error> {
        if let [input] = inputs[..] {
            match &self.values[input] {
                Value::Weights { node, at } => {
                    let at = positions.iter().map(|&p| at[p]).collect();
                    return Ok(Value::Weights { node: *node, at: Arc::new(at) });
                }
                Value::Narrowing(narrowing) if self.readers[input] == 1 && distinct(positions, narrowing.x.len()) => {
                    let mut moved = (**narrowing).clone();
                    moved.x = positions.iter().map(|&p| narrowing.x[p].clone()).collect();
                    return Ok(Value::Narrowing(Arc::new(moved)));
                }
                _ => {}
            }
        }
        let mut pool = Vec::new();
        for &input in inputs {
            pool.push(self.elements(input)?);
        }
        let flat: Vec<&Affine> = pool.iter().flat_map(|part| part.iter()).collect();
        Ok(Value::Elements(Arc::new(positions.iter().map(|&p| flat[p].clone()).collect())))
    }

    fn interval(&self, place: usize) -> (i64, i64) {
        let fact = &self.model.facts[place];
        (fact.lo as i64, fact.hi as i64)
    }

    fn fact(&self, place: usize) -> &Fact {
        &self.model.facts[place]
    }

    fn make(&mut self, size: usize, lo: i64, hi: i64) -> u32 {
        self.made.tensors.push(Made { size, lo, hi });
        self.made.tensors.len() as u32 - 1
    }

    fn tensor(&self, out: u32, size: usize) -> Value {
        Value::Elements(Arc::new(elements_of(out, size)))
    }

    /// The elements of a tensor as affine expressions; a narrowing is carried out.
    fn elements(&mut self, place: usize) -> Result<Arc<Vec<Affine>>, Error> {
        match self.values[place].clone() {
            Value::Elements(elements) => Ok(elements),
            Value::Weights { node, at } => {
                let node = node as u32;
                Ok(Arc::new(at.iter().map(|&at| Affine::of(Source::Weight { node, at })).collect()))
            }
            Value::Narrowing(narrowing) => {
                let narrowing = Arc::unwrap_or_clone(narrowing);
                let elements = Arc::new(self.narrow(narrowing)?);
                self.values[place] = Value::Elements(elements.clone());
                Ok(elements)
            }
        }
    }

    /// The expressions as cells of their own where that is cheaper than to repeat them wherever they are read.
    fn settled(&mut self, place: usize, x: Vec<Affine>) -> Result<Value, Error> {
        let terms: usize = x.iter().map(|e| e.terms.len()).sum();
        let spread = self.spread[place];
        let repeated = terms as f64 * spread;
        let once = terms as f64 + x.len() as f64 * (1.0 + spread);
        if repeated <= once * 1.5 {
            return Ok(Value::Elements(Arc::new(x)));
        }
        let (lo, hi) = self.interval(place);
        let elements = self.copy(x, lo, hi);
        Ok(Value::Elements(Arc::new(elements)))
    }

    fn copy(&mut self, x: Vec<Affine>, lo: i64, hi: i64) -> Vec<Affine> {
        let size = x.len();
        let out = self.make(size, lo, hi);
        self.made.steps.push(Step::Copy { out, x });
        elements_of(out, size)
    }
}

pub(crate) fn elements_of(out: u32, size: usize) -> Vec<Affine> {
    (0..size as u32).map(|at| Affine::of(Source::Element { tensor: out, at })).collect()
}

fn distinct(positions: &[usize], size: usize) -> bool {
    let mut seen = vec![false; size];
    positions.iter().all(|&p| !std::mem::replace(&mut seen[p], true))
}

/// The flat positions in a broadcast operand for each element of a result of equal rank.
pub(crate) fn broadcast(shape: &[usize], own: &[usize]) -> Vec<usize> {
    let mut strides = vec![0; own.len()];
    let mut stride = 1;
    for axis in (0..own.len()).rev() {
        strides[axis] = if own[axis] == 1 { 0 } else { stride };
        stride *= own[axis];
    }
    let mut positions = vec![0];
    for (axis, &count) in shape.iter().enumerate() {
        positions = positions
            .iter()
            .flat_map(|&p| (0..count).map(move |i| (p, i)))
            .map(|(p, i)| p + i * strides[axis])
            .collect();
    }
    positions
}

/// For each element of a reduced tensor the flat positions of what it is reduced from.
pub(crate) fn groups(shape: &[usize], axes: &[usize]) -> Vec<Vec<usize>> {
    let mut strides = vec![1; shape.len()];
    for axis in (0..shape.len().saturating_sub(1)).rev() {
        strides[axis] = strides[axis + 1] * shape[axis + 1];
    }
    let expand = |starts: Vec<usize>, reduced: bool| -> Vec<usize> {
        let mut positions = starts;
        for axis in 0..shape.len() {
            if axes.contains(&axis) == reduced {
                positions = positions
                    .iter()
                    .flat_map(|&p| (0..shape[axis]).map(move |i| (p, i)))
                    .map(|(p, i)| p + i * strides[axis])
                    .collect();
            }
        }
        positions
    };
    let inner = expand(vec![0], true);
    expand(vec![0], false).into_iter().map(|start| inner.iter().map(|&p| start + p).collect()).collect()
}
