//! Reads the command line.

use clap::builder::Resettable;
use clap::{Arg, ArgAction, Command, CommandFactory, FromArgMatches};

use crate::cli::args::Cli;
use crate::cli::hints::with_hint;

/// If the command line asks for help or is wrong, the program ends here.
pub fn read() -> Cli {
    let short = std::env::args_os().any(|arg| arg == "-h");
    let command = if short { brief() } else { Cli::command() };
    let typed = command.try_get_matches();
    let typed = typed.and_then(|matches| Cli::from_arg_matches(&matches));
    typed.unwrap_or_else(|error| with_hint(error).exit())
}

/// Options of verify-cache that `-h` leaves out.
const RARE: [&str; 7] = [
    "save",
    "from_registry",
    "archive",
    "follow",
    "strict",
    "user_config",
    "metrics",
];

/// The command line for `-h`: its help fits 24 lines. (clap's short help would make its
/// long one twice as long.)
pub(crate) fn brief() -> Command {
    fn of(command: Command) -> Command {
        let rare = command.get_name() == "verify-cache";
        let command = command
            .after_help(Resettable::Reset)
            .disable_help_flag(true)
            .arg(
                Arg::new("help")
                    .short('h')
                    .long("help")
                    .action(ArgAction::HelpShort)
                    .help("--help: every option, and examples")
                    .help_heading(None::<&str>),
            );
        if rare {
            let hidden = |command: Command, name| command.mut_arg(name, |arg| arg.hide(true));
            return RARE.into_iter().fold(command, hidden);
        }
        command
    }
    of(Cli::command()).mut_subcommands(of)
}
