//! The module `balance_zkml_prover`.

use std::panic::{catch_unwind, resume_unwind, AssertUnwindSafe};
use std::path::PathBuf;
use std::sync::{Arc, Mutex};

use pyo3::exceptions::PyValueError;
use pyo3::prelude::*;
use pyo3::types::{PyBytes, PyDict};

use crate::{keys, unwatched, Error, Opening, Options, Watch};

/// Runs without the interpreter's lock; a panic becomes an error.
fn guarded<T: Send>(py: Python<'_>, work: impl FnOnce() -> Result<T, Error> + Send) -> PyResult<T> {
    match py.allow_threads(|| catch_unwind(AssertUnwindSafe(work))) {
        Ok(Ok(value)) => Ok(value),
        Ok(Err(error)) => Err(PyValueError::new_err(error.to_string())),
        Err(_) => Err(PyValueError::new_err("an internal error of the prover")),
    }
}

fn is_private(options: &Bound<'_, PyDict>) -> PyResult<bool> {
    let choice: Option<String> = options.get_item("weights")?.map(|value| value.extract()).transpose()?;
    match choice.as_deref() {
        None | Some("private") => Ok(true),
        Some("public") => Ok(false),
        Some(other) => Err(PyValueError::new_err(format!("weights are private or public, not {other}"))),
    }
}

/// Return how a structure would be laid out: k, columns, rows, CPU seconds of a proof, and bytes of memory.
#[pyfunction]
fn plan<'py>(py: Python<'py>, structure: &[u8], options: &Bound<'py, PyDict>) -> PyResult<Bound<'py, PyDict>> {
    let private = is_private(options)?;
    let plan = guarded(py, || keys::plan_of(structure, private))?;
    let layout = &plan.layout;
    let counts = layout.shape.counts();
    let dict = PyDict::new(py);
    dict.set_item("k", layout.shape.k)?;
    dict.set_item("columns", counts.small + counts.full + counts.fixed)?;
    dict.set_item("advice", counts.small + counts.full)?;
    dict.set_item("fixed", counts.fixed)?;
    dict.set_item("lanes", layout.shape.lanes)?;
    dict.set_item("taps", layout.shape.taps)?;
    dict.set_item("rows", layout.height())?;
    dict.set_item("table_entries", layout.tables.outs.len())?;
    dict.set_item("seconds", plan.seconds())?;
    dict.set_item("memory", layout.shape.bytes())?;
    Ok(dict)
}

/// Make the verifying key for a structure: with private weights, or with `values` fixed in it.
#[pyfunction]
fn setup<'py>(
    py: Python<'py>,
    structure: &[u8],
    srs_path: PathBuf,
    options: &Bound<'py, PyDict>,
) -> PyResult<Bound<'py, PyDict>> {
    let values: Option<Vec<u8>> = options.get_item("values")?.map(|value| value.extract()).transpose()?;
    let options = match (is_private(options)?, &values) {
        (true, None) => Options::Private,
        (false, Some(values)) => Options::Public(values),
        _ => return Err(PyValueError::new_err("values belong to public weights, and only to them")),
    };
    let (key, shape) = guarded(py, || {
        let key = crate::setup(structure, &srs_path, &options)?;
        Ok((key.encode(), key.shape))
    })?;
    let facts = PyDict::new(py);
    facts.set_item("lanes", shape.lanes)?;
    facts.set_item("taps", shape.taps)?;
    facts.set_item("tables", shape.tables)?;
    let dict = PyDict::new(py);
    dict.set_item("key", PyBytes::new(py, &key))?;
    dict.set_item("facts", facts)?;
    Ok(dict)
}

/// Commit to private weights; the opening is secret.
#[pyfunction]
fn commit<'py>(
    py: Python<'py>,
    structure: &[u8],
    weights: &[u8],
    key: &[u8],
    srs_path: PathBuf,
) -> PyResult<Bound<'py, PyDict>> {
    let (commitment, opening) = guarded(py, || {
        let (commitment, opening): (Vec<u8>, Opening) = crate::commit(structure, weights, key, &srs_path)?;
        // The prover needs both, and is handed one.
        let mut secret = (commitment.len() as u64).to_le_bytes().to_vec();
        secret.extend_from_slice(&commitment);
        secret.extend_from_slice(&opening.encode());
        Ok((commitment, secret))
    })?;
    let dict = PyDict::new(py);
    dict.set_item("commitment", PyBytes::new(py, &commitment))?;
    dict.set_item("opening", PyBytes::new(py, &opening))?;
    Ok(dict)
}

