//! From a run to a proof that our own verifier accepts.

use std::sync::Arc;

use anyhow::{anyhow, bail, Result};
use balance_orion_common::{accept, encode, Felt, Parameters, Program, MAX_LOG_ROWS};
use stwo::core::vcs_lifted::blake2_merkle::Blake2sMerkleChannel;
use stwo_cairo_adapter::ProverInput;
use stwo_cairo_prover::prover::{prove_cairo, ChannelHash, ProverParameters};
use stwo_cairo_prover::witness::preprocessed_trace::generate_preprocessed_commitment_root;

use crate::hints::RawHint;
use crate::phases::{Phases, Seconds, Spans};
use crate::rows::{count_rows, require_room, Rows};
use crate::run::{adapt, execute, output};

/// What is known of a run without a proof.
pub struct Run {
    pub output: Vec<Felt>,
    pub steps: usize,
    pub rows: Rows,
}

pub struct Proven {
    pub proof: Vec<u8>,
    pub run: Run,
    pub seconds: Seconds,
}

/// Execute a program and count what its proof would take.
pub fn run(program: &[u8], hints: &[RawHint], tape: &[u8]) -> Result<Run> {
    Ok(prepare(&Program::decode(program)?, hints, tape, &Phases::new(|_| ()))?.0)
}

/// Execute a program and prove the run.
///
/// `begins` is called with the name of each phase; when it panics, so does this.
pub fn prove(
    program: &[u8],
    hints: &[RawHint],
    tape: &[u8],
    parameters: Parameters,
    begins: impl Fn(&'static str) + Send + Sync + 'static,
) -> Result<Proven> {
    let phases = Arc::new(Phases::new(begins));
    let program = Program::decode(program)?;
    let (run, input) = prepare(&program, hints, tape, &phases)?;
    require_room(&run.rows)?;
    let proof = tracing::subscriber::with_default(Spans(phases.clone()), || {
        prove_cairo::<Blake2sMerkleChannel>(input, prover_parameters(parameters))
    });
    let proof = encode(&proof.map_err(|error| anyhow!("{error}"))?.into())?;
    let accepted = phases.during("check", || accept(&program.hash(), &proof, parameters))?;
    if accepted != run.output {
        bail!("the proof is about another output than the run's");
    }
    Ok(Proven { proof, run, seconds: phases.seconds() })
}

fn prepare<F: Fn(&'static str)>(
    program: &Program,
    hints: &[RawHint],
    tape: &[u8],
    phases: &Phases<F>,
) -> Result<(Run, ProverInput)> {
    let runner = phases.during("run", || execute(program, hints, tape))?;
    let output = output(&runner)?;
    let input = phases.during("adapt", || adapt(&runner, program, MAX_LOG_ROWS))?;
    let steps = input.state_transitions.casm_states_by_opcode.counts().iter().map(|(_, count)| count).sum();
    let rows = count_rows(&input);
    Ok((Run { output, steps, rows }, input))
}

pub fn prover_parameters(parameters: Parameters) -> ProverParameters {
    ProverParameters {
        channel_hash: ChannelHash::Blake2s,
        channel_salt: parameters.salt(),
        pcs_config: parameters.pcs(),
        preprocessed_trace: parameters.variant(),
        // Costs 0.3 GB and saves a third of the time (evaluations out of the domain).
        store_polynomials_coefficients: true,
        include_all_preprocessed_columns: false,
    }
}

/// Root of the preprocessed trace, computed from the trace's definition.
pub fn preprocessed_root(parameters: Parameters) -> [u8; 32] {
    let (blowup, lifting) = (parameters.log_blowup(), Some(parameters.lifting_log_size()));
    generate_preprocessed_commitment_root::<Blake2sMerkleChannel>(blowup, parameters.variant(), lifting).0
}
