//! A run as a page: what a browser makes of it, driven by the protocol of its developer tools.

use std::{
    fs::File,
    io::{BufRead as _, BufReader, Write as _},
    path::{Path, PathBuf},
    process::{Child, Command, Stdio},
    time::{Duration, Instant},
};

use serde_json::{Value, json};

use crate::{
    report::browser,
    support::{ON_ITS_SIDE, Place, json},
};

/// A page in a browser.
struct Page {
    browser: Child,
    commands: File,
    answers: BufReader<File>,
    session: Option<String>,
    count: u64,
    events: Vec<Value>,
}

impl Drop for Page {
    fn drop(&mut self) {
        let stopped = self.browser.kill().and_then(|()| self.browser.wait());
        stopped.expect("the browser stops");
    }
}

impl Page {
    /// Opens a page from its file, and waits until it is ready.
    fn open(place: &Place, page: &Path) -> Self {
        let [commands, answers] = ["commands", "answers"].map(|name| place.path(name));
        for pipe in [&commands, &answers] {
            let made = Command::new("mkfifo").arg(pipe).status();
            assert!(made.expect("mkfifo is there").success());
        }
        // The browser reads commands from its file 3 and answers on its file 4.
        let browser = Command::new("sh")
            .args(["-c", "exec \"$0\" \"$@\" 3<commands 4>answers"])
            .arg(browser())
            .args([
                "--headless",
                "--no-sandbox",
                "--disable-gpu",
                "--no-first-run",
            ])
            .args(["--disable-background-networking", "--remote-debugging-pipe"])
            // A camera that shows a moving pattern, and needs no consent.
            .args([
                "--use-fake-device-for-media-stream",
                "--use-fake-ui-for-media-stream",
            ])
            .arg(format!("--user-data-dir={}.profile", page.display()))
            .current_dir(place.path(""))
            .stderr(Stdio::null())
            .spawn();
        let mut opened = Self {
            browser: browser.expect("the browser starts"),
            commands: File::create(&commands).expect("opened"),
            answers: BufReader::new(File::open(&answers).expect("opened")),
            session: None,
            count: 0,
            events: Vec::new(),
        };
        let tab = opened.call("Target.createTarget", json!({ "url": "about:blank" }));
        let tab = json!({ "targetId": tab["targetId"], "flatten": true });
        let session = opened.call("Target.attachToTarget", tab);
        opened.session = session["sessionId"].as_str().map(str::to_owned);
        for domain in ["Network", "Runtime", "Log", "Page", "DOM"] {
            opened.call(&format!("{domain}.enable"), json!({}));
        }
        let url = format!("file://{}", page.display());
        opened.call("Page.navigate", json!({ "url": url }));
        opened.wait("document.body?.dataset.ready !== undefined");
        opened
    }

    /// Calls a method of the protocol; what comes before its answer is an event.
    fn call(&mut self, method: &str, params: Value) -> Value {
        self.count += 1;
        let mut command = json!({ "id": self.count, "method": method, "params": params });
        if let Some(session) = &self.session {
            command["sessionId"] = json!(session);
        }
        let command = command.to_string() + "\0";
        self.commands
            .write_all(command.as_bytes())
            .expect("written");
        loop {
            let mut bytes = Vec::new();
            self.answers.read_until(0, &mut bytes).expect("read");
            assert_eq!(bytes.pop(), Some(0), "{method}: the browser ended");
            let mut answer: Value = serde_json::from_slice(&bytes).expect("JSON");
            if answer["id"] == self.count {
                assert!(answer["error"].is_null(), "{method}: {answer}");
                return answer["result"].take();
            }
            self.events.push(answer);
        }
    }

    /// The value of an expression.
    fn value(&mut self, expression: &str) -> Value {
        let asked = json!({
            "expression": expression, "awaitPromise": true, "returnByValue": true
        });
        let mut found = self.call("Runtime.evaluate", asked);
        assert!(found["exceptionDetails"].is_null(), "{expression}: {found}");
        found["result"]["value"].take()
    }

    fn wait(&mut self, condition: &str) {
        let begun = Instant::now();
        while self.value(condition) != true {
            assert!(begun.elapsed() < Duration::from_secs(60), "{condition}");
            std::thread::sleep(Duration::from_millis(20));
        }
    }

    /// Chooses files, and waits for what the page finds.
    fn choose(&mut self, files: &[PathBuf]) {
        self.choose_in("#files", files);
        let count = files.len();
        self.wait(&format!(
            "images.size === {count} && !/waiting/.test($('summary').textContent)"
        ));
    }

