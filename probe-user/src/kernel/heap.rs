//! Memory that is free, but not the kernel's yet.

/// Lets all threads allocate from one heap. Otherwise glibc makes one for every thread that allocates while
/// another does, and each keeps what its largest reading took. The daemon has too few threads to queue for it.
///
/// To be called before there are threads.
pub fn share_one_heap() {
    // SAFETY: takes no pointer. It only limits how many heaps are made from now on.
    let _whether_accepted = unsafe { libc::mallopt(libc::M_ARENA_MAX, 1) };
}

/// Gives the allocator's free memory back to the kernel. glibc keeps what was once used for good unless
/// it lies at the end of a heap: the kernel's types at start, a burst of listeners later.
pub fn give_free_memory_back() {
    // SAFETY: takes no pointer, and may be called at any time from any thread.
    let _whether_any_was_given = unsafe { libc::malloc_trim(0) };
}
