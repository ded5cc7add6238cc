//! Settings of the system's allocator for training, which allocates the same large blocks in every
//! step.
//!
//! By default, glibc takes each block above 32 MiB from the system and returns it when it is freed;
//! in the arenas of threads it does so with smaller blocks too. The system then zeroes each page
//! and takes a page fault for it. That cost a seventh of a training step, and two threads preparing
//! batches of 40 MB and more were slower than one, by up to 2.5 times.

/// Keeps freed blocks of any size and any thread for later allocations. The process then holds as
/// much memory as it ever used at one time. Returns whether it does: the settings can only be made
/// while the process has a single thread, so this is to be called first, and they exist in glibc
/// only.
pub fn keep_large_blocks() -> bool {
    #[cfg(all(target_os = "linux", target_env = "gnu"))]
    {
        if !is_only_thread() {
            return false;
        }
        // SAFETY: each call sets a parameter of the allocator or leaves it as it is. `mallopt` must
        // not run beside a thread that allocates: there is no other thread, and only this one,
        // which is busy here, could start one.
        unsafe {
            libc::mallopt(libc::M_MMAP_MAX, 0);
            libc::mallopt(libc::M_TRIM_THRESHOLD, i32::MAX);
            // A thread's own arena consists of heaps of 64 MiB, each returned as soon as it is
            // empty.
            libc::mallopt(libc::M_ARENA_MAX, 1);
        }
        true
    }
    #[cfg(not(all(target_os = "linux", target_env = "gnu")))]
    false
}

/// Returns whether the process has one thread, as far as the system tells.
#[cfg(all(target_os = "linux", target_env = "gnu"))]
fn is_only_thread() -> bool {
    std::fs::read_dir("/proc/self/task").is_ok_and(|threads| threads.take(2).count() == 1)
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
