//! Tables for a terminal, in Markdown's notation.

use comfy_table::{CellAlignment, Table, presets::ASCII_MARKDOWN};

use crate::base::names;

/// Returns an empty table with a header.
pub fn table(header: &[&str]) -> Table {
    let mut table = Table::new();
    table
        .load_style(ASCII_MARKDOWN)
        .set_header(header.iter().map(|name| cell(name)).collect::<Vec<_>>());
    table
}

/// Returns a name as a cell: on one line, with `|` escaped, which would start another cell.
pub fn cell(name: &str) -> String {
    names::of_text(name).replace('|', "\\|")
}

/// Formats a table, numbers aligned right.
pub fn table_text(content: &super::Table) -> String {
    let mut text = table(&content.head.iter().map(String::as_str).collect::<Vec<_>>());
    text.add_rows(
        content
            .rows
            .iter()
            .map(|row| row.iter().map(|name| cell(name)).collect::<Vec<_>>()),
    );
    align_right(&mut text, 1..content.head.len());
    text.to_string()
}

/// Aligns columns of numbers right.
pub fn align_right(table: &mut Table, columns: impl IntoIterator<Item = usize>) {
    for column in columns {
        if let Some(column) = table.column_mut(column) {
            column.set_cell_alignment(CellAlignment::Right);
        }
    }
}
