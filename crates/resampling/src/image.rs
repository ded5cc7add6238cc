//! The image that is resized.

/// An image, row by row with interleaved channels.
#[derive(Clone, Copy, Debug)]
pub struct Image<'a> {
    /// The `height * width * channels` values.
    pub bytes: &'a [u8],
    /// Number of rows.
    pub height: usize,
    /// Number of columns.
    pub width: usize,
    /// Number of values per pixel.
    pub channels: usize,
}
