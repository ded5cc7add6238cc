//! `emberlens recipes`: lists the recipes that come with the program, or prints one.

use clap::Parser;

use super::ui::{self, say};
use crate::{
    base::{usage::UsageError, words::did_you_mean},
    commands::common::exit_status::ExitStatus,
    config::RECIPES,
    report::text_table,
};

/// Arguments of `recipes`.
#[derive(Debug, Parser)]
pub struct Args {
    /// A recipe of the list, to print, as in `emberlens recipes phantom > phantom.toml`
    name: Option<String>,
}

/// Runs the command.
///
/// # Errors
/// Returns an error if there is no recipe of that name.
pub fn run(args: &Args) -> anyhow::Result<ExitStatus> {
    let Some(name) = &args.name else {
        let mut table = text_table::table(&["Recipe", "What it trains"]);
        for recipe in RECIPES {
            table.add_row([recipe.name.to_owned(), recipe.about()]);
        }
        ui::print(&format!("{table}\n"))?;
        say("To start from one: emberlens recipes NAME > NAME.toml");
        return Ok(ExitStatus::Done);
    };
    let recipe = RECIPES.iter().find(|recipe| recipe.name == name);
    let recipe = recipe.ok_or_else(|| {
        let meant = did_you_mean(name, RECIPES.map(|recipe| recipe.name));
        UsageError(format!(
            "there is no recipe `{name}`{meant}; `emberlens recipes` lists them"
        ))
    })?;
    ui::print(recipe.text)?;
    Ok(ExitStatus::Done)
}
