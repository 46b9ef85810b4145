//! What is known, written down: each renderer turns the model into one format.
//!
//! Pure: a renderer reads the model and the metric catalogue and writes into its writer. It does
//! no other I/O, concludes nothing, and knows no other renderer; what two of them would say in
//! the same words is in `words`.
pub mod check;
pub mod doctor;
pub mod json;
pub mod markdown;
pub mod prometheus;
pub mod proof;
pub mod table;
pub(crate) mod words;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// What runs, and on what.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct BuildInfo {
    /// Version of the daemon.
    pub version: String,
    /// Release of the running kernel, as `uname -r` prints it.
    pub kernel: String,
}
