//! What it takes to prove the counts: TCP segments that are sent on purpose.
pub mod wire;
