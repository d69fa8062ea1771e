//! secateur(1): commands and options from clap, the rest from `words`.

use clap::{Arg, Command, CommandFactory};
use roff::{bold, italic, roman};

use crate::cli::args::Cli;
use crate::cli::manual::page::{Page, spans};
use crate::cli::manual::words::{
    DESCRIPTION, ENVIRONMENT, EXAMPLES, EXITS, FILES, FURTHER, meaning,
};

pub(super) fn page() -> String {
    let mut command = Cli::command();
    command.build();
    let about = command.get_about().map(ToString::to_string);
    let about = about.expect("the command says what it does");
    let mut page = Page::new("secateur", "1", &about.replacen('F', "f", 1));
    page.section("SYNOPSIS");
    for sub in command.get_subcommands() {
        synopsis(&mut page, sub);
    }
    page.section("DESCRIPTION");
    for text in DESCRIPTION {
        page.paragraph(text);
    }
    page.section("COMMANDS");
    for sub in command.get_subcommands() {
        page.subsection(sub.get_name());
        page.paragraph(&format!("{}.", sub.get_about().expect("an about")));
        let own = |arg: &&Arg| !arg.is_global_set() && arg.get_id() != "help";
        for arg in sub.get_arguments().filter(own) {
            option(&mut page, sub, arg);
        }
    }
    page.section("OPTIONS FOR EVERY COMMAND");
    for arg in command.get_arguments() {
        option(&mut page, &command, arg);
    }
    page.section("EXIT STATUS");
    for exit in EXITS {
        page.item(vec![bold((exit as u8).to_string())], meaning(exit));
    }
    page.paragraph(
        "`75` is no failure of a unit or a CI job; the others but `0` are. \
         `plan` ends with `0` also where a prune would be refused: it says so.",
    );
    page.section("ENVIRONMENT");
    for (name, text) in ENVIRONMENT {
        page.item(vec![bold(*name)], text);
    }
    page.section("FILES");
    for (name, text) in FILES {
        page.item(vec![italic(*name)], text);
    }
    page.section("EXAMPLES");
    for (text, lines) in EXAMPLES {
        page.paragraph(text);
        page.literal(lines.lines());
    }
    page.section("SEE ALSO");
    page.paragraph("`secateur-policy`(5), `docker-image-prune`(1), `flock`(1)");
    page.done()
}

fn synopsis(page: &mut Page, sub: &Command) {
    let mut line = vec![
        bold(format!("secateur {}", sub.get_name())),
        roman(" ["),
        italic("option"),
        roman(" ...]"),
    ];
    for arg in sub.get_positionals() {
        let name = arg.get_value_names().unwrap_or_default().join(" ");
        line.extend([roman(" ["), italic(name), roman(" ...]")]);
    }
    page.lines(line);
}

fn option(page: &mut Page, of: &Command, arg: &Arg) {
    let mut term = Vec::new();
    if let Some(short) = arg.get_short() {
        term.push(bold(format!("-{short}")));
    }
    if let Some(long) = arg.get_long() {
        if !term.is_empty() {
            term.push(roman(", "));
        }
        term.push(bold(format!("--{long}")));
    }
    let takes_value = arg.get_num_args().is_some_and(|n| n.takes_values());
    if takes_value {
        let names = arg.get_value_names().unwrap_or_default().join(" ");
        let space = if term.is_empty() { "" } else { " " };
        term.extend([roman(space), italic(names)]);
    }
    let help = arg.get_help().map(ToString::to_string).unwrap_or_default();
    page.item(term, &help);
    let name = (of.get_name(), arg.get_id().as_str());
    for (_, _, text) in FURTHER.iter().filter(|(of, arg, _)| (*of, *arg) == name) {
        page.further(spans(text));
    }
    let defaults: Vec<_> = arg.get_default_values().iter().collect();
    if let ([default], true) = (defaults.as_slice(), takes_value) {
        let default = default.to_string_lossy();
        page.further(vec![roman("Default: "), bold(default), roman(".")]);
    }
    let by_environment = match arg.get_env() {
        Some(name) => Some(name.to_string_lossy()),
        // Read by hand: an empty argument is an error, an empty variable none.
        None => (arg.get_id() == "policy").then_some("SECATEUR_POLICY".into()),
    };
    if let Some(name) = by_environment {
        page.further(vec![roman("Environment: "), bold(name), roman(".")]);
    }
}
