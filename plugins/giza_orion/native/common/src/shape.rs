//! What follows from a claim about the form of the rest of the proof: sizes, presence, counts.
//!
//! All of it is checked before anything is computed, so that the work is bounded by the pinned parameters and not by
//! what the prover wrote.

use cairo_air::cairo_components::CairoComponents;
use cairo_air::claims::{CairoClaim, CairoInteractionClaim};
use cairo_air::components::memory_address_to_id::MEMORY_ADDRESS_TO_ID_SPLIT;
use cairo_air::relations::CommonLookupElements;
use num_traits::Zero;
use stwo::core::air::Components;
use stwo::core::circle::SECURE_FIELD_CIRCLE_GEN;
use stwo::core::fields::qm31::{SecureField, SECURE_EXTENSION_DEGREE};

use crate::envelope::Proof;
use crate::parameters::{Parameters, MAX_LOG_ROWS};
use crate::security::LOG_MAX_SAMPLES;
use crate::{require, Refused};

/// The smallest component: one row per lane of the prover's vectors.
const MIN_LOG_ROWS: u32 = 4;
/// Preprocessed, base, interaction and composition trace.
const TREES: usize = 4;

pub fn check_shape(proof: &Proof, parameters: Parameters) -> Result<(), Refused> {
    check_sums(&proof.claim, &proof.interaction_claim)?;
    for size in proof.claim.log_sizes().iter().flatten() {
        require!(
            (MIN_LOG_ROWS..=MAX_LOG_ROWS).contains(size),
            "a component has 2^{size} rows, the limit is 2^{MAX_LOG_ROWS}"
        );
    }
    check_columns(proof, parameters)
}

/// The sums of the look-up argument belong to the components that the claim has, and to no others.
///
/// stwo-cairo's verifier adds up every sum that it finds, also one without a component, and for the table of large values
/// a total that nothing ties to the components' own sums. Either would let a prover balance any forged memory.
fn check_sums(claim: &CairoClaim, sums: &CairoInteractionClaim) -> Result<(), Refused> {
    macro_rules! same_presence {
        ($($component:ident),* $(,)?) => {
            // Taken apart without `..`, so that a component added upstream does not go unnoticed.
            let CairoClaim { public_data: _, $($component),* } = claim;
            $(require!(
                $component.is_some() == sums.$component.is_some(),
                "{}: a sum without a component, or a component without its sum", stringify!($component)
            );)*
            let CairoInteractionClaim { $($component: _),* } = sums;
        };
    }
    same_presence!(
        add_opcode,
        add_opcode_small,
        add_ap_opcode,
        assert_eq_opcode,
        assert_eq_opcode_imm,
        assert_eq_opcode_double_deref,
        blake_compress_opcode,
        call_opcode_abs,
        call_opcode_rel_imm,
        generic_opcode,
        jnz_opcode_non_taken,
        jnz_opcode_taken,
        jump_opcode_abs,
        jump_opcode_double_deref,
        jump_opcode_rel,
        jump_opcode_rel_imm,
        mul_opcode,
        mul_opcode_small,
        qm_31_add_mul_opcode,
        ret_opcode,
        verify_instruction,
        blake_round,
        blake_g,
        blake_round_sigma,
        triple_xor_32,
        verify_bitwise_xor_12,
        add_mod_builtin,
        bitwise_builtin,
        mul_mod_builtin,
        pedersen_builtin,
        pedersen_builtin_narrow_windows,
        poseidon_builtin,
        range_check96_builtin,
        range_check_builtin,
        ec_op_builtin,
        partial_ec_mul_generic,
        pedersen_aggregator_window_bits_18,
        partial_ec_mul_window_bits_18,
        pedersen_points_table_window_bits_18,
        pedersen_aggregator_window_bits_9,
        partial_ec_mul_window_bits_9,
        pedersen_points_table_window_bits_9,
        poseidon_aggregator,
        poseidon_3_partial_rounds_chain,
        poseidon_full_round_chain,
        cube_252,
        poseidon_round_keys,
        range_check_252_width_27,
        memory_address_to_id,
        memory_id_to_big,
        memory_id_to_small,
        range_check_6,
        range_check_8,
        range_check_11,
        range_check_12,
        range_check_18,
        range_check_20,
        range_check_4_3,
        range_check_4_4,
        range_check_9_9,
        range_check_7_2_5,
        range_check_3_6_6_3,
        range_check_4_4_4_4,
        range_check_3_3_3_3_3,
        verify_bitwise_xor_4,
        verify_bitwise_xor_7,
        verify_bitwise_xor_8,
        verify_bitwise_xor_9,
    );
    let (Some(table), Some(values)) = (&claim.memory_id_to_big, &sums.memory_id_to_big) else {
        return Err(Refused("the proof has no table of memory values".into()));
    };
    require!(claim.memory_address_to_id.is_some(), "the proof has no table of memory addresses");
    require!(
        (1..=MEMORY_ADDRESS_TO_ID_SPLIT).contains(&table.big_log_sizes.len()),
        "the table of memory values has {} parts",
        table.big_log_sizes.len()
    );
    require!(table.big_log_sizes.len() == values.big_claimed_sums.len(), "a part of the memory values has no sum");
    let total = values.big_claimed_sums.iter().fold(SecureField::zero(), |total, sum| total + *sum);
    require!(total == values.claimed_sum, "the sum of the memory values is not the sum of its parts");
    Ok(())
}

