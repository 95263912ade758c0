//! When a proof is accepted.

use std::panic::{catch_unwind, AssertUnwindSafe};

use cairo_air::verifier::verify_cairo;
use stwo::core::vcs_lifted::blake2_merkle::Blake2sMerkleChannel;

use crate::canonical::require_canonical;
use crate::envelope::{decode, Proof};
use crate::parameters::Parameters;
use crate::program::Felt;
use crate::public::read_public;
use crate::shape::check_shape;
use crate::{require, Refused};

/// The output words of the run that `proof` proves, of the program with this hash; or why it proves none.
///
/// stwo-cairo's own verifier takes configuration, preprocessed trace, program and several sums from the proof;
/// `docs/orion-soundness.md` lists what is pinned around it and why. It reports malformed proofs by panics.
pub fn accept(program_hash: &[u8; 32], bytes: &[u8], parameters: Parameters) -> Result<Vec<Felt>, Refused> {
    catch_unwind(AssertUnwindSafe(|| {
        let proof = decode(bytes)?;
        check_parameters(&proof, parameters)?;
        require_canonical(&proof)?;
        let output = read_public(&proof.claim, program_hash)?;
        check_shape(&proof, parameters)?;
        verify_cairo::<Blake2sMerkleChannel>(proof)
            .map_err(|error| Refused(format!("the proof is not valid: {error}")))?;
        Ok(output)
    }))
    .unwrap_or_else(|panic| Err(Refused(format!("the proof is not valid: {}", panic_message(&*panic)))))
}

fn check_parameters(proof: &Proof, parameters: Parameters) -> Result<(), Refused> {
    let stark = &proof.stark_proof;
    require!(stark.config == parameters.pcs(), "the proof was made with other security parameters");
    require!(proof.preprocessed_trace_variant == parameters.variant(), "the proof uses another preprocessed trace");
    require!(
        stark.commitments.first().is_some_and(|root| root.0 == parameters.preprocessed_root()),
        "the proof's preprocessed trace has another root"
    );
    require!(proof.channel_salt == parameters.salt(), "the proof is salted");
    Ok(())
}

/// The first line of what a panic said.
pub fn panic_message(panic: &(dyn std::any::Any + Send)) -> String {
    let message =
        panic.downcast_ref::<String>().map(String::as_str).or_else(|| panic.downcast_ref::<&str>().copied());
    message.and_then(|text| text.lines().next()).unwrap_or("malformed").chars().take(200).collect()
}
