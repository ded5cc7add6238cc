//! What the architecture says, held by a test: floors, module docs, sizes.

use std::{collections::BTreeMap, path::Path};

use crate::support::root;

/// Modules by floor, lowest first. A module uses lower floors only.
const FLOORS: [&[&str]; 9] = [
    &["base"],
    &["config", "record"],
    &["data", "augment", "metrics"],
    &["nn"],
    &["checkpoint"],
    &["train", "report"],
    &["explain", "inspect"],
    &["evaluation"],
    &["commands", "cli"],
];

fn sources() -> BTreeMap<String, String> {
    let mut found = BTreeMap::new();
    let mut folders = vec![root().join("src")];
    while let Some(folder) = folders.pop() {
        for entry in std::fs::read_dir(&folder).expect("listed") {
            let path = entry.expect("read").path();
            if path.is_dir() {
                folders.push(path);
            } else if path.extension().is_some_and(|ending| ending == "rs") {
                let name = path.strip_prefix(root().join("src")).expect("inside").display().to_string();
                found.insert(name, std::fs::read_to_string(&path).expect("read"));
            }
        }
    }
    assert!(found.len() > 40, "{} files", found.len());
    found
}

fn floor(module: &str) -> Option<usize> {
    FLOORS.iter().position(|floor| floor.contains(&module))
}

#[test]
fn a_module_uses_lower_floors_only() {
    for (file, text) in sources() {
        let module = Path::new(&file).iter().next().expect("a name").to_string_lossy().replace(".rs", "");
        let Some(own) = floor(&module) else { continue };
        let code = text.split("#[cfg(test)]").next().unwrap_or_default();
        // `use crate::{a::..., b}` and `crate::a::...` alike.
        for other in FLOORS.iter().flat_map(|floor| floor.iter()) {
            let grouped = code.split("use crate::{").nth(1).and_then(|rest| rest.split("};").next()).unwrap_or_default();
            let is_used =
                code.contains(&format!("crate::{other}")) || grouped.lines().any(|line| line.trim().starts_with(&format!("{other}::")));
            // Arguments and the exit code share the top floor; a recipe's metrics are what a record is made of.
            let is_neighbour = ["commands", "cli"].contains(other) && own == 8 || module == "record" && *other == "config";
            let allowed = *other == module || is_neighbour || floor(other).is_some_and(|floor| floor < own);
            assert!(!is_used || allowed, "{file} uses {other}, which isn't below it");
        }
    }
}

#[test]
fn each_file_says_what_it_is_for_and_stays_small() {
    for (file, text) in sources() {
        assert!(text.starts_with("//! "), "{file} has no module doc");
        let code = text.split("#[cfg(test)]").next().unwrap_or_default().lines().count();
        assert!(code <= 400, "{file} has {code} lines without its tests");
    }
}
