//! Checks the rules of ARCHITECTURE.md and CONTRIBUTING.md, for the program and for each crate:
//! floors, rooms without circles, module docs, sizes of files, folders and lines, and words.

use std::{
    collections::{BTreeMap, BTreeSet},
    path::Path,
};

use syn::{
    Attribute, Item, ItemMod, ItemUse, UseTree,
    visit::{self, Visit},
};

use crate::support::root;

/// Modules by floor, lowest first. A module uses lower floors only.
const FLOORS: [&[&str]; 11] = [
    &["base"],
    &["architecture", "augment", "ranks"],
    &["config"],
    &["record", "data", "metrics"],
    &["nn"],
    &["checkpoint"],
    &["train", "report", "export"],
    &["explain", "inspect", "import"],
    &["evaluation"],
    &["serve"],
    &["commands", "cli"],
];

/// Most files of a folder, its `mod.rs` not counted.
const MOST_FILES: usize = 12;

/// Most lines of a file, its tests not counted.
const MOST_LINES: usize = 400;

/// Most characters of a line.
const MOST_COLUMNS: usize = 100;

/// The text of each Rust file below a folder of the project, by its path there. What a build left
/// is passed over.
fn rust_files(top: &str) -> BTreeMap<String, String> {
    let top = root().join(top);
    let mut found = BTreeMap::new();
    let mut folders = vec![top.clone()];
    while let Some(folder) = folders.pop() {
        for entry in std::fs::read_dir(&folder).expect("listed") {
            let path = entry.expect("read").path();
            if path.ends_with("target") {
                continue;
            }
            if path.is_dir() {
                folders.push(path);
            } else if path.extension().is_some_and(|ending| ending == "rs") {
                let name = path.strip_prefix(&top).expect("inside").display();
                let text = std::fs::read_to_string(&path).expect("read");
                found.insert(name.to_string(), text);
            }
        }
    }
    found
}

/// The folders of sources: the program's, and each crate's.
fn source_folders() -> Vec<String> {
    let entries = std::fs::read_dir(root().join("crates")).expect("listed");
    let mut folders: Vec<String> = entries
        .map(|entry| format!("crates/{}/src", entry.expect("read").file_name().display()))
        .filter(|folder| root().join(folder).is_dir())
        .collect();
    assert!(folders.len() > 8, "{} crates", folders.len());
    folders.push("src".to_owned());
    folders.sort();
    folders
}

/// The text of each source file by its path below one of [`source_folders`].
fn sources(top: &str) -> BTreeMap<String, String> {
    let found = rust_files(top);
    let fewest = if top == "src" { 100 } else { 1 };
    assert!(found.len() >= fewest, "{} files in {top}", found.len());
    found
}

/// `data/listing/mod.rs` is `["data", "listing"]`.
fn module_of(file: &str) -> Vec<String> {
    let mut parts: Vec<String> = file
        .trim_end_matches(".rs")
        .split('/')
        .map(str::to_owned)
        .collect();
    if parts
        .last()
        .is_some_and(|last| ["mod", "lib", "main"].contains(&last.as_str()))
    {
        parts.pop();
    }
    parts
}

fn is_test(attributes: &[Attribute]) -> bool {
    attributes.iter().any(|attribute| {
        attribute.path().is_ident("cfg")
            && attribute
                .parse_args::<syn::Ident>()
                .is_ok_and(|condition| condition == "test")
    })
}

/// What the code of a file names outside of its tests, as paths from the crate's root.
struct Names {
    /// The module of the file, then inner ones.
    module: Vec<String>,
    used: BTreeSet<Vec<String>>,
    /// What `pub use` calls by another path: the name here, and where it is.
    reexported: Vec<(Vec<String>, Vec<String>)>,
}

impl Names {
    /// A path as it is written, from the crate's root; `None` outside the crate.
    fn absolute(&self, path: &[String]) -> Option<Vec<String>> {
        let mut base = self.module.clone();
        let mut rest = path;
        match path.first()?.as_str() {
            "crate" => {
                base.clear();
                rest = &rest[1..];
            }
            "self" => rest = &rest[1..],
            "super" => {}
            _ => return None,
        }
        while rest.first().is_some_and(|part| part == "super") {
            base.pop()?;
            rest = &rest[1..];
        }
        base.extend(rest.iter().cloned());
        Some(base)
    }

