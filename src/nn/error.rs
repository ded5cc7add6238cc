//! What can go wrong between the framework and us.

/// An error of this floor.
#[derive(Debug, thiserror::Error)]
pub enum NnError {
    /// The device isn't there or computes wrongly.
    #[error("device `{name}`: {message}")]
    Device {
        /// As the user wrote it.
        name: String,
        /// What was found and what to do.
        message: String,
    },
    /// Weights that don't fit the network, or no weights at all.
    #[error("{0}")]
    Weights(String),
    /// The device failed to give a result back.
    #[error("can't read a result from the device: {0}")]
    Read(String),
}
