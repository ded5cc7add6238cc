//! The first line of a list in, what stands in which column out: by our names, or by those that others use, with words for what was taken as what.

use std::path::Path;

use super::{
    has_image_extension,
    records::{Record, split},
};

/// Where what stands.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Columns {
    /// Between two fields.
    pub separator: char,
    /// The column of each of [`ROLES`].
    pub roles: [Option<usize>; 5],
    /// Fields of a line.
    pub count: usize,
    /// Lines before the data.
    pub head: usize,
    /// How the list is read, where that isn't plain.
    pub words: Vec<String>,
}

/// What a column may be.
#[derive(Clone, Copy, Debug)]
pub(super) enum Role {
    Path,
    Label,
    Split,
    Group,
    Weight,
}

/// Our name of each, then those that others give it, the most telling first.
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
    &["label", "class", "class_name", "label_name", "class_label", "category", "target", "labels", "classes", "diagnosis", "y"],
    &["split", "subset", "set", "partition"],
    &["group", "group_id", "groups"],
    &["weight", "weights", "sample_weight"],
];

const EXPECTED: &str = "expected the columns path,label and, where wanted, split,group,weight";

/// Understands a list.
///
/// # Errors
/// The line and what is wrong there.
pub(super) fn understand(text: &str) -> Result<(Columns, Vec<Record>), (usize, String)> {
    let unclosed = |line| (line, "found a quote that opens here and never closes".to_owned());
    let mut lines = text.split(['\n', '\r']).filter(|line| !line.trim().is_empty());
    let first = lines.next().unwrap_or_default();
    // Excel's own line says what separates.
    let declared = first.trim().to_lowercase().strip_prefix("sep=").and_then(|rest| rest.chars().next());
    let header = if declared.is_some() { lines.next().unwrap_or_default() } else { first };
    if split(header, ',').is_err() {
        split(text, ',').map_err(unclosed)?;
    }
    let fields = |separator| fields_of(header, separator);
    let candidates = [',', ';', '\t', '|'];
    let is_whole = |separator: &char| roles(&fields(*separator))[..2].iter().all(Option::is_some);
    let separator = declared.or_else(|| candidates.into_iter().find(is_whole)).unwrap_or_else(|| {
        // The first of those that give the most fields.
        candidates.into_iter().rev().max_by_key(|separator| fields(*separator).len()).unwrap_or(',')
    });
    let records = split(text, separator).map_err(unclosed)?;
    let skipped = usize::from(declared.is_some());
    let Some(head) = records.get(skipped) else { return Err((1, format!("found no line, {EXPECTED} in the first"))) };
    let names = fields(separator);
    let columns = of_header(&names, separator).map_err(|message| (head.line, message))?;
    Ok((Columns { head: columns.head + skipped, ..columns }, records))
}

fn fields_of(line: &str, separator: char) -> Vec<String> {
    let record = split(line, separator).ok().and_then(|records| records.into_iter().next());
    record.map_or_else(Vec::new, |record| record.fields.into_iter().map(|field| field.text).collect())
}

fn plain(name: &str) -> String {
    name.trim().to_lowercase().replace([' ', '-'], "_")
}

fn roles(names: &[String]) -> [Option<usize>; 5] {
    let plain: Vec<String> = names.iter().map(|name| plain(name)).collect();
    let find = |aliases: &[&str]| aliases.iter().find_map(|alias| plain.iter().position(|name| name == alias));
    let mut roles = ROLES.map(find);
    // A run's own split.csv has the number of a class as its label, and the class beside it.
    let class = plain.iter().position(|name| name == "class");
    if class.is_some() && plain.iter().any(|name| name == "blake3") {
        roles[Role::Label as usize] = class;
    }
    roles
}

fn of_header(names: &[String], separator: char) -> Result<Columns, String> {
    let roles = roles(names);
    if roles[0].is_none() || roles[1].is_none() {
        return without_header(names, separator).unwrap_or_else(|| Err(unknown_header(names, &roles)));
    }
    let is_used = |column: usize| roles.contains(&Some(column));
    let unused: Vec<&str> = names.iter().enumerate().filter(|(column, _)| !is_used(*column)).map(|(_, name)| name.as_str()).collect();
    if let Some((name, meant)) = unused.iter().find_map(|name| Some((name, misspelt(name)?))) {
        return Err(format!("found the column `{name}`: did you mean `{meant}`? rename it; a name that is further off is passed over"));
    }
    let mut words = Vec::new();
    if separator != ',' {
        words.push(format!("`{}` between the columns", if separator == '\t' { "tab".to_owned() } else { separator.to_string() }));
    }
    for (column, aliases) in roles.iter().zip(ROLES) {
        if let Some(name) = column.map(|column| &names[column]).filter(|name| plain(name) != aliases[0]) {
            words.push(format!("`{name}` as {}", aliases[0]));
        }
    }
    let unused: Vec<_> = unused.into_iter().filter(|name| !name.is_empty()).map(|name| format!("`{name}`")).collect();
    if !unused.is_empty() {
        words.push(format!("{} passed over", unused.join(", ")));
    }
    Ok(Columns { separator, roles, count: names.len(), head: 1, words })
}

