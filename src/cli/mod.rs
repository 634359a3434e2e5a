//! The command line: one file a subcommand, what they share in `common`. It connects; it does not compute.
#![allow(clippy::print_stdout)] // the only room that prints

mod bar;
mod check;
mod common;
mod compat;
mod connect;
mod decode;
mod dump;
mod exit;
mod generate;
mod position;
mod restore;
mod split;

use clap::{Parser, Subcommand};
use std::process::ExitCode;

/// Look into Redis and Valkey RDB and append-only files, and turn them into what any server takes in
///
/// Reads RDB files of every version, Redis 1 to 15 and Valkey 80, and append-only files and directories, plain or compressed with gzip or zstd,
/// from files or a pipe, and the JSON lines it writes itself. Results go
/// to standard output or to the file of -o; everything else goes to standard error.
#[derive(Debug, Parser)]
#[command(
    name = "rdbtool",
    version,
    max_term_width = 100,
    propagate_version = true
)]
#[command(after_long_help = EXAMPLES, disable_help_subcommand = true)]
pub(crate) struct Cli {
    #[command(subcommand)]
    command: Command,
}

const EXAMPLES: &str = "\
Examples:
  rdbtool decode dump.rdb > out.json
  rdbtool decode --type hash --key 'user:*' dump.rdb | jq -c .value
  rdbtool restore --for redis-6.2 dump.rdb | redis-cli --pipe
  rdbtool dump dump.rdb > appendonly.aof
  rdbtool dump --format rdb --key 'user:*' -o users.rdb dump.rdb
  rdbtool split dump.rdb --nodes 3 -o seed
  rdbtool check backup/*.rdb.gz

Exit status:
  0  done
  1  failed: what was wrong is on standard error, and everything before it has been written
  2  wrong usage
  3  done, but something was left out, and named";

#[derive(Debug, Subcommand)]
#[allow(clippy::large_enum_variant)] // there is one of it
enum Command {
    Decode(decode::Args),
    Restore(restore::Args),
    Dump(dump::Args),
    Split(split::Args),
    Check(check::Args),
    Completions(generate::Completions),
    Man(generate::Man),
}

/// Runs what the arguments ask for.
pub(crate) fn main() -> ExitCode {
    let cli = match Cli::try_parse() {
        Ok(cli) => cli,
        Err(e) => {
            // Help asked for is data, and a pipe that closes on it is no failure.
            let _ = e.print();
            return exit::usage(&e);
        }
    };
    exit::status(match cli.command {
        Command::Decode(args) => decode::run(args),
        Command::Restore(args) => restore::run(args),
        Command::Dump(args) => dump::run(args),
        Command::Split(args) => split::run(args),
        Command::Check(args) => check::run(args),
        Command::Completions(args) => generate::completions(&args),
        Command::Man(args) => generate::man(&args),
    })
}
