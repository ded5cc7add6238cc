//! What README and `docs/` say holds: their commands run, their recipes parse, their links lead
//! somewhere, and the book has all pages.

use std::{
    collections::BTreeSet,
    fs,
    io::{BufRead, BufReader},
    path::{Path, PathBuf},
    process::{Command, Stdio},
    sync::{Mutex, OnceLock},
    thread,
};

use emberlens::config;

use crate::support::{Place, Ran, root};

/// Pages whose commands aren't run here: the first measures for minutes, on images that nobody has;
/// the second is generated.
const NOT_RUN: [&str; 2] = ["docs/benchmarks.md", "docs/commands.md"];

/// What needs the network.
const FETCHES: &str = "emberlens weights fetch";

/// What goes on until it is stopped.
const SERVES: &str = "emberlens serve";

/// README, the other papers beside it, and all pages below `docs/`.
fn papers() -> Vec<PathBuf> {
    let mut folders = vec![root().join("docs")];
    let mut found: Vec<_> = markdown_in(root());
    while let Some(folder) = folders.pop() {
        found.extend(markdown_in(&folder));
        let entries = fs::read_dir(folder).expect("listed");
        folders.extend(
            entries
                .map(|entry| entry.expect("read").path())
                .filter(|path| path.is_dir()),
        );
    }
    found.sort();
    assert!(found.len() > 30, "{} pages", found.len());
    found
}

fn markdown_in(folder: &Path) -> Vec<PathBuf> {
    fs::read_dir(folder)
        .expect("listed")
        .map(|entry| entry.expect("read").path())
        .filter(|path| path.extension().is_some_and(|ending| ending == "md"))
        .collect()
}

fn name(path: &Path) -> String {
    let inside = path.strip_prefix(root()).expect("inside");
    inside.display().to_string()
}

/// A block of code: its language, empty for an indented one, and its lines.
struct Block {
    language: String,
    lines: Vec<String>,
}

/// Splits a page into its prose and its blocks of code. In lists, paragraphs are indented by less
/// than code is.
fn parts(text: &str) -> (Vec<&str>, Vec<Block>) {
    let (mut prose, mut blocks) = (Vec::new(), Vec::<Block>::new());
    let (mut is_fenced, mut was_code) = (false, false);
    for line in text.lines() {
        if let Some(language) = line.trim_start().strip_prefix("```") {
            is_fenced = !is_fenced;
            if is_fenced {
                blocks.push(Block {
                    language: language.to_owned(),
                    lines: Vec::new(),
                });
            }
            was_code = false;
            continue;
        }
        let code = if is_fenced {
            Some(line)
        } else {
            line.strip_prefix("    ")
        };
        let Some(code) = code else {
            prose.push(line);
            was_code = false;
            continue;
        };
        if !is_fenced && !was_code {
            blocks.push(Block {
                language: String::new(),
                lines: Vec::new(),
            });
        }
        let block = blocks.last_mut().expect("one is open");
        block.lines.push(code.to_owned());
        was_code = true;
    }
    (prose, blocks)
}

/// The calls of the program in a page, a line each. After `$`, other lines are what it printed.
fn commands(text: &str) -> Vec<String> {
    let mut found = Vec::new();
    for block in parts(text).1 {
        let text = block.lines.join("\n").replace("\\\n", " ");
        let is_session = text.lines().any(|line| line.starts_with("$ "));
        for line in text.lines() {
            let line = match line.strip_prefix("$ ") {
                Some(line) => line,
                None if is_session => continue,
                None => line,
            };
            if line.starts_with("emberlens ") {
                let line = line.split(" #").next().expect("a first part");
                found.push(line.trim().to_owned());
            }
        }
    }
    found
}

/// Copies the first images of a class.
fn copy_images(from: &Path, to: &Path, count: usize) {
    fs::create_dir_all(to).expect("created");
    for index in 0..count {
        let name = format!("{index:03}.png");
        fs::copy(from.join(&name), to.join(&name)).expect("copied");
    }
}

fn copy(from: &Path, to: &Path) {
    fs::create_dir_all(to).expect("created");
    for entry in fs::read_dir(from).expect("listed") {
        let path = entry.expect("read").path();
        let target = to.join(path.file_name().expect("a name"));
        if path.is_dir() {
            copy(&path, &target);
        } else {
            fs::copy(&path, &target).expect("copied");
        }
    }
}