/// Every column has as many samples as its component reads, and as many values as there are distinct queries.
fn check_columns(proof: &Proof, parameters: Parameters) -> Result<(), Refused> {
    let preprocessed = parameters.variant().to_preprocessed_trace();
    let lookup = CommonLookupElements::dummy();
    let generator = CairoComponents::new(&proof.claim, &lookup, &proof.interaction_claim, &preprocessed.ids());
    let components =
        Components { components: generator.components(), n_preprocessed_columns: preprocessed.columns.len() };
    // Only the numbers of points matter here, so that any point does.
    let mut expected = components.mask_points(SECURE_FIELD_CIRCLE_GEN, MAX_LOG_ROWS, false);
    expected.push(vec![vec![SECURE_FIELD_CIRCLE_GEN]; 2 * SECURE_EXTENSION_DEGREE]);

    let stark = &proof.stark_proof;
    require!(
        expected.len() == TREES && stark.commitments.len() == TREES,
        "the proof has {} commitments",
        stark.commitments.len()
    );
    require!(stark.sampled_values.len() == TREES, "the proof samples {} trees", stark.sampled_values.len());
    require!(stark.queried_values.len() == TREES, "the proof opens {} trees", stark.queried_values.len());
    require!(stark.decommitments.len() == TREES, "the proof has paths for {} trees", stark.decommitments.len());
    let opened = stark.queried_values[0].first().map_or(0, Vec::len);
    require!((1..=parameters.queries()).contains(&opened), "the proof opens {opened} rows");
    let sampled: usize = expected.iter().flatten().map(Vec::len).sum();
    require!(sampled <= 1 << LOG_MAX_SAMPLES, "the proof samples {sampled} values");
    for tree in 0..TREES {
        let (samples, values) = (&stark.sampled_values[tree], &stark.queried_values[tree]);
        require!(samples.len() == expected[tree].len(), "tree {tree}: {} columns are sampled", samples.len());
        require!(values.len() == expected[tree].len(), "tree {tree}: {} columns are opened", values.len());
        for (column, points) in expected[tree].iter().enumerate() {
            require!(samples[column].len() == points.len(), "tree {tree}, column {column}: wrong number of samples");
            require!(values[column].len() == opened, "tree {tree}, column {column}: wrong number of values");
        }
    }
    let layers = stark.fri_proof.inner_layers.len();
    require!(layers + 1 == MAX_LOG_ROWS as usize, "the proof has {layers} inner FRI layers");
    let last = &stark.fri_proof.last_layer_poly;
    // Its own `len` is what it says of itself, the slice's is what it has.
    require!(last.len() == 1 && last[..].len() == 1, "the last FRI layer is not constant");
    Ok(())
}
