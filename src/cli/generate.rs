//! `rdbtool completions` and `rdbtool man`: from the same definitions as `--help`.

use super::Cli;
use super::exit::Outcome;
use anyhow::Context;
use clap::CommandFactory;
use clap_complete::Shell;
use std::io::Write;
use std::path::PathBuf;

/// Write completions for a shell to standard output
#[derive(Debug, clap::Args)]
#[command(after_long_help = "\
Examples:
  rdbtool completions bash > /etc/bash_completion.d/rdbtool
  rdbtool completions fish > ~/.config/fish/completions/rdbtool.fish
  rdbtool completions zsh > ~/.zfunc/_rdbtool")]
pub(crate) struct Completions {
    /// The shell
    shell: Shell,
}

pub(crate) fn completions(args: &Completions) -> anyhow::Result<Outcome> {
    let mut text = Vec::new();
    clap_complete::generate(args.shell, &mut Cli::command(), "rdbtool", &mut text);
    print(&text)
}

/// Write the man page to standard output, or one page a subcommand into a directory
#[derive(Debug, clap::Args)]
#[command(after_long_help = "\
Examples:
  rdbtool man | man -l -
  rdbtool man -o /usr/local/share/man/man1")]
pub(crate) struct Man {
    /// Write rdbtool.1, rdbtool-decode.1 and so on into DIR, which is made if need be
    #[arg(short, long, value_name = "DIR")]
    output: Option<PathBuf>,
}

pub(crate) fn man(args: &Man) -> anyhow::Result<Outcome> {
    match &args.output {
        Some(dir) => {
            std::fs::create_dir_all(dir)
                .and_then(|()| clap_mangen::generate_to(Cli::command(), dir))
                .with_context(|| format!("{}: cannot write the pages there", dir.display()))?;
            Ok(Outcome::Done)
        }
        None => {
            let mut text = Vec::new();
            clap_mangen::Man::new(Cli::command()).render(&mut text)?;
            print(&text)
        }
    }
}

fn print(text: &[u8]) -> anyhow::Result<Outcome> {
    let mut out = std::io::stdout();
    out.write_all(text)
        .and_then(|()| out.flush())
        .context("standard output: cannot write")?;
    Ok(Outcome::Done)
}
