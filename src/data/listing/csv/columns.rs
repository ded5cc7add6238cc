//! Turns the header of a list into the place of each column. Columns may have our names or those
//! that other programs use; what was taken for what is reported. An ambiguous list is refused, not
//! guessed.

use std::path::Path;

use super::records::{Record, nth, split};
use crate::{base::names::of_text, data::listing::has_image_extension};

/// The columns of a list.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Columns {
    /// Character between two fields.
    pub separator: char,
    /// Index of the column of each of [`ROLES`], if there is one.
    pub roles: [Option<usize>; 5],
    /// Names of the columns, as the header has them; empty without a header.
    pub names: Vec<String>,
    /// Number of fields in a line.
    pub count: usize,
    /// Number of records before the data: the header, and Excel's `sep=` line.
    pub head: usize,
    /// How the list is read, where that isn't obvious.
    pub words: Vec<String>,
}

/// The meaning of a column. The numbers are indices into [`ROLES`].
#[derive(Clone, Copy, Debug)]
pub(super) enum Role {
    Path,
    Label,
    Split,
    Group,
    Weight,
}

/// Names of the columns of each role: ours, then those of other programs. The first one that a list
/// has is used.
const ROLES: [&[&str]; 5] = [
    &[
        "path",
        "filepath",
        "file_path",
        "filename",
        "file_name",
        "file",
        "image_path",
        "img_path",
        "image_file",
        "image_filename",
        "image_name",
        "img_name",
        "image",
        "img",
        "picture",
        "photo",
        "image_id",
        "img_id",
        "id_code",
        "id",
    ],
    &[
        "label",
        "class",
        "class_name",
        "label_name",
        "class_label",
        "category",
        "target",
        "labels",
        "classes",
        "diagnosis",
        "y",
    ],
    &["split", "subset", "set", "partition"],
    &["group", "group_id", "groups"],
    &["weight", "weights", "sample_weight"],
];

const EXPECTED: &str = "expected the columns path,label and optionally split,group,weight";

/// Finds the separator and the columns of a list and splits it into records.
///
/// # Errors
/// Returns the line and what is wrong there, if a quote never closes or the columns can't be told.
pub(super) fn understand(text: &str) -> Result<(Columns, Vec<Record>), (usize, String)> {
    let unclosed = |line| {
        (
            line,
            "found a quote that opens here and never closes".to_owned(),
        )
    };
    // Excel writes the separator into a line of its own.
    let declared = text
        .split(['\n', '\r'])
        .find(|line| !line.trim().is_empty())
        .and_then(|line| {
            line.trim()
                .to_lowercase()
                .strip_prefix("sep=")?
                .chars()
                .next()
        });
    let skipped = usize::from(declared.is_some());
    // A quoted name may have line breaks in it.
    let fields = |separator| {
        let header = nth(text, separator, skipped).ok().flatten();
        header.map_or_else(Vec::new, |header| {
            header.fields.into_iter().map(|field| field.text).collect()
        })
    };
    let candidates = [',', ';', '\t', '|'];
    let is_whole = |separator: &char| roles(&fields(*separator))[..2].iter().all(Option::is_some);
    let understood = declared.or_else(|| candidates.into_iter().find(is_whole));
    if understood.is_none() {
        // A quote that never closes is what is wrong, not the columns.
        nth(text, ',', skipped).map_err(unclosed)?;
    }
    let separator = understood.unwrap_or_else(|| {
        // `max_by_key` returns the last of equals, so in reverse the first candidate wins.
        candidates
            .into_iter()
            .rev()
            .max_by_key(|separator| fields(*separator).len())
            .unwrap_or(',')
    });
    let records = split(text, separator).map_err(unclosed)?;
    let Some(head) = records.get(skipped) else {
        return Err((1, format!("found no line, {EXPECTED} in the first")));
    };
    let names = fields(separator);
    let columns = of_header(&names, separator).map_err(|message| (head.line, message))?;
    Ok((
        Columns {
            head: columns.head + skipped,
            ..columns
        },
        records,
    ))
}

/// Returns a name in small letters, with underscores for spaces, line breaks and hyphens.
pub(super) fn plain(name: &str) -> String {
    let words: Vec<_> = name.split_whitespace().collect();
    words.join("_").to_lowercase().replace('-', "_")
}

fn roles(names: &[String]) -> [Option<usize>; 5] {
    let plain: Vec<String> = names.iter().map(|name| plain(name)).collect();
    let find = |aliases: &[&str]| {
        aliases
            .iter()
            .find_map(|alias| plain.iter().position(|name| name == alias))
    };
    let mut roles = ROLES.map(find);
    // In a run's `split.csv`, `label` is the class index and `class` the name.
    let class = plain.iter().position(|name| name == "class");
    if class.is_some() && plain.iter().any(|name| name == "blake3") {
        roles[Role::Label as usize] = class;
    }
    roles
}

