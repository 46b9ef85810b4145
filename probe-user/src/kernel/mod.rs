//! Everything that is done through bpf(2), and the only module that imports aya: loading,
//! attaching, reading maps; and what else has to be asked of the system in unsafe words. It carries a [`Plan`](crate::plan::decide::Plan) out and knows no metric.
mod attach;
mod descriptors;
mod handover;
mod heap;
pub mod inherited;
mod log;
mod mapped;
mod maps;
mod missed_kprobes;
mod namespace_cookie;
mod object;
mod one_line;
mod retirement;

pub use self::{
    attach::{Attached, attach},
    descriptors::{SkippedRuns, map_bytes},
    handover::{Inventory, Layout, adopt, attached},
    heap::{
        give_code_back, give_free_memory_back, heap_in_use, keep_no_large_pieces, refuse_huge_pages,
        share_one_heap,
    },
    log::{LEVEL_DEBUG, LEVEL_OFF, forward_logs},
    maps::ProbeMaps,
    namespace_cookie::namespace_cookie,
    object::{KernelBtf, object_digest},
    retirement::Retirement,
};
