//! KZG reference strings over BN254 (`docs/srs.md`): the raw format that the core keeps, the files of ceremonies, strings
//! for tests, and the checks that make a string from elsewhere safe to prove with.
//!
//! Every point that is read is checked to be on the curve, and every string that is imported to be consecutive powers of
//! one secret with the Lagrange basis that belongs to them.

mod batch;
mod consistency;
mod error;
mod fixed_base;
mod glv;
mod group_fft;
mod msm;
mod points;
mod ptau;
mod published;
#[cfg(feature = "python")]
pub mod python;
mod raw;
mod testing;

pub use consistency::Consistency;
pub use error::Error;
pub use group_fft::lagrange_basis;
pub use msm::multiply;
pub use points::{decode_g1, encode_g1, G1_BYTES, G2_BYTES};
pub use ptau::import_ptau;
pub use published::{published, PUBLISHED};
pub use raw::{check, import_raw, read, Srs};
pub use testing::make_test;

/// The largest string there can be: 2^28 divides the order of the group less one, and no higher power of two does.
pub const MAX_K: u32 = 28;

/// What an import or a check found out.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Facts {
    /// The logarithm of the number of powers written, or read where nothing is written.
    pub k: u32,
    /// The logarithm of the number of powers of the source.
    pub power: u32,
    /// Whether the Lagrange basis was computed, for the source has none of this length.
    pub computed_lagrange: bool,
    /// BLAKE2b-512 of the source, where that is what its publisher gives.
    pub blake2b: Option<String>,
    /// The name under which the source was published, where its digest is known.
    pub published: Option<&'static str>,
}

/// Called now and then by what takes long; an error stops the work and is returned.
pub type Tick<'a> = &'a (dyn Fn() -> Result<(), Error> + Sync);