    /// Chooses files, or a folder, in an input.
    fn choose_in(&mut self, input: &str, files: &[PathBuf]) {
        let document = self.call("DOM.getDocument", json!({}));
        let input = json!({ "nodeId": document["root"]["nodeId"], "selector": input });
        let node = self.call("DOM.querySelector", input)["nodeId"].take();
        self.call(
            "DOM.setFileInputFiles",
            json!({ "nodeId": node, "files": files }),
        );
    }

    /// Fails if the page has asked for anything or reported an error.
    fn assert_alone(&self) {
        for event in &self.events {
            let (method, params) = (event["method"].as_str(), &event["params"]);
            let url = params["request"]["url"].as_str().unwrap_or("file:");
            assert!(
                url.starts_with("file:") || url.starts_with("blob:"),
                "asked for {url}"
            );
            let is_error = ["Runtime.exceptionThrown", "Log.entryAdded"]
                .map(Some)
                .contains(&method);
            assert!(!is_error, "{event}");
        }
    }
}

/// Twenty images of five formats and odd sizes, some gray, some with alpha, one turned.
fn odd_images(place: &Place) -> Vec<PathBuf> {
    let sizes = [(31, 17), (9, 40), (64, 64), (3, 5)];
    let mut files = Vec::new();
    for (index, (width, height)) in sizes.into_iter().enumerate() {
        let color = image::RgbImage::from_fn(width, height, |x, y| {
            image::Rgb([(x * 8) as u8, (y * 6) as u8, (x * y % 200) as u8])
        });
        let color = image::DynamicImage::from(color);
        let alpha = image::RgbaImage::from_fn(width, height, |x, y| {
            image::Rgba([(y * 6) as u8, 90, (x * 8) as u8, (x * 37 + y * 11) as u8])
        });
        let gray = color.grayscale();
        let kinds: [(&str, image::DynamicImage); 5] = [
            (
                "jpg",
                if index == 1 {
                    gray.clone()
                } else {
                    color.clone()
                },
            ),
            ("png", if index == 2 { gray } else { alpha.into() }),
            ("bmp", color.clone()),
            ("webp", color.clone()),
            ("tif", color),
        ];
        for (ending, image) in kinds {
            let path = place.path(&format!("odd/{index}.{ending}"));
            std::fs::create_dir_all(place.path("odd")).expect("created");
            image.save(&path).expect("saved");
            files.push(path);
        }
    }
    let jpeg = std::fs::read(&files[0]).expect("read");
    let turned = [&jpeg[..2], ON_ITS_SIDE, &jpeg[2..]].concat();
    std::fs::write(&files[0], turned).expect("written");
    files
}

/// A run of three classes with a temperature and sets, and pages of it.
fn place_with_pages() -> Place {
    let place = Place::new();
    place.classes("train", &[14, 14, 14]);
    place.classes("test", &[6, 5, 4]);
    place.recipe("test = 'test'", "epochs = 2");
    place.done("train --config small.toml --out run --set model.batch_norm=true");
    place.done("calibrate run --temperature --coverage 0.5");
    place.done("export run --page half.html");
    place.done("export run --page full.html --float32");
    place.done("train --config small.toml --out folds --folds 2");
    place.done("calibrate folds --coverage 0.5");
    place.done("export folds --page folds.html --float32");
    place
}

#[test]
fn a_page_is_one_file_that_says_how_far_to_trust_it() {
    let place = place_with_pages();
    let page = place.read("half.html");
    for part in [
        "Accuracy ",
        "nothing is known about images",
        "Sets",
        "refer",
        "sha256-",
    ] {
        assert!(page.contains(part), "{part}");
    }
    assert!(!page.contains("http://") && !page.contains("https://"));
    assert!(place.bytes("full.html").len() > page.len());
    place.run("export run --page half.html").exits(
        2,
        "the file already exists; choose another --page: half.html",
    );
    place
        .run("export run --float32 --onnx new.onnx")
        .exits(2, "--page");
}

