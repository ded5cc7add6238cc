//! `emberlens man`: prints a man page of the program or of a subcommand.

use clap::{Command, Parser};
use clap_mangen::Man;

use crate::{
    base::usage::UsageError,
    commands::{common::exit_status::ExitStatus, ui},
};

/// Arguments of `man`.
#[derive(Debug, Parser)]
#[command(after_help = "To read one: emberlens man train | man -l -\n\
                  To install: emberlens man > ~/.local/share/man/man1/emberlens.1")]
pub struct Args {
    /// A subcommand, as in `emberlens man bench step`, instead of the whole program
    #[arg(value_name = "SUBCOMMAND")]
    path: Vec<String>,
}

/// Runs the command for a command line, `program`.
///
/// # Errors
/// Returns an error if there is no such subcommand, or if stdout can't be written.
pub fn run(args: &Args, mut program: Command) -> anyhow::Result<ExitStatus> {
    // Gives each subcommand its whole name, `emberlens-bench-step`.
    program.build();
    let mut command = &program;
    for name in &args.path {
        command = command.find_subcommand(name).ok_or_else(|| {
            UsageError(format!(
                "{} has no subcommand `{name}`; `{0} --help` lists them",
                command.get_bin_name().unwrap_or("emberlens")
            ))
        })?;
    }
    let mut page = Vec::new();
    // Subcommands have no version of their own.
    Man::new(command.clone())
        .source(concat!("emberlens ", env!("CARGO_PKG_VERSION")))
        .render(&mut page)?;
    ui::print(&String::from_utf8(page)?)?;
    Ok(ExitStatus::Done)
}
