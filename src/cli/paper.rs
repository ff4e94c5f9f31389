//! What is made from the commands' own descriptions: completions for shells, and the manual. Says nothing of commands
//! that are not available.

use std::{fs, io, path::PathBuf};

use clap::{Args, Command, Id};
use clap_complete::Shell;

use super::{Failure, output};

#[derive(Debug, Args)]
#[command(after_help = "\
Examples:
  keygate completions bash > /usr/share/bash-completion/completions/keygate
  keygate completions zsh > /usr/local/share/zsh/site-functions/_keygate
  keygate completions fish > ~/.config/fish/completions/keygate.fish")]
pub(super) struct Completions {
    /// The shell
    #[arg(value_parser = ["bash", "zsh", "fish"])]
    shell: String,
}

impl Completions {
    pub fn run(&self, command: &Command) {
        let shell = match self.shell.as_str() {
            "bash" => Shell::Bash,
            "zsh" => Shell::Zsh,
            _ => Shell::Fish,
        };
        let mut text = Vec::new();
        clap_complete::generate(shell, &mut available(command), "keygate", &mut text);
        output::say(&String::from_utf8_lossy(&text));
    }
}

#[derive(Debug, Args)]
#[command(after_help = "\
Examples:
  keygate man | man -l -
  keygate man --all /usr/local/share/man/man1")]
pub(super) struct Manual {
    /// Write it to this directory instead, with a page for each command
    #[arg(long, value_name = "DIR")]
    all: Option<PathBuf>,
}

impl Manual {
    pub fn run(self, command: &Command) -> Result<(), Failure> {
        let command = available(command);
        let made = match &self.all {
            Some(directory) => fs::create_dir_all(directory).and_then(|()| clap_mangen::generate_to(command, directory)),
            None => page(command).map(|text| output::say(&text)),
        };
        made.map_err(|error| {
            let place = self.all.unwrap_or_default();
            Failure::Usage(format!("the manual cannot be written to {}: {error}", place.display()))
        })
    }
}

fn page(command: Command) -> io::Result<String> {
    let mut text = Vec::new();
    clap_mangen::Man::new(command).render(&mut text)?;
    Ok(String::from_utf8_lossy(&text).into_owned())
}

/// The command without what is hidden: the generators do not look at that themselves.
fn available(command: &Command) -> Command {
    let arguments: Vec<_> = command.get_arguments().filter(|argument| !argument.is_hide_set()).collect();
    let is_shown = |id: &Id| arguments.iter().any(|argument| argument.get_id() == id);
    let mut shown = Command::new(command.get_name().to_owned())
        .groups(command.get_groups().filter(|group| group.get_args().all(is_shown)).cloned())
        .args(arguments.iter().copied().cloned())
        .subcommands(command.get_subcommands().filter(|below| !below.is_hide_set()).map(available))
        .disable_help_subcommand(true);
    if let Some(version) = command.get_version() {
        shown = shown.version(version.to_owned());
    }
    if let Some(about) = command.get_about() {
        shown = shown.about(about.clone());
    }
    if let Some(about) = command.get_long_about() {
        shown = shown.long_about(about.clone());
    }
    if let Some(after) = command.get_after_help() {
        shown = shown.after_help(after.clone());
    }
    shown
}
