//! The kernel side of tcp-backlog-probe: programs that count what happens to
//! handshakes, per listening port. `hooks` holds the programs, one file per signal.
#![no_std]
#![no_main]
#![feature(core_intrinsics, asm_experimental_arch)]
#![expect(internal_features, reason = "BPF's atomic add has no stable name: see count::atomic_add")]

mod bracket;
mod cast;
mod charge;
mod conditions;
mod count;
mod cpu_state;
mod hooks;
mod kernel_counters;
mod kernel_read;
mod packet;
mod refused_connections;
mod rows;
mod seen;
mod settings;
mod shared_maps;

/// Lets the kernel offer its GPL-only helpers (`bpf_probe_read_kernel`, tracing).
#[unsafe(link_section = "license")]
#[unsafe(no_mangle)]
static LICENSE: [u8; 13] = *b"Dual MIT/GPL\0";

#[cfg(not(test))]
#[panic_handler]
fn panic(_info: &core::panic::PanicInfo<'_>) -> ! {
    // Nothing here panics; the verifier refuses a program that could get here.
    loop {}
}
