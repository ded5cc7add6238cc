//! A temporary folder with images in it and the program run inside.

use std::{
    fs,
    path::{Path, PathBuf},
    process::{Command, Output},
};

use serde_json::Value;

/// A folder that goes away with the test.
pub struct Place {
    folder: tempfile::TempDir,
}

/// What the program is called with: a list, a line that is split at its blanks, or such a line and
/// a last argument that has blanks of its own.
pub trait Arguments {
    fn words(&self) -> Vec<&str>;
}

impl Arguments for str {
    fn words(&self) -> Vec<&str> {
        self.split_whitespace().collect()
    }
}

impl Arguments for String {
    fn words(&self) -> Vec<&str> {
        self.as_str().words()
    }
}

impl Arguments for [&str] {
    fn words(&self) -> Vec<&str> {
        self.to_vec()
    }
}

impl<const COUNT: usize> Arguments for [&str; COUNT] {
    fn words(&self) -> Vec<&str> {
        self.to_vec()
    }
}

impl Arguments for (&str, &str) {
    fn words(&self) -> Vec<&str> {
        self.0.split_whitespace().chain([self.1]).collect()
    }
}

impl Arguments for Vec<&str> {
    fn words(&self) -> Vec<&str> {
        self.clone()
    }
}

/// EXIF data for a JPEG, behind its first two bytes: to be shown, it is turned to the right.
pub const ON_ITS_SIDE: &[u8] =
    b"\xFF\xE1\0\x22Exif\0\0MM\0\x2A\0\0\0\x08\0\x01\x01\x12\0\x03\0\0\0\x01\0\x06\0\0\0\0\0\0";

/// The end of a program.
pub struct Ran {
    pub code: Option<i32>,
    pub out: String,
    pub err: String,
}

impl Place {
    pub fn new() -> Self {
        Self {
            folder: tempfile::tempdir().expect("a temporary folder"),
        }
    }

    /// Two classes of different size in `train/`, and [`Self::recipe`] for them.
    pub fn with_recipe(train: &str) -> Self {
        let place = Self::new();
        place.classes("train", &[17, 13]);
        place.recipe("", train);
        place
    }

    /// Of a run, the weights of best and last, and the history without its times.
    pub fn result(&self, run: &str) -> (Vec<u8>, Vec<u8>, Vec<String>) {
        let history = self.read(&format!("{run}/history.csv"));
        let without_seconds = history
            .lines()
            .map(|line| line.rsplit_once(',').expect("a last column").0.to_owned());
        let weights = |name: &str| self.bytes(&format!("{run}/{name}/model.safetensors"));
        (weights("best"), weights("last"), without_seconds.collect())
    }

    pub fn path(&self, relative: &str) -> PathBuf {
        self.folder.path().join(relative)
    }

    pub fn write(&self, relative: &str, content: &str) {
        let path = self.path(relative);
        fs::create_dir_all(path.parent().expect("inside")).expect("created");
        fs::write(path, content).expect("written");
    }

    pub fn read(&self, relative: &str) -> String {
        fs::read_to_string(self.path(relative))
            .unwrap_or_else(|error| panic!("{relative}: {error}"))
    }

    /// Replaces a part of a file, which has to be there.
    #[track_caller]
    pub fn replace(&self, relative: &str, old: &str, new: &str) {
        let text = self.read(relative);
        assert!(text.contains(old), "{old}: {text}");
        self.write(relative, &text.replace(old, new));
    }

    pub fn bytes(&self, relative: &str) -> Vec<u8> {
        fs::read(self.path(relative)).unwrap_or_else(|error| panic!("{relative}: {error}"))
    }

    /// `count` images of `class`, 26 wide and 22 high. Classes differ in where a bright block
    /// stands; each image has noise and a corner mark of its own.
    pub fn images(&self, folder: &str, class: usize, count: usize) {
        let folder = self.path(folder);
        fs::create_dir_all(&folder).expect("created");
        for index in 0..count {
            let mut state = (class * 1000 + index) as u32 + 1;
            let image = image::RgbImage::from_fn(26, 22, |x, y| {
                state = state.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
                let noise = (state >> 27) as u8;
                let (left, top) = (3 + 6 * (class as u32 % 3), 2 + 9 * (class as u32 / 3));
                let is_block = (left..left + 6).contains(&x) && (top..top + 6).contains(&y);
                let mark = if x < 2 && y == 0 { 90 } else { 0 };
                let level = if is_block { 180 } else { 40 };
                image::Rgb([level + noise + mark, level + noise / 2, 20 + noise])
            });
            image
                .save(folder.join(format!("{index:03}.png")))
                .expect("saved");
        }
    }

