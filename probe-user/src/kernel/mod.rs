//! Everything that is done through bpf(2), and the only module that imports aya: loading,
//! attaching, reading maps. It carries a [`Plan`](crate::plan::decide::Plan) out and knows no metric.
mod attach;
mod log;
mod maps;
mod object;
mod one_line;
mod retirement;

pub use self::{
    attach::{Attached, attach},
    log::{LEVEL_DEBUG, LEVEL_OFF, forward_logs},
    maps::{ProbeMaps, map_bytes, skipped_runs},
    object::KernelBtf,
};
