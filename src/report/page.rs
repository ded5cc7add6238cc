//! One HTML file with everything in it: no script, nothing from anywhere, light and dark, on paper too.

use base64::{Engine, prelude::BASE64_STANDARD};
use maud::{DOCTYPE, Markup, PreEscaped, html};

use super::figure::Figure;
use crate::base::names::of_text;

const STYLE: &str = include_str!("style.css");

/// Nothing may be loaded or run, whatever a class name or a path holds.
const POLICY: &str = "default-src 'none'; img-src data:; style-src 'unsafe-inline'";

/// What the page shows.
#[derive(Clone, Debug, Default)]
pub struct Page {
    /// Of the run.
    pub title: String,
    /// What a reader must know, the most important first.
    pub lead: Vec<String>,
    /// Above the facts.
    pub about: &'static str,
    /// What was trained, with what, on what.
    pub facts: Vec<(String, String)>,
    /// Pictures by class and split.
    pub data: Table,
    /// What is to be said of the data: skipped files, copies.
    pub notes: Vec<String>,
    /// Curves, matrix and so on.
    pub figures: Vec<Figure>,
    /// Measures, and classes.
    pub tables: Vec<Section>,
    /// Pictures.
    pub galleries: Vec<Gallery>,
    /// Training pictures as the network saw them, as JPEG.
    pub mosaic: Option<Vec<u8>>,
    /// The recipe with every default.
    pub config: String,
}

/// Rows under a head; the first column is words, the others numbers.
#[derive(Clone, Debug, Default)]
pub struct Table {
    /// Names of the columns.
    pub head: Vec<String>,
    /// Cells.
    pub rows: Vec<Vec<String>>,
}

/// A table with what is said of it.
#[derive(Clone, Debug, Default)]
pub struct Section {
    /// Above it.
    pub title: &'static str,
    /// Between the two, a paragraph each.
    pub words: Vec<String>,
    /// The table; without rows, nothing is shown.
    pub table: Table,
}

/// Pictures of one kind.
#[derive(Clone, Debug)]
pub struct Gallery {
    /// Above them.
    pub title: &'static str,
    /// What they show; what is between backquotes is what one types.
    pub words: String,
    /// The pictures; without any, nothing is shown.
    pub shots: Vec<Shot>,
}

/// A picture with what is said of it.
#[derive(Clone, Debug)]
pub struct Shot {
    /// As JPEG.
    pub jpeg: Vec<u8>,
    /// Below it; the first is the heading.
    pub lines: Vec<String>,
}

impl Page {
    /// The file.
    pub fn to_html(&self) -> String {
        let page = html! {
            (DOCTYPE)
            html lang="en" {
                head {
                    meta charset="utf-8";
                    meta name="viewport" content="width=device-width, initial-scale=1";
                    meta http-equiv="Content-Security-Policy" content=(POLICY);
                    meta name="color-scheme" content="light dark";
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
                dl { @for (name, value) in &self.facts { dt { (of_text(name)) } dd { (of_text(value)) } } }
                @if !self.data.rows.is_empty() { (self.data.markup()) }
                @if !self.notes.is_empty() { ul { @for note in &self.notes { li { (of_text(note)) } } } }
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
            @for Section { title, words, table } in self.tables.iter().filter(|section| !section.table.rows.is_empty()) {
                section { h2 { (title) } @for words in words { p { (of_text(words)) } } (table.markup()) }
            }
            @for gallery in &self.galleries { (gallery.markup()) }
            @if let Some(mosaic) = &self.mosaic {
                section {
                    h2 { "Augmentation" }
                    p { "Training pictures at the network's size, and as the first epochs drew them." }
                    div.scroll { img.mosaic src=(data_uri(mosaic)) alt="Training pictures, original and augmented"; }
                }
            }
            @if !self.config.is_empty() {
                section { h2 { "The whole configuration" } div.scroll { pre { (lines(&self.config)) } } }
            }
        }
    }
}

impl Table {
    fn markup(&self) -> Markup {
        html! {
            div.scroll {
                table {
                    thead { tr { @for name in &self.head { th { (of_text(name)) } } } }
                    tbody { @for row in &self.rows { tr { @for cell in row { td { (of_text(cell)) } } } } }
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
                                img src=(data_uri(&shot.jpeg)) alt=(of_text(&shot.lines.join("; ")));
                                figcaption {
                                    @for (index, line) in shot.lines.iter().enumerate() {
                                        @if index == 0 { strong { (of_text(line)) } } @else { span { (of_text(line)) } }
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

/// A text of several lines whose names hide nothing.
fn lines(text: &str) -> String {
    text.lines().map(|line| of_text(line) + "\n").collect()
}

/// Words between backquotes are what one types.
fn rich(text: &str) -> Markup {
    html! {
        @for (index, part) in text.split('`').enumerate() {
            @if index % 2 == 1 { code { (of_text(part)) } } @else { (of_text(part)) }
        }
    }
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
            data: Table { head: vec![bad.clone()], rows: vec![vec![bad.clone()]] },
            notes: vec![bad.clone()],
            galleries: vec![Gallery {
                title: "Pictures",
                words: bad.clone(),
                shots: vec![Shot { jpeg: vec![1, 2, 3], lines: vec![bad.clone(), bad.clone()] }],
            }],
            config: bad,
            ..Page::default()
        };
        let html = page.to_html();
        assert!(!html.contains("<script") && html.contains("&lt;script"), "{html}");
        assert!(html.contains("data:image/jpeg;base64,AQID") && html.contains("default-src 'none'"), "{html}");
    }
}
