//! Splits the text of a CSV into fields (RFC 4180). Keeps whether a field was quoted, since spaces
//! around a field count only inside quotes, and the line that each record begins in, through empty
//! lines and quoted line breaks; the `csv` crate keeps neither.

/// A field.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Field {
    pub text: String,
    pub is_quoted: bool,
}

/// A line, or several if a line break is quoted.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Record {
    /// Line that it begins in, counted from 1.
    pub line: usize,
    pub fields: Vec<Field>,
}

impl Record {
    fn is_empty(&self) -> bool {
        self.fields.iter().all(|field| field.text.is_empty())
    }
}

/// Splits a text into records. Records without any text are left out.
///
/// # Errors
/// Returns the line of a quote that never closes.
pub(super) fn split(text: &str, separator: char) -> Result<Vec<Record>, usize> {
    let mut reader = Reader {
        rest: text,
        line: 1,
        separator,
    };
    let mut records = Vec::new();
    while !reader.rest.is_empty() {
        let record = reader.record()?;
        if !record.is_empty() {
            records.push(record);
        }
    }
    Ok(records)
}

/// Returns the record at `index` among those with text, without reading the text behind it.
///
/// # Errors
/// Returns the line of a quote that never closes, if it opens before that record ends.
pub(super) fn nth(text: &str, separator: char, index: usize) -> Result<Option<Record>, usize> {
    let mut reader = Reader {
        rest: text,
        line: 1,
        separator,
    };
    let mut num_found = 0;
    while !reader.rest.is_empty() {
        let record = reader.record()?;
        if !record.is_empty() {
            if num_found == index {
                return Ok(Some(record));
            }
            num_found += 1;
        }
    }
    Ok(None)
}

/// The rest of a text, and the line it begins in.
struct Reader<'a> {
    rest: &'a str,
    line: usize,
    separator: char,
}

impl Reader<'_> {
    /// Reads a record and the line break after it.
    fn record(&mut self) -> Result<Record, usize> {
        let (line, mut fields) = (self.line, Vec::new());
        loop {
            fields.push(self.field()?);
            match self.next() {
                Some(letter) if letter == self.separator => {}
                _ => return Ok(Record { line, fields }),
            }
        }
    }

    /// Reads a field, up to the separator or line break that ends it.
    fn field(&mut self) -> Result<Field, usize> {
        let (separator, line) = (self.separator, self.line);
        let start = self
            .rest
            .trim_start_matches(|letter: char| letter != separator && matches!(letter, ' ' | '\t'));
        let mut field = Field {
            text: String::new(),
            is_quoted: start.starts_with('"'),
        };
        if !field.is_quoted {
            let end = self
                .rest
                .find(|letter| letter == separator || is_break(letter))
                .unwrap_or(self.rest.len());
            self.rest[..end].trim().clone_into(&mut field.text);
            self.rest = &self.rest[end..];
            return Ok(field);
        }
        self.rest = &start[1..];
        loop {
            match self.next() {
                None => return Err(line),
                Some('"') if self.rest.starts_with('"') => {
                    self.next();
                    field.text.push('"');
                }
                Some('"') => break,
                Some(letter) => field.text.push(letter),
            }
        }
        // After the closing quote, only spaces are expected; anything else is kept as part of the
        // field.
        let end = self
            .rest
            .find(|letter| letter == separator || is_break(letter))
            .unwrap_or(self.rest.len());
        field.text.push_str(self.rest[..end].trim_end());
        self.rest = &self.rest[end..];
        Ok(field)
    }

    /// Reads a character. Each kind of line break is read as one `\n`.
    fn next(&mut self) -> Option<char> {
        let letter = self.rest.chars().next()?;
        let length = if self.rest.starts_with("\r\n") {
            2
        } else {
            letter.len_utf8()
        };
        self.rest = &self.rest[length..];
        if !is_break(letter) {
            return Some(letter);
        }
        self.line += 1;
        Some('\n')
    }
}

fn is_break(letter: char) -> bool {
    matches!(letter, '\n' | '\r')
}

#[cfg(test)]
mod tests {
    use super::*;

    fn texts(text: &str, separator: char) -> Vec<(usize, Vec<String>)> {
        let records = split(text, separator).expect("closed quotes");
        records
            .into_iter()
            .map(|record| {
                (
                    record.line,
                    record.fields.into_iter().map(|field| field.text).collect(),
                )
            })
            .collect()
    }

    #[test]
    fn spaces_are_trimmed_unless_they_are_quoted() {
        let records = split("a , \"  b \" ,\"\",\n", ',').expect("records");
        let fields: Vec<_> = records[0]
            .fields
            .iter()
            .map(|field| (field.text.as_str(), field.is_quoted))
            .collect();
        assert_eq!(
            fields,
            [("a", false), ("  b ", true), ("", true), ("", false)]
        );
    }

    #[test]
    fn lines_are_counted_through_quotes_blank_lines_and_every_kind_of_break() {
        for newline in ["\n", "\r\n", "\r"] {
            let text = [
                "path,label",
                "",
                "\"a",
                "b\",x",
                ",",
                "c,\"y\"\"z\"",
                "d,\"p,q\"",
            ]
            .join(newline);
            let expected = [
                (1, ["path", "label"]),
                (3, ["a\nb", "x"]),
                (6, ["c", "y\"z"]),
                (7, ["d", "p,q"]),
            ];
            assert_eq!(
                texts(&text, ','),
                expected.map(|(line, fields)| (line, fields.map(str::to_owned).to_vec())),
                "{newline:?}"
            );
        }
        assert_eq!(split("a,b\n\n\"c,d\ne\n", ','), Err(3));
    }

    #[test]
    fn other_separators_and_quotes_inside_a_field_are_text() {
        assert_eq!(
            texts("a;b,c\n", ';'),
            [(1, vec!["a".to_owned(), "b,c".to_owned()])]
        );
        assert_eq!(
            texts("a\t\tb\n", '\t'),
            [(1, vec!["a".to_owned(), String::new(), "b".to_owned()])]
        );
        assert_eq!(
            texts("5\" pipe,\"x\"y\n", ','),
            [(1, vec!["5\" pipe".to_owned(), "xy".to_owned()])]
        );
    }
}
