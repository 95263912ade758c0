//! The integer model and its canonical structure.

use std::collections::HashSet;

use sha2::{Digest, Sha256};

use crate::codec::Reader;
use crate::fact::{Fact, MAX_TOTAL};
use crate::natural::Natural;
use crate::op::Op;
use crate::rules;
use crate::Error;

/// Largest number of nodes of a model.
pub const MAX_NODES: usize = 1 << 16;
/// Largest number of operands of a node.
pub const MAX_OPERANDS: usize = 1 << 12;
/// Longest name of an input or output, in bytes of UTF-8.
pub const MAX_NAME: usize = 256;
/// Largest encoded model, in bytes.
pub const MAX_BYTES: usize = 1 << 27;
const CODES: usize = 16;

/// One operation on the tensors of earlier nodes; node i makes tensor i.
#[derive(Clone, Debug)]
pub struct Node {
    pub op: Op,
    /// The places of the operands, all smaller than the node's own.
    pub inputs: Vec<usize>,
    /// Numerator and denominator, positive and in lowest terms: metadata that no operation reads.
    pub scale: (Natural, Natural),
    /// Metadata too; beyond `i128` saturated.
    pub zero_point: i128,
}

/// An admissible integer model without its weights.
#[derive(Clone, Debug)]
pub struct Model {
    pub nodes: Vec<Node>,
    /// Names and tensors of the results.
    pub outputs: Vec<(String, usize)>,
    /// Shape and interval of each tensor.
    pub facts: Vec<Fact>,
}

impl Model {
    /// The places of the tensors that the caller gives, in order.
    pub fn input_nodes(&self) -> impl Iterator<Item = usize> + '_ {
        self.places(|op| matches!(op, Op::Input { .. }))
    }

    /// The places of the constants whose integers are kept apart, in order.
    pub fn weight_nodes(&self) -> impl Iterator<Item = usize> + '_ {
        self.places(Op::is_weight)
    }

    fn places(&self, wanted: impl Fn(&Op) -> bool) -> impl Iterator<Item = usize> {
        let places = self.nodes.iter().enumerate().filter(|(_, node)| wanted(&node.op));
        places.map(|(place, _)| place).collect::<Vec<_>>().into_iter()
    }

    fn push(&mut self, node: Node, left: &mut usize) -> Result<(), Error> {
        let operands: Vec<&Fact> = node.inputs.iter().map(|&i| &self.facts[i]).collect();
        let squared = node.inputs.len() == 2 && node.inputs[0] == node.inputs[1];
        let fact =
            rules::fact(&node.op, &operands, squared).map_err(|error| error.at(self.nodes.len(), node.op.name()))?;
        *left = left
            .checked_sub(fact.size())
            .ok_or_else(|| Error::new(format!("the tensors of the model hold more than {MAX_TOTAL} elements")))?;
        self.nodes.push(node);
        self.facts.push(fact);
        Ok(())
    }

    fn check_names(&self) -> Result<(), Error> {
        let inputs = self.nodes.iter().filter_map(|node| match &node.op {
            Op::Input { label, .. } => Some(label.as_str()),
            _ => None,
        });
        let outputs = self.outputs.iter().map(|(name, _)| name.as_str());
        if !distinct(inputs) || !distinct(outputs) {
            return Err(Error::new("the names of inputs or outputs are not distinct names"));
        }
        Ok(())
    }
}

fn distinct<'a>(names: impl Iterator<Item = &'a str>) -> bool {
    let mut seen = HashSet::new();
    names.into_iter().all(|name| !name.is_empty() && seen.insert(name))
}

/// Reads a structure from untrusted bytes; refuses all that is not the canonical encoding of an admissible model.
///
/// Memory is at most about nine times the number of bytes and 32 MiB for nodes; it never grows with announced sizes.
pub fn read_structure(data: &[u8]) -> Result<Model, Error> {
    if data.len() > MAX_BYTES {
        return Err(Error::new(format!("a structure of {} bytes exceeds the {MAX_BYTES} allowed", data.len())));
    }
    let mut source = Reader::new(data, "integer model structure");
    let mut model = Model { nodes: Vec::new(), outputs: Vec::new(), facts: Vec::new() };
    let mut left = MAX_TOTAL;
    let count = source.count(MAX_NODES)?;
    if count == 0 {
        return Err(source.fail("a model has at least one node"));
    }
    for place in 0..count {
        let node = read_node(&mut source, place)?;
        model.push(node, &mut left)?;
    }
    for _ in 0..source.count(MAX_NODES)? {
        let name = source.text(MAX_NAME)?;
        model.outputs.push((name, source.uint(count - 1)?));
    }
    source.end()?;
    if model.outputs.is_empty() {
        return Err(Error::new("a model has at least one output"));
    }
    model.check_names()?;
    Ok(model)
}

fn read_node(source: &mut Reader, place: usize) -> Result<Node, Error> {
    let code = source.uint(CODES - 1)?;
    let inputs = source
        .uints(MAX_OPERANDS)?
        .into_iter()
        .map(|step| usize::try_from(step).ok().filter(|&step| step > 0).and_then(|step| place.checked_sub(step)))
        .collect::<Option<Vec<_>>>()
        .ok_or_else(|| source.fail(format!("node {place} reads a tensor that is not made before it")))?;
    let scale = (source.natural()?, source.natural()?);
    if scale.0.is_zero() || scale.1.is_zero() || !scale.0.is_coprime(scale.1) {
        return Err(source.fail("a scale is not a positive fraction in lowest terms"));
    }
    let zero_point = source.sint()?;
    Ok(Node { op: Op::read(code, source)?, inputs, scale, zero_point })
}

/// The digest that names a structure: SHA-256 over "balance", the domain and the bytes, each preceded by its length.
pub fn structure_digest(structure: &[u8]) -> [u8; 32] {
    let mut state = Sha256::new();
    for part in [&b"balance"[..], b"integer-model/structure/1", structure] {
        state.update((part.len() as u64).to_be_bytes());
        state.update(part);
    }
    state.finalize().into()
}
