//! Reads the columns of a CSV that a listing passes over, such as the device of each image.

use std::{
    collections::BTreeMap,
    path::{Path, PathBuf},
};

use super::{
    Row,
    columns::{plain, understand},
    find, read,
    text::Text,
};
use crate::{base::names, data::error::DataError};

/// Every column of a CSV.
#[derive(Clone, Debug)]
pub struct Values {
    /// Names of the columns, as the header has them; empty without a header.
    pub names: Vec<String>,
    /// File and fields of each line.
    lines: Vec<(PathBuf, Vec<String>)>,
}

impl Values {
    /// Reads a CSV. Lines whose file can't be opened are left out.
    ///
    /// # Errors
    /// Returns an error if the file can't be read or is no CSV, or if a line can't be understood.
    pub fn read(path: &Path) -> Result<Self, DataError> {
        let failed = |line: usize, message| DataError::Csv {
            message,
            path: path.to_owned(),
            line: line as u64,
        };
        let Text { text, encoding } = read(path)?.map_err(|message| failed(1, message))?;
        let (columns, records) =
            understand(&text).map_err(|(line, message)| failed(line, message))?;
        let folder = path.parent().unwrap_or(Path::new(""));
        let mut lines = Vec::new();
        for record in &records[columns.head..] {
            let row = Row::of(record, &columns).map_err(|message| failed(record.line, message))?;
            if let Ok((file, _)) = find(folder, row.path, encoding.is_some()) {
                let fields = record.fields.iter();
                let fields = fields.map(|field| names::of_text(&field.text)).collect();
                lines.push((file, fields));
            }
        }
        Ok(Self {
            names: columns.names,
            lines,
        })
    }

    /// Returns the value of a column for each file, or `None` if there is no such column. As for
    /// all columns, case doesn't count, nor do underscores for spaces and hyphens.
    pub fn column(&self, name: &str) -> Option<BTreeMap<PathBuf, String>> {
        let same = |found: &String| plain(found) == plain(name);
        let exact = self.names.iter().position(|found| found == name);
        let column = exact.or_else(|| self.names.iter().position(same))?;
        let value = |(file, fields): &(PathBuf, Vec<String>)| {
            (
                file.clone(),
                fields.get(column).cloned().unwrap_or_default(),
            )
        };
        Some(self.lines.iter().map(value).collect())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::data::listing::tests::folder_with;

    #[test]
    fn a_column_that_means_nothing_to_a_listing_has_a_value_for_each_file() {
        let folder = folder_with(&["1.png", "sub/2.png", "3.png"]);
        let csv = folder.path().join("list.csv");
        let read = |text: &str| {
            std::fs::write(&csv, text).expect("written");
            Values::read(&csv).expect("a list")
        };
        let found = read(
            "sep=;\npath;label;Scanner Type;age\n1.png;cat; A ;61\ngone.png;cat;B;\n\
             sub/2;dog;\"B;2\"\n",
        );
        assert_eq!(found.names, ["path", "label", "Scanner Type", "age"]);
        let scanner = found.column("scanner_type").expect("a column");
        let values: Vec<_> = scanner
            .iter()
            .map(|(file, value)| {
                let file = file.strip_prefix(folder.path()).expect("inside");
                (names::of_path(file), value.as_str())
            })
            .collect();
        assert_eq!(
            values,
            [("1.png".to_owned(), "A"), ("sub/2.png".to_owned(), "B;2")]
        );
        let ages: Vec<_> = found
            .column("age")
            .expect("a column")
            .into_values()
            .collect();
        assert_eq!(ages, ["61", ""], "a line may be shorter");
        assert!(found.column("hue").is_none() && read("3.png,cat\n").names.is_empty());
    }
}
