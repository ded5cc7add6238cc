//! The page: one HTML file with its style and its script.

use axum::http::HeaderValue;
use base64::{Engine, prelude::BASE64_STANDARD};
use maud::{DOCTYPE, PreEscaped, html};
use sha2::{Digest, Sha256};

use crate::{base::names::of_text, checkpoint::Meta, report::STYLE};

const OWN_STYLE: &str = include_str!("page.css");
const SCRIPT: &str = include_str!("page.js");

/// The page and what a browser may do with it.
#[derive(Clone, Debug)]
pub(super) struct Page {
    pub(super) html: String,
    /// Content security policy: its own script, images of the user, and this server.
    pub(super) policy: HeaderValue,
}

impl Page {
    /// Returns the page of a model. `most_bytes` is the largest file that the server takes.
    pub(super) fn new(meta: &Meta, most_bytes: usize) -> Self {
        let count = meta.classes.len();
        let [height, width] = meta.image_size;
        let html = html! {
            (DOCTYPE)
            html lang="en" {
                head {
                    meta charset="utf-8";
                    meta name="viewport" content="width=device-width, initial-scale=1";
                    meta name="color-scheme" content="light dark";
                    title { (of_text(&meta.name)) }
                    style { (PreEscaped(STYLE)) (PreEscaped(OWN_STYLE)) }
                }
                body {
                    main {
                        h1 { (of_text(&meta.name)) }
                        p.lead {
                            (count) " classes, read at " (width) "x" (height) " pixels. "
                            "Images go to this server and nowhere else; it keeps none."
                        }
                        label.drop #drop for="files" {
                            strong { "Drop images here" } " or choose them"
                            input #files type="file" multiple data-most=(most_bytes);
                        }
                        p {
                            button #save type="button" hidden { "Save as CSV" } " "
                            button #clear type="button" hidden { "Clear" }
                        }
                        div #results aria-live="polite" {}
                        noscript { p { "The page needs JavaScript; POST /predict doesn't." } }
                        p.small { a href="openapi.json" { "The same by HTTP" } }
                    }
                    script { (PreEscaped(SCRIPT)) }
                }
            }
        };
        let digest = BASE64_STANDARD.encode(Sha256::digest(SCRIPT));
        let policy = format!(
            "default-src 'none'; script-src 'sha256-{digest}'; style-src 'unsafe-inline'; \
             img-src blob: data:; connect-src 'self'; base-uri 'none'; form-action 'none'; \
             frame-ancestors 'none'"
        );
        Self {
            html: html.into_string(),
            policy: HeaderValue::from_str(&policy).expect("letters and digits"),
        }
    }
}
