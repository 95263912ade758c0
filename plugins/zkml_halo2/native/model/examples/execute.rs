//! Runs one model: reads blobs of structure, weights and each input from the standard input (each preceded by its length
//! in 8 bytes, little-endian), and writes every tensor in the same way. `tests/cases.py` compares with numpy.

use std::error::Error;
use std::io::{Read, Write};

fn main() -> Result<(), Box<dyn Error>> {
    let mut given = Vec::new();
    std::io::stdin().read_to_end(&mut given)?;
    let mut blobs = Vec::new();
    let mut rest = &given[..];
    while let Some((length, tail)) = rest.split_first_chunk::<8>() {
        let (blob, tail) = tail.split_at_checked(u64::from_le_bytes(*length) as usize).ok_or("a blob is cut off")?;
        blobs.push(blob);
        rest = tail;
    }
    let [structure, weights, inputs @ ..] = &blobs[..] else { return Err("structure and weights are needed".into()) };
    let model = balance_zkml_model::read_structure(structure)?;
    let weights = balance_zkml_model::read_weights(&model, weights)?;
    let words =
        |blob: &&[u8]| blob.chunks_exact(8).map(|word| i64::from_le_bytes(word.try_into().unwrap())).collect();
    let inputs: Vec<Vec<i64>> = inputs.iter().map(words).collect();
    let mut out = std::io::stdout().lock();
    for tensor in balance_zkml_model::execute(&model, &weights, &inputs)? {
        out.write_all(&(8 * tensor.len() as u64).to_le_bytes())?;
        for value in tensor {
            out.write_all(&value.to_le_bytes())?;
        }
    }
    Ok(())
}
