//! How many rows each component of a run's proof has, counted before anything is proven.

use std::collections::BTreeMap;

use balance_orion_common::{Refused, MAX_ROWS};
use cairo_air::components::memory_address_to_id::MEMORY_ADDRESS_TO_ID_SPLIT;
use stwo_cairo_adapter::{ExecutionResources, ProverInput};

/// Components that appear so many times for each row of another: `(of, component, times)`, in stwo-cairo 1.3.
const PARTS: [(&str, &str, usize); 8] = [
    ("blake_compress_opcode", "blake_round", 10),
    ("blake_compress_opcode", "triple_xor_32", 8),
    ("blake_compress_opcode", "blake_g", 80),
    ("poseidon_builtin", "poseidon_aggregator", 1),
    ("poseidon_builtin", "poseidon_full_round_chain", 8),
    ("poseidon_builtin", "poseidon_3_partial_rounds_chain", 27),
    ("poseidon_builtin", "cube_252", 2 + 8 * 3 + 27 * 3),
    ("poseidon_builtin", "range_check_252_width_27", 2 + 27 * 3),
];

/// Rows by component, without the tables whose size never changes.
pub type Rows = BTreeMap<String, usize>;

pub fn count_rows(input: &ProverInput) -> Rows {
    let resources = ExecutionResources::from_prover_input(input);
    let mut rows: Rows = resources.opcodes_instance_counter.into_iter().collect();
    rows.extend(resources.builtin_instance_counter);
    for (of, component, times) in PARTS {
        let count = rows.get(of).copied().unwrap_or(0) * times;
        rows.insert(component.into(), count);
    }
    let tables = resources.memory_tables_sizes;
    rows.insert("verify_instruction".into(), resources.verify_instruction);
    rows.insert("memory_address_to_id".into(), tables.memory_address_to_id.div_ceil(MEMORY_ADDRESS_TO_ID_SPLIT));
    rows.insert("memory_id_to_small".into(), tables.memory_id_to_small);
    rows.insert("memory_id_to_big".into(), tables.memory_id_to_big);
    rows.retain(|_, count| *count > 0);
    rows
}

/// Refuse what the pinned preprocessed trace has no room for.
pub fn require_room(rows: &Rows) -> Result<(), Refused> {
    let room = |component: &str| match component {
        "memory_id_to_big" => MAX_ROWS * MEMORY_ADDRESS_TO_ID_SPLIT, // a table in so many parts
        _ => MAX_ROWS,
    };
    let over = rows.iter().filter(|(component, count)| **count > room(component));
    let over: Vec<String> = over
        .map(|(component, count)| format!("{component} needs {count} rows of at most {}", room(component)))
        .collect();
    match over.is_empty() {
        true => Ok(()),
        false => Err(Refused(format!("the run is too long for one proof: {}", over.join(", ")))),
    }
}
