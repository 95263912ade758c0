//! The Python module `balance_orion_prover.native`. The package around it checks the processor before it is loaded.

use std::any::Any;
use std::panic::{catch_unwind, resume_unwind, AssertUnwindSafe};

use balance_orion_common::{felt_to_bytes, panic_message, Parameters, Refused, MAX_ROWS};
use balance_orion_engine::{RawHint, Run};
use pyo3::exceptions::{PyRuntimeError, PyValueError};
use pyo3::prelude::*;
use pyo3::types::{PyBytes, PyDict};

/// An exception that the caller's progress function raised, on its way out of the proof.
struct Cancelled(PyErr);

/// Do the work without the interpreter's lock, on threads of its own; a panic becomes an exception.
fn apart<T: Send>(py: Python<'_>, threads: usize, work: impl FnOnce() -> anyhow::Result<T> + Send) -> PyResult<T> {
    let result = py.detach(|| {
        let pool = rayon::ThreadPoolBuilder::new().num_threads(threads).build();
        let pool = pool.map_err(|error| failed(Box::new(error.to_string())))?;
        catch_unwind(AssertUnwindSafe(|| pool.install(work))).map_err(failed)
    });
    result?.map_err(|error| PyValueError::new_err(error.to_string()))
}

fn failed(panic: Box<dyn Any + Send>) -> PyErr {
    match panic.downcast::<Cancelled>() {
        Ok(cancelled) => cancelled.0,
        Err(panic) => PyRuntimeError::new_err(format!("the prover failed: {}", panic_message(&*panic))),
    }
}

fn refused(reason: Refused) -> PyErr {
    PyValueError::new_err(reason.0)
}

fn describe<'py>(py: Python<'py>, run: &Run) -> PyResult<Bound<'py, PyDict>> {
    let answer = PyDict::new(py);
    let output: Vec<_> = run.output.iter().map(|felt| PyBytes::new(py, &felt_to_bytes(felt))).collect();
    answer.set_item("output", output)?;
    answer.set_item("steps", run.steps)?;
    answer.set_item("rows", run.rows.clone())?;
    Ok(answer)
}

/// Execute a program without a proof: output words, steps, and the rows that each component of a proof would have.
#[pyfunction]
#[pyo3(signature = (program, hints, tape, *, threads = 0))]
fn run<'py>(
    py: Python<'py>,
    program: &[u8],
    hints: Vec<RawHint>,
    tape: &[u8],
    threads: usize,
) -> PyResult<Bound<'py, PyDict>> {
    let run = apart(py, threads, || balance_orion_engine::run(program, &hints, tape))?;
    describe(py, &run)
}

/// Execute a program and prove the run; as `run`, with the proof and the seconds of each phase.
///
/// `progress` is called with the name of each phase when it begins; what it raises ends the proof.
#[pyfunction]
#[pyo3(signature = (program, hints, tape, *, queries, progress = None, threads = 0))]
fn prove<'py>(
    py: Python<'py>,
    program: &[u8],
    hints: Vec<RawHint>,
    tape: &[u8],
    queries: u32,
    progress: Option<Py<PyAny>>,
    threads: usize,
) -> PyResult<Bound<'py, PyDict>> {
    let parameters = Parameters::new(queries).map_err(refused)?;
    let begins = move |phase: &'static str| {
        if let Some(progress) = &progress {
            if let Err(error) = Python::attach(|py| progress.call1(py, (phase,)).map(drop)) {
                resume_unwind(Box::new(Cancelled(error)));
            }
        }
    };
    let proven = apart(py, threads, || balance_orion_engine::prove(program, &hints, tape, parameters, begins))?;
    let answer = describe(py, &proven.run)?;
    answer.set_item("proof", PyBytes::new(py, &proven.proof))?;
    answer.set_item("seconds", proven.seconds)?;
    Ok(answer)
}

/// Root of the tables that every proof uses, computed from their definition: the verifier pins its value.
#[pyfunction]
fn preprocessed_root(py: Python<'_>) -> PyResult<Bound<'_, PyBytes>> {
    let parameters = Parameters::new(Parameters::OFFERED[0]).map_err(refused)?;
    let root = apart(py, 0, || Ok(balance_orion_engine::preprocessed_root(parameters)))?;
    Ok(PyBytes::new(py, &root))
}

/// Runs Cairo programs and proves the runs.
#[pymodule]
fn native(module: &Bound<'_, PyModule>) -> PyResult<()> {
    // Panics are reported as exceptions; this library has its own hook, the process keeps its.
    std::panic::set_hook(Box::new(|_| ()));
    module.add("__version__", env!("CARGO_PKG_VERSION"))?;
    module.add("MAX_ROWS", MAX_ROWS)?;
    module.add_function(wrap_pyfunction!(preprocessed_root, module)?)?;
    module.add_function(wrap_pyfunction!(run, module)?)?;
    module.add_function(wrap_pyfunction!(prove, module)?)
}
