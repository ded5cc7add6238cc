//! Files: written whole or not at all, locked, downloaded, cached; numbers as bytes.

pub mod bytes;
pub mod cache;
mod digest;
pub mod download;
pub mod files;
pub mod http;
pub mod kept;
pub mod lock;
pub mod npy;
mod partial;
pub mod positioned;
pub mod raw_file;
pub mod sealed;
