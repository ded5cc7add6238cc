//! `emberlens completions`: prints the script by which a shell completes the command line.

use clap::{Command, Parser};
use clap_complete::{Shell, generate};

use crate::commands::{common::exit_status::ExitStatus, ui};

/// Arguments of `completions`.
#[derive(Debug, Parser)]
#[command(
    after_help = "Write the script to where the shell looks for it, and open a new shell:\n\
                  bash:  emberlens completions bash > \
                  ~/.local/share/bash-completion/completions/emberlens\n\
                  fish:  emberlens completions fish > ~/.config/fish/completions/emberlens.fish\n\
                  zsh:   emberlens completions zsh > _emberlens, in a folder of $fpath"
)]
pub struct Args {
    /// The shell
    shell: Shell,
}

/// Runs the command for a command line, `program`.
///
/// # Errors
/// Returns an error if stdout can't be written.
pub fn run(args: &Args, mut program: Command) -> anyhow::Result<ExitStatus> {
    let mut script = Vec::new();
    generate(args.shell, &mut program, "emberlens", &mut script);
    ui::print(&String::from_utf8(script)?)?;
    Ok(ExitStatus::Done)
}
