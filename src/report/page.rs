//! One self-contained HTML file: no script, no external resources, light and dark, printable.

use base64::{Engine, prelude::BASE64_STANDARD};
use maud::{DOCTYPE, Markup, PreEscaped, html};

use super::figure::Figure;
use crate::base::{markup::rich, names::of_text};

/// The style sheet of pages.
pub const STYLE: &str = include_str!("style.css");

/// Content security policy: nothing may be loaded or run, whatever a class name or path contains.
const POLICY: &str = "default-src 'none'; img-src data:; style-src 'unsafe-inline'";

/// Content of the page.
#[derive(Clone, Debug, Default)]
pub struct Page {
    /// Title of the page.
    pub title: String,
    /// Seconds after which a browser loads the page again, if it is to.
    pub refresh_secs: Option<u32>,
    /// Summary, the most important first.
    pub lead: Vec<String>,
    /// Heading above the facts.
    pub about: &'static str,
    /// Names and values: what was trained, on which data and device.
    pub facts: Vec<(String, String)>,
    /// Numbers of images by class and split.
    pub data: Table,
    /// Notes on the data: skipped files, copies.
    pub notes: Vec<String>,
    /// Curves, confusion matrix and other plots.
    pub figures: Vec<Figure>,
    /// Metrics, overall and by class.
    pub tables: Vec<Section>,
    /// Galleries of images.
    pub galleries: Vec<Gallery>,
    /// Augmented training images, as JPEG.
    pub mosaic: Option<Vec<u8>>,
    /// The last messages of a run, a line each.
    pub messages: Vec<String>,
    /// The configuration with all defaults.
    pub config: String,
}

/// A table; the first column has words, the others numbers.
#[derive(Clone, Debug, Default)]
pub struct Table {
    /// Names of the columns.
    pub head: Vec<String>,
    /// Cells, row by row.
    pub rows: Vec<Vec<String>>,
}

/// A table with a heading and remarks.
#[derive(Clone, Debug, Default)]
pub struct Section {
    /// Heading.
    pub title: &'static str,
    /// Remarks between heading and table, a paragraph each.
    pub words: Vec<String>,
    /// The table; without rows, the section is left out.
    pub table: Table,
}

/// Images of one kind.
#[derive(Clone, Debug)]
pub struct Gallery {
    /// Heading.
    pub title: &'static str,
    /// Caption; text between backticks is shown as code.
    pub words: String,
    /// The images; without any, the gallery is left out.
    pub shots: Vec<Shot>,
}

/// An image with its description.
#[derive(Clone, Debug)]
pub struct Shot {
    /// The image as JPEG.
    pub jpeg: Vec<u8>,
    /// Lines below it; the first is emphasized.
    pub lines: Vec<String>,
}

impl Page {
    /// Returns the page as HTML.
    pub fn to_html(&self) -> String {
        let page = html! {
            (DOCTYPE)
            html lang="en" {
                head {
                    meta charset="utf-8";
                    meta name="viewport" content="width=device-width, initial-scale=1";
                    meta http-equiv="Content-Security-Policy" content=(POLICY);
                    meta name="color-scheme" content="light dark";
                    @if let Some(secs) = self.refresh_secs {
                        meta http-equiv="refresh" content=(secs);
                    }
                    title { (of_text(&self.title)) }
                    style { (PreEscaped(STYLE)) }
                }
                body { main { (self.body()) } }
            }
        };
        page.into_string()
    }

