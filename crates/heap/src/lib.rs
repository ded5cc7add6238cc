//! A training step asks for the same large blocks again and again, and so do the threads that prepare batches. glibc gets each block above
//! 32 MiB from the system and gives it back when it is freed, blocks of threads also below that, and the system hands them out page by
//! page, zeroed, with a fault each: a seventh of a step was measured, and two threads preparing batches of 40 MB and more were slower than
//! one, at worst by 2.5 times. Here they stay.

/// From now on freed blocks of any size, of any thread, are kept for the next who asks. The process holds on to the most that it ever used
/// at one time. To be called before the first thread starts. Elsewhere than on glibc this does nothing.
pub fn keep_large_blocks() {
    #[cfg(all(target_os = "linux", target_env = "gnu"))]
    // SAFETY: all calls set a number in the allocator. Their only failure is to leave it as it is.
    unsafe {
        libc::mallopt(libc::M_MMAP_MAX, 0);
        libc::mallopt(libc::M_TRIM_THRESHOLD, i32::MAX);
        // A thread's own arena is made of pieces of 64 MiB, each given back as soon as it is empty.
        libc::mallopt(libc::M_ARENA_MAX, 1);
    }
}