/// Commitment and blinding from what `commit` calls the opening.
fn opened(secret: &[u8]) -> Result<(&[u8], &[u8]), Error> {
    let damaged = || Error::new("the opening is damaged");
    let (size, rest) = secret.split_first_chunk::<8>().ok_or_else(damaged)?;
    let size = usize::try_from(u64::from_le_bytes(*size)).map_err(|_| damaged())?;
    if size > rest.len() {
        return Err(damaged());
    }
    Ok(rest.split_at(size))
}

/// A watch that calls a function with the name of each part of the work, and stops the work where that raises.
fn watching(function: PyObject, raised: Arc<Mutex<Option<PyErr>>>) -> Watch {
    Arc::new(move |phase| {
        let called = Python::with_gil(|py| function.call1(py, (phase.name(),)));
        if let Err(error) = called {
            if let Ok(mut raised) = raised.lock() {
                *raised = Some(error);
            }
            // what halo2 calls in between returns no errors
            resume_unwind(Box::new("stopped"));
        }
    })
}

/// Prove the answer to inputs, each a list of integers in row-major order; `watch` is called with the name of each part of
/// the work as it begins, and what it raises ends the work.
#[pyfunction]
#[pyo3(signature = (structure, weights, key, srs_path, opening, context, inputs, watch=None))]
#[allow(clippy::too_many_arguments)]
fn prove<'py>(
    py: Python<'py>,
    structure: &[u8],
    weights: &[u8],
    key: &[u8],
    srs_path: PathBuf,
    opening: Option<&[u8]>,
    context: &[u8],
    inputs: Vec<Vec<i64>>,
    watch: Option<PyObject>,
) -> PyResult<Bound<'py, PyBytes>> {
    let raised = Arc::new(Mutex::new(None));
    let watch = watch.map_or_else(unwatched, |function| watching(function, raised.clone()));
    let context = context.try_into().map_err(|_| PyValueError::new_err("a context has 32 bytes"))?;
    let proof = guarded(py, || {
        let committed = opening.map(opened).transpose()?;
        crate::prove(structure, weights, key, &srs_path, committed, context, &inputs, watch)
    });
    let proof = match raised.lock().ok().and_then(|mut raised| raised.take()) {
        Some(error) => return Err(error),
        None => proof?,
    };
    Ok(PyBytes::new(py, &proof))
}

/// Fill the circuit, alter cells of the first phase (column, lane, row, what is added), and return the constraints that
/// notice: for tests.
#[pyfunction]
fn altered(
    py: Python<'_>,
    structure: &[u8],
    weights: &[u8],
    options: &Bound<'_, PyDict>,
    inputs: Vec<Vec<i64>>,
    edits: Vec<(String, usize, usize, i64)>,
) -> PyResult<Vec<String>> {
    let private = is_private(options)?;
    guarded(py, || crate::altered(structure, weights, private, &inputs, &edits))
}

/// Return the outputs that the rows of a circuit come to: for tests.
#[pyfunction]
fn answers(
    py: Python<'_>,
    structure: &[u8],
    weights: &[u8],
    options: &Bound<'_, PyDict>,
    inputs: Vec<Vec<i64>>,
) -> PyResult<Vec<Vec<i64>>> {
    let private = is_private(options)?;
    guarded(py, || crate::answers(structure, weights, private, &inputs))
}

/// The same for what a registration shows about private weights.
#[pyfunction]
fn altered_digits(
    py: Python<'_>,
    structure: &[u8],
    weights: &[u8],
    edits: Vec<(String, usize, usize, i64)>,
) -> PyResult<Vec<String>> {
    guarded(py, || crate::altered_digits(structure, weights, &edits))
}

/// Return the cells of the first phase that some constraint reads: column, lane, row.
#[pyfunction]
fn read_cells(
    py: Python<'_>,
    structure: &[u8],
    options: &Bound<'_, PyDict>,
) -> PyResult<Vec<(String, usize, usize)>> {
    let private = is_private(options)?;
    guarded(py, || crate::read_cells(structure, private))
}

#[pymodule]
fn balance_zkml_prover(module: &Bound<'_, PyModule>) -> PyResult<()> {
    module.add_function(wrap_pyfunction!(plan, module)?)?;
    module.add_function(wrap_pyfunction!(setup, module)?)?;
    module.add_function(wrap_pyfunction!(commit, module)?)?;
    module.add_function(wrap_pyfunction!(prove, module)?)?;
    module.add_function(wrap_pyfunction!(altered, module)?)?;
    module.add_function(wrap_pyfunction!(altered_digits, module)?)?;
    module.add_function(wrap_pyfunction!(answers, module)?)?;
    module.add_function(wrap_pyfunction!(read_cells, module)?)?;
    balance_zkml_srs::python::register(module)
}
