//! Hands the command line over.

use std::process::ExitCode;

/// Checks make many small, short-lived allocations on several threads.
#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

fn main() -> ExitCode {
    keygate::cli::run(std::env::args_os())
}