    /// Class folders `a`, `b`, ... with so many images each.
    pub fn classes(&self, folder: &str, counts: &[usize]) {
        for (class, count) in counts.iter().enumerate() {
            let name = char::from(b'a' + class as u8);
            self.images(&format!("{folder}/{name}"), class, *count);
        }
    }

    /// A small, quick recipe on `train/`, with more lines for any table: `[train]` and so on are
    /// open already.
    pub fn recipe(&self, data: &str, train: &str) {
        let text = format!(
            "name = \"small\"\ndevice = \"cpu\"\n[data]\ntrain = \"train\"\nimage_size = [20, 24]\n\
             {data}\n[augment]\nrotation_range = 10\nhorizontal_flip = false\n\
             width_shift_range = 0.05\n[model]\nchannels = [4, 8]\nhidden = 16\ndropout = 0.2\n\
             [train]\nbatch_size = 5\n{train}\n"
        );
        self.write("small.toml", &text);
    }

    pub fn command(&self, arguments: &(impl Arguments + ?Sized)) -> Command {
        let mut command = Command::new(env!("CARGO_BIN_EXE_emberlens"));
        command
            .current_dir(self.folder.path())
            .args(arguments.words())
            .env("XDG_CACHE_HOME", self.path("cache"))
            // What the program finds and how wide it writes must not depend on who runs the tests.
            .env_remove("EMBERLENS_WEIGHTS")
            .env("COLUMNS", "100");
        command
    }

    pub fn run(&self, arguments: &(impl Arguments + ?Sized)) -> Ran {
        self.command(arguments)
            .output()
            .map(Ran::from)
            .expect("the program starts")
    }

    /// A text for a snapshot, without the path of this folder.
    pub fn masked(&self, text: &str) -> String {
        text.replace(&self.folder.path().display().to_string(), "<folder>")
    }

    /// Runs and expects success.
    pub fn done(&self, arguments: &(impl Arguments + ?Sized)) -> Ran {
        let ran = self.run(arguments);
        assert_eq!(
            ran.code,
            Some(0),
            "{:?}\n{}\n{}",
            arguments.words(),
            ran.out,
            ran.err
        );
        ran
    }
}

impl Ran {
    /// Expects this exit code, and these words on stderr.
    #[track_caller]
    pub fn exits(&self, code: i32, words: &str) {
        assert_eq!(self.code, Some(code), "{words}: {}", self.err);
        self.tells(words);
    }

    /// Expects these words on stderr.
    #[track_caller]
    pub fn tells(&self, words: &str) {
        assert!(self.err.contains(words), "{words}: {}", self.err);
    }

    /// Expects these words on stdout.
    #[track_caller]
    pub fn prints(&self, words: &str) {
        assert!(self.out.contains(words), "{words}: {}", self.out);
    }

    /// What was printed, as JSON.
    pub fn json(&self) -> Value {
        json(&self.out)
    }
}

/// Runs Python, which must succeed, and returns what it printed.
pub fn python(place: &Place, arguments: &[&str]) -> String {
    let python = std::env::var("EMBERLENS_PYTHON").unwrap_or_else(|_| "python3".to_owned());
    let mut command = Command::new(&python);
    let ran = command.current_dir(place.path("")).args(arguments).output();
    let ran = ran.unwrap_or_else(|error| panic!("{python}: {error}"));
    let words = String::from_utf8_lossy(&ran.stderr);
    assert!(ran.status.success(), "{arguments:?}: {words}");
    String::from_utf8(ran.stdout).expect("text")
}

/// Parses JSON.
#[track_caller]
pub fn json(text: &str) -> Value {
    serde_json::from_str(text).unwrap_or_else(|error| panic!("{error}: {text:.300}"))
}

/// A text for a snapshot, without what is measured or may differ in its last digit on another
/// machine: numbers with a fraction are `N`, and tables are no wider than that.
pub fn masked_numbers(text: &str) -> String {
    let rules = [
        (r"(?m)^Steps waited for images .*\n", ""),
        (r"\b[0-9]+\.[0-9]+(e-?[0-9]+)?", "N"),
        (r"-{3,}", "---"),
        (r"\| +", "| "),
        (r" +\|", " |"),
    ];
    rules.iter().fold(text.to_owned(), |text, (rule, by)| {
        let rule = regex_lite::Regex::new(rule).expect("a pattern");
        rule.replace_all(&text, *by).into_owned()
    })
}

impl From<Output> for Ran {
    fn from(output: Output) -> Self {
        Self {
            code: output.status.code(),
            out: String::from_utf8_lossy(&output.stdout).into_owned(),
            err: String::from_utf8_lossy(&output.stderr).into_owned(),
        }
    }
}

/// The project's folder.
pub fn root() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR"))
}
