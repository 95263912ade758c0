//! The module `balance_zkml_prover`.

use std::panic::{catch_unwind, resume_unwind, AssertUnwindSafe};
use std::path::PathBuf;
use std::sync::{Arc, Mutex};

use balance_zkml_circuit::plan::LARGEST;
use balance_zkml_circuit::Secret;
use balance_zkml_verifier::hiding::BLIND_BYTES;
use balance_zkml_verifier::verify::{Given, PROVIDER_BYTES};
use ff::PrimeField;
use halo2_axiom::halo2curves::bn256::Fr;
use pyo3::exceptions::PyValueError;
use pyo3::prelude::*;
use pyo3::types::{PyBytes, PyDict};

use crate::{keys, unwatched, Committed, Error, Opening, Options, Watch};

/// Runs without the interpreter's lock; a panic becomes an error.
fn guarded<T: Send>(py: Python<'_>, work: impl FnOnce() -> Result<T, Error> + Send) -> PyResult<T> {
    match py.allow_threads(|| catch_unwind(AssertUnwindSafe(work))) {
        Ok(Ok(value)) => Ok(value),
        Ok(Err(error)) => Err(PyValueError::new_err(error.to_string())),
        Err(_) => Err(PyValueError::new_err("an internal error of the prover")),
    }
}

/// What `options` says: "weights" and "inputs" are private or public, "k" is the number of rows.
fn options_of<'a>(options: &Bound<'_, PyDict>, values: Option<&'a [u8]>) -> PyResult<Options<'a>> {
    let secret = |name: &str, default: bool| -> PyResult<bool> {
        let choice: Option<String> = options.get_item(name)?.map(|value| value.extract()).transpose()?;
        match choice.as_deref() {
            None => Ok(default),
            Some("private") => Ok(true),
            Some("public") => Ok(false),
            Some(other) => Err(PyValueError::new_err(format!("{name} are private or public, not {other}"))),
        }
    };
    let secret = Secret { weights: secret("weights", true)?, inputs: secret("inputs", false)? };
    let k: Option<u32> = options.get_item("k")?.map(|value| value.extract()).transpose()?;
    if k.is_some_and(|k| !(4..=LARGEST).contains(&k)) {
        return Err(PyValueError::new_err(format!("k is 4 to {LARGEST}")));
    }
    Ok(Options { secret, values, k })
}

/// Return how a structure would be laid out: k, columns, rows, CPU seconds of a proof, and bytes of memory.
#[pyfunction]
fn plan<'py>(py: Python<'py>, structure: &[u8], options: &Bound<'py, PyDict>) -> PyResult<Bound<'py, PyDict>> {
    let options = options_of(options, None)?;
    let plan = guarded(py, || keys::plan_of(structure, &options))?;
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

/// Make the verifying key for a structure: with private weights, or with `values` fixed in it; for public or private inputs.
#[pyfunction]
fn setup<'py>(
    py: Python<'py>,
    structure: &[u8],
    srs_path: PathBuf,
    options: &Bound<'py, PyDict>,
) -> PyResult<Bound<'py, PyDict>> {
    let values: Option<Vec<u8>> = options.get_item("values")?.map(|value| value.extract()).transpose()?;
    let options = options_of(options, values.as_deref())?;
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

