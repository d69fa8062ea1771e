//! Man pages, completions and the policy's schema, made from the command line's
//! own definition and from config/policy.toml, so that they say what the program
//! does. Only tests use this; what it makes are files of the repository. To make
//! them anew, and read the difference: UPDATE_MANUAL=1 cargo test --lib manual

mod page;
mod policy_page;
mod tests;

use clap::CommandFactory;
use clap_complete::Shell;

/// Every file that is made, with its path in the repository.
fn files() -> Vec<(&'static str, String)> {
    let schema = serde_json::to_string_pretty(&crate::policy::schema::schema());
    vec![
        ("docs/man/secateur.1", page::page()),
        ("docs/man/secateur-policy.5", policy_page::page()),
        ("config/completions/secateur.bash", completion(Shell::Bash)),
        ("config/completions/_secateur", completion(Shell::Zsh)),
        ("config/completions/secateur.fish", completion(Shell::Fish)),
        (
            "config/policy.schema.json",
            schema.expect("a schema is JSON") + "\n",
        ),
    ]
}

fn completion(shell: Shell) -> String {
    let mut written = Vec::new();
    let mut command = crate::cli::Cli::command();
    clap_complete::generate(shell, &mut command, "secateur", &mut written);
    String::from_utf8(written).expect("a completion is UTF-8")
}
