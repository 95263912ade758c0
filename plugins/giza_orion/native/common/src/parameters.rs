//! The parameters that a proof may not choose.

use stwo::core::fri::FriConfig;
use stwo::core::pcs::PcsConfig;
use stwo_cairo_common::preprocessed_columns::preprocessed_trace::PreProcessedTraceVariant;

use crate::{require, Refused};

/// Columns of the small preprocessed trace end here, and so does every component.
pub const MAX_LOG_ROWS: u32 = 20;
pub const MAX_ROWS: usize = 1 << MAX_LOG_ROWS;

const POW_BITS: u32 = 26;
const LOG_BLOWUP: u32 = 1;

/// Root of the small preprocessed trace at blowup 2 and lifting size 2^21. A test recomputes it
/// from the trace's definition with the prover's `preprocessed_root`.
pub const PREPROCESSED_ROOT: [u8; 32] = [
    0x06, 0x8d, 0x11, 0x66, 0xc9, 0xf9, 0xf0, 0xec, 0x24, 0x76, 0x41, 0xca, 0x39, 0x1e, 0xe8, 0x39, 0x61, 0x70, 0xe6,
    0x93, 0x43, 0xdf, 0xca, 0xcc, 0x63, 0x2f, 0x96, 0x38, 0x67, 0x0d, 0x2b, 0xec,
];

/// One of the two offered parameter sets; they differ in the number of queries only.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Parameters {
    queries: u32,
}

impl Parameters {
    pub const OFFERED: [u32; 2] = [70, 140];

    pub fn new(queries: u32) -> Result<Self, Refused> {
        require!(Self::OFFERED.contains(&queries), "{queries} queries are not offered: choose 70 or 140");
        Ok(Self { queries })
    }

    pub const fn queries(self) -> usize {
        self.queries as usize
    }

    pub const fn pow_bits(self) -> u32 {
        POW_BITS
    }

    pub const fn log_blowup(self) -> u32 {
        LOG_BLOWUP
    }

    /// Largest committed domain, blowup included.
    pub const fn lifting_log_size(self) -> u32 {
        MAX_LOG_ROWS + LOG_BLOWUP
    }

    pub fn pcs(self) -> PcsConfig {
        PcsConfig {
            pow_bits: POW_BITS,
            fri_config: FriConfig::new(0, LOG_BLOWUP, self.queries(), 1),
            lifting_log_size: Some(self.lifting_log_size()),
        }
    }

    pub const fn variant(self) -> PreProcessedTraceVariant {
        PreProcessedTraceVariant::CanonicalSmall
    }

    pub const fn preprocessed_root(self) -> [u8; 32] {
        PREPROCESSED_ROOT
    }

    /// stwo-cairo offers a salt to repeat a proof with other challenges; none is accepted but this.
    pub const fn salt(self) -> u32 {
        0
    }
}
