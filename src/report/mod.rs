//! What a person is handed: figures as files, and one page that holds everything, opens from disk and asks nobody for anything.

/// The page's file name.
pub const PAGE: &str = "report.html";

mod chart;
pub mod class_counts;
mod figure;
mod figures;
mod heat;
pub mod images;
mod matrix;
pub mod mosaic;
mod page;
pub mod text_table;

pub use figure::{Figure, Panel};
pub use figures::{MATRIX_CLASSES, confusion, curves, precision_recall, reliability, roc};
pub use page::{Gallery, Page, Section, Shot, Table};
