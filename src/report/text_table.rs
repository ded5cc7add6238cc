//! Tables for a terminal.

use comfy_table::{CellAlignment, Table, presets::ASCII_MARKDOWN};

use crate::base::names;

/// A table for a person.
pub fn table(header: &[&str]) -> Table {
    let mut table = Table::new();
    table.load_style(ASCII_MARKDOWN).set_header(header.iter().map(|name| cell(name)).collect::<Vec<_>>());
    table
}

/// A name in a cell of a table: on one line, and with no bar that would begin another cell.
pub fn cell(name: &str) -> String {
    names::of_text(name).replace('|', "\\|")
}

/// A whole table for a terminal.
pub fn table_text(content: &super::Table) -> String {
    let mut text = table(&content.head.iter().map(String::as_str).collect::<Vec<_>>());
    text.add_rows(content.rows.iter().map(|row| row.iter().map(|name| cell(name)).collect::<Vec<_>>()));
    align_right(&mut text, 1..content.head.len());
    text.to_string()
}

/// Numbers stand on the right.
pub fn align_right(table: &mut Table, columns: impl IntoIterator<Item = usize>) {
    for column in columns {
        if let Some(column) = table.column_mut(column) {
            column.set_cell_alignment(CellAlignment::Right);
        }
    }
}
