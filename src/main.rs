//! The program: parses the command line, runs, ends with the exit code.

use std::process::ExitCode;

fn main() -> ExitCode {
    secateur::commands::main().into()
}
