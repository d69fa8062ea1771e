//! Wiring: reads the command line, runs the command, ends with the exit code.
//! Every line here hands something on; the deciding is done elsewhere.

mod plan;
mod prune;
mod settings;

use std::io::Write;

use clap::Parser;

use crate::cli::{Cli, Command, Format};
use crate::decide::Trust;
use crate::exit::{Exit, Fault};

pub(crate) use settings::{connect, policy, state_dir, warnings};

/// Runs the program.
pub fn main() -> Exit {
    let cli = Cli::parse();
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build();
    let done = match runtime {
        Ok(runtime) => runtime.block_on(dispatch(&cli)),
        Err(error) => Err(Fault::new(Exit::State, format!("cannot start: {error}"))),
    };
    done.unwrap_or_else(|fault| {
        log(&format!("error: {}", fault.message));
        fault.exit
    })
}

async fn dispatch(cli: &Cli) -> Result<Exit, Fault> {
    match &cli.command {
        Command::Plan(args) => plan::plan(&cli.global, args).await,
        Command::Prune(args) => Box::pin(prune::prune(&cli.global, args)).await,
        Command::VerifyCache(args) => {
            Box::pin(crate::verify_cache::run::verify_cache(&cli.global, args)).await
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

/// The report. A reader that went away (`| head`) is no error.
pub(crate) fn say(report: &str, format: Format) -> Result<(), Fault> {
    let written = match format {
        Format::Text => anstream::stdout().write_all(report.as_bytes()),
        Format::Json => std::io::stdout().write_all(report.as_bytes()),
    };
    match written {
        Err(error) if error.kind() != std::io::ErrorKind::BrokenPipe => Err(Fault::new(
            Exit::State,
            format!("cannot write the report: {error}"),
        )),
        _ => Ok(()),
    }
}

pub(crate) fn log(line: &str) {
    // Nobody is left to tell if stderr is gone.
    let _ = writeln!(anstream::stderr(), "secateur: {line}");
}