    fn body(&self) -> Markup {
        html! {
            header {
                h1 { (of_text(&self.title)) }
                @for line in &self.lead { p.lead { (rich(line)) } }
            }
            section {
                h2 { (self.about) }
                dl {
                    @for (name, value) in &self.facts {
                        dt { (of_text(name)) } dd { (of_text(value)) }
                    }
                }
                @if !self.data.rows.is_empty() { (self.data.markup()) }
                @if !self.notes.is_empty() {
                    ul { @for note in &self.notes { li { (of_text(note)) } } }
                }
            }
            @if !self.figures.is_empty() {
                section {
                    h2 { "Figures" }
                    div.figures {
                        @for figure in &self.figures {
                            figure.wide[figure.panels.len() > 1] {
                                div.panels { @for panel in &figure.panels { (panel.inline()) } }
                                figcaption { (figure.caption) }
                            }
                        }
                    }
                }
            }
            @for Section { title, words, table } in self.tables_with_rows() {
                section {
                    h2 { (title) } @for words in words { p { (of_text(words)) } } (table.markup())
                }
            }
            @for gallery in &self.galleries { (gallery.markup()) }
            @if let Some(mosaic) = &self.mosaic {
                section {
                    h2 { "Augmentation" }
                    p {
                        "Training images at the network's size, and as the first epochs drew them."
                    }
                    div.scroll {
                        img.mosaic src=(data_uri(mosaic))
                            alt="Training images, original and augmented";
                    }
                }
            }
            (verbatim("The last messages", &self.messages.join("\n")))
            (verbatim("The whole configuration", &self.config))
        }
    }

    fn tables_with_rows(&self) -> impl Iterator<Item = &Section> {
        self.tables
            .iter()
            .filter(|section| !section.table.rows.is_empty())
    }
}

impl Table {
    fn markup(&self) -> Markup {
        html! {
            div.scroll {
                table {
                    thead { tr { @for name in &self.head { th { (of_text(name)) } } } }
                    tbody {
                        @for row in &self.rows {
                            tr { @for cell in row { td { (of_text(cell)) } } }
                        }
                    }
                }
            }
        }
    }
}

impl Gallery {
    fn markup(&self) -> Markup {
        html! {
            @if !self.shots.is_empty() {
                section {
                    h2 { (self.title) }
                    p { (rich(&self.words)) }
                    div.gallery {
                        @for shot in &self.shots {
                            figure {
                                img src=(data_uri(&shot.jpeg))
                                    alt=(of_text(&shot.lines.join("; ")));
                                figcaption {
                                    @for (index, line) in shot.lines.iter().enumerate() {
                                        @if index == 0 { strong { (of_text(line)) } }
                                        @else { span { (of_text(line)) } }
                                    }
                                }
                            }
                        }
                    }
                }
            }
        }
    }
}

/// Returns a section with a text as it is, or nothing for an empty one.
fn verbatim(title: &str, text: &str) -> Markup {
    html! {
        @if !text.is_empty() {
            section { h2 { (title) } div.scroll { pre { (lines(text)) } } }
        }
    }
}

/// Returns a text of several lines with control characters escaped.
fn lines(text: &str) -> String {
    text.lines().map(|line| of_text(line) + "\n").collect()
}

fn data_uri(jpeg: &[u8]) -> String {
    format!("data:image/jpeg;base64,{}", BASE64_STANDARD.encode(jpeg))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn nothing_that_a_name_holds_becomes_markup_and_nothing_is_asked_for() {
        let bad = "<script src=\"http://example.com\">&'x'</script>".to_owned();
        let page = Page {
            title: bad.clone(),
            lead: vec![bad.clone()],
            facts: vec![(bad.clone(), bad.clone())],
            data: Table {
                head: vec![bad.clone()],
                rows: vec![vec![bad.clone()]],
            },
            notes: vec![bad.clone()],
            galleries: vec![Gallery {
                title: "Images",
                words: bad.clone(),
                shots: vec![Shot {
                    jpeg: vec![1, 2, 3],
                    lines: vec![bad.clone(), bad.clone()],
                }],
            }],
            messages: vec![bad.clone()],
            config: bad,
            ..Page::default()
        };
        let html = page.to_html();
        assert!(
            !html.contains("<script") && html.contains("&lt;script"),
            "{html}"
        );
        assert!(
            html.contains("data:image/jpeg;base64,AQID") && html.contains("default-src 'none'"),
            "{html}"
        );
        assert!(!html.contains("\"refresh\""), "{html}");
    }

    #[test]
    fn a_page_that_changes_is_loaded_again() {
        let page = Page {
            refresh_secs: Some(5),
            messages: vec!["Epoch 1".to_owned(), "Epoch 2".to_owned()],
            ..Page::default()
        };
        let html = page.to_html();
        assert!(
            html.contains(r#"<meta http-equiv="refresh" content="5">"#)
                && html.contains("Epoch 1\nEpoch 2\n"),
            "{html}"
        );
    }
}