#[test]
#[ignore = "needs Chromium"]
fn a_page_finds_the_probabilities_of_predict_and_asks_for_nothing() {
    let place = place_with_pages();
    let files = odd_images(&place);
    for (run, page, bound) in [
        ("run", "half.html", 1e-4),
        ("run", "full.html", 2e-6),
        ("folds", "folds.html", 2e-6),
    ] {
        let predict = format!("predict --checkpoint {run} --format jsonl --abstain odd");
        let predicted = place.done(&predict);
        let folder = place.path(page);
        let mut page = Page::open(&place, &folder);
        page.choose(&files);
        let found = page.value(
            "[...images.values()].map(({ name, error, probabilities }) =>
               ({ name, error, row: [...probabilities ?? []], ...decided(probabilities) }))",
        );
        for line in predicted.out.lines() {
            let expected = json(line);
            let name = expected["path"]
                .as_str()
                .and_then(|path| path.strip_prefix("odd/"));
            let found = found.as_array().expect("a list").iter();
            let found = found.clone().find(|found| found["name"].as_str() == name);
            let found = found.unwrap_or_else(|| panic!("{name:?}"));
            for (index, class) in ["a", "b", "c"].iter().enumerate() {
                let number = |value: &Value| value.as_f64().expect("a number");
                let (found, expected) = (
                    number(&found["row"][index]),
                    number(&expected["probabilities"][class]),
                );
                assert!(
                    (found - expected).abs() <= bound,
                    "{name:?}: {found}, not {expected}"
                );
            }
            let label = if found["isReferred"] == true {
                "refer"
            } else {
                found["best"].as_str().expect("a class")
            };
            assert_eq!(expected["label"], label, "{name:?}");
        }
        let table = page.value("table()");
        let table = table.as_str().expect("text");
        assert!(
            table.starts_with("path,label,probability,set,a,b,c\n"),
            "{table}"
        );
        assert_eq!(table.lines().count(), 21);
        page.value("document.querySelector('.bar').click()");
        page.wait("document.querySelectorAll('.shot canvas:not([hidden])').length === 1");
        page.assert_alone();
        for pipe in ["commands", "answers"] {
            std::fs::remove_file(place.path(pipe)).expect("removed");
        }
    }
}

#[test]
#[ignore = "needs Chromium"]
fn a_page_names_what_is_no_image_and_fits_any_width() {
    let place = place_with_pages();
    place.write("odd/text.jpg", "not an image");
    place.write("odd/cut.png", "\u{89}PNG");
    let mut files = odd_images(&place);
    files.truncate(3);
    files.extend(["odd/text.jpg", "odd/cut.png"].map(|name| place.path(name)));
    let mut page = Page::open(&place, &place.path("half.html"));
    page.choose(&files);
    let wrong = page.value("document.querySelectorAll('.wrong').length");
    assert_eq!(wrong, 2);
    assert_eq!(page.value("table().split('\\n').length"), 5);
    for width in [400, 1400] {
        let size =
            json!({ "width": width, "height": 900, "deviceScaleFactor": 1, "mobile": false });
        page.call("Emulation.setDeviceMetricsOverride", size);
        let outside = page.value(
            "[...document.querySelectorAll('main *')].filter(part => {
               const { right, width } = part.getBoundingClientRect();
               return width > 0 && right > innerWidth + 1;
             }).map(part => part.outerHTML.slice(0, 80))",
        );
        assert_eq!(outside, json!([]), "{width}");
    }
    page.value("$('clear').click()");
    assert_eq!(page.value("images.size"), 0);
}

#[test]
#[ignore = "needs Chromium"]
fn images_are_dropped_come_from_a_folder_and_from_a_camera() {
    let place = place_with_pages();
    let files = odd_images(&place);
    place.write("odd/deep/notes.txt", "not an image");
    std::fs::copy(&files[1], place.path("odd/deep/in.png")).expect("copied");
    let mut page = Page::open(&place, &place.path("half.html"));
    let state = "$('state').textContent";
    // A browser hands a dropped folder to a page that is opened from disk as a name alone.
    let dropped = [files[1].clone(), place.path("odd/deep")];
    for kind in ["dragEnter", "dragOver", "drop"] {
        let data = json!({ "items": [], "files": dropped, "dragOperationsMask": 1 });
        let event = json!({ "type": kind, "x": 50, "y": 50, "data": data });
        page.call("Input.dispatchDragEvent", event);
    }
    page.wait("images.size === 1 && !/waiting/.test($('summary').textContent)");
    page.wait(&format!("/folder \"deep\"/.test({state})"));
    page.choose_in("#folder", &[place.path("odd/deep")]);
    page.wait("images.size === 2 && !/waiting/.test($('summary').textContent)");
    let left_out = "Left out, because they are no images: 1 of 2 files.";
    assert_eq!(page.value(state), left_out);
    page.value("$('open-camera').click()");
    page.wait("$('camera').open && $('video').videoWidth > 0");
    page.value("$('shoot').click()");
    page.wait("images.size === 3 && !/waiting/.test($('summary').textContent)");
    page.value("$('camera').close()");
    page.wait("stream.getTracks().every(track => track.readyState === 'ended')");
    let names = page.value("[...images.values()].map(({ name }) => name.replace(/-.*\\./, '-.'))");
    assert_eq!(names, json!(["0.png", "deep/in.png", "camera-.png"]));
    let found = page.value("[...images.values()].every(({ probabilities }) => probabilities)");
    assert_eq!(found, true);
    page.assert_alone();
}
