//! What a whole process is told before anything else: for programs, not for libraries.
//!
//! The C library's allocator is told to keep what it has, and TensorFlow not to talk.
//!
//! glibc takes each large block from the system and gives it back when it is freed, so that every layer's
//! output costs a page fault for each 4 KiB again. Kept for the next layer instead, SqueezeNet's integrated
//! gradients take a quarter less time, its occlusion two fifths, with the same peak of memory.
#![allow(unsafe_code)]

/// Keeps freed memory, up to 2 GiB, for what is allocated next. To be called first in `main`.
///
/// With another C library than glibc this does nothing.
pub fn keep_freed() {
    #[cfg(all(target_os = "linux", target_env = "gnu"))]
    for (parameter, bytes) in [
        (libc::M_MMAP_THRESHOLD, 1 << 30),
        (libc::M_TRIM_THRESHOLD, libc::c_int::MAX),
        (libc::M_TOP_PAD, 64 << 20),
    ] {
        // SAFETY: mallopt takes plain numbers and touches the allocator's settings only. What a version of
        // glibc refuses stays at its default, which is slower and nothing else.
        unsafe { libc::mallopt(parameter, bytes) };
    }
}

/// Keeps TensorFlow from writing to standard error: which instructions of the processor it uses, which way it takes
/// instead of one that is not there, and other lines that tell a user nothing. What goes wrong is an error of the call
/// anyway. To be called first in `main`, before another thread is there.
///
/// Where the environment says how much it should write (`TF_CPP_MIN_LOG_LEVEL`), this does nothing.
pub fn quiet_tensorflow() {
    const LEVEL: &str = "TF_CPP_MIN_LOG_LEVEL";
    if std::env::var_os(LEVEL).is_none() {
        // SAFETY: it is the caller's part that no other thread reads the environment meanwhile, and in a `main` that
        // has just begun there is none.
        unsafe { std::env::set_var(LEVEL, "3") };
    }
}
