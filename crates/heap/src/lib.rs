//! A training step asks for the same large blocks again and again. glibc gets each block above 32 MiB from the system and gives it back
//! when it is freed, and the system hands it out page by page, zeroed, with a fault each: a seventh of a
//! step was measured. Here they stay.

/// From now on freed blocks of any size are kept for the next who asks. The process holds on to the most that it ever used at one
/// time. It is the main thread's blocks that are kept, where a step's tensors are made. Elsewhere than on glibc this does nothing.
pub fn keep_large_blocks() {
    #[cfg(all(target_os = "linux", target_env = "gnu"))]
    // SAFETY: both calls set a number in the allocator. Their only failure is to leave it as it is.
    unsafe {
        libc::mallopt(libc::M_MMAP_MAX, 0);
        libc::mallopt(libc::M_TRIM_THRESHOLD, i32::MAX);
    }
}