/// Two columns, one of them with images in the first line: there is no header, and no doubt either.
fn without_header(names: &[String], separator: char) -> Option<Result<Columns, String>> {
    let is_path = |name: &String| has_image_extension(Path::new(name));
    let path = names.iter().position(is_path)?;
    if names.len() != 2 || is_path(&names[1 - path]) {
        return Some(Err(format!("the first line looks like data, there is no header; {EXPECTED} in the first line")));
    }
    let words = vec![format!("no header: the {} column as path, the other one as label", if path == 0 { "first" } else { "second" })];
    Some(Ok(Columns { separator, roles: [Some(path), Some(1 - path), None, None, None], count: 2, head: 0, words }))
}

fn unknown_header(names: &[String], found: &[Option<usize>; 5]) -> String {
    let shown: Vec<_> = names.iter().map(|name| format!("`{}`", crate::base::names::of_text(name))).collect();
    let mut message = format!("found the columns {}; {EXPECTED}", shown.join(", "));
    for (role, aliases) in ROLES.iter().enumerate().take(2).filter(|(role, _)| found[*role].is_none()) {
        // Who misspells a word begins it right.
        let near =
            |name: &str, alias: &str| if name.chars().next() == alias.chars().next() { strsim::jaro_winkler(name, alias) } else { 0.0 };
        let likeness = |name: &String| aliases.iter().map(|alias| near(&plain(name), alias)).fold(0.0, f64::max);
        let others = names.iter().enumerate().filter(|(column, _)| !found.contains(&Some(*column))).map(|(_, name)| name);
        let nearest = others.filter(|name| likeness(name) > 0.8).max_by(|a, b| likeness(a).total_cmp(&likeness(b)));
        match nearest {
            Some(name) => message.push_str(&format!("; did you mean `{}` by `{name}`?", aliases[0])),
            None => message.push_str(&format!("; there is no {} (`{}`, also `{}`)", ["image", "class"][role], aliases[0], aliases[3])),
        }
    }
    message
}

/// The optional column that a name was meant for: a letter is missing, too many, or two are exchanged. Another letter makes another word, as
/// height and weight.
fn misspelt(name: &str) -> Option<&'static str> {
    let name = plain(name);
    let sorted = |text: &str| {
        let mut letters: Vec<char> = text.chars().collect();
        letters.sort_unstable();
        letters
    };
    let is_near = |known: &str| strsim::osa_distance(&name, known) == 1 && (name.len() != known.len() || sorted(&name) == sorted(known));
    ROLES[2..].iter().map(|aliases| aliases[0]).find(|known| is_near(known))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(text: &str) -> Result<Columns, (usize, String)> {
        understand(text).map(|(columns, _)| columns)
    }

    #[test]
    fn lists_as_people_have_them_are_read_and_said_how() {
        type Case<'a> = (&'a str, char, [Option<usize>; 5], &'a [&'a str]);
        let cases: [Case<'_>; 10] = [
            ("path,label\n", ',', [Some(0), Some(1), None, None, None], &[]),
            ("Path, Label\n", ',', [Some(0), Some(1), None, None, None], &[]),
            ("path;label\n", ';', [Some(0), Some(1), None, None, None], &["`;` between the columns"]),
            ("label\tfilename\n", '\t', [Some(1), Some(0), None, None, None], &["`tab` between the columns", "`filename` as path"]),
            (",filename,class\n", ',', [Some(1), Some(2), None, None, None], &["`filename` as path", "`class` as label"]),
            ("Unnamed: 0,image,label\n", ',', [Some(1), Some(2), None, None, None], &["`image` as path", "`Unnamed: 0` passed over"]),
            ("id,target\n", ',', [Some(0), Some(1), None, None, None], &["`id` as path", "`target` as label"]),
            ("id,path,label,height,weight,age\n", ',', [Some(1), Some(2), None, None, Some(4)], &["`id`, `height`, `age` passed over"]),
            (
                "sep=;\n\"path\";\"label\";subset\n",
                ';',
                [Some(0), Some(1), Some(2), None, None],
                &["`;` between the columns", "`subset` as split"],
            ),
            ("a/1.png,cat\n", ',', [Some(0), Some(1), None, None, None], &["no header: the first column as path, the other one as label"]),
        ];
        for (text, separator, roles, words) in cases {
            let columns = read(text).expect(text);
            assert_eq!((columns.separator, columns.roles), (separator, roles), "{text}");
            assert_eq!(columns.words, words, "{text}");
        }
        let own = read("path,label,class,split,group,blake3,weight,copy_of\n").expect("a run's split.csv");
        assert_eq!(own.roles, [Some(0), Some(2), Some(3), Some(4), Some(6)]);
    }

    #[test]
    fn what_cannot_be_understood_is_told_with_what_was_meant() {
        for (text, expected) in [
            (
                "pth,label\n",
                "found the columns `pth`, `label`; expected the columns path,label and, where wanted, split,group,weight; did you mean `path` by `pth`?",
            ),
            ("path,age\n", "there is no class (`label`, also `label_name`)"),
            ("path,label,gruop\n", "found the column `gruop`: did you mean `group`?"),
            ("path,label,wieght\n", "did you mean `weight`?"),
            ("a/1.png,cat,train\n", "the first line looks like data, there is no header"),
            ("", "found no line"),
            ("\n\npath,\"label\n", "never closes"),
        ] {
            let (line, error) = read(text).expect_err(text);
            assert!(error.contains(expected), "{error}");
            assert_eq!(line, if text.starts_with('\n') { 3 } else { 1 }, "{text}");
        }
    }
}
