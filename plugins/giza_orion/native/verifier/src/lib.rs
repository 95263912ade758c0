//! The Python module `balance_orion_verifier`.

use balance_orion_common::felt_to_bytes;
use balance_orion_common::{
    accept, security_bits as bits, Parameters, Program, Refused, MAX_PROOF_BYTES, MAX_ROWS, PREPROCESSED_ROOT,
};
use pyo3::exceptions::PyValueError;
use pyo3::prelude::*;
use pyo3::types::PyBytes;

fn refused(reason: Refused) -> PyErr {
    PyValueError::new_err(reason.0)
}

/// The output words (32 little-endian bytes each) of the run that the proof proves, of the program with this hash.
///
/// Raises ValueError with the reason for every proof that is not accepted.
#[pyfunction]
#[pyo3(signature = (program_hash, proof, *, queries))]
fn verify<'py>(
    py: Python<'py>,
    program_hash: &[u8],
    proof: &[u8],
    queries: u32,
) -> PyResult<Vec<Bound<'py, PyBytes>>> {
    let parameters = Parameters::new(queries).map_err(refused)?;
    let program_hash = program_hash.try_into().map_err(|_| PyValueError::new_err("a program hash has 32 bytes"))?;
    let output = py.detach(|| accept(program_hash, proof, parameters)).map_err(refused)?;
    Ok(output.iter().map(|felt| PyBytes::new(py, &felt_to_bytes(felt))).collect())
}

/// Digest of a program's encoding, after the encoding was checked.
#[pyfunction]
fn program_hash<'py>(py: Python<'py>, program: &[u8]) -> PyResult<Bound<'py, PyBytes>> {
    let hash = py.detach(|| Program::decode(program).map(|program| program.hash())).map_err(refused)?;
    Ok(PyBytes::new(py, &hash))
}

/// Bits of security for a number of queries: under the conjecture that stwo assumes, and under the Johnson bound.
#[pyfunction]
fn security_bits(queries: u32) -> PyResult<(u32, u32)> {
    let bits = bits(Parameters::new(queries).map_err(refused)?);
    Ok((bits.conjectured, bits.johnson))
}

/// Checks proofs of Cairo programs.
#[pymodule]
fn balance_orion_verifier(module: &Bound<'_, PyModule>) -> PyResult<()> {
    // Malformed proofs make stwo panic; that is reported as an exception, and not on the terminal as well. This library
    // has a hook of its own, the process keeps its.
    std::panic::set_hook(Box::new(|_| ()));
    module.add("__version__", env!("CARGO_PKG_VERSION"))?;
    module.add("MAX_PROOF_BYTES", MAX_PROOF_BYTES)?;
    module.add("MAX_ROWS", MAX_ROWS)?;
    module.add("PREPROCESSED_ROOT", PyBytes::new(module.py(), &PREPROCESSED_ROOT))?;
    module.add_function(wrap_pyfunction!(verify, module)?)?;
    module.add_function(wrap_pyfunction!(program_hash, module)?)?;
    module.add_function(wrap_pyfunction!(security_bits, module)?)
}
