//! The module `balance_zkml_verifier`.

use std::panic::{catch_unwind, AssertUnwindSafe};

use pyo3::exceptions::PyValueError;
use pyo3::prelude::*;
use pyo3::types::PyBytes;

use crate::verify as checks;
use crate::{Error, Key};

type Tensors = Vec<Vec<i64>>;

/// Runs without the interpreter's lock; a panic becomes an error.
fn guarded<T: Send>(py: Python<'_>, work: impl FnOnce() -> Result<T, Error> + Send) -> PyResult<T> {
    match py.allow_threads(|| catch_unwind(AssertUnwindSafe(work))) {
        Ok(Ok(value)) => Ok(value),
        Ok(Err(error)) => Err(PyValueError::new_err(error.to_string())),
        Err(_) => Err(PyValueError::new_err("it cannot be read: an internal error")),
    }
}

/// Check a proof and return its context, the structure's digest, inputs and outputs; raises ValueError with the reason.
#[pyfunction]
#[pyo3(signature = (key, commitment, proof))]
#[allow(clippy::type_complexity)]
fn verify<'py>(
    py: Python<'py>,
    key: &[u8],
    commitment: Option<&[u8]>,
    proof: &[u8],
) -> PyResult<(Bound<'py, PyBytes>, Bound<'py, PyBytes>, Tensors, Tensors)> {
    let (digest, statement) = guarded(py, || {
        let decoded = Key::decode(key)?;
        let statement = checks::proof(&decoded, key, commitment, proof)?;
        Ok((decoded.structure_digest, statement))
    })?;
    let context = PyBytes::new(py, &statement.context);
    Ok((context, PyBytes::new(py, &digest), statement.inputs, statement.outputs))
}

/// Return the 388 bytes of the reference string that a key relies on.
#[pyfunction]
fn parameters<'py>(py: Python<'py>, key: &[u8]) -> PyResult<Bound<'py, PyBytes>> {
    let cut = guarded(py, || {
        let key = Key::decode(key)?;
        key.params()?;
        Ok(key.cut)
    })?;
    Ok(PyBytes::new(py, &cut))
}

#[pymodule]
fn balance_zkml_verifier(module: &Bound<'_, PyModule>) -> PyResult<()> {
    module.add_function(wrap_pyfunction!(verify, module)?)?;
    module.add_function(wrap_pyfunction!(parameters, module)?)
}