/// What the pages take for granted: `IMAGES` and its run, ants and bees, new images. All are made
/// of the phantom set, which the program draws.
fn prepared() -> &'static Place {
    static PREPARED: OnceLock<Place> = OnceLock::new();
    PREPARED.get_or_init(|| {
        let place = Place::new();
        place.done("demo --out drawn --set train.epochs=1");
        let drawn = |part: &str, class: &str| {
            place.path(&format!("datasets/phantom/{part}/{class}_lesion"))
        };
        for (class, of) in [
            ("glioma", "diffuse"),
            ("meningioma", "midline"),
            ("no_tumor", "no"),
            ("pituitary", "skull"),
        ] {
            for part in ["train", "test"] {
                copy(
                    &drawn(part, of),
                    &place.path(&format!("IMAGES/{part}/{class}")),
                );
            }
        }
        for (class, of) in [("ants", "no"), ("bees", "skull")] {
            let folder = place.path(&format!("hymenoptera_data/train/{class}"));
            copy_images(&drawn("train", of), &folder, 60);
            let folder = place.path(&format!("hymenoptera_data/val/{class}"));
            copy_images(&drawn("test", of), &folder, 40);
        }
        fs::create_dir(place.path("new")).expect("created");
        for index in 0..3 {
            let image = drawn("test", "no").join(format!("{index:03}.png"));
            let image = image::open(image).expect("an image");
            let saved = image
                .to_rgb8()
                .save(place.path(&format!("new/{index}.jpg")));
            saved.expect("saved");
        }
        let scanned = ["glioma", "no_tumor"].iter().flat_map(|class| {
            let row = move |index| {
                let scanner = if index % 2 == 0 { "A" } else { "B" };
                format!("IMAGES/test/{class}/{index:03}.png,{class},{scanner}\n")
            };
            (0..10).map(row)
        });
        let rows: String = scanned.collect();
        place.write("hospital.csv", &format!("path,label,scanner\n{rows}"));
        for folder in ["drawn", "datasets"] {
            fs::remove_dir_all(place.path(folder)).expect("removed");
        }
        place.done("train IMAGES --out RUN --set train.epochs=1");
        for (page, name) in IMPORTED {
            place.write(&format!("{name}.py"), &block(page, "python"));
        }
        let model = root().join("tests/keras/binary.keras");
        fs::copy(model, place.path("model.keras")).expect("copied");
        for run in ["OTHER", "checkpoints/flowers"] {
            copy(&place.path("RUN"), &place.path(run));
        }
        place
    })
}

/// Pages that show what `import` makes of a script, and its name there.
const IMPORTED: [(&str, &str); 2] = [
    ("docs/coming-from-keras.md", "notebook"),
    ("docs/coming-from-pytorch.md", "loop"),
];

/// The first block of a language in a page.
fn block(page: &str, language: &str) -> String {
    let text = fs::read_to_string(root().join(page)).expect("the page");
    let blocks = parts(&text).1;
    let block = blocks
        .iter()
        .find(|block| block.language == language)
        .expect("one");
    block.lines.join("\n") + "\n"
}

#[test]
fn pages_show_what_import_makes_of_a_script() {
    for (page, name) in IMPORTED {
        let place = Place::new();
        place.write(&format!("{name}.py"), &block(page, "python"));
        let line = format!("import {name}.py --out {name}.toml");
        let ran = place.done(&*line);
        assert_eq!(
            block(page, "text"),
            format!("$ emberlens {line}\n{}", ran.out)
        );
        assert_eq!(block(page, "toml"), place.read(&format!("{name}.toml")));
    }
}

/// Returns the shell that runs a line.
fn shell(place: &Place, line: &str) -> Command {
    let program = Path::new(env!("CARGO_BIN_EXE_emberlens"));
    let folder = program.parent().expect("its folder").display();
    let search = std::env::var("PATH").unwrap_or_default();
    let mut shell = Command::new("sh");
    shell
        .args(["-c", line])
        .current_dir(place.path(""))
        .env("PATH", format!("{folder}:{search}"))
        .env("XDG_CACHE_HOME", place.path("cache"))
        .env_remove("EMBERLENS_WEIGHTS");
    shell
}

