//! Errors of devices, networks and weights.

/// An error of the `nn` module.
#[derive(Debug, thiserror::Error)]
pub enum NnError {
    /// The device doesn't exist or computes wrong results.
    #[error("device `{name}`: {message}")]
    Device {
        /// Name as the user wrote it.
        name: String,
        /// What was found and how to fix it.
        message: String,
    },
    /// Weights that can't be read or written, or that don't fit the network.
    #[error("{0}")]
    Weights(String),
    /// A result couldn't be read back from the device.
    #[error("can't read a result from the device: {0}")]
    Read(String),
}
