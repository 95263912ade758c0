//! The advice of a circuit, phase by phase: each is committed to before the challenges of the next are drawn.

use ff::Field;
use halo2_axiom::circuit::Value;
use halo2_axiom::halo2curves::bn256::{Fr, G1Affine, G1};
use halo2_axiom::plonk::{
    Advice, Any, Assigned, Assignment, Challenge, Circuit, Column, ConstraintSystem, Error as Unassigned, Fixed,
    FloorPlanner, Instance, Selector, VerifyingKey,
};
use halo2_axiom::transcript::Transcript;
use rand_chacha::ChaCha20Rng;
use rayon::prelude::*;

use super::{write_points, Write};
use crate::string::Powers;
use crate::Error;

/// A circuit that is being filled.
pub struct Assigning<'a> {
    params: &'a Powers,
    cs: &'a ConstraintSystem<Fr>,
    public: &'a [&'a [Fr]],
    transcript: &'a mut Write,
    random: &'a mut ChaCha20Rng,
    phase: u8,
    /// Rows that values can stand in.
    rows: usize,
    advice: Vec<Vec<Fr>>,
    challenges: Vec<Option<Fr>>,
    refused: Option<Error>,
}

/// All advice, its last rows random, and all challenges.
pub struct Filled {
    pub advice: Vec<Vec<Fr>>,
    pub challenges: Vec<Fr>,
}

impl<'a> Assigning<'a> {
    pub fn new(
        params: &'a Powers,
        key: &'a VerifyingKey<G1Affine>,
        public: &'a [&'a [Fr]],
        transcript: &'a mut Write,
        random: &'a mut ChaCha20Rng,
    ) -> Self {
        let cs = key.cs();
        let n = 1 << key.get_domain().k();
        Self {
            params,
            cs,
            public,
            transcript,
            random,
            phase: 0,
            rows: n - (cs.blinding_factors() + 1),
            advice: vec![vec![Fr::ZERO; n]; cs.num_advice_columns()],
            challenges: vec![None; cs.num_challenges()],
            refused: None,
        }
    }

    pub fn run<C: Circuit<Fr>>(mut self, circuit: &C) -> Result<Filled, Error> {
        let mut cs = ConstraintSystem::default();
        let config = C::configure_with_params(&mut cs, circuit.params());
        C::FloorPlanner::synthesize(&mut self, circuit, config, vec![])
            .map_err(|error| Error(format!("the circuit is not filled: {error:?}")))?;
        while self.refused.is_none() && self.cs.advice_column_phase().iter().any(|phase| *phase >= self.phase) {
            self.next_phase();
        }
        if let Some(error) = self.refused {
            return Err(error);
        }
        let challenges: Option<Vec<Fr>> = self.challenges.into_iter().collect();
        let challenges = challenges.ok_or_else(|| Error::new("a challenge belongs to no phase"))?;
        Ok(Filled { advice: self.advice, challenges })
    }

    fn of_phase(&self, phases: &[u8]) -> Vec<usize> {
        (0..phases.len()).filter(|&i| phases[i] == self.phase).collect()
    }

    fn commit(&mut self) -> Result<(), Error> {
        if self.phase == 0 {
            for value in self.public.iter().copied().flatten() {
                self.transcript.common_scalar(*value).map_err(|error| Error(error.to_string()))?;
            }
        }
        let columns = self.of_phase(&self.cs.advice_column_phase());
        for &column in &columns {
            self.advice[column][self.rows..].fill_with(|| Fr::random(&mut *self.random));
        }
        let points: Vec<G1> =
            columns.par_iter().map(|&column| self.params.sum_of_values(&self.advice[column])).collect();
        write_points(self.transcript, &points)?;
        for challenge in self.of_phase(&self.cs.challenge_phase()) {
            self.challenges[challenge] = Some(*self.transcript.squeeze_challenge_scalar::<()>());
        }
        Ok(())
    }
}

/// Advice is kept; fixed cells and copies are the key's.
impl Assignment<Fr> for Assigning<'_> {
    fn assign_advice<'v>(
        &mut self,
        column: Column<Advice>,
        row: usize,
        to: Value<Assigned<Fr>>,
    ) -> Value<&'v Assigned<Fr>> {
        let cell = self.advice.get_mut(column.index()).and_then(|cells| cells[..self.rows].get_mut(row));
        match cell {
            Some(cell) => {
                to.map(|value| *cell = value.evaluate());
            }
            None => self.refused = Some(Error::new("a cell beyond the rows of the circuit")),
        }
        Value::unknown()
    }

    fn get_challenge(&self, challenge: Challenge) -> Value<Fr> {
        self.challenges[challenge.index()].map_or_else(Value::unknown, Value::known)
    }

    fn next_phase(&mut self) {
        if let Err(error) = self.commit() {
            self.refused = Some(error);
        }
        self.phase += 1;
    }

    fn query_instance(&self, column: Column<Instance>, row: usize) -> Result<Value<Fr>, Unassigned> {
        let value = self.public.get(column.index()).and_then(|values| values.get(row));
        Ok(Value::known(value.copied().unwrap_or(Fr::ZERO)))
    }

    fn assign_fixed(&mut self, _: Column<Fixed>, _: usize, _: Assigned<Fr>) {}

    fn copy(&mut self, _: Column<Any>, _: usize, _: Column<Any>, _: usize) {}

    fn fill_from_row(&mut self, _: Column<Fixed>, _: usize, _: Value<Assigned<Fr>>) -> Result<(), Unassigned> {
        Ok(())
    }

    fn enable_selector<A, AR>(&mut self, _: A, _: &Selector, _: usize) -> Result<(), Unassigned>
    where
        A: FnOnce() -> AR,
        AR: Into<String>,
    {
        Ok(())
    }

    fn enter_region<NR, N>(&mut self, _: N)
    where
        NR: Into<String>,
        N: FnOnce() -> NR,
    {
    }

    fn exit_region(&mut self) {}

    fn annotate_column<A, AR>(&mut self, _: A, _: Column<Any>)
    where
        A: FnOnce() -> AR,
        AR: Into<String>,
    {
    }

    fn push_namespace<NR, N>(&mut self, _: N)
    where
        NR: Into<String>,
        N: FnOnce() -> NR,
    {
    }

    fn pop_namespace(&mut self, _: Option<String>) {}
}
