//! Arguments in, one subcommand run, its result to an exit status.

mod cli;

fn main() -> std::process::ExitCode {
    cli::main()
}