    fn add_use(&mut self, tree: &UseTree, path: &mut Vec<String>, is_public: bool) {
        match tree {
            UseTree::Path(next) => {
                path.push(next.ident.to_string());
                self.add_use(&next.tree, path, is_public);
                path.pop();
            }
            UseTree::Group(group) => group
                .items
                .iter()
                .for_each(|tree| self.add_use(tree, path, is_public)),
            UseTree::Glob(_) => self.add(path, None, is_public),
            UseTree::Name(name) if name.ident == "self" => self.add(path, None, is_public),
            UseTree::Name(name) => {
                let name = name.ident.to_string();
                path.push(name.clone());
                self.add(path, Some(&name), is_public);
                path.pop();
            }
            UseTree::Rename(rename) => {
                path.push(rename.ident.to_string());
                self.add(path, Some(&rename.rename.to_string()), is_public);
                path.pop();
            }
        }
    }

    fn add(&mut self, path: &[String], name: Option<&str>, is_public: bool) {
        // Within `mod.rs`, `use child::X` names a module of its own.
        let written: Vec<String> = match path.first().map(String::as_str) {
            Some("crate" | "self" | "super") | None => path.to_vec(),
            Some(_) => std::iter::once("self".to_owned())
                .chain(path.iter().cloned())
                .collect(),
        };
        let Some(absolute) = self.absolute(&written) else {
            return;
        };
        match name {
            Some(name) if is_public => {
                let here = self
                    .module
                    .iter()
                    .cloned()
                    .chain([name.to_owned()])
                    .collect();
                self.reexported.push((here, absolute));
            }
            _ => _ = self.used.insert(absolute),
        }
    }
}

impl<'ast> Visit<'ast> for Names {
    fn visit_item(&mut self, item: &'ast Item) {
        let attributes = match item {
            Item::Mod(item) => &item.attrs,
            Item::Fn(item) => &item.attrs,
            Item::Use(item) => &item.attrs,
            Item::Impl(item) => &item.attrs,
            Item::Const(item) => &item.attrs,
            Item::Struct(item) => &item.attrs,
            _ => return visit::visit_item(self, item),
        };
        if !is_test(attributes) {
            visit::visit_item(self, item);
        }
    }

    fn visit_item_mod(&mut self, item: &'ast ItemMod) {
        self.module.push(item.ident.to_string());
        visit::visit_item_mod(self, item);
        self.module.pop();
    }

    fn visit_item_use(&mut self, item: &'ast ItemUse) {
        let is_public = !matches!(item.vis, syn::Visibility::Inherited);
        self.add_use(&item.tree, &mut Vec::new(), is_public);
    }

