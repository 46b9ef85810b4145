//! The programs, one file per signal. Each entry is thin: it takes the kernel's
//! arguments apart and calls the one handler that all variants share.
//!
//! The order of the parameters is that of the kernel's prototype, quoted on
//! each handler; the user side checks it against BTF before anything is loaded.
pub(crate) mod accept_queue;
mod backlog;
mod established;
mod handshake;
mod last_ack;
mod listener;
mod refused;
mod request_expired;
mod socket_drops;
