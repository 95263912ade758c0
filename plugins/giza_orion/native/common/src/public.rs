//! What the public part of a claim must look like: program, pointers, registers and output.

use cairo_air::air::{PublicData, PublicSegmentRanges, SegmentRange};
use cairo_air::claims::CairoClaim;
use stwo::core::fields::m31::P;
use stwo_cairo_common::memory::LOG_MEMORY_ADDRESS_BOUND;

use crate::program::{is_canonical, Builtin, Felt, Program};
use crate::{require, Refused};

const ADDRESS_BOUND: u32 = 1 << LOG_MEMORY_ADDRESS_BOUND;

/// Check the public part against the program whose hash is pinned, and return program and output as they are claimed.
pub fn read_public(claim: &CairoClaim, program_hash: &[u8; 32]) -> Result<Vec<Felt>, Refused> {
    let data = &claim.public_data;
    let program = claimed_program(data)?;
    require!(program.hash() == *program_hash, "the proof is about another program");
    check_registers(data, &program)?;
    check_segments(claim, &program)?;
    check_output(data)
}

/// The program in the proof's public memory, with exactly the builtins that are present.
fn claimed_program(data: &PublicData) -> Result<Program, Refused> {
    let memory = &data.public_memory;
    for (id, _) in memory.program.iter().chain(&memory.output) {
        require!(*id < P, "a memory id is not below {P}");
    }
    require!(memory.safe_call_ids.iter().all(|id| *id < P), "a memory id is not below {P}");
    let mut mask = 0;
    for (place, segment) in segments(&memory.public_segments).into_iter().enumerate() {
        if let Some(SegmentRange { start_ptr, stop_ptr }) = segment {
            mask |= 1u16 << place;
            for pointer in [start_ptr, stop_ptr] {
                require!(pointer.id < P, "a memory id is not below {P}");
                require!(pointer.value < ADDRESS_BOUND, "a segment pointer is not an address");
            }
        }
    }
    Program::new(mask, memory.program.iter().map(|(_, felt)| *felt).collect())
}

/// The run starts at the program's first word and ends in its final loop, with the stack directly behind the program.
fn check_registers(data: &PublicData, program: &Program) -> Result<(), Refused> {
    let (first, last) = (&data.initial_state, &data.final_state);
    let stack = 1 + program.felts().len() as u32 + 2;
    require!(first.pc.0 == 1 && last.pc.0 == 5, "the run does not start and end where it must");
    require!(first.ap.0 == stack && first.fp.0 == stack && last.fp.0 == stack, "the stack is not behind the program");
    let pointers = 2 * program.mask().count_ones();
    require!(last.ap.0 >= stack + pointers && last.ap.0 < ADDRESS_BOUND, "the final stack pointer is out of range");
    Ok(())
}

/// A builtin's component exists only for a builtin of the program, and starts where that builtin's segment starts.
///
/// stwo-cairo's verifier compares the two starts only if the segment is not empty, and its transcript does not contain
/// the component's: without this check, a prover could choose it after the challenges.
fn check_segments(claim: &CairoClaim, program: &Program) -> Result<(), Refused> {
    require!(
        claim.pedersen_builtin.is_none()
            && claim.pedersen_builtin_narrow_windows.is_none()
            && claim.ec_op_builtin.is_none(),
        "the proof uses a builtin that is not supported"
    );
    let starts = [
        (Builtin::RangeCheck, claim.range_check_builtin.map(|c| c.range_check_builtin_segment_start)),
        (Builtin::Bitwise, claim.bitwise_builtin.map(|c| c.bitwise_builtin_segment_start)),
        (Builtin::Poseidon, claim.poseidon_builtin.map(|c| c.poseidon_builtin_segment_start)),
        (Builtin::RangeCheck96, claim.range_check96_builtin.map(|c| c.range_check96_builtin_segment_start)),
        (Builtin::AddMod, claim.add_mod_builtin.map(|c| c.add_mod_builtin_segment_start)),
        (Builtin::MulMod, claim.mul_mod_builtin.map(|c| c.mul_mod_builtin_segment_start)),
    ];
    let ranges = segments(&claim.public_data.public_memory.public_segments);
    for (builtin, start) in starts {
        let range = ranges[builtin.place() as usize];
        let uses = range.map_or(0, |range| range.stop_ptr.value.wrapping_sub(range.start_ptr.value));
        require!(uses < ADDRESS_BOUND, "{builtin:?}: the segment ends before it starts");
        require!(uses == 0 || start.is_some(), "{builtin:?}: used without its component");
        if let Some(start) = start {
            require!(
                program.builtins().any(|present| present == builtin),
                "{builtin:?}: not a builtin of the program"
            );
            require!(
                range.is_some_and(|range| range.start_ptr.value == start),
                "{builtin:?}: component and segment differ"
            );
        }
    }
    Ok(())
}

/// The output segment begins where the run's stack ends, for there stwo-cairo looks for the output words.
fn check_output(data: &PublicData) -> Result<Vec<Felt>, Refused> {
    let output = &data.public_memory.output;
    let range = &data.public_memory.public_segments.output;
    let end = u64::from(data.final_state.ap.0) + output.len() as u64;
    require!(range.start_ptr.value == data.final_state.ap.0, "the output words are not those that the program wrote");
    require!(
        u64::from(range.stop_ptr.value) == end,
        "the proof has more or fewer output words than the program wrote"
    );
    for (index, (_, felt)) in output.iter().enumerate() {
        require!(is_canonical(felt), "output word {index} is not below the field's prime");
    }
    Ok(output.iter().map(|(_, felt)| *felt).collect())
}

/// All eleven segments in Cairo's order.
fn segments(ranges: &PublicSegmentRanges) -> [Option<SegmentRange>; 11] {
    let PublicSegmentRanges {
        output,
        pedersen,
        range_check_128,
        ecdsa,
        bitwise,
        ec_op,
        keccak,
        poseidon,
        range_check_96,
        add_mod,
        mul_mod,
    } = *ranges;
    [
        Some(output),
        pedersen,
        range_check_128,
        ecdsa,
        bitwise,
        ec_op,
        keccak,
        poseidon,
        range_check_96,
        add_mod,
        mul_mod,
    ]
}
