//! Settings of the system's allocator for training, which allocates the same large blocks in every
//! step.
//!
//! By default, glibc takes each block above 32 MiB from the system and returns it when it is freed;
//! in the arenas of threads it does so with smaller blocks too. The system then zeroes each page
//! and takes a page fault for it. That cost a seventh of a training step, and two threads preparing
//! batches of 40 MB and more were slower than one, by up to 2.5 times.

/// Keeps freed blocks of any size and any thread for later allocations. The process then holds as
/// much memory as it ever used at one time. Must be called before the first thread is started. Does
/// nothing without glibc.
pub fn keep_large_blocks() {
    #[cfg(all(target_os = "linux", target_env = "gnu"))]
    // SAFETY: each call sets a parameter of the allocator or leaves it as it is. `mallopt` must not
    // run beside other threads, which the contract above rules out.
    unsafe {
        libc::mallopt(libc::M_MMAP_MAX, 0);
        libc::mallopt(libc::M_TRIM_THRESHOLD, i32::MAX);
        // A thread's own arena consists of heaps of 64 MiB, each returned as soon as it is empty.
        libc::mallopt(libc::M_ARENA_MAX, 1);
    }
}

/// Returns free memory to the system. Meant for the time after a block so large that its like won't
/// be allocated again soon: the call takes some milliseconds, and later allocations take a page
/// fault for each page again. Does nothing without glibc.
pub fn give_back_free_blocks() {
    #[cfg(all(target_os = "linux", target_env = "gnu"))]
    // SAFETY: the allocator releases pages of free blocks only, and the function is thread-safe.
    unsafe {
        libc::malloc_trim(0);
    }
}