fn of_header(names: &[String], separator: char) -> Result<Columns, String> {
    let roles = roles(names);
    if roles[0].is_none() || roles[1].is_none() {
        return without_header(names, separator)
            .unwrap_or_else(|| Err(unknown_header(names, &roles)));
    }
    let is_used = |column: usize| roles.contains(&Some(column));
    let unused: Vec<&str> = names
        .iter()
        .enumerate()
        .filter(|(column, _)| !is_used(*column))
        .map(|(_, name)| name.as_str())
        .collect();
    if let Some((name, meant)) = unused.iter().find_map(|name| Some((name, misspelt(name)?))) {
        return Err(format!(
            "found the column `{}`: did you mean `{meant}`? rename it; a less similar name is \
             ignored",
            of_text(name)
        ));
    }
    let mut words = Vec::new();
    if separator != ',' {
        words.push(format!(
            "`{}` between the columns",
            if separator == '\t' {
                "tab".to_owned()
            } else {
                separator.to_string()
            }
        ));
    }
    for (column, aliases) in roles.iter().zip(ROLES) {
        if let Some(name) = column
            .map(|column| &names[column])
            .filter(|name| plain(name) != aliases[0])
        {
            words.push(format!("`{}` as {}", of_text(name), aliases[0]));
        }
    }
    let unused: Vec<_> = unused
        .into_iter()
        .filter(|name| !name.is_empty())
        .map(|name| format!("`{}`", of_text(name)))
        .collect();
    if !unused.is_empty() {
        words.push(format!("{} passed over", unused.join(", ")));
    }
    Ok(Columns {
        separator,
        roles,
        names: names.iter().map(|name| of_text(name)).collect(),
        count: names.len(),
        head: 1,
        words,
    })
}

/// Describes a list without a header, if the first line has exactly two fields and one of them is
/// an image's path. Other lines with such a path are an error, since the meaning of the fields is
/// unknown. Returns `None` if no field is a path.
fn without_header(names: &[String], separator: char) -> Option<Result<Columns, String>> {
    let is_path = |name: &String| has_image_extension(Path::new(name));
    let path = names.iter().position(is_path)?;
    if names.len() != 2 || is_path(&names[1 - path]) {
        return Some(Err(format!(
            "the first line looks like data, there is no header; {EXPECTED} in the first line"
        )));
    }
    let words = vec![format!(
        "no header: the {} column as path, the other one as label",
        if path == 0 { "first" } else { "second" }
    )];
    Some(Ok(Columns {
        separator,
        roles: [Some(path), Some(1 - path), None, None, None],
        names: Vec::new(),
        count: 2,
        head: 0,
        words,
    }))
}

fn unknown_header(names: &[String], found: &[Option<usize>; 5]) -> String {
    let shown: Vec<_> = names
        .iter()
        .map(|name| format!("`{}`", of_text(name)))
        .collect();
    let mut message = format!("found the columns {}; {EXPECTED}", shown.join(", "));
    for (role, aliases) in ROLES
        .iter()
        .enumerate()
        .take(2)
        .filter(|(role, _)| found[*role].is_none())
    {
        // Misspelled words usually keep their first letter; without this, short names resemble
        // anything.
        let near = |name: &str, alias: &str| {
            if name.chars().next() == alias.chars().next() {
                strsim::jaro_winkler(name, alias)
            } else {
                0.0
            }
        };
        let likeness = |name: &String| {
            aliases
                .iter()
                .map(|alias| near(&plain(name), alias))
                .fold(0.0, f64::max)
        };
        let others = names
            .iter()
            .enumerate()
            .filter(|(column, _)| !found.contains(&Some(*column)))
            .map(|(_, name)| name);
        let nearest = others
            .filter(|name| likeness(name) > 0.8)
            .max_by(|a, b| likeness(a).total_cmp(&likeness(b)));
        match nearest {
            Some(name) => message.push_str(&format!(
                "; did you mean `{}` by `{}`?",
                aliases[0],
                of_text(name)
            )),
            None => message.push_str(&format!(
                "; there is no {} (`{}`, also `{}`)",
                ["image", "class"][role],
                aliases[0],
                aliases[3]
            )),
        }
    }
    message
}

