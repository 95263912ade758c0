//! Makes proofs of false statements that stwo-cairo 1.3.0's own verifier accepts: the fixtures of the verifier's tests.
//!
//! `forge KIND FILE PROGRAM TAPE` writes one proof, of a program that takes all of its tape before its first word. The
//! run is honest, and the first output word is claimed to be one more than it was:
//!
//! - `pointer`: the words claimed stand behind the stack, where a hint put them; the output's pointers tell the truth.
//!
//! In the others, the look-up argument, which no longer adds up, is balanced where nothing binds the prover:
//!
//! - `total`: in the sum of the table of large values, which is not compared with the sums of the table's parts;
//! - `orphan`: in the sum of a component that the claim does not have.
//!
//! The crate's verifier is called at the end: the forgery is worth a test only as long as it accepts.

use std::ops::Range;
use std::sync::Arc;

use anyhow::{bail, Context, Result};
use balance_orion_common::{encode, Parameters, Program, Proof, MAX_LOG_ROWS};
use balance_orion_engine::{adapt, execute, prover_parameters};
use cairo_air::cairo_components::CairoComponents;
use cairo_air::claims::lookup_sum;
use cairo_air::relations::CommonLookupElements;
use cairo_air::verifier::{verify_cairo, INTERACTION_POW_BITS};
use cairo_air::{components::poseidon_builtin, CairoProof};
use stwo::core::channel::{Blake2sChannel, Channel};
use stwo::core::poly::circle::CanonicCoset;
use stwo::core::proof_of_work::GrindOps;
use stwo::core::vcs_lifted::blake2_merkle::Blake2sMerkleChannel;
use stwo::prover::backend::simd::SimdBackend;
use stwo::prover::poly::circle::PolyOps;
use stwo::prover::{prove_ex, CommitmentSchemeProver};
use stwo_cairo_adapter::ProverInput;
use stwo_cairo_prover::utils::cairo_provers;
use stwo_cairo_prover::witness::cairo::create_cairo_claim_generator;
use stwo_cairo_prover::witness::preprocessed_trace::gen_trace;

/// Where the program's own words begin.
const MAIN: usize = 6;

fn main() -> Result<()> {
    let mut arguments = std::env::args().skip(1);
    let kind = arguments.next().context("which forgery: pointer, total or orphan")?;
    let file = arguments.next().context("which file to write")?;
    let program = Program::decode(&std::fs::read(arguments.next().context("which program")?)?)?;
    let mut tape = std::fs::read(arguments.next().context("which tape")?)?;
    let mut hints = vec![(MAIN, 3, tape.len() / 8, 0)];
    if kind == "pointer" {
        // Before the program's last instruction: one word more than its output, above its stack.
        let honest = adapt(&execute(&program, &hints, &tape)?, &program, MAX_LOG_ROWS)?;
        for (index, mut word) in output(&honest)?.into_iter().enumerate() {
            word += u64::from(index == 0);
            tape.extend_from_slice(&word.to_le_bytes());
        }
        hints.push((program.felts().len() - 1, 3, output(&honest)?.len(), 0));
    }
    let runner = execute(&program, &hints, &tape)?;
    let proof = forge(adapt(&runner, &program, MAX_LOG_ROWS)?, &kind)?;
    let bytes = encode(&proof)?;
    verify_cairo::<Blake2sMerkleChannel>(proof).context("stwo-cairo refuses this forgery by itself")?;
    std::fs::write(file, bytes)?;
    Ok(())
}

/// Where the output begins and ends.
fn output_addresses(input: &ProverInput) -> Result<Range<u32>> {
    let (first, last) = (input.state_transitions.initial_state.ap.0, input.state_transitions.final_state.ap.0);
    let pointers = input.public_segment_context.iter().filter(|present| **present).count() as u32;
    let address = |at| u32::try_from(input.memory.get(at).as_small()).context("an address");
    Ok(address(first)?..address(last - pointers)?)
}

/// The output's words, which are small here.
fn output(input: &ProverInput) -> Result<Vec<u64>> {
    let words = output_addresses(input)?.map(|at| u64::try_from(input.memory.get(at).as_small()));
    words.collect::<Result<_, _>>().context("a small output")
}

/// The steps of `stwo_cairo_prover::prover::prove_cairo`, with the two lies.
fn forge(mut input: ProverInput, kind: &str) -> Result<Proof> {
    let (addresses, above) = (output_addresses(&input)?, input.state_transitions.final_state.ap.0);
    let mut lies = Vec::new();
    if kind == "pointer" {
        for (index, address) in addresses.enumerate() {
            let elsewhere = above + index as u32;
            lies.push((input.memory.get_raw_id(elsewhere), input.memory.get(elsewhere).as_u256()));
            let read = input.public_memory_addresses.iter_mut().find(|at| **at == address);
            *read.context("the output is public")? = elsewhere;
        }
    }

    let parameters = prover_parameters(Parameters::new(70)?);
    let config = parameters.pcs_config;
    let domain = CanonicCoset::new(config.lifting_log_size.context("pinned")?).circle_domain();
    let twiddles = SimdBackend::precompute_twiddles(domain.half_coset);
    let preprocessed = Arc::new(parameters.preprocessed_trace.to_preprocessed_trace());

    let channel = &mut Blake2sChannel::default();
    channel.mix_felts(&[parameters.channel_salt.into()]);
    config.mix_into(channel);
    let mut scheme = CommitmentSchemeProver::<SimdBackend, Blake2sMerkleChannel>::new(config, &twiddles);
    scheme.set_store_polynomials_coefficients();
    let mut tree = scheme.tree_builder();
    tree.extend_evals(gen_trace(preprocessed.clone()));
    tree.commit(channel);

    let (trace, mut claim, interaction) = create_cairo_claim_generator(input, preprocessed.clone()).write_trace();
    match lies.is_empty() {
        true => claim.public_data.public_memory.output[0].1[0] += 1,
        false => claim.public_data.public_memory.output = lies,
    }
    claim.mix_into::<Blake2sMerkleChannel>(channel);
    let mut tree = scheme.tree_builder();
    tree.extend_evals(trace);
    tree.commit(channel);

    let interaction_pow = SimdBackend::grind(channel, INTERACTION_POW_BITS);
    channel.mix_u64(interaction_pow);
    let elements = CommonLookupElements::draw(channel);
    let (trace, mut interaction_claim) = interaction.write_interaction_trace(&elements);
    let excess = lookup_sum(&claim, &elements, &interaction_claim);
    match kind {
        "total" => interaction_claim.memory_id_to_big.as_mut().context("always there")?.claimed_sum -= excess,
        "orphan" => {
            interaction_claim.poseidon_builtin = Some(poseidon_builtin::InteractionClaim { claimed_sum: -excess })
        }
        "pointer" => (),
        _ => bail!("{kind} is not a forgery that is known here"),
    }
    interaction_claim.mix_into(channel);
    let mut tree = scheme.tree_builder();
    tree.extend_evals(trace);
    tree.commit(channel);

    let components = CairoComponents::new(&claim, &elements, &interaction_claim, &preprocessed.ids());
    let stark = prove_ex::<SimdBackend, Blake2sMerkleChannel>(&cairo_provers(&components), channel, scheme, false)?;
    let proof = CairoProof {
        claim,
        interaction_pow,
        interaction_claim,
        extended_stark_proof: stark,
        channel_salt: parameters.channel_salt,
        preprocessed_trace_variant: parameters.preprocessed_trace,
    };
    Ok(proof.into())
}