/// Runs a line that serves, and stops it when it does. Does nothing where there is no server.
fn serve(place: &Place, line: &str) {
    if !cfg!(all(unix, feature = "serve")) {
        return;
    }
    // The shell becomes the server, so that it has the process that is known.
    let mut child = shell(place, &format!("exec {line} --port 0"))
        .stderr(Stdio::piped())
        .spawn()
        .expect("the shell starts");
    let said = BufReader::new(child.stderr.take().expect("piped"));
    let serves = said
        .lines()
        .map_while(Result::ok)
        .any(|line| line.starts_with("Serving "));
    child.kill().expect("killed");
    child.wait().expect("ended");
    assert!(serves, "{line}");
}

/// Runs a line as a shell does. Training is cut short.
fn run(place: &Place, line: &str) -> Ran {
    let is_training = ["emberlens train ", "emberlens demo"]
        .iter()
        .any(|start| line.starts_with(start));
    let is_short = line.contains("--resume") || line.contains("--dry-run");
    let line = if is_training && !is_short {
        format!("{line} --set train.epochs=1")
    } else {
        line.to_owned()
    };
    let output = shell(place, &line).output();
    Ran::from(output.expect("the shell starts"))
}

#[test]
fn every_command_of_the_papers_runs() {
    let is_guide = |page: &PathBuf| {
        let file = name(page);
        let is_page = file == "README.md" || page.parent() == Some(&root().join("docs"));
        is_page && !NOT_RUN.contains(&file.as_str())
    };
    let pages = Mutex::new(papers().into_iter().filter(is_guide).collect::<Vec<_>>());
    let next = || pages.lock().expect("no panic while it is held").pop();
    // Two pages at once: this test takes longer than any other.
    let work = || std::iter::from_fn(next).map(|page| run_page(&page)).sum();
    let count: usize = thread::scope(|scope| {
        let workers = [scope.spawn(work), scope.spawn(work)];
        workers
            .map(|worker| worker.join().expect("the commands run"))
            .iter()
            .sum()
    });
    assert!(count > 40, "{count} commands");
}

/// Runs the commands of a page, and returns their number.
fn run_page(page: &Path) -> usize {
    let file = name(page);
    let text = fs::read_to_string(page).expect("the page");
    let lines = commands(&text);
    if lines.is_empty() {
        return 0;
    }
    let place = Place::new();
    copy(&prepared().path(""), &place.path(""));
    let mut count = 0;
    for line in lines.iter().filter(|line| !line.starts_with(FETCHES)) {
        if line.starts_with(SERVES) {
            serve(&place, line);
            continue;
        }
        let ran = run(&place, line);
        assert!(
            ran.code == Some(0),
            "{file}: {line}\n{}\n{}",
            ran.out,
            ran.err
        );
        count += 1;
    }
    count
}

#[test]
fn every_recipe_of_the_papers_parses() {
    let mut count = 0;
    for page in papers() {
        let text = fs::read_to_string(&page).expect("the page");
        for block in parts(&text).1 {
            if block.language != "toml" {
                continue;
            }
            let mut recipe = block.lines.join("\n");
            if !format!("\n{recipe}").contains("\nname = ") {
                recipe = format!("name = \"shown\"\n{recipe}");
            }
            if !recipe.contains("\ntrain = \"") {
                recipe = if recipe.contains("[data]") {
                    recipe.replace("[data]", "[data]\ntrain = \"IMAGES\"")
                } else {
                    format!("{recipe}\n[data]\ntrain = \"IMAGES\"\n")
                };
            }
            if let Err(error) = config::parse(&recipe, Path::new("shown.toml"), &[]) {
                panic!("{}: {error}\n{recipe}", name(&page));
            }
            count += 1;
        }
    }
    assert!(count > 15, "{count} recipes");
}

/// The anchor of a heading, as GitHub and mdBook make it.
fn anchor(heading: &str) -> String {
    let heading = heading.trim_start_matches('#').trim().to_lowercase();
    heading
        .chars()
        .filter(|letter| letter.is_alphanumeric() || " -_".contains(*letter))
        .map(|letter| if letter == ' ' { '-' } else { letter })
        .collect()
}

fn anchors(page: &Path) -> BTreeSet<String> {
    let text = fs::read_to_string(page).expect("the page");
    let (prose, _) = parts(&text);
    prose
        .iter()
        .filter(|line| line.starts_with('#'))
        .map(|line| anchor(line))
        .collect()
}

