//! Hands the command line over.

use std::process::ExitCode;

fn main() -> ExitCode {
    keygate::cli::run(std::env::args_os())
}
