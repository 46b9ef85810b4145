//! Plain loads through pointers that the verifier knows nothing of, by `bpf_rdonly_cast()` (a35b9af4ec2c, 6.2).
//!
//! The verifier turns the call into a mere copy of a register, and a load through the result is checked like any
//! other through a typed pointer; where the memory is not there it reads 0. `bpf_probe_read_kernel()` does the same at the
//! price of a function call, some sixty instructions, and a bracket needs several of them.
use core::arch::asm;

use crate::kernel_read::{Direct, KernelPointer, KernelRead, Probed};

/// Reads the `T` that lies `offset` bytes behind `base`, which points to a structure of this BTF `id`; 0: nothing can
/// be cast, the helper reads it.
#[inline(always)]
pub(crate) fn read<T: Copy>(id: u32, base: KernelPointer, offset: u32) -> Option<T> {
    if id == 0 { Probed::read(base, offset) } else { Direct::read(rdonly_cast(base, id), offset) }
}

/// Calls `bpf_rdonly_cast(base, id)`.
///
/// Neither rustc nor aya can name a kernel function. The eight bytes are the instruction as it is in the object: a call
/// (0x85) of the kind `BPF_PSEUDO_KFUNC_CALL` (2 in the upper half of the second byte), with a number that occurs nowhere
/// else in place of the function's BTF id. The user side writes the id in its place before loading, or, where the
/// kernel has no such function, an instruction that does no harm: then no program comes here.
#[inline(always)]
pub(crate) fn rdonly_cast(base: KernelPointer, id: u32) -> KernelPointer {
    let typed: u64;
    // SAFETY: a call by BPF's convention: arguments in r1 and r2, the result in r0, r1 to r5 are lost.
    unsafe {
        asm!(
            ".byte 0x85, 0x20, 0x00, 0x00, 0xed, 0x57, 0xca, 0x7f",
            inout("r1") base as u64 => _,
            inout("r2") u64::from(id) => _,
            lateout("r0") typed,
            lateout("r3") _,
            lateout("r4") _,
            lateout("r5") _,
            options(nostack, readonly, preserves_flags),
        );
    }
    typed as KernelPointer
}
