//! A figure: charts or a matrix as one SVG, within a page or as a file, and as PNG.

use std::sync::{Arc, OnceLock};

use maud::{Markup, PreEscaped, html};
use resvg::{
    tiny_skia::{Pixmap, Transform},
    usvg::{Options, Tree, fontdb::Database},
};

use crate::base::names::of_text;

use super::{
    chart::{Chart, WIDTH, short},
    intervals::Intervals,
    matrix::Matrix,
};

/// Pixels of the PNG per SVG unit.
const PIXELS: f32 = 2.0;

/// A figure of one or more panels.
#[derive(Clone, Debug)]
pub struct Figure {
    /// File name without extension.
    pub name: &'static str,
    /// Caption in one line.
    pub caption: String,
    /// Panels, side by side.
    pub panels: Vec<Panel>,
}

/// A panel of a figure.
#[derive(Clone, Debug)]
pub enum Panel {
    /// A line or bar chart.
    Chart(Chart),
    /// A confusion matrix.
    Matrix(Matrix),
    /// Values with their intervals.
    Intervals(Intervals),
}

impl Panel {
    fn height(&self) -> f64 {
        match self {
            Self::Chart(chart) => chart.height(),
            Self::Matrix(matrix) => matrix.height(),
            Self::Intervals(intervals) => intervals.height(),
        }
    }

    fn title(&self) -> &str {
        match self {
            Self::Chart(chart) => &chart.title,
            Self::Matrix(matrix) => &matrix.title,
            Self::Intervals(intervals) => &intervals.title,
        }
    }

    fn body(&self) -> Markup {
        match self {
            Self::Chart(chart) => chart.body(),
            Self::Matrix(matrix) => matrix.body(),
            Self::Intervals(intervals) => intervals.body(),
        }
    }

    /// Returns the panel for a page, in the page's text color and width.
    pub(super) fn inline(&self) -> Markup {
        html! {
            svg role="img" aria-label=(self.title())
                viewBox=(format!("0 0 {WIDTH} {}", short(self.height()))) fill="currentColor"
                font-family="system-ui, sans-serif" { (visible(self.body())) }
        }
    }
}

/// Replaces invisible and control characters in names. XML has no representation for them, and a
/// renderer refuses the whole figure. The markup itself has none, and no line breaks.
fn visible(markup: Markup) -> Markup {
    PreEscaped(of_text(&markup.into_string()).replace(['\u{fffe}', '\u{ffff}'], "\u{fffd}"))
}

impl Figure {
    /// Returns the figure as an SVG file, black on white.
    pub fn svg(&self) -> String {
        let height = self.panels.iter().map(Panel::height).fold(0.0, f64::max);
        let width = WIDTH * self.panels.len() as f64;
        let size = format!("0 0 {width} {}", short(height));
        let body = html! {
            svg xmlns="http://www.w3.org/2000/svg" viewBox=(size) width=(width)
                height=(short(height)) color="#1c1c1c" fill="currentColor"
                font-family="system-ui, Ubuntu, sans-serif" {
                title { (self.caption) }
                rect width="100%" height="100%" fill="#ffffff" {}
                @for (index, panel) in self.panels.iter().enumerate() {
                    g transform=(format!("translate({} 0)", WIDTH * index as f64)) {
                        (panel.body())
                    }
                }
            }
        };
        format!("{}\n", visible(body).into_string())
    }

    /// Returns the figure as PNG at twice its size. The font is included in the program, so that
    /// the image is the same on every machine.
    ///
    /// # Errors
    /// Returns the reason if the SVG can't be rendered.
    pub fn png(&self) -> Result<Vec<u8>, String> {
        static FONTS: OnceLock<Arc<Database>> = OnceLock::new();
        let fonts = FONTS.get_or_init(|| {
            let mut fonts = Database::new();
            // It has Latin, Greek and Cyrillic letters; system fonts differ between machines.
            fonts.load_font_data(epaint_default_fonts::UBUNTU_LIGHT.to_vec());
            let family = fonts
                .faces()
                .next()
                .and_then(|face| Some(face.families.first()?.0.clone()))
                .unwrap_or_default();
            fonts.set_sans_serif_family(family);
            Arc::new(fonts)
        });
        let options = Options {
            fontdb: Arc::clone(fonts),
            ..Options::default()
        };
        let tree = Tree::from_str(&self.svg(), &options).map_err(|error| error.to_string())?;
        let size = tree
            .size()
            .to_int_size()
            .scale_by(PIXELS)
            .ok_or("a figure without a size")?;
        let mut pixels =
            Pixmap::new(size.width(), size.height()).ok_or("a figure without a size")?;
        resvg::render(
            &tree,
            Transform::from_scale(PIXELS, PIXELS),
            &mut pixels.as_mut(),
        );
        pixels.encode_png().map_err(|error| error.to_string())
    }
}
