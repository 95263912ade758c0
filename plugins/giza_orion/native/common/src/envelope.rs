//! A proof's bytes: `"balance-orion-proof" 0x01 | bincode of the proof, fixed-width little-endian`.

use bincode::Options;
use cairo_air::CairoProofForRustVerifier;
use stwo::core::vcs_lifted::blake2_merkle::Blake2sMerkleHasher;

use crate::{require, Refused};

pub type Proof = CairoProofForRustVerifier<Blake2sMerkleHasher>;

const MAGIC: &[u8] = b"balance-orion-proof\x01";

/// A program of 2^20 words takes 36 MiB of this; the proof itself takes less than 2 MiB.
pub const MAX_PROOF_BYTES: usize = 40 << 20;

pub fn encode(proof: &Proof) -> Result<Vec<u8>, Refused> {
    let mut bytes = MAGIC.to_vec();
    options()
        .serialize_into(&mut bytes, proof)
        .map_err(|_| Refused(format!("the proof is larger than {MAX_PROOF_BYTES} bytes")))?;
    Ok(bytes)
}

/// Read a proof from the one encoding it has.
pub fn decode(bytes: &[u8]) -> Result<Proof, Refused> {
    require!(bytes.len() <= MAX_PROOF_BYTES, "the proof has {} bytes, the limit is {MAX_PROOF_BYTES}", bytes.len());
    let Some(body) = bytes.strip_prefix(MAGIC) else {
        return Err(Refused("not an Orion proof of version 1".into()));
    };
    // Bytes that follow are refused by bincode, other writings of the same values by the comparison.
    let proof: Proof =
        options().deserialize(body).map_err(|error| Refused(format!("the proof cannot be read: {error}")))?;
    require!(encode(&proof)? == bytes, "the proof is not in its canonical encoding");
    Ok(proof)
}

fn options() -> impl Options {
    bincode::DefaultOptions::new()
        .with_fixint_encoding()
        .with_little_endian()
        .reject_trailing_bytes()
        .with_limit(MAX_PROOF_BYTES as u64)
}
