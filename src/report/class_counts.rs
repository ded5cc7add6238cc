//! Numbers of images per class, in words and as a table.

use super::Table;
use crate::base::{names::of_text, words};

/// Maximum number of classes for a table of all; above it, only extremes are shown.
const ALL: usize = 40;

/// Describes the number of images of each class in a line; of many classes, the range.
pub fn count_words(classes: &[String], counts: &[usize]) -> String {
    /// Maximum number of classes in a line.
    const LINE: usize = 20;
    if classes.len() <= LINE {
        return classes
            .iter()
            .zip(counts)
            .map(|(class, count)| format!("{} {count}", of_text(class)))
            .collect::<Vec<_>>()
            .join(", ");
    }
    let [least, most] =
        [counts.iter().min(), counts.iter().max()].map(|count| *count.unwrap_or(&0));
    let one_of = |count: usize| {
        counts
            .iter()
            .position(|other| *other == count)
            .map_or_else(String::new, |class| of_text(&classes[class]))
    };
    let range = if least == most {
        format!("{least} each")
    } else {
        format!(
            "{least} ({}) to {most} ({}) each",
            one_of(least),
            one_of(most)
        )
    };
    format!("{} classes, {range}", classes.len())
}

/// Describes the classes without images, as in "the class b" or "3 classes (b, c, d)". `None` if
/// there are none.
pub fn absent_words(classes: &[String], counts: &[usize]) -> Option<String> {
    let absent: Vec<String> = classes
        .iter()
        .zip(counts)
        .filter(|(_, count)| **count == 0)
        .map(|(class, _)| class.clone())
        .collect();
    let names = words::listed(&absent);
    match absent.len() {
        0 => None,
        1 => Some(format!("the class {names}")),
        count => Some(format!("{count} classes ({names})")),
    }
}

/// Returns a table of images per class under a head, with sums. `counts[class]` has a number for
/// each column after the first. Above 40 classes, only the smallest and largest number are shown.
pub fn count_table(head: Vec<String>, classes: &[String], counts: &[Vec<usize>]) -> Table {
    let column = |of: &dyn Fn(&mut dyn Iterator<Item = usize>) -> usize| {
        (0..head.len() - 1)
            .map(|column| of(&mut counts.iter().map(|row| row[column])))
            .collect::<Vec<_>>()
    };
    let row = |name: &str, counts: &[usize]| {
        std::iter::once(name.to_owned())
            .chain(counts.iter().map(ToString::to_string))
            .collect()
    };
    let mut rows: Vec<Vec<String>> = if classes.len() <= ALL {
        classes
            .iter()
            .zip(counts)
            .map(|(class, counts)| row(class, counts))
            .collect()
    } else {
        vec![
            row(
                "the least of a class",
                &column(&|counts| counts.min().unwrap_or(0)),
            ),
            row(
                "the most of a class",
                &column(&|counts| counts.max().unwrap_or(0)),
            ),
        ]
    };
    rows.push(row("all", &column(&|counts| counts.sum())));
    Table { head, rows }
}
