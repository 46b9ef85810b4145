//! Memory that is free, but not the kernel's yet.

/// Gives the allocator's free memory back to the kernel. glibc keeps what was once used for good unless
/// it lies at the end of a heap: the kernel's types at start, a burst of listeners later.
pub fn give_free_memory_back() {
    // SAFETY: takes no pointer, and may be called at any time from any thread.
    let _whether_any_was_given = unsafe { libc::malloc_trim(0) };
}
