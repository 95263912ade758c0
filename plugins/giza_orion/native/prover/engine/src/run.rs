//! Running a program, and reading from the run what the prover needs.

use anyhow::{anyhow, bail, Result};
use balance_orion_common::{felt_to_bytes, Builtin, Felt, Program};
use cairo_vm::cairo_run::{cairo_run_program_with_initial_scope, CairoRunConfig};
use cairo_vm::types::builtin_name::BuiltinName;
use cairo_vm::types::exec_scope::ExecutionScopes;
use cairo_vm::types::layout_name::LayoutName;
use cairo_vm::types::program::Program as VmProgram;
use cairo_vm::types::relocatable::MaybeRelocatable;
use cairo_vm::vm::runners::cairo_runner::CairoRunner;
use cairo_vm::Felt252;
use stwo_cairo_adapter::builtins::BuiltinSegments;
use stwo_cairo_adapter::memory::{MemoryBuilder, MemoryConfig};
use stwo_cairo_adapter::opcodes::StateTransitions;
use stwo_cairo_adapter::relocator::Relocator;
use stwo_cairo_adapter::{ProverInput, PublicSegmentContext};

use crate::hints::{Hints, RawHint};

/// Values of at most this many bits are kept in the small table, which is cheaper.
const SMALL_BITS: u32 = 72;

/// Word at which the program loops when it is done: `jmp rel 0` of the header.
const END: usize = 4;

/// Execute the program; an assertion that fails, or a tape that does not fit, is an error.
pub fn execute(program: &Program, hints: &[RawHint], tape: &[u8]) -> Result<CairoRunner> {
    let mut hints = Hints::new(hints, tape, program.felts().len())?;
    let data = program.felts().iter().map(|felt| MaybeRelocatable::Int(Felt252::from_bytes_le(&felt_to_bytes(felt))));
    let vm_program = VmProgram::new_for_proof(
        program.builtins().map(builtin_name).collect(),
        data.collect(),
        0,
        END,
        hints.by_place(),
        Default::default(),
        Default::default(),
        Vec::new(),
        None,
    )?;
    let config = CairoRunConfig {
        trace_enabled: true,
        relocate_trace: false,
        layout: LayoutName::all_cairo_stwo,
        fill_holes: true,
        proof_mode: true,
        disable_trace_padding: true,
        ..Default::default()
    };
    let scopes = ExecutionScopes::new();
    let runner = cairo_run_program_with_initial_scope(&vm_program, &config, &mut hints, scopes)
        .map_err(|error| anyhow!("the program does not run: {}", one_line(&error.to_string())))?;
    match hints.left() {
        0 => Ok(runner),
        left => bail!("the program ended with {left} bytes of the tape unread"),
    }
}

/// What `stwo_cairo_adapter::adapter::adapt` does, but the builtins are those of the program, and what the table of small
/// values cannot hold goes to the table of large values, which has sixteen parts of this size and is never empty.
pub fn adapt(runner: &CairoRunner, program: &Program, log_rows: u32) -> Result<ProverInput> {
    let trace = runner.get_relocatable_trace()?;
    let mut memory = runner.get_relocatable_memory();
    let segments = runner.get_builtin_segments();
    BuiltinSegments::pad_relocatble_builtin_segments(&mut memory, &segments);
    let relocator = Relocator::new(&memory);
    let config = MemoryConfig::new((1 << SMALL_BITS) - 1, log_rows);
    let builder = MemoryBuilder::from_iter(config, relocator.relocate_memory(&memory));
    let state_transitions = StateTransitions::from_slice_parallel(&relocator.relocate_trace(trace), &builder);
    let (mut memory, instructions) = builder.build();
    if memory.f252_values.is_empty() {
        // stwo-cairo's verifier subtracts one from the size of this table. A value that nobody reads does no harm.
        memory.f252_values.push([0; 8]);
    }
    let builtins: Vec<BuiltinName> = program.builtins().map(builtin_name).collect();
    Ok(ProverInput {
        state_transitions,
        memory,
        pc_count: instructions.len(),
        public_memory_addresses: relocator.relocate_public_addresses(&runner.vm.segments.public_memory_offsets),
        builtin_segments: relocator.relocate_builtin_segments(&segments),
        public_segment_context: PublicSegmentContext::new(&builtins),
    })
}

/// The words that the program wrote to its output.
pub fn output(runner: &CairoRunner) -> Result<Vec<Felt>> {
    let builtin = runner.vm.get_builtin_runners().iter().find(|builtin| builtin.name() == BuiltinName::output);
    let Some(builtin) = builtin else { bail!("the run has no output") };
    let segment = builtin.base();
    let size = runner.vm.get_segment_used_size(segment).unwrap_or(0);
    (0..size)
        .map(|offset| {
            let word = runner.vm.get_integer((segment as isize, offset).into());
            let word = word.map_err(|_| anyhow!("output word {offset} is missing or is a pointer"))?;
            Ok(balance_orion_common::felt_from_bytes(&word.to_bytes_le()))
        })
        .collect()
}

fn builtin_name(builtin: Builtin) -> BuiltinName {
    match builtin {
        Builtin::Output => BuiltinName::output,
        Builtin::RangeCheck => BuiltinName::range_check,
        Builtin::Bitwise => BuiltinName::bitwise,
        Builtin::Poseidon => BuiltinName::poseidon,
        Builtin::RangeCheck96 => BuiltinName::range_check96,
        Builtin::AddMod => BuiltinName::add_mod,
        Builtin::MulMod => BuiltinName::mul_mod,
    }
}

/// cairo-vm reports errors over several lines; their first two say what and where.
fn one_line(message: &str) -> String {
    message.lines().map(str::trim).filter(|line| !line.is_empty()).take(2).collect::<Vec<_>>().join(" ")
}
