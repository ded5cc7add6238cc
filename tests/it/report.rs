//! The page of a report, and what a real browser makes of it: nothing missing, nothing asked for,
//! nothing cut off.

use std::{
    path::{Path, PathBuf},
    process::Command,
};

use crate::support::{Place, json};

/// The Chromium on the `PATH`.
pub fn browser() -> PathBuf {
    let names = ["chromium", "chromium-browser", "google-chrome", "chrome"];
    let folders: Vec<PathBuf> = std::env::var_os("PATH")
        .map(|path| std::env::split_paths(&path).collect())
        .unwrap_or_default();
    names
        .iter()
        .flat_map(|name| folders.iter().map(move |folder| folder.join(name)))
        .find(|path| path.is_file())
        .unwrap_or_else(|| panic!("found none of {names:?} on the PATH"))
}

/// Runs the browser over a page; what it prints and what it logs.
fn visit(browser: &Path, place: &Place, page: &Path, more: &[&str]) -> (String, String) {
    let profile = place.path("profile");
    let output = Command::new(browser)
        .args([
            "--headless",
            "--no-sandbox",
            "--disable-gpu",
            "--no-first-run",
            "--disable-background-networking",
            "--enable-logging=stderr",
        ])
        .args([
            "--virtual-time-budget=5000",
            &format!("--user-data-dir={}", profile.display()),
        ])
        .args(more)
        .arg(format!("file://{}", page.display()))
        .output()
        .expect("the browser starts");
    assert!(
        output.status.success(),
        "{}",
        String::from_utf8_lossy(&output.stderr)
    );
    (
        String::from_utf8_lossy(&output.stdout).into_owned(),
        String::from_utf8_lossy(&output.stderr).into_owned(),
    )
}

/// What is seen of the page in each frame: widths, images, figures, tables, the smallest letters,
/// and how much is cut off.
const MEASURE: &str = "
addEventListener('load', () => {
  const found = [...document.querySelectorAll('iframe')].map(frame => {
    const page = frame.contentDocument, images = [...page.images];
    const letters = [...page.querySelectorAll('svg text')]
      .map(text => text.getBoundingClientRect().height)
      .filter(height => height > 0);
    const outside = [...page.querySelectorAll('p, h1, h2, dd, li, figure, svg')]
      .filter(part => part.getBoundingClientRect().right > frame.clientWidth + 1);
    return {
      width: frame.clientWidth,
      scroll: page.documentElement.scrollWidth,
      images: images.length,
      broken: images.filter(image => !image.complete || image.naturalWidth === 0).length,
      figures: page.querySelectorAll('svg').length,
      tables: page.querySelectorAll('table').length,
      smallest: Math.min(...letters),
      outside: outside.length
    };
  });
  document.body.innerHTML = '<pre id=found>' + JSON.stringify(found) + '</pre>';
})";

/// The report inside frames of several widths, and a script that looks at them from outside: the
/// page itself can't run any.
fn frames(page: &str) -> String {
    let quoted = page.replace('&', "&amp;").replace('"', "&quot;");
    let frame = |width: u32| {
        format!("<iframe width={width} height=900 style='border:0' srcdoc=\"{quoted}\"></iframe>")
    };
    format!(
        "<!doctype html><meta charset=utf-8><body>{}{}<script>{MEASURE}</script>",
        frame(400),
        frame(1400)
    )
}

/// A run whose test images have a copy of a training image, a name that would be markup and a file
/// that can't be read.
fn place_with_report() -> Place {
    let place = Place::new();
    place.classes("train", &[14, 14, 14]);
    place.classes("test", &[6, 5, 4]);
    place.write("test/b/broken.png", "\u{89}PNG");
    std::fs::copy(
        place.path("train/a/000.png"),
        place.path("test/a/<b>copy & co.png"),
    )
    .expect("copied");
    place.recipe("test = 'test'", "epochs = 3");
    let ran = place.done("train --config small.toml --out run");
    ran.tells("Report: run/report.html");
    place
}

#[test]
fn the_report_and_its_plots_are_whole_and_have_no_address_and_no_script() {
    let place = place_with_report();
    let page = place.read("run/report.html");
    for part in [
        "16 images of the test split",
        "copies of images known from training",
        "broken.png",
        "Grad-CAM",
        "rotation_range = 10",
    ] {
        assert!(page.contains(part), "{part}");
    }
    assert!(!page.contains("<b>copy") && !page.contains("<script"));
    for plot in ["curves", "confusion_matrix", "roc", "pr", "reliability"] {
        assert!(
            place
                .read(&format!("run/plots/{plot}.svg"))
                .starts_with("<svg"),
            "{plot}"
        );
        assert!(
            image::open(place.path(&format!("run/plots/{plot}.png")))
                .expect(plot)
                .width()
                > 400
        );
    }
    assert!(
        !page.contains("http://") && !page.contains("https://"),
        "an address in the page"
    );
}

#[test]
#[ignore = "needs Chromium"]
fn the_report_is_whole_in_a_browser_and_asks_for_nothing() {
    let browser = browser();
    let place = place_with_report();
    let log = place.path("net.json");
    let (dom, errors) = visit(
        &browser,
        &place,
        &place.path("run/report.html"),
        &["--dump-dom", &format!("--log-net-log={}", log.display())],
    );
    assert!(
        dom.contains("</html>") && !errors.contains("CONSOLE"),
        "{errors}"
    );
    let log = std::fs::read_to_string(log).expect("written");
    assert!(log.contains("report.html"), "the log has the page itself");
    let asked: Vec<&str> = log
        .split('"')
        .filter(|word| word.starts_with("http://") || word.starts_with("https://"))
        .collect();
    // Chromium's own services may be asked.
    assert!(
        asked
            .iter()
            .all(|address| ["google", "gstatic", "gvt1", "chrome"]
                .iter()
                .any(|own| address.contains(own))),
        "{asked:?}"
    );
}

#[test]
#[ignore = "needs Chromium"]
fn nothing_of_the_report_is_cut_off_at_any_width() {
    let browser = browser();
    let place = place_with_report();
    let page = place.read("run/report.html");
    place.write("frames.html", &frames(&page));
    let (dom, _) = visit(
        &browser,
        &place,
        &place.path("frames.html"),
        &["--dump-dom", "--window-size=1900,1000"],
    );
    let found = dom
        .split("<pre id=\"found\">")
        .nth(1)
        .and_then(|rest| rest.split("</pre>").next())
        .unwrap_or_else(|| panic!("{dom:.2000}"));
    let found = json(found);
    for frame in found.as_array().expect("a list") {
        let number = |name: &str| {
            frame[name]
                .as_f64()
                .unwrap_or_else(|| panic!("{name}: {frame}"))
        };
        assert!(number("scroll") <= number("width"), "cut off: {frame}");
        assert_eq!((number("broken"), number("outside")), (0.0, 0.0), "{frame}");
        assert!(
            number("images") >= 4.0 && number("figures") >= 6.0 && number("tables") >= 3.0,
            "{frame}"
        );
        assert!(
            number("smallest") >= 8.0,
            "letters too small to read: {frame}"
        );
    }
}
