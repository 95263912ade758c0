//! Seconds by phase, and a word to the caller when a phase begins, from the spans that stwo opens.

use std::collections::BTreeMap;
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Instant;

use tracing::span::{Attributes, Id, Record};
use tracing::{Event, Metadata, Subscriber};

/// Spans that stwo opens on the proving thread, and what their time is called here.
const SPANS: [(&str, &str); 10] = [
    ("prove_cairo", "other"),
    ("Precompute Twiddles", "setup"),
    ("Compute preprocessed trace commitment", "setup"),
    ("Write base trace", "trace"),
    ("Compute base trace commitment", "commit"),
    ("Write interaction trace", "interaction"),
    ("Compute interaction trace commitment", "commit"),
    ("Prove STARKs", "fri"),
    ("Composition", "composition"),
    ("Grind", "grind"),
];

pub type Seconds = BTreeMap<&'static str, f64>;

/// Attributes the time of one thread to the innermost phase that is open on it.
pub struct Phases<F> {
    clock: Mutex<Clock>,
    begins: F,
}

struct Clock {
    seconds: Seconds,
    open: Vec<&'static str>,
    since: Instant,
}

impl Clock {
    /// Charge the time since the last change to the phase that was open.
    fn charge(&mut self) {
        let now = Instant::now();
        if let Some(phase) = self.open.last() {
            *self.seconds.entry(phase).or_default() += (now - self.since).as_secs_f64();
        }
        self.since = now;
    }
}

impl<F: Fn(&'static str)> Phases<F> {
    pub fn new(begins: F) -> Self {
        let clock = Clock { seconds: Seconds::new(), open: Vec::new(), since: Instant::now() };
        Self { clock: Mutex::new(clock), begins }
    }

    /// Run a part of the work that stwo has no span for.
    pub fn during<T>(&self, phase: &'static str, work: impl FnOnce() -> T) -> T {
        self.open(phase);
        let result = work();
        self.close();
        result
    }

    pub fn seconds(&self) -> Seconds {
        self.clock().seconds.clone()
    }

    fn open(&self, phase: &'static str) {
        let fresh = {
            let mut clock = self.clock();
            clock.charge();
            clock.open.push(phase);
            !clock.seconds.contains_key(phase)
        };
        // Called without the lock: it may panic, to end the proof.
        if fresh && phase != SPANS[0].1 {
            (self.begins)(phase);
        }
    }

    fn close(&self) {
        let mut clock = self.clock();
        clock.charge();
        clock.open.pop();
    }

    fn clock(&self) -> MutexGuard<'_, Clock> {
        self.clock.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// A subscriber of one proof, shared with the code that asks for its seconds.
pub struct Spans<F>(pub std::sync::Arc<Phases<F>>);

impl<F: Fn(&'static str) + Send + Sync + 'static> Subscriber for Spans<F> {
    fn enabled(&self, metadata: &Metadata<'_>) -> bool {
        metadata.is_span() && SPANS.iter().any(|(span, _)| *span == metadata.name())
    }

    /// A span is known by its place in `SPANS`: no two of one name are open at once.
    fn new_span(&self, span: &Attributes<'_>) -> Id {
        let place = SPANS.iter().position(|(name, _)| *name == span.metadata().name());
        Id::from_u64(place.unwrap_or(SPANS.len()) as u64 + 1)
    }

    fn enter(&self, span: &Id) {
        if let Some((_, phase)) = SPANS.get(span.into_u64() as usize - 1) {
            self.0.open(phase);
        }
    }

    fn exit(&self, _span: &Id) {
        self.0.close();
    }

    fn record(&self, _span: &Id, _values: &Record<'_>) {}
    fn record_follows_from(&self, _span: &Id, _follows: &Id) {}
    fn event(&self, _event: &Event<'_>) {}
}
