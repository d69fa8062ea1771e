//! Reads the command line, runs the command, ends with the exit code.

use crate::cli;
use crate::cli::{Cli, Command};
use crate::commands::output;
use crate::commands::plan::plan;
use crate::commands::prune::prune;
use crate::commands::verify_cache::verify_cache;
use crate::exit::{Exit, Fault};

pub fn main() -> Exit {
    let cli = cli::read();
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build();
    let done = match runtime {
        Ok(runtime) => runtime.block_on(run(&cli)),
        Err(error) => Err(Fault::new(Exit::State, format!("cannot start: {error}"))),
    };
    done.unwrap_or_else(|fault| {
        output::fault(&fault, cli.command.name());
        fault.exit
    })
}

async fn run(cli: &Cli) -> Result<Exit, Fault> {
    match &cli.command {
        Command::Plan(args) => Box::pin(plan(&cli.global, args)).await,
        Command::Prune(args) => Box::pin(prune(&cli.global, args)).await,
        Command::VerifyCache(args) => Box::pin(verify_cache(&cli.global, args)).await,
    }
}
