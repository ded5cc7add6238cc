//! Text as HTML.

use maud::{Markup, html};

use super::names::of_text;

/// Returns text with the parts between backticks as code.
pub fn rich(text: &str) -> Markup {
    html! {
        @for (index, part) in text.split('`').enumerate() {
            @if index % 2 == 1 { code { (of_text(part)) } } @else { (of_text(part)) }
        }
    }
}