/// Commit to private weights for a provider, named by the 32 bytes of its key; the opening is secret.
#[pyfunction]
fn commit<'py>(
    py: Python<'py>,
    structure: &[u8],
    weights: &[u8],
    key: &[u8],
    srs_path: PathBuf,
    provider: &[u8],
) -> PyResult<Bound<'py, PyDict>> {
    let provider: [u8; PROVIDER_BYTES] =
        provider.try_into().map_err(|_| PyValueError::new_err("a provider's key has 32 bytes"))?;
    let (commitment, opening) = guarded(py, || {
        let (commitment, opening): (Vec<u8>, Opening) = crate::commit(structure, weights, key, &srs_path, &provider)?;
        // The prover needs all three, and is handed one.
        let mut secret = provider.to_vec();
        secret.extend_from_slice(&(commitment.len() as u64).to_le_bytes());
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
fn opened(secret: &[u8]) -> Result<Committed<'_>, Error> {
    let damaged = || Error::new("the opening is damaged");
    let (provider, rest) = secret.split_first_chunk::<PROVIDER_BYTES>().ok_or_else(damaged)?;
    let (size, rest) = rest.split_first_chunk::<8>().ok_or_else(damaged)?;
    let size = usize::try_from(u64::from_le_bytes(*size)).map_err(|_| damaged())?;
    if size > rest.len() {
        return Err(damaged());
    }
    let (bytes, opening) = rest.split_at(size);
    Ok(Committed { given: Given { bytes, provider }, opening })
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

/// A watch that calls a Python function, if there is one, and what that raised.
fn watched<T>(function: Option<PyObject>, work: impl FnOnce(Watch) -> PyResult<T>) -> PyResult<T> {
    let raised = Arc::new(Mutex::new(None));
    let done = work(function.map_or_else(unwatched, |function| watching(function, raised.clone())));
    match raised.lock().ok().and_then(|mut raised| raised.take()) {
        Some(error) => Err(error),
        None => done,
    }
}

/// Proves answers of one model under one key; what all proofs share is made once. `opening` is that of `commit`, for private
/// weights. `watch` is called with the name of each part of the work as it begins, and what it raises ends the work.
#[pyclass(frozen, module = "balance_zkml_prover")]
struct Prover {
    inner: crate::Prover,
}

#[pymethods]
impl Prover {
    #[new]
    #[pyo3(signature = (structure, weights, key, srs_path, opening=None, watch=None))]
    fn new(
        py: Python<'_>,
        structure: &[u8],
        weights: &[u8],
        key: &[u8],
        srs_path: PathBuf,
        opening: Option<&[u8]>,
        watch: Option<PyObject>,
    ) -> PyResult<Self> {
        let made = |watch| {
            guarded(py, || {
                let committed = opening.map(opened).transpose()?;
                crate::Prover::new(structure, weights, key, &srs_path, committed, watch)
            })
        };
        Ok(Self { inner: watched(watch, made)? })
    }

    /// Prove the answer to inputs, each a list of integers in row-major order; `blind` is 32 secret bytes for private ones.
    #[pyo3(signature = (context, inputs, blind=None, watch=None))]
    fn prove<'py>(
        &self,
        py: Python<'py>,
        context: &[u8],
        inputs: Vec<Vec<i64>>,
        blind: Option<Vec<u8>>,
        watch: Option<PyObject>,
    ) -> PyResult<Bound<'py, PyBytes>> {
        let context = context.try_into().map_err(|_| PyValueError::new_err("a context has 32 bytes"))?;
        let blind: Option<[u8; BLIND_BYTES]> = blind
            .map(|blind| blind.try_into().map_err(|_| PyValueError::new_err("what blinds inputs has 32 bytes")))
            .transpose()?;
        let made = |watch| guarded(py, || self.inner.prove(context, &inputs, blind.as_ref(), watch));
        Ok(PyBytes::new(py, &watched(watch, made)?))
    }
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
    let options = options_of(options, None)?;
    guarded(py, || crate::altered(structure, weights, &options, &inputs, &edits))
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
    let options = options_of(options, None)?;
    guarded(py, || crate::answers(structure, weights, &options, &inputs))
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

/// Return the point at which a proof opens all that it commits to, and the values there, each as 32 bytes: for tests.
#[pyfunction]
#[pyo3(name = "opened", signature = (key, commitment, proof))]
fn opened_values<'py>(
    py: Python<'py>,
    key: &[u8],
    commitment: Option<(Vec<u8>, Vec<u8>)>,
    proof: &[u8],
) -> PyResult<(Bound<'py, PyBytes>, Vec<Bound<'py, PyBytes>>)> {
    let (point, values) = guarded(py, || {
        let given = match &commitment {
            Some((bytes, provider)) => {
                let provider = provider.as_slice().try_into();
                Some(Given { bytes, provider: provider.map_err(|_| Error::new("a provider's key has 32 bytes"))? })
            }
            None => None,
        };
        crate::opened(key, given, proof)
    })?;
    let encoded = |value: &Fr| PyBytes::new(py, value.to_repr().as_ref());
    Ok((encoded(&point), values.iter().map(encoded).collect()))
}

/// Return the cells of the first phase that some constraint reads: column, lane, row.
#[pyfunction]
fn read_cells(
    py: Python<'_>,
    structure: &[u8],
    options: &Bound<'_, PyDict>,
) -> PyResult<Vec<(String, usize, usize)>> {
    let options = options_of(options, None)?;
    guarded(py, || crate::read_cells(structure, &options))
}

/// Return where each output stands: row, lane, and whether its digit is looked up.
#[pyfunction]
fn output_cells(
    py: Python<'_>,
    structure: &[u8],
    options: &Bound<'_, PyDict>,
) -> PyResult<Vec<(usize, usize, bool)>> {
    let options = options_of(options, None)?;
    guarded(py, || crate::output_cells(structure, &options))
}

#[pymodule]
fn balance_zkml_prover(module: &Bound<'_, PyModule>) -> PyResult<()> {
    module.add_function(wrap_pyfunction!(plan, module)?)?;
    module.add_function(wrap_pyfunction!(setup, module)?)?;
    module.add_function(wrap_pyfunction!(commit, module)?)?;
    module.add_class::<Prover>()?;
    module.add_function(wrap_pyfunction!(altered, module)?)?;
    module.add_function(wrap_pyfunction!(altered_digits, module)?)?;
    module.add_function(wrap_pyfunction!(answers, module)?)?;
    module.add_function(wrap_pyfunction!(read_cells, module)?)?;
    module.add_function(wrap_pyfunction!(opened_values, module)?)?;
    module.add_function(wrap_pyfunction!(output_cells, module)?)?;
    balance_zkml_srs::python::register(module)
}
