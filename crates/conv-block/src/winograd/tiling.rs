//! How images are divided into tiles, and how far values of a patch lie apart.

use crate::shape::{Algorithm, Conv};

/// Rows and columns of a tile's results.
pub(super) const SIDE: usize = 4;
/// Rows and columns of the patch under a tile.
pub(super) const PATCH: usize = SIDE + 2;
/// Values of a patch.
pub(super) const PLACES: usize = PATCH * PATCH;
/// Tiles that are multiplied together: two rows of six in registers.
pub(super) const GROUP: usize = 12;

/// Returns whether the algorithm may compute this convolution.
pub(super) fn is_possible(conv: &Conv) -> bool {
    let has_form = conv.kernel == 3 && conv.stride == 1 && conv.padding <= 1;
    has_form && conv.algorithm == Algorithm::Fastest
}

/// Returns the rows and columns of tiles in an image.
pub(super) fn across(conv: &Conv) -> [usize; 2] {
    let (rows, columns) = conv.result_size();
    [rows.div_ceil(SIDE), columns.div_ceil(SIDE)]
}

/// Returns the number of tiles in all images.
pub(super) fn tiles(conv: &Conv) -> usize {
    let [rows, columns] = across(conv);
    conv.images * rows * columns
}

/// Returns the image of a tile, counted through all images, and its row and column among the tiles.
pub(super) fn place(conv: &Conv, tile: usize) -> (usize, [usize; 2]) {
    let [rows, columns] = across(conv);
    (
        tile / (rows * columns),
        [tile / columns % rows, tile % columns],
    )
}

/// Returns a distance in memory that is a cache line more than `len` values: with a power of two,
/// all places of a patch would fall into the same set of the first-level cache.
pub(super) const fn pitch(len: usize) -> usize {
    len + 16
}
