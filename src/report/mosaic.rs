//! Small images in a grid with captions, as one image.

use font8x8::{BASIC_FONTS, LATIN_FONTS, UnicodeFonts};
use image::{Rgb, RgbImage};

/// Minimum length in pixels of the shorter side after magnification by a whole factor, so that each
/// pixel is visible.
const LEAST_SIDE: u32 = 96;
/// Pixels between two images.
const GAP: u32 = 6;
/// Height of a line of text with the space below it.
const LINE: u32 = 12;

/// An image of the grid.
#[derive(Clone, Debug)]
pub struct Cell {
    /// Caption above the image.
    pub caption: String,
    /// Pixel values 0 to 255, `[channels, height, width]` with one or three channels; empty for a
    /// gap.
    pub levels: Vec<f32>,
}

/// A row of images of one size, with a title.
#[derive(Clone, Debug)]
pub struct Row {
    /// Title above the row.
    pub title: String,
    /// Images, side by side.
    pub cells: Vec<Cell>,
}

/// Draws the grid on white. Images have `[height, width]` pixels.
pub fn draw(rows: &[Row], [height, width]: [usize; 2]) -> RgbImage {
    let (height, width) = (height as u32, width as u32);
    let factor = LEAST_SIDE.div_ceil(height.min(width).max(1));
    let columns = rows.iter().map(|row| row.cells.len()).max().unwrap_or(0) as u32;
    let (cell_width, row_height) = (width * factor + GAP, 2 * LINE + height * factor + GAP);
    let mut out = RgbImage::from_pixel(
        GAP + columns * cell_width,
        GAP + rows.len() as u32 * row_height,
        Rgb([255; 3]),
    );
    for (index, row) in rows.iter().enumerate() {
        let top = GAP + index as u32 * row_height;
        write(&mut out, &row.title, [GAP, top], columns * cell_width);
        for (column, cell) in row.cells.iter().enumerate() {
            let left = GAP + column as u32 * cell_width;
            write(&mut out, &cell.caption, [left, top + LINE], width * factor);
            let plane = (height * width) as usize;
            if cell.levels.len() < plane {
                continue;
            }
            for (x, y) in
                (0..width * factor).flat_map(|x| (0..height * factor).map(move |y| (x, y)))
            {
                let at = (y / factor * width + x / factor) as usize;
                // A single channel serves for red, green and blue.
                let level = |channel: usize| {
                    cell.levels[(channel * plane).min(cell.levels.len() - plane) + at]
                        .round()
                        .clamp(0.0, 255.0) as u8
                };
                out.put_pixel(
                    left + x,
                    top + 2 * LINE + y,
                    Rgb([level(0), level(1), level(2)]),
                );
            }
        }
    }
    out
}

/// Writes black text from a corner, as many characters as fit into `width` pixels.
fn write(out: &mut RgbImage, text: &str, [left, top]: [u32; 2], width: u32) {
    for (index, letter) in text.chars().take(width as usize / 8).enumerate() {
        let rows = BASIC_FONTS
            .get(letter)
            .or_else(|| LATIN_FONTS.get(letter))
            .or_else(|| BASIC_FONTS.get('?'))
            .unwrap_or_default();
        for (y, row) in rows.iter().enumerate() {
            for x in (0..8).filter(|x| row >> x & 1 == 1) {
                let (x, y) = (left + index as u32 * 8 + x, top + y as u32);
                if x < out.width() && y < out.height() {
                    out.put_pixel(x, y, Rgb([0; 3]));
                }
            }
        }
    }
}
