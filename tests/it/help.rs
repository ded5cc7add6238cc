//! What `--help` says, at a fixed width: of the program, and of every subcommand that it names.

use std::collections::BTreeSet;

use crate::support::{Place, root};

/// The subcommands that a help text lists.
fn listed(help: &str) -> Vec<&str> {
    let Some((_, list)) = help.split_once("\nCommands:\n") else {
        return Vec::new();
    };
    list.lines()
        .take_while(|line| !line.is_empty())
        // What goes on with a description is further in.
        .filter(|line| line.starts_with("  ") && !line.starts_with("   "))
        .filter_map(|line| line.split_whitespace().next())
        .filter(|name| *name != "help")
        .collect()
}

#[test]
fn help_is_told_of_every_subcommand() {
    let place = Place::new();
    let mut seen = BTreeSet::new();
    let mut left = vec![vec!["emberlens".to_owned()]];
    while let Some(command) = left.pop() {
        let help = place
            .done(&format!("{} --help", command[1..].join(" ")))
            .out;
        left.extend(
            listed(&help)
                .into_iter()
                .map(|name| [command.clone(), vec![name.to_owned()]].concat()),
        );
        let name = command.join("-");
        insta::assert_snapshot!(name.clone(), help);
        seen.insert(format!("it__help__{name}.snap"));
    }
    let there: BTreeSet<String> = std::fs::read_dir(root().join("tests/it/snapshots"))
        .expect("listed")
        .map(|entry| entry.expect("read").file_name().display().to_string())
        .filter(|name| name.starts_with("it__help__") && name.ends_with(".snap"))
        .collect();
    assert_eq!(there, seen, "snapshots are of subcommands that there are");
}