/// Returns the optional column that a name is a misspelling of: a letter is missing, there is one
/// too many, or two neighbors are exchanged. A different letter makes a different word, such as
/// height and weight.
fn misspelt(name: &str) -> Option<&'static str> {
    let name = plain(name);
    let sorted = |text: &str| {
        let mut letters: Vec<char> = text.chars().collect();
        letters.sort_unstable();
        letters
    };
    let is_near = |known: &str| {
        strsim::osa_distance(&name, known) == 1
            && (name.len() != known.len() || sorted(&name) == sorted(known))
    };
    ROLES[2..]
        .iter()
        .map(|aliases| aliases[0])
        .find(|known| is_near(known))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(text: &str) -> Result<Columns, (usize, String)> {
        understand(text).map(|(columns, _)| columns)
    }

    /// Checks the separator, the columns of path and label, and what is said of them.
    fn check(text: &str, separator: char, [path, label]: [usize; 2], words: &[&str]) {
        let columns = read(text).expect(text);
        let roles = [Some(path), Some(label), None, None, None];
        assert_eq!(
            (columns.separator, columns.roles),
            (separator, roles),
            "{text}"
        );
        assert_eq!(columns.words, words, "{text}");
    }

    #[test]
    fn lists_as_people_have_them_are_read_and_said_how() {
        check("path,label\n", ',', [0, 1], &[]);
        check("Path, Label\n", ',', [0, 1], &[]);
        check("path;label\n", ';', [0, 1], &["`;` between the columns"]);
        check(
            "label\tfilename\n",
            '\t',
            [1, 0],
            &["`tab` between the columns", "`filename` as path"],
        );
        check(
            ",filename,class\n",
            ',',
            [1, 2],
            &["`filename` as path", "`class` as label"],
        );
        check(
            "Unnamed: 0,image,label\n",
            ',',
            [1, 2],
            &["`image` as path", "`Unnamed: 0` passed over"],
        );
        check(
            "id,target\n",
            ',',
            [0, 1],
            &["`id` as path", "`target` as label"],
        );
        check(
            "a/1.png,cat\n",
            ',',
            [0, 1],
            &["no header: the first column as path, the other one as label"],
        );
    }

    #[test]
    fn columns_of_split_group_and_weight_are_found_among_others() {
        let measured = read("id,path,label,height,weight,age\n").expect("a list");
        assert_eq!(measured.roles, [Some(1), Some(2), None, None, Some(4)]);
        assert_eq!(measured.words, ["`id`, `height`, `age` passed over"]);
        let declared = read("sep=;\n\"path\";\"label\";subset\n").expect("a list");
        assert_eq!(declared.separator, ';');
        assert_eq!(declared.roles, [Some(0), Some(1), Some(2), None, None]);
        assert_eq!(
            declared.words,
            ["`;` between the columns", "`subset` as split"]
        );
        let own = read("path,label,class,split,group,blake3,weight,copy_of\n")
            .expect("a run's split.csv");
        assert_eq!(own.roles, [Some(0), Some(2), Some(3), Some(4), Some(6)]);
    }

    #[test]
    fn a_header_may_have_line_breaks_in_quotes() {
        for newline in ["\n", "\r\n", "\r"] {
            let text = ["\"image", "name\",\"label\"", "a.png,cat", ""].join(newline);
            let (columns, records) = understand(&text).expect("a list");
            assert_eq!(columns.roles[..2], [Some(0), Some(1)], "{newline:?}");
            assert_eq!(columns.words, ["`image\\x0Aname` as path"]);
            assert_eq!((records.len(), columns.head, records[1].line), (2, 1, 3));
        }
        let declared = read("\nsep=;\n\"my\nnotes\";path;label\n").expect("a list");
        assert_eq!(declared.roles[..2], [Some(1), Some(2)]);
        assert_eq!(
            declared.words,
            ["`;` between the columns", "`my\\x0Anotes` passed over"]
        );
        // Only with the separator that isn't taken, the quote would be open.
        check(
            "5, \"y;path;label\n",
            ';',
            [1, 2],
            &["`;` between the columns", "`5, \"y` passed over"],
        );
        let (line, error) = read("\n\"a\nb\",age\n1,2\n").expect_err("no columns of ours");
        assert!(
            error.starts_with("found the columns `a\\x0Ab`, `age`; expected the columns"),
            "{error}"
        );
        assert_eq!(line, 2);
    }

    #[test]
    fn what_cannot_be_understood_is_told_with_what_was_meant() {
        for (text, expected) in [
            (
                "pth,label\n",
                "found the columns `pth`, `label`; expected the columns path,label and optionally \
                 split,group,weight; did you mean `path` by `pth`?",
            ),
            (
                "path,age\n",
                "there is no class (`label`, also `label_name`)",
            ),
            (
                "path,label,gruop\n",
                "found the column `gruop`: did you mean `group`?",
            ),
            ("path,label,wieght\n", "did you mean `weight`?"),
            (
                "a/1.png,cat,train\n",
                "the first line looks like data, there is no header",
            ),
            ("", "found no line"),
            ("\n\npath,\"label\n", "never closes"),
        ] {
            let (line, error) = read(text).expect_err(text);
            assert!(error.contains(expected), "{error}");
            assert_eq!(line, if text.starts_with('\n') { 3 } else { 1 }, "{text}");
        }
    }
}
