//! Runs a credential helper, with a deadline. Its output is never shown: it may be a secret.

use std::path::Path;
use std::process::Stdio;
use std::time::Duration;

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::process::Command;

use crate::cache::credentials::config::key;
use crate::cache::credentials::fields::Fields;
use crate::cache::credentials::lookup::Lookup;
use crate::cache::credentials::search::Search;
use crate::host::process_group::ProcessGroup;
use crate::host::user;
use crate::model::secret::{Credentials, Secret};
use crate::model::text::escape_path;

/// A helper that asks a cloud for a token needs seconds; one that waits for a person to unlock a
/// key ring would never end.
const DEADLINE: Duration = Duration::from_secs(20);

const LONGEST_ANSWER: u64 = 1 << 20;

/// The config.json that names the helper.
pub struct ConfigFile<'a> {
    pub dir: &'a Path,
    /// Whether the folder was given by an option.
    pub named: bool,
    /// The uid of its owner.
    pub owner: u32,
}

/// Asks the helper `program` for a registry's credentials.
pub async fn ask(
    program: String,
    search: &Search,
    config: &ConfigFile<'_>,
    registry: &str,
) -> Lookup {
    let Some(place) = search.find(&program) else {
        return Lookup::HelperMissing(program, search.shown());
    };
    let mut command = match command(&program, search, config) {
        Ok(command) => command,
        Err(lookup) => return lookup,
    };
    let failed = |why: String| Lookup::HelperFailed(format!("{program} {why}"));
    command
        .arg("get")
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::null())
        .kill_on_drop(true);
    let mut child = match command.spawn() {
        Ok(child) => child,
        Err(error) => return failed(format!("cannot be run: {error}")),
    };
    let _group = ProcessGroup::of(&child);
    let talk = async {
        if let Some(mut stdin) = child.stdin.take() {
            // A helper that does not read its input shows that by its exit code.
            let _ = stdin.write_all(key(registry).as_bytes()).await;
        }
        let mut answer = Vec::new();
        if let Some(stdout) = child.stdout.take() {
            stdout.take(LONGEST_ANSWER).read_to_end(&mut answer).await?;
        }
        Ok::<_, std::io::Error>((child.wait().await?, answer))
    };
    let (status, answer) = match tokio::time::timeout(DEADLINE, talk).await {
        Ok(Ok(done)) => done,
        Ok(Err(error)) => return failed(format!("cannot be asked: {error}")),
        Err(_) => return failed(format!("gave no answer within {} s", DEADLINE.as_secs())),
    };
    // setsid(1) exits with 126 if the user may not run the program.
    if status.code() == Some(126) && answer.is_empty() {
        let place = escape_path(&place);
        return failed(format!(
            "cannot be run: {place} is not for the user of config.json to run"
        ));
    }
    lookup(&program, status.success(), &status.to_string(), &answer)
}

fn lookup(program: &str, success: bool, status: &str, answer: &[u8]) -> Lookup {
    if !success {
        // By the helpers' protocol, this text means that there are none; any other is a failure.
        let none = b"credentials not found in native keychain";
        return if answer.windows(none.len()).any(|part| part == none) {
            Lookup::None(format!("{program} has none"))
        } else {
            Lookup::HelperFailed(format!("{program} failed ({status})"))
        };
    }
    let Ok((user, secret)) = login(answer) else {
        return Lookup::HelperFailed(format!("{program} gave an answer that does not read"));
    };
    if user.is_empty() && secret.is_empty() {
        return Lookup::None(format!("{program} has none"));
    }
    let secret = Secret::new(secret);
    let found = if user == "<token>" {
        Credentials::IdentityToken(secret)
    } else {
        Credentials::Login {
            user,
            password: secret,
        }
    };
    Lookup::Found(found, program.to_owned())
}

/// User and secret; empty if the answer lacks them, as docker reads it.
fn login(answer: &[u8]) -> Result<(String, String), String> {
    let mut answer = Fields::read(answer)?;
    let mut text = |name| Ok::<_, String>(answer.text(name)?.unwrap_or_default());
    Ok((text("username")?, text("secret")?))
}

/// Root runs another user's helper as the owner of config.json, with that user's key ring, and
/// without root's environment except PATH and the language. Other users cannot, and need not.
///
/// setsid(1) runs it in a new session without a terminal. A process with root's terminal could
/// type into it (`TIOCSTI`), and root's shell would read that.
fn command(program: &str, search: &Search, config: &ConfigFile<'_>) -> Result<Command, Lookup> {
    let setsid = search.find("setsid").ok_or_else(|| {
        Lookup::NotTried(format!(
            "{program} cannot be run: setsid, which keeps it from the terminal, is not in {}; install util-linux",
            search.shown()
        ))
    })?;
    let mut command = Command::new(setsid);
    command.arg(program);
    let owner = config.owner;
    if user::is_root() && (config.named || owner != 0) {
        let account = user::account(owner).ok_or_else(|| {
            Lookup::HelperFailed(format!(
                "{program} cannot be run: config.json belongs to uid {owner}, which is no user here"
            ))
        })?;
        command
            .env_clear()
            .envs(std::env::var_os("LANG").map(|value| ("LANG", value)))
            .uid(account.uid)
            .gid(account.gid)
            .envs([("USER", &account.name), ("LOGNAME", &account.name)])
            .env("HOME", account.home);
    }
    command
        .env("PATH", search.path())
        .env("DOCKER_CONFIG", config.dir);
    Ok(command)
}

#[cfg(test)]
mod tests;
