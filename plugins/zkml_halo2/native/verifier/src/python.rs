//! The module `balance_zkml_verifier`.

use std::panic::{catch_unwind, AssertUnwindSafe};

use group::GroupEncoding;
use halo2_axiom::halo2curves::bn256::G1Affine;
use pyo3::exceptions::PyValueError;
use pyo3::prelude::*;
use pyo3::types::PyBytes;
use rayon::{ThreadPool, ThreadPoolBuilder};

use crate::verify as checks;
use crate::{hiding, Error, Key};

type Tensors = Vec<Vec<i64>>;

/// Runs without the interpreter's lock; a panic becomes an error.
fn guarded<T: Send>(py: Python<'_>, work: impl FnOnce() -> Result<T, Error> + Send) -> PyResult<T> {
    match py.allow_threads(|| catch_unwind(AssertUnwindSafe(work))) {
        Ok(Ok(value)) => Ok(value),
        Ok(Err(error)) => Err(PyValueError::new_err(error.to_string())),
        Err(_) => Err(PyValueError::new_err("it cannot be read: an internal error")),
    }
}

/// What `verify` returns: context, the structure's digest, inputs, outputs, and the commitments to hidden inputs.
type Stated<'py> = (Bound<'py, PyBytes>, Bound<'py, PyBytes>, Tensors, Tensors, Option<Bound<'py, PyBytes>>);

/// Check a proof and return what it states; raises ValueError with the reason.
///
/// `commitment` is a pair: its bytes, and the 32 bytes of the provider's key that it was made for. Where inputs are hidden
/// there are none, but the commitments to them.
#[pyfunction]
#[pyo3(signature = (key, commitment, proof))]
fn verify<'py>(
    py: Python<'py>,
    key: &[u8],
    commitment: Option<(Vec<u8>, Vec<u8>)>,
    proof: &[u8],
) -> PyResult<Stated<'py>> {
    Prepared::new(py, key, commitment)?.verify(py, proof)
}

/// A key and a commitment that were checked, for any number of proofs under them; raises ValueError as `verify` does.
#[pyclass(frozen)]
struct Prepared {
    checked: checks::Prepared,
    /// One thread: a proof's parts are so small that several would mostly wake each other.
    thread: ThreadPool,
}

#[pymethods]
impl Prepared {
    #[new]
    #[pyo3(signature = (key, commitment))]
    fn new(py: Python<'_>, key: &[u8], commitment: Option<(Vec<u8>, Vec<u8>)>) -> PyResult<Self> {
        guarded(py, || {
            let given = commitment.as_ref().map(|(bytes, provider)| given(bytes, provider)).transpose()?;
            let thread = ThreadPoolBuilder::new().num_threads(1).build();
            let thread = thread.map_err(|error| Error(format!("no thread can be started: {error}")))?;
            Ok(Self { checked: thread.install(|| checks::Prepared::new(key, given))?, thread })
        })
    }

    /// Check a proof and return what it states, as `verify` does.
    fn verify<'py>(&self, py: Python<'py>, proof: &[u8]) -> PyResult<Stated<'py>> {
        let statement = guarded(py, || self.thread.install(|| self.checked.proof(proof)))?;
        let context = PyBytes::new(py, &statement.context);
        let hidden = self.checked.key.shape.hidden.then(|| PyBytes::new(py, &encoded(&statement.hidden)));
        let digest = PyBytes::new(py, &self.checked.key.structure_digest);
        Ok((context, digest, statement.inputs, statement.outputs, hidden))
    }
}

fn given<'a>(bytes: &'a [u8], provider: &'a [u8]) -> Result<checks::Given<'a>, Error> {
    let provider = provider.try_into().map_err(|_| Error::new("a provider's key has 32 bytes"))?;
    Ok(checks::Given { bytes, provider })
}

fn encoded(points: &[G1Affine]) -> Vec<u8> {
    points.iter().flat_map(|point| point.to_bytes().as_ref().to_vec()).collect()
}

/// Return the commitments that a proof of these inputs under this context and blinding states; raises ValueError.
#[pyfunction]
fn hide<'py>(
    py: Python<'py>,
    key: &[u8],
    context: &[u8],
    inputs: Tensors,
    blind: &[u8],
) -> PyResult<Bound<'py, PyBytes>> {
    let points = guarded(py, || {
        let sized = |what: &str| Error(format!("{what} has 32 bytes"));
        let context = context.try_into().map_err(|_| sized("a context"))?;
        let blind = blind.try_into().map_err(|_| sized("what blinds inputs"))?;
        Ok(hiding::hide(&Key::decode(key)?, key, context, &inputs, blind)?.points)
    })?;
    Ok(PyBytes::new(py, &encoded(&points)))
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
    module.add_class::<Prepared>()?;
    module.add_function(wrap_pyfunction!(verify, module)?)?;
    module.add_function(wrap_pyfunction!(hide, module)?)?;
    module.add_function(wrap_pyfunction!(parameters, module)?)
}
