//! Memory that is free, but not the kernel's yet.

/// Lets all threads allocate from one heap. Otherwise glibc makes one for every thread that allocates while
/// another does, and each keeps what its largest reading took. The daemon has too few threads to queue for it.
///
/// To be called before there are threads.
pub fn share_one_heap() {
    // SAFETY: takes no pointer. It only limits how many heaps are made from now on.
    let _whether_accepted = unsafe { libc::mallopt(libc::M_ARENA_MAX, 1) };
}

/// Bytes that are allocated: from the heap, and in pieces so large that they are mapped alone (mallinfo2(3)).
#[must_use]
pub fn heap_in_use() -> u64 {
    // SAFETY: takes nothing, and may be called at any time from any thread.
    let info = unsafe { libc::mallinfo2() };
    u64::try_from(info.uordblks.saturating_add(info.hblkhd)).unwrap_or(u64::MAX)
}

/// Gives the allocator's free memory back to the kernel. glibc keeps what was once used for good unless
/// it lies at the end of a heap: the kernel's types at start, a burst of listeners later.
pub fn give_free_memory_back() {
    // SAFETY: takes no pointer, and may be called at any time from any thread.
    let _whether_any_was_given = unsafe { libc::malloc_trim(0) };
}
