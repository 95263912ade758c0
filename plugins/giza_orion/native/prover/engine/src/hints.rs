//! Hints: what a run reads from outside, at which instruction, and where it goes.
//!
//! Nothing here has to be trusted: a program constrains what its hints wrote, or it proves nothing about it.

use std::any::Any;
use std::collections::HashMap;
use std::sync::Arc;

use balance_orion_common::{felt_from_bytes, felt_to_bytes, is_canonical, Refused, MAX_ROWS};
use cairo_vm::hint_processor::hint_processor_definition::{HintProcessorLogic, HintReference};
use cairo_vm::serde::deserialize_program::{ApTracking, FlowTrackingData, HintParams};
use cairo_vm::types::exec_scope::ExecutionScopes;
use cairo_vm::types::relocatable::{MaybeRelocatable, Relocatable};
use cairo_vm::vm::errors::hint_errors::HintError;
use cairo_vm::vm::errors::vm_errors::VirtualMachineError;
use cairo_vm::vm::runners::cairo_runner::ResourceTracker;
use cairo_vm::vm::vm_core::VirtualMachine;
use cairo_vm::Felt252;

/// Steps are the rows of twenty components: a longer run cannot be proven.
const MAX_STEPS: usize = 20 * MAX_ROWS;

/// What a hint does before the instruction at its place executes. `count` values come from the tape.
#[derive(Debug, Clone, Copy)]
enum Action {
    /// Write them to `[ap + offset]` and the cells that follow.
    Fill { count: usize, offset: i32, narrow: bool },
    /// Write a pointer to a new segment to `[ap + offset]`.
    Segment { offset: i32 },
    /// Append them to the segment whose pointer is in `[ap + offset]`, first where that points, then behind the last.
    Append { count: usize, offset: i32, narrow: bool },
}

/// A hint as it comes from Python: place in the program, kind, count, offset.
pub type RawHint = (usize, u32, usize, i32);

/// All hints of a program, and the tape they read.
pub struct Hints<'a> {
    actions: Vec<Action>,
    places: Vec<usize>,
    tape: &'a [u8],
    used: usize,
    steps_left: usize,
    /// Where the next appended value of each segment goes.
    ends: HashMap<isize, usize>,
}

impl<'a> Hints<'a> {
    pub fn new(raw: &[RawHint], tape: &'a [u8], words: usize) -> Result<Self, Refused> {
        let mut actions = Vec::with_capacity(raw.len());
        for (index, &(place, kind, count, offset)) in raw.iter().enumerate() {
            if place >= words {
                return Err(Refused(format!("hint {index} is at word {place}, the program has {words}")));
            }
            actions.push(match kind {
                0 | 3 => Action::Fill { count, offset, narrow: kind == 3 },
                1 => Action::Segment { offset },
                2 | 4 => Action::Append { count, offset, narrow: kind == 4 },
                _ => return Err(Refused(format!("hint {index} has the unknown kind {kind}"))),
            });
        }
        Ok(Self {
            actions,
            places: raw.iter().map(|hint| hint.0).collect(),
            tape,
            used: 0,
            steps_left: MAX_STEPS,
            ends: HashMap::new(),
        })
    }

    /// What cairo-vm wants to know: at each place, the numbers of its hints.
    pub fn by_place(&self) -> HashMap<usize, Vec<HintParams>> {
        let mut map: HashMap<usize, Vec<HintParams>> = HashMap::new();
        for (index, place) in self.places.iter().enumerate() {
            map.entry(*place).or_default().push(HintParams {
                code: index.to_string(),
                accessible_scopes: Vec::new(),
                flow_tracking_data: FlowTrackingData {
                    ap_tracking: ApTracking::new(),
                    reference_ids: HashMap::new(),
                },
            });
        }
        map
    }

    /// Bytes of the tape that no hint has read.
    pub fn left(&self) -> usize {
        self.tape.len() - self.used
    }

    fn take(&mut self, count: usize, narrow: bool) -> Result<Vec<MaybeRelocatable>, HintError> {
        let width = if narrow { 8 } else { 32 };
        let end = count.checked_mul(width).and_then(|size| size.checked_add(self.used));
        let Some(bytes) = end.and_then(|end| self.tape.get(self.used..end)) else {
            return Err(stop(format!(
                "the tape ends after {} bytes, a hint needs {count} values more",
                self.tape.len()
            )));
        };
        self.used += bytes.len();
        bytes.chunks_exact(width).map(if narrow { small } else { wide }).collect()
    }
}

fn small(bytes: &[u8]) -> Result<MaybeRelocatable, HintError> {
    let bytes = bytes.try_into().map_err(|_| stop("a value of the tape is cut".into()))?;
    Ok(MaybeRelocatable::Int(Felt252::from(i64::from_le_bytes(bytes))))
}

fn wide(bytes: &[u8]) -> Result<MaybeRelocatable, HintError> {
    let felt = felt_from_bytes(bytes);
    match is_canonical(&felt) {
        true => Ok(MaybeRelocatable::Int(Felt252::from_bytes_le(&felt_to_bytes(&felt)))),
        false => Err(stop("a value of the tape is not below the field's prime".into())),
    }
}

fn stop(reason: String) -> HintError {
    HintError::CustomHint(reason.into_boxed_str())
}

fn cell(vm: &VirtualMachine, offset: i32) -> Result<Relocatable, HintError> {
    Ok((vm.get_ap() + offset)?)
}

/// A program that does not end is stopped.
impl ResourceTracker for Hints<'_> {
    fn consumed(&self) -> bool {
        self.steps_left == 0
    }

    fn consume_step(&mut self) {
        self.steps_left = self.steps_left.saturating_sub(1);
    }

    fn get_n_steps(&self) -> Option<usize> {
        Some(self.steps_left)
    }
}

impl HintProcessorLogic for Hints<'_> {
    fn execute_hint(
        &mut self,
        vm: &mut VirtualMachine,
        _scopes: &mut ExecutionScopes,
        hint: &Box<dyn Any>,
    ) -> Result<(), HintError> {
        match *hint.downcast_ref::<Action>().ok_or(HintError::WrongHintData)? {
            Action::Fill { count, offset, narrow } => {
                let values = self.take(count, narrow)?;
                vm.load_data(cell(vm, offset)?, &values)?;
            }
            Action::Segment { offset } => {
                let segment = vm.add_memory_segment();
                vm.insert_value(cell(vm, offset)?, segment)?;
            }
            Action::Append { count, offset, narrow } => {
                let values = self.take(count, narrow)?;
                let start = vm.get_relocatable(cell(vm, offset)?)?;
                let end = self.ends.entry(start.segment_index).or_insert(start.offset);
                let place = std::mem::replace(end, *end + values.len());
                vm.load_data(Relocatable::from((start.segment_index, place)), &values)?;
            }
        }
        Ok(())
    }

    fn compile_hint(
        &self,
        code: &str,
        _ap_tracking: &ApTracking,
        _reference_ids: &HashMap<String, usize>,
        _references: &[HintReference],
        _scopes: &[String],
        _constants: Arc<HashMap<String, Felt252>>,
    ) -> Result<Box<dyn Any>, VirtualMachineError> {
        let action = code.parse::<usize>().ok().and_then(|index| self.actions.get(index));
        action.map(|action| Box::new(*action) as Box<dyn Any>).ok_or(VirtualMachineError::Unexpected)
    }
}
