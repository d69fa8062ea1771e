//! Wiring: reads the command line, runs the command, ends with the exit code.
//! Every line here hands something on; the deciding is done elsewhere.

mod output;
mod plan;
mod progress;
mod prune;
mod reviewed;
mod settings;
mod state_folder;
mod unmatched;
mod verify_cache;

use crate::cli::{Cli, Command};
use crate::decide::Trust;
use crate::exit::{Exit, Fault};

pub(crate) use output::{Began, log, patient, tell, write_metrics};
pub(crate) use settings::{
    connect, own_record, policy, policy_of_any_host, removal_warnings, state_dir, warnings,
};

/// Runs the program.
pub fn main() -> Exit {
    let cli = Cli::read();
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build();
    let done = match runtime {
        Ok(runtime) => runtime.block_on(dispatch(&cli)),
        Err(error) => Err(Fault::new(Exit::State, format!("cannot start: {error}"))),
    };
    done.unwrap_or_else(|fault| {
        output::fault(&fault, cli.command.name());
        fault.exit
    })
}

async fn dispatch(cli: &Cli) -> Result<Exit, Fault> {
    match &cli.command {
        Command::Plan(args) => Box::pin(plan::plan(&cli.global, args)).await,
        Command::Prune(args) => Box::pin(prune::prune(&cli.global, args)).await,
        Command::VerifyCache(args) => {
            Box::pin(crate::commands::verify_cache::verify_cache(
                &cli.global,
                args,
            ))
            .await
        }
    }
}

fn trust(engine_dates: bool) -> Trust {
    if engine_dates {
        Trust::EngineDates
    } else {
        Trust::OwnMemory
    }
}