/// The targets of the links in a page.
fn links(text: &str) -> Vec<String> {
    let pattern = regex_lite::Regex::new(r"\]\(([^)\s]+)\)").expect("a pattern");
    parts(text)
        .0
        .iter()
        .flat_map(|line| pattern.captures_iter(line))
        .map(|found| found[1].to_owned())
        .collect()
}

#[test]
fn every_link_of_the_papers_leads_somewhere() {
    let (mut faults, mut count) = (Vec::new(), 0);
    let book = root().join("docs");
    for page in papers() {
        let text = fs::read_to_string(&page).expect("the page");
        for link in links(&text) {
            if link.contains("://") {
                continue;
            }
            count += 1;
            let (file, part) = link.split_once('#').unwrap_or((&link, ""));
            let target = match file {
                "" => page.clone(),
                file => page.parent().expect("a folder").join(file),
            };
            let Ok(target) = target.canonicalize() else {
                faults.push(format!("{}: {link} isn't there", name(&page)));
                continue;
            };
            // The book holds nothing else.
            if page.starts_with(&book) && !target.starts_with(&book) {
                faults.push(format!("{}: {link} leads out of the book", name(&page)));
            }
            if !part.is_empty() && !anchors(&target).contains(part) {
                faults.push(format!("{}: {link}: no such heading", name(&page)));
            }
        }
    }
    assert!(faults.is_empty(), "{}", faults.join("\n"));
    assert!(count > 80, "{count} links");
}

#[test]
fn every_source_file_of_the_papers_is_there_with_what_they_say_of_it() {
    let rooms = ["src/", "crates/", "scripts/", "tests/", "python/"];
    let (mut faults, mut count) = (Vec::new(), 0);
    for page in papers() {
        // The changelog tells of files as they were.
        if name(&page) == "CHANGELOG.md" {
            continue;
        }
        let text = fs::read_to_string(&page).expect("the page");
        let mut before = [""; 2];
        for (at, piece) in text.split('`').enumerate() {
            let is_path = at % 2 == 1 && rooms.iter().any(|room| piece.starts_with(room));
            // A name in capitals stands for one that a reader chooses; a space, for a command.
            let is_one = !piece.contains(|letter: char| "*<{ ".contains(letter))
                && !piece.contains("/NAME.")
                && !piece.contains("/SECTION.");
            if is_path && is_one {
                count += 1;
                let source = fs::read_to_string(root().join(piece));
                // "`Item` in `file`".
                let item = before[1].trim() == "in" && !before[0].contains(['/', '.']);
                let item = before[0].rsplit("::").next().filter(|_| item);
                match (source, item) {
                    (Ok(source), Some(item)) if !source.contains(item) => {
                        faults.push(format!("{}: `{item}` isn't in {piece}", name(&page)));
                    }
                    (Err(_), _) if !root().join(piece).exists() => {
                        faults.push(format!("{}: {piece} isn't there", name(&page)));
                    }
                    _ => {}
                }
            }
            before = [before[1], piece];
        }
    }
    assert!(faults.is_empty(), "{}", faults.join("\n"));
    assert!(count > 100, "{count} files");
}

#[test]
fn every_page_is_in_the_book_and_every_image_on_a_page() {
    let book = root().join("docs");
    let summary = fs::read_to_string(book.join("SUMMARY.md")).expect("the summary");
    let listed: BTreeSet<_> = links(&summary).into_iter().collect();
    let mut used = BTreeSet::new();
    for page in papers() {
        let text = fs::read_to_string(&page).expect("the page");
        let folder = page.parent().expect("a folder");
        used.extend(
            links(&text)
                .iter()
                .filter_map(|link| folder.join(link).canonicalize().ok()),
        );
        if let Ok(inside) = page.strip_prefix(&book) {
            let inside = inside.display().to_string();
            assert!(
                inside == "SUMMARY.md" || listed.contains(&inside),
                "{inside} isn't in SUMMARY.md"
            );
        }
    }
    for folder in ["images", "augmentation"] {
        for entry in fs::read_dir(book.join(folder)).expect("listed") {
            let path = entry.expect("read").path().canonicalize().expect("there");
            assert!(used.contains(&path), "{} is on no page", path.display());
        }
    }
}
