//! Hints for options and commands that other tools have and secateur does not.

use clap::builder::StyledStr;
use clap::error::{ContextKind, ContextValue};

const INSTEAD: &[(&[&str], &str)] = &[
    (
        &["--dry-run", "-n"],
        "secateur plan shows what prune would remove",
    ),
    (
        &["--force", "-f"],
        "nothing is forced; secateur plan --explain IMAGE says why it stays",
    ),
    (
        &["--yes", "-y"],
        "prune asks no question; secateur plan shows what it would remove",
    ),
    (
        &["--min-age", "--older-than", "--age", "--keep"],
        "age.min_age, keep.images of the policy; plan --policy FILE tries one",
    ),
    (&["--config", "-c"], "--policy FILE"),
    (
        &["restore", "save"],
        "secateur verify-cache --restore, secateur verify-cache --save",
    ),
    (
        &["--all", "-a"],
        "all that the policy lets go: [disk], [limits] (man secateur-policy)",
    ),
    (
        &["--filter", "--until", "--label"],
        "the policy: keep.images, keep.labels, age (man secateur-policy)",
    ),
    (&["--volumes"], "secateur removes images alone"),
    (
        &["help"],
        "secateur --help, secateur COMMAND --help, man secateur",
    ),
    (
        &["rmi", "rm", "remove"],
        "docker rmi NAME for one image, secateur prune for all unneeded ones",
    ),
    (
        &["ls", "list", "images", "status", "show", "df"],
        "secateur plan -v shows every image, and why it stays or goes",
    ),
    (
        &["gc", "clean", "cleanup", "system", "image"],
        "secateur prune removes unneeded images, secateur plan shows which",
    ),
    (
        &["verify", "check"],
        "secateur verify-cache: will the next deploy find its images?",
    ),
];

/// Adds a hint, if there is one.
pub(crate) fn with_hint(mut error: clap::Error) -> clap::Error {
    let kinds = [ContextKind::InvalidArg, ContextKind::InvalidSubcommand];
    let typed = kinds.iter().find_map(|kind| match error.get(*kind) {
        Some(ContextValue::String(text)) => Some(text.as_str()),
        _ => None,
    });
    let known = |(words, _): &&(&[&str], &str)| typed.is_some_and(|it| words.contains(&it));
    if let Some((_, hint)) = INSTEAD.iter().find(known) {
        // clap's guess by spelling would mislead.
        error.remove(ContextKind::SuggestedArg);
        error.remove(ContextKind::SuggestedSubcommand);
        let hint = ContextValue::StyledStrs(vec![StyledStr::from(*hint)]);
        error.insert(ContextKind::Suggested, hint);
    }
    error
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::cli::args::Cli;
    use clap::CommandFactory;

    #[test]
    fn what_other_tools_have_is_an_error_that_says_what_serves_instead() {
        for (typed, hint) in [
            ("prune --force", "secateur plan --explain IMAGE"),
            ("prune -f", "secateur plan --explain IMAGE"),
            ("prune --dry-run", "secateur plan shows"),
            ("prune --yes", "asks no question"),
            ("prune --min-age 1d", "plan --policy FILE"),
            ("plan --config x", "--policy FILE"),
            ("restore app:1", "verify-cache --restore"),
            ("prune -a", "[disk], [limits]"),
            ("prune --all", "[disk], [limits]"),
            ("plan --all", "[disk], [limits]"),
            ("prune --filter until=24h", "keep.labels"),
            ("prune --filter=until=24h", "keep.labels"),
            ("help", "secateur --help"),
            ("help prune", "secateur --help"),
            ("rmi app:1", "docker rmi NAME"),
            ("images", "secateur plan -v"),
            ("system prune", "secateur prune"),
        ] {
            let typed = std::iter::once("secateur").chain(typed.split(' '));
            let typed: Vec<&str> = typed.collect();
            let error = Cli::command().try_get_matches_from(&typed).unwrap_err();
            let error = with_hint(error);
            let said = error.to_string();
            let words: Vec<&str> = said.split_whitespace().collect();
            assert!(words.join(" ").contains(hint), "{typed:?}: {said}");
            assert!(!said.contains("a similar"), "{said}");
            assert!(said.lines().all(|line| line.len() <= 80), "{said}");
            assert_eq!(error.exit_code(), 2);
        }
    }

    #[test]
    fn no_hint_is_for_what_the_program_takes() {
        let command = Cli::command();
        let commands = std::iter::once(&command).chain(command.get_subcommands());
        for taken in commands {
            for (words, _) in INSTEAD {
                assert!(!words.contains(&taken.get_name()));
                let options = taken.get_arguments().filter_map(clap::Arg::get_long);
                for option in options {
                    assert!(!words.contains(&&*format!("--{option}")), "--{option}");
                }
            }
        }
    }
}
