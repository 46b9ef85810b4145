//! The daemon's life: one thread that reads, one server that answers, and how both end.
//!
//! ```text
//! clients -> web::server -> web::router -> Collector -> Probe
//! ```
//!
//! The collector ends when the server drops it; the server ends at a signal, and with an error when
//! the collector ends before it.
pub mod client;
pub mod collector;
pub mod episode_log;
mod footprint;
pub mod handover;
pub mod local_socket;
pub mod privileges;
pub mod probe;
mod quiet;
mod recommendations;
pub mod reload;
pub mod serve;
pub mod service_manager;
pub mod signals;
pub mod state_file;
pub mod supervision;
pub mod verdict_log;

pub use self::{
    collector::{Collector, ReadModel, Reader},
    serve::Server,
    signals::Signals,
};
