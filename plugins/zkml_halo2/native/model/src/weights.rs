//! The weights: integers kept apart from the structure, as offsets from the least declared value.

use crate::codec::Reader;
use crate::fact::{Fact, MAX_ELEMENTS};
use crate::model::MAX_BYTES;
use crate::{Error, Model};

/// Reads the weights of a model from untrusted bytes: for each node its integers in row-major order, None for a node
/// that is no weight.
pub fn read_weights(model: &Model, data: &[u8]) -> Result<Vec<Option<Vec<i64>>>, Error> {
    if data.len() > MAX_BYTES {
        return Err(Error::new(format!("weights of {} bytes exceed the {MAX_BYTES} allowed", data.len())));
    }
    let mut source = Reader::new(data, "integer model weights");
    let mut weights: Vec<Option<Vec<i64>>> = vec![None; model.nodes.len()];
    for place in model.weight_nodes() {
        let fact = &model.facts[place];
        let width = width(fact);
        let raw = source.blob(8 * MAX_ELEMENTS)?;
        if raw.len() != fact.size() * width {
            return Err(source.fail(format!("node {place} has {} bytes of weights", raw.len())));
        }
        let span = (fact.hi - fact.lo) as u64;
        let mut values = Vec::with_capacity(fact.size());
        for item in raw.chunks_exact(width) {
            let mut word = [0; 8];
            word[..width].copy_from_slice(item);
            let offset = u64::from_le_bytes(word);
            if offset > span {
                return Err(source.fail(format!("node {place} has weights outside its declared range")));
            }
            values.push((fact.lo + i128::from(offset)) as i64);
        }
        weights[place] = Some(values);
    }
    source.end()?;
    Ok(weights)
}

/// The fewest whole bytes that hold hi - lo, at least one.
fn width(fact: &Fact) -> usize {
    let span = (fact.hi - fact.lo) as u64; // at most 2^63 - 2, since both ends are within 62 bits
    (u64::BITS - span.leading_zeros()).div_ceil(8).max(1) as usize
}