    /// `pub(super)` uses nothing.
    fn visit_visibility(&mut self, _: &'ast syn::Visibility) {}

    fn visit_path(&mut self, path: &'ast syn::Path) {
        let parts: Vec<String> = path
            .segments
            .iter()
            .map(|segment| segment.ident.to_string())
            .collect();
        if let Some(absolute) = self.absolute(&parts) {
            self.used.insert(absolute);
        }
        visit::visit_path(self, path);
    }
}

/// Which files each file uses, by their modules. A name that a `mod.rs` re-exports counts where it
/// comes from. The module of a crate's `lib.rs` has no name; the program's two roots, of which no
/// module uses anything, are left out.
fn imports(top: &str) -> BTreeMap<Vec<String>, BTreeSet<Vec<String>>> {
    let mut names = BTreeMap::new();
    for (file, text) in sources(top) {
        let module = module_of(&file);
        let is_list = module.is_empty() && top == "src";
        if is_list || file.ends_with("tests.rs") {
            continue;
        }
        let mut found = Names {
            module: module.clone(),
            used: BTreeSet::new(),
            reexported: Vec::new(),
        };
        found.visit_file(&syn::parse_file(&text).expect("Rust"));
        names.insert(module, found);
    }
    let reexported: BTreeMap<_, _> = names
        .values()
        .flat_map(|found| found.reexported.clone())
        .collect();
    let file_of = |path: &[String]| {
        let mut path = path.to_vec();
        // As often as a name can be handed on.
        for _ in 0..8 {
            let longer = (1..=path.len())
                .find_map(|length| Some((length, reexported.get(&path[..length])?)));
            let Some((length, target)) = longer else {
                break;
            };
            path = target.iter().chain(&path[length..]).cloned().collect();
        }
        (0..=path.len())
            .rev()
            .map(|length| path[..length].to_vec())
            .find(|module| names.contains_key(module))
    };
    let used = |module: &Vec<String>, found: &Names| {
        found
            .used
            .iter()
            .filter_map(|path| file_of(path))
            .filter(|file| file != module)
            .collect()
    };
    names
        .iter()
        .map(|(module, found)| (module.clone(), used(module, found)))
        .collect()
}

/// A way from `start` back to itself, if there is one.
fn circle<T: Clone + Ord>(graph: &BTreeMap<T, BTreeSet<T>>, start: &T) -> Option<Vec<T>> {
    let mut seen = BTreeSet::new();
    let mut ways: Vec<Vec<T>> = vec![vec![start.clone()]];
    while let Some(way) = ways.pop() {
        for next in graph.get(way.last()?).into_iter().flatten() {
            if next == start {
                return Some(way);
            }
            if seen.insert(next.clone()) {
                ways.push(way.iter().cloned().chain([next.clone()]).collect());
            }
        }
    }
    None
}

#[test]
fn a_module_uses_lower_floors_only() {
    let floor = |module: &str| FLOORS.iter().position(|floor| floor.contains(&module));
    for (module, used) in imports("src") {
        let own = floor(&module[0]).unwrap_or_else(|| panic!("{} has no floor", module[0]));
        for other in used.iter().filter(|other| other[0] != module[0]) {
            let other_floor = floor(&other[0]).expect("every module has a floor");
            // Arguments and subcommands share the top floor.
            let allowed = other_floor < own || module[0] == "cli" && other[0] == "commands";
            assert!(
                allowed,
                "{} uses {}, which isn't below it",
                module.join("::"),
                other.join("::")
            );
        }
    }
}

#[test]
fn no_file_uses_itself_by_a_circle() {
    let name = |module: &Vec<String>| format!("crate::{}", module.join("::"));
    for top in source_folders() {
        let graph = imports(&top);
        for module in graph.keys() {
            if let Some(way) = circle(&graph, module) {
                let way: Vec<_> = way.iter().map(name).collect();
                let way = way.join(" -> ");
                panic!("a circle of imports in {top}: {way} -> {}", name(module));
            }
        }
    }
}

/// Files and folders side by side have an order: none uses another that uses it, through whatever
/// lies in them.
#[test]
fn rooms_side_by_side_have_an_order() {
    for top in source_folders() {
        check_order(&top);
    }
}

fn check_order(top: &str) {
    let mut rooms: BTreeMap<Vec<String>, BTreeMap<String, BTreeSet<String>>> = BTreeMap::new();
    for (module, used) in imports(top) {
        for other in used {
            let shared = module
                .iter()
                .zip(&other)
                .take_while(|(a, b)| a == b)
                .count();
            if let (Some(own), Some(other)) = (module.get(shared), other.get(shared)) {
                rooms
                    .entry(module[..shared].to_vec())
                    .or_default()
                    .entry(own.clone())
                    .or_default()
                    .insert(other.clone());
            }
        }
    }
    for (folder, graph) in &rooms {
        for room in graph.keys() {
            if let Some(way) = circle(graph, room) {
                let folder = folder.join("/");
                panic!("in {top}/{folder}: {} -> {room}", way.join(" -> "));
            }
        }
    }
}

/// Where the tests of a file begin; its end if there are none.
fn tests_of(text: &str) -> usize {
    const TEST: &str = "\n#[cfg(test)]\n";
    let is_module = |at: &usize| {
        text[at + TEST.len()..]
            .lines()
            .next()
            .is_some_and(|line| line.ends_with("mod tests {"))
    };
    text.match_indices(TEST)
        .map(|(at, _)| at)
        .find(is_module)
        .unwrap_or(text.len())
}

#[test]
fn each_file_says_what_it_is_for_and_stays_small_and_no_folder_is_full() {
    let mut folders: BTreeMap<String, usize> = BTreeMap::new();
    let files = source_folders().into_iter().flat_map(|top| {
        let files = sources(&top).into_iter();
        files.map(move |(file, text)| (format!("{top}/{file}"), text))
    });
    for (file, text) in files {
        assert!(text.starts_with("//! "), "{file} has no module doc");
        let code = text[..tests_of(&text)].lines().count();
        assert!(
            code <= MOST_LINES,
            "{file} has {code} lines without its tests"
        );
        if !file.ends_with("mod.rs") && !file.ends_with("tests.rs") {
            let folder = Path::new(&file)
                .parent()
                .unwrap_or(Path::new(""))
                .display()
                .to_string();
            *folders.entry(folder).or_default() += 1;
        }
    }
    for (folder, count) in folders {
        assert!(
            count <= MOST_FILES,
            "{folder} has {count} files beside its mod.rs"
        );
    }
}

/// Clippy counts the lines of functions (`clippy.toml`) in crates that take the workspace's lints
/// over.
#[test]
fn every_crate_has_the_lints_of_the_workspace() {
    for top in source_folders() {
        let manifest = root().join(top).with_file_name("Cargo.toml");
        let text = std::fs::read_to_string(&manifest).expect("read");
        let has_lints = text.contains("\n[lints]\nworkspace = true\n");
        assert!(has_lints, "{} has lints of its own", manifest.display());
    }
}

/// Whether all of a line is one word that can't be broken: a literal or an address, which may be in
/// a comment.
fn is_unbreakable(line: &str) -> bool {
    let word = line.trim().trim_start_matches(['/', '!']).trim_start();
    let is_one = !word.contains(' ') && !word.contains("\\n");
    is_one && (word.starts_with('"') || word.contains("://"))
}

/// rustfmt leaves comments as they are, and an expression with a long literal in it too.
#[test]
fn no_line_is_longer_than_a_hundred_characters() {
    let mut long = Vec::new();
    for top in ["src", "crates", "tests", "benches"] {
        for (file, text) in rust_files(top) {
            for (index, line) in text.lines().enumerate() {
                let columns = line.chars().count();
                if columns > MOST_COLUMNS && !is_unbreakable(line) {
                    let number = index + 1;
                    long.push(format!("{top}/{file}:{number}: {columns} characters"));
                }
            }
        }
    }
    assert!(long.is_empty(), "{}", long.join("\n"));
}

/// Words that are not used, each with the word to use. A word also counts as part of a longer one
/// or of a name in the code, in any case.
const WORDS: [(&str, &str); 34] = [
    ("picture", "image"),
    ("colour", "color"),
    ("grey", "gray"),
    ("centre", "center"),
    ("centring", "centering"),
    ("neighbour", "neighbor"),
    ("behaviour", "behavior"),
    ("favour", "favor"),
    ("honour", "honor"),
    ("flavour", "flavor"),
    ("licence", "license"),
    ("artefact", "artifact"),
    ("catalogue", "catalog"),
    ("judgement", "judgment"),
    ("labelled", "labeled"),
    ("labelling", "labeling"),
    ("modelling", "modeling"),
    ("travelled", "traveled"),
    ("cancelled", "canceled"),
    ("whilst", "while"),
    ("optimise", "optimize"),
    ("optimisation", "optimization"),
    ("normalis", "normaliz"),
    ("standardis", "standardiz"),
    ("initialis", "initializ"),
    ("regularis", "regulariz"),
    ("recognis", "recogniz"),
    ("quantis", "quantiz"),
    ("serialis", "serializ"),
    ("summaris", "summariz"),
    ("visualis", "visualiz"),
    ("generalis", "generaliz"),
    ("synchronis", "synchroniz"),
    ("minimis", "minimiz"),
];

/// Where a word of [`WORDS`] is allowed: the end of the file's path, the word, and the reason.
const ALLOWED: [(&str, &str, &str); 9] = [
    ("tests/it/tidy.rs", "", "lists the words"),
    (
        "_typos.toml",
        "",
        "lets the list of words pass the spelling",
    ),
    ("CHANGELOG.md", "picture", "names what was renamed"),
    (
        "data/listing/csv/columns.rs",
        "picture",
        "a column that lists of other programs have",
    ),
    (
        "config/text/parse.rs",
        "colour",
        "a key mistyped on purpose",
    ),
    (
        "tests/it/messages.rs",
        "picture",
        "a value mistyped on purpose",
    ),
    (
        "jpeg-pixels/tests/golden.rs",
        "grey",
        "names in the golden file",
    ),
    (
        "tiff-pixels/tests/golden.rs",
        "grey",
        "names in the golden file",
    ),
    (
        "tiff-pixels/tests/golden.rs",
        "colour",
        "names in the golden file",
    ),
];

/// The text of each file with words in it, by its path in the project: sources, papers, recipes.
fn written_files() -> BTreeMap<String, String> {
    const ENDINGS: [&str; 4] = ["rs", "md", "toml", "json"];
    let has_words = |path: &Path| {
        path.extension()
            .is_some_and(|ending| ENDINGS.iter().any(|known| ending == *known))
    };
    let top = root();
    let mut files: Vec<_> = std::fs::read_dir(top)
        .expect("listed")
        .map(|entry| entry.expect("read").path())
        .filter(|path| path.is_file())
        .collect();
    let folders = ["src", "crates", "tests", "benches", "docs", "configs"];
    let mut folders: Vec<_> = folders.iter().map(|folder| top.join(folder)).collect();
    while let Some(folder) = folders.pop() {
        for entry in std::fs::read_dir(&folder).expect("listed") {
            let path = entry.expect("read").path();
            // Goldens are the words of other programs, and a build is nobody's.
            if path.ends_with("target") || path.ends_with("golden") {
                continue;
            }
            if path.is_dir() {
                folders.push(path);
            } else {
                files.push(path);
            }
        }
    }
    let found: BTreeMap<_, _> = files
        .iter()
        .filter(|path| has_words(path))
        .map(|path| {
            let name = path.strip_prefix(top).expect("inside").display();
            let text = std::fs::read_to_string(path).expect("read");
            (name.to_string(), text)
        })
        .collect();
    assert!(found.len() > 250, "{} files", found.len());
    found
}

#[test]
fn words_are_the_fields_and_american() {
    let mut faults = Vec::new();
    for (file, text) in written_files() {
        let is_allowed = |word: &str| {
            ALLOWED
                .iter()
                .any(|(path, allowed, _)| file.ends_with(path) && word.starts_with(allowed))
        };
        for (index, line) in text.lines().enumerate() {
            let line = line.to_lowercase();
            for (word, better) in WORDS {
                if line.contains(word) && !is_allowed(word) {
                    let number = index + 1;
                    faults.push(format!("{file}:{number}: {word}, write {better}"));
                }
            }
        }
    }
    assert!(faults.is_empty(), "{}", faults.join("\n"));
}

/// Exceptions that no file needs any more would hide new words.
#[test]
fn every_exception_for_a_word_is_needed() {
    let files = written_files();
    for (path, word, reason) in ALLOWED {
        let is_needed = files
            .iter()
            .any(|(file, text)| file.ends_with(path) && text.to_lowercase().contains(word));
        assert!(is_needed, "{path}: {word} ({reason})");
    }
}

/// The lines of a documentation comment before each item, joined, with the line it begins on.
fn doc_comments(text: &str) -> Vec<(usize, String)> {
    let mut found: Vec<(usize, String)> = Vec::new();
    let mut last = 0;
    for (index, line) in text.lines().enumerate() {
        let number = index + 1;
        let Some(words) = line.trim_start().strip_prefix("///") else {
            continue;
        };
        match found.last_mut() {
            Some((_, comment)) if last + 1 == number => *comment += words,
            _ => found.push((number, words.to_owned())),
        }
        last = number;
    }
    found
}

/// As in `std`, a comment says what something is or does.
#[test]
fn no_documentation_asks_a_question() {
    let mut faults = Vec::new();
    for top in ["src", "crates"] {
        for (file, text) in rust_files(top) {
            for (number, comment) in doc_comments(&text) {
                // Code between backticks may have a question mark in it.
                let prose: String = comment.split('`').step_by(2).collect();
                if prose.contains("? ") || prose.trim_end().ends_with('?') {
                    faults.push(format!("{top}/{file}:{number}:{comment}"));
                }
            }
        }
    }
    assert!(faults.is_empty(), "{}", faults.join("\n"));
}
