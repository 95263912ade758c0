//! The functions of this crate for Python: `register` adds them to a module of another crate.

use std::panic::{catch_unwind, AssertUnwindSafe};
use std::path::PathBuf;

use pyo3::exceptions::{PyOSError, PyValueError};
use pyo3::prelude::*;
use pyo3::types::PyDict;

use crate::{Error, Facts};

/// Adds `import_ptau`, `import_raw`, `make_test` and `check`.
///
/// Each raises ValueError with the reason why a file is refused, and OSError where a file cannot be read or written. The
/// interpreter runs on meanwhile, and an interrupt stops the work.
pub fn register(module: &Bound<'_, PyModule>) -> PyResult<()> {
    module.add_function(wrap_pyfunction!(import_ptau, module)?)?;
    module.add_function(wrap_pyfunction!(import_raw, module)?)?;
    module.add_function(wrap_pyfunction!(make_test, module)?)?;
    module.add_function(wrap_pyfunction!(check, module)?)
}

/// Import a powers-of-tau file of snarkjs, cut to 2^power powers, and write it in the raw format.
#[pyfunction]
#[pyo3(signature = (path, target, power=None))]
fn import_ptau<'py>(
    py: Python<'py>,
    path: PathBuf,
    target: PathBuf,
    power: Option<u32>,
) -> PyResult<Bound<'py, PyDict>> {
    let facts = guarded(py, |tick| crate::import_ptau(&path, &target, power, tick))?;
    as_dict(py, &facts)
}

/// Check a file of the raw format and write it again, cut to 2^power powers.
#[pyfunction]
#[pyo3(signature = (path, target, power=None))]
fn import_raw<'py>(
    py: Python<'py>,
    path: PathBuf,
    target: PathBuf,
    power: Option<u32>,
) -> PyResult<Bound<'py, PyDict>> {
    let facts = guarded(py, |tick| crate::import_raw(&path, &target, power, tick))?;
    as_dict(py, &facts)
}

/// Write a string of 2^k powers for tests, whose secret nobody promises to have erased.
#[pyfunction]
fn make_test(py: Python<'_>, k: u32, target: PathBuf) -> PyResult<()> {
    guarded(py, |tick| crate::make_test(k, &target, tick))
}

/// Check every point of a file of the raw format, and that they belong together.
#[pyfunction]
fn check(py: Python<'_>, path: PathBuf) -> PyResult<Bound<'_, PyDict>> {
    let facts = guarded(py, |tick| crate::check(&path, tick))?;
    as_dict(py, &facts)
}

fn as_dict<'py>(py: Python<'py>, facts: &Facts) -> PyResult<Bound<'py, PyDict>> {
    let dict = PyDict::new(py);
    dict.set_item("k", facts.k)?;
    dict.set_item("power", facts.power)?;
    dict.set_item("computed_lagrange", facts.computed_lagrange)?;
    dict.set_item("blake2b", facts.blake2b.as_deref())?;
    dict.set_item("published", facts.published)?;
    Ok(dict)
}

/// Runs without the interpreter's lock; a panic becomes an error, as does an interrupt.
fn guarded<T: Send>(py: Python<'_>, work: impl FnOnce(crate::Tick) -> Result<T, Error> + Send) -> PyResult<T> {
    let tick = || Python::with_gil(|py| py.check_signals()).map_err(|_| Error::Stopped);
    let result = py.allow_threads(|| catch_unwind(AssertUnwindSafe(|| work(&tick))));
    match result {
        Ok(Ok(value)) => Ok(value),
        Ok(Err(Error::File(error))) => Err(PyOSError::new_err(error.to_string())),
        Ok(Err(Error::Stopped)) => Err(pyo3::exceptions::PyKeyboardInterrupt::new_err(())),
        Ok(Err(error)) => Err(PyValueError::new_err(error.to_string())),
        Err(_) => Err(PyValueError::new_err("the reference string could not be handled: an internal error")),
    }
}
