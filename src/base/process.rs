//! The name of this machine, and whether a process of it is alive.

/// Returns the host name of this machine, empty if it is unknown.
pub fn host() -> String {
    #[cfg(unix)]
    let name = nix::unistd::gethostname()
        .map(|name| name.to_string_lossy().into_owned())
        .unwrap_or_default();
    #[cfg(not(unix))]
    let name = std::env::var("COMPUTERNAME").unwrap_or_default();
    name
}

/// Whether a process with this ID exists on this machine; true on systems where that can't be told.
pub fn is_alive(process: u32) -> bool {
    #[cfg(unix)]
    {
        use nix::{errno::Errno, sys::signal::kill, unistd::Pid};
        i32::try_from(process).is_ok_and(|number| {
            number > 0 && kill(Pid::from_raw(number), None) != Err(Errno::ESRCH)
        })
    }
    #[cfg(not(unix))]
    {
        let _ = process;
        true
    }
}

#[cfg(all(test, unix))]
mod tests {
    use super::*;

    #[test]
    fn this_process_is_alive_and_an_impossible_one_is_not() {
        assert!(is_alive(std::process::id()));
        assert!(!is_alive(u32::MAX >> 2) && !is_alive(0) && !is_alive(u32::MAX));
        assert!(!host().is_empty());
    }
}
