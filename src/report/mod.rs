//! Figures as files, and one page with everything: self-contained, loads no external resources.
//! Knows no network and no device.

/// The page's file name.
pub const PAGE: &str = "report.html";

mod chart;
pub mod class_counts;
mod figure;
mod figures;
mod heat;
pub mod images;
mod intervals;
mod matrix;
pub mod mosaic;
mod page;
pub mod text_table;

pub use figure::{Figure, Panel};
pub use figures::{
    MATRIX_CLASSES, confusion, curves, learning_curve, precision_recall, rate_curve, reliability,
    roc,
};
pub use intervals::{Interval, Intervals};
pub use page::{Gallery, Page, STYLE, Section, Shot, Table};
