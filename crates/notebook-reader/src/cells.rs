//! The code cells of a notebook, or the text of a script as one cell.

use serde::Deserialize;
use thiserror::Error;

/// Maximum length of a file in bytes. Notebooks carry images among their outputs.
const MOST_BYTES: usize = 256 << 20;

/// Maximum length of a cell's code in bytes, which bounds how deep its syntax tree can be.
pub(crate) const MOST_CODE: usize = 1 << 18;

/// Maximum number of code cells.
const MOST_CELLS: usize = 2_000;

/// The code of a notebook or script.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Notebook {
    /// The code cells in their order; a script is one.
    pub cells: Vec<Cell>,
    /// Whether the code comes from a notebook, so that cells have numbers.
    pub has_cells: bool,
}

/// A code cell.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Cell {
    /// Its Python, with cell magics blanked, so that lines keep their numbers.
    pub code: String,
}

/// The reason why a file is no notebook or script.
#[derive(Debug, Error)]
pub enum ReadError {
    /// The file isn't JSON, or has no cells.
    #[error("found no notebook ({0}), expected JSON with cells, as Jupyter writes it")]
    NotANotebook(#[from] serde_json::Error),
    /// The text isn't UTF-8.
    #[error("found bytes that aren't UTF-8 at {0}, expected Python code")]
    NotText(usize),
    /// The file is too long.
    #[error("found {0} of {1}, expected at most {2}")]
    TooLong(usize, &'static str, usize),
}

#[derive(Deserialize)]
struct File {
    /// Notebooks of format 4.
    #[serde(default)]
    cells: Vec<FileCell>,
    /// Notebooks of format 3.
    #[serde(default)]
    worksheets: Vec<Worksheet>,
}

#[derive(Deserialize)]
struct Worksheet {
    #[serde(default)]
    cells: Vec<FileCell>,
}

#[derive(Deserialize)]
struct FileCell {
    cell_type: String,
    #[serde(default, alias = "input")]
    source: Source,
}

#[derive(Deserialize)]
#[serde(untagged)]
enum Source {
    Lines(Vec<String>),
    Text(String),
}

impl Default for Source {
    fn default() -> Self {
        Self::Text(String::new())
    }
}

impl Notebook {
    /// Reads an `.ipynb` file of format 3 or 4. Outputs and text cells are passed over.
    ///
    /// # Errors
    /// Returns an error if the file is no JSON of a notebook, or too long.
    pub fn from_ipynb(bytes: &[u8]) -> Result<Self, ReadError> {
        check(bytes.len(), "bytes", MOST_BYTES)?;
        let file: File = serde_json::from_slice(bytes)?;
        let sheets = file.worksheets.into_iter().flat_map(|sheet| sheet.cells);
        let cells: Vec<_> = file
            .cells
            .into_iter()
            .chain(sheets)
            .filter(|cell| cell.cell_type == "code")
            .map(|cell| match cell.source {
                Source::Lines(lines) => Cell::new(&lines.concat()),
                Source::Text(text) => Cell::new(&text),
            })
            .collect();
        check(cells.len(), "cells", MOST_CELLS)?;
        let has_cells = true;
        Ok(Self { cells, has_cells })
    }

    /// Reads a `.py` file.
    ///
    /// # Errors
    /// Returns an error if the file isn't UTF-8, or too long.
    pub fn from_py(bytes: &[u8]) -> Result<Self, ReadError> {
        check(bytes.len(), "bytes", MOST_CODE)?;
        let text =
            std::str::from_utf8(bytes).map_err(|error| ReadError::NotText(error.valid_up_to()))?;
        Ok(Self {
            cells: vec![Cell::new(text)],
            has_cells: false,
        })
    }
}

fn check(found: usize, what: &'static str, most: usize) -> Result<(), ReadError> {
    if found > most {
        return Err(ReadError::TooLong(found, what, most));
    }
    Ok(())
}

/// Cell magics whose cells are Python; those of other cells are text or another language.
const PYTHON_MAGICS: [&str; 4] = ["time", "timeit", "capture", "prun"];

impl Cell {
    fn new(source: &str) -> Self {
        let source = source.trim_start_matches('\u{feff}').replace("\r\n", "\n");
        let first = source.lines().find(|line| !line.trim().is_empty());
        let Some(magic) = first.and_then(|line| line.trim_start().strip_prefix("%%")) else {
            return Self { code: source };
        };
        let name = magic.split_whitespace().next().unwrap_or_default();
        let code = if PYTHON_MAGICS.contains(&name) {
            source.replacen("%%", "#%", 1)
        } else {
            String::new()
        };
        Self { code }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn code_cells_of_both_formats_keep_their_lines_and_magics_are_blanked() {
        for (file, expected) in [
            (
                r##"{"cells": [{"cell_type": "markdown", "source": "# a"},
                    {"cell_type": "code", "source": ["a = 1\n", "b = 2"], "outputs": [{}]},
                    {"cell_type": "code", "source": "%%time\nc = 3"},
                    {"cell_type": "code", "source": "%%bash\nls"}]}"##,
                vec!["a = 1\nb = 2", "#%time\nc = 3", ""],
            ),
            (
                r#"{"worksheets": [{"cells": [{"cell_type": "code", "input": "a\r\nb"}]}]}"#,
                vec!["a\nb"],
            ),
        ] {
            let found = Notebook::from_ipynb(file.as_bytes()).expect("a notebook");
            let code: Vec<_> = found.cells.iter().map(|cell| cell.code.as_str()).collect();
            assert_eq!(code, expected);
        }
    }

    #[test]
    fn other_files_are_refused_with_the_reason() {
        let error =
            |result: Result<Notebook, ReadError>| result.expect_err("no notebook").to_string();
        assert!(error(Notebook::from_ipynb(b"a = 1")).starts_with("found no notebook"));
        assert!(error(Notebook::from_py(b"a\xff")).contains("UTF-8 at 1"));
        let long = vec![b' '; MOST_CODE + 1];
        assert!(error(Notebook::from_py(&long)).contains("expected at most 262144"));
    }
}
