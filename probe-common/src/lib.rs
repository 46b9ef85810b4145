//! What the two sides of tcp-backlog-probe share: map keys, map values, globals.
//!
//! One module per signal or global. Everything here is `#[repr(C)]`, has no
//! padding (checked in [`abi_checks`]) and is plain old data, so the bytes that
//! the kernel side writes are the bytes that the user side reads.
#![no_std]

mod abi_checks;
pub mod accept_queue;
pub mod handshake;
pub mod kernel_offsets;
pub mod listener;
pub mod loss;
pub mod queue_peaks;
pub mod settings;
