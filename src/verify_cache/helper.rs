//! Finds credentials the way docker finds them: $DOCKER_AUTH_CONFIG, the
//! config.json of the deploying user, the helper that it names. The edge to
//! [`super::config`]: reads the file and runs the helper, with a deadline. It
//! never stores anything, and shows nothing of what a helper wrote, for that
//! may be a secret.

use std::io::ErrorKind;
use std::os::unix::fs::{MetadataExt, OpenOptionsExt};
use std::path::{Path, PathBuf};
use std::process::Stdio;
use std::time::Duration;

use nix::libc;
use serde::Deserialize;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::process::Command;

use super::config::{Said, key, look_up};
use crate::secret::{Credentials, Secret};
use crate::text::escape;

/// A helper that asks a cloud for a token needs seconds; one that waits for a
/// person to unlock a key ring would wait for ever.
const DEADLINE: Duration = Duration::from_secs(20);

/// No config.json is longer, and no answer of a helper.
const LONGEST: u64 = 1 << 20;

/// What was found for one registry.
pub enum Lookup {
    /// Credentials, and where they are from, fit to print.
    Found(Credentials, String),
    /// None; where was looked, fit to print.
    None(String),
    /// The helper that the configuration names is not installed.
    HelperMissing(String),
    /// The helper failed: how, fit to print.
    HelperFailed(String),
    /// The configuration cannot be read: why, fit to print.
    Unreadable(String),
}

/// Where to look.
#[derive(Default)]
pub struct Finder {
    dir: Option<PathBuf>,
    environment: Option<Secret>,
}

impl Finder {
    /// For the user whose docker configuration is in `dir`; `None`: for this
    /// process's user and environment.
    pub fn of(dir: Option<&Path>) -> Self {
        let variable = |name| std::env::var_os(name).filter(|value| !value.is_empty());
        if let Some(dir) = dir {
            // Another user's environment is not ours.
            return Self {
                dir: Some(dir.to_owned()),
                environment: None,
            };
        }
        let home = || variable("HOME").map(|home| Path::new(&home).join(".docker"));
        Self {
            dir: variable("DOCKER_CONFIG").map(PathBuf::from).or_else(home),
            environment: variable("DOCKER_AUTH_CONFIG")
                .and_then(|value| value.into_string().ok())
                .map(Secret::new),
        }
    }

    /// Looks one registry up.
    pub async fn find(&self, registry: &str) -> Lookup {
        if let Some(text) = &self.environment {
            // One that does not read is passed over, as docker does.
            if let Ok(Said::Credentials(found)) = look_up(text.expose().as_bytes(), registry) {
                return Lookup::Found(found, "DOCKER_AUTH_CONFIG".into());
            }
        }
        let Some(dir) = &self.dir else {
            return Lookup::None("there is no HOME and no DOCKER_CONFIG to look in".into());
        };
        let path = dir.join("config.json");
        let shown = escape(&path.to_string_lossy());
        let (text, owner) = match read(&path) {
            Ok(Some(read)) => read,
            Ok(None) => return Lookup::None(format!("{shown} is not there")),
            Err(why) => return Lookup::Unreadable(format!("cannot read {shown}: {why}")),
        };
        match look_up(&text, registry) {
            Err(why) => Lookup::Unreadable(format!("{shown}: {why}")),
            Ok(Said::Nothing) => Lookup::None(format!("{shown} has none")),
            Ok(Said::Credentials(found)) => Lookup::Found(found, shown),
            Ok(Said::Helper(name)) => ask(&name, registry, dir, owner).await,
        }
    }
}

/// User and group.
type Owner = (u32, u32);

/// What the file has, and whose it is. Links are followed; a FIFO would be waited
/// for.
fn read(path: &Path) -> Result<Option<(Vec<u8>, Owner)>, String> {
    use std::io::Read as _;
    let mut options = std::fs::OpenOptions::new();
    options.read(true).custom_flags(libc::O_NONBLOCK);
    let file = match options.open(path) {
        Ok(file) => file,
        Err(error) if error.kind() == ErrorKind::NotFound => return Ok(None),
        Err(error) => return Err(error.to_string()),
    };
    let meta = file.metadata().map_err(|error| error.to_string())?;
    if !meta.is_file() {
        return Err("it is no plain file".into());
    }
    let mut text = Vec::new();
    file.take(LONGEST)
        .read_to_end(&mut text)
        .map_err(|error| error.to_string())?;
    Ok(Some((text, (meta.uid(), meta.gid()))))
}

#[derive(Deserialize)]
#[serde(rename_all = "PascalCase")]
struct Answer {
    username: String,
    secret: String,
}

async fn ask(name: &str, registry: &str, dir: &Path, owner: Owner) -> Lookup {
    let program = format!("docker-credential-{name}");
    let failed = |why: String| Lookup::HelperFailed(format!("{program} {why}"));
    let mut command = Command::new(&program);
    command
        .arg("get")
        .env("DOCKER_CONFIG", dir)
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::null())
        .kill_on_drop(true);
    as_owner(&mut command, owner);
    let mut child = match command.spawn() {
        Ok(child) => child,
        Err(error) if error.kind() == ErrorKind::NotFound => return Lookup::HelperMissing(program),
        Err(error) => return failed(format!("cannot be run: {error}")),
    };
    let talk = async {
        if let Some(mut stdin) = child.stdin.take() {
            // A helper that does not read says so by its exit code.
            let _ = stdin.write_all(key(registry).as_bytes()).await;
        }
        let mut said = Vec::new();
        if let Some(stdout) = child.stdout.take() {
            stdout.take(LONGEST).read_to_end(&mut said).await?;
        }
        Ok::<_, std::io::Error>((child.wait().await?, said))
    };
    let (status, said) = match tokio::time::timeout(DEADLINE, talk).await {
        Ok(Ok(done)) => done,
        Ok(Err(error)) => return failed(format!("cannot be asked: {error}")),
        Err(_) => return failed(format!("gave no answer within {} s", DEADLINE.as_secs())),
    };
    judge(&program, status.success(), &status.to_string(), &said)
}

/// What a helper's answer means. Nothing of it is shown.
fn judge(program: &str, success: bool, status: &str, said: &[u8]) -> Lookup {
    if !success {
        // The helpers' own protocol: this text means "none", the rest a failure.
        let none = b"credentials not found in native keychain";
        return if said.windows(none.len()).any(|part| part == none) {
            Lookup::None(format!("{program} has none"))
        } else {
            Lookup::HelperFailed(format!("{program} failed ({status})"))
        };
    }
    match serde_json::from_slice::<Answer>(said) {
        Err(_) => Lookup::HelperFailed(format!("{program} gave an answer that does not read")),
        Ok(answer) if answer.username.is_empty() && answer.secret.is_empty() => {
            Lookup::None(format!("{program} has none"))
        }
        Ok(answer) => {
            let secret = Secret::new(answer.secret);
            let found = if answer.username == "<token>" {
                Credentials::IdentityToken(secret)
            } else {
                Credentials::Login {
                    user: answer.username,
                    password: secret,
                }
            };
            Lookup::Found(found, program.to_owned())
        }
    }
}

/// A file of somebody else names the program to run: it runs as that user, and
/// with that user's key ring, not as root.
fn as_owner(command: &mut Command, (uid, gid): Owner) {
    if !nix::unistd::geteuid().is_root() || uid == 0 {
        return;
    }
    command.uid(uid).gid(gid);
    let user = nix::unistd::User::from_uid(nix::unistd::Uid::from_raw(uid));
    if let Ok(Some(user)) = user {
        command.env("HOME", user.dir);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::testing::block_on;

    fn shown(lookup: &Lookup) -> String {
        match lookup {
            Lookup::Found(Credentials::IdentityToken(_), from) => format!("token of {from}"),
            Lookup::Found(_, from) => format!("found by {from}"),
            Lookup::None(why) => format!("none: {why}"),
            Lookup::HelperMissing(program) => format!("missing: {program}"),
            Lookup::HelperFailed(why) => format!("failed: {why}"),
            Lookup::Unreadable(why) => format!("unreadable: {why}"),
        }
    }

    fn judged(success: bool, said: &str) -> String {
        shown(&judge(
            "docker-credential-x",
            success,
            "exit status: 1",
            said.as_bytes(),
        ))
    }

    #[test]
    fn a_helpers_answers_are_told_apart_and_never_quoted() {
        assert_eq!(
            judged(
                true,
                r#"{"ServerURL":"r","Username":"me","Secret":"hunter2"}"#
            ),
            "found by docker-credential-x"
        );
        assert_eq!(
            judged(true, r#"{"Username":"<token>","Secret":"hunter2"}"#),
            "token of docker-credential-x"
        );
        assert_eq!(
            judged(false, "credentials not found in native keychain\n"),
            "none: docker-credential-x has none"
        );
        assert_eq!(
            judged(false, "cannot unlock hunter2"),
            "failed: docker-credential-x failed (exit status: 1)"
        );
        assert_eq!(
            judged(true, "hunter2"),
            "failed: docker-credential-x gave an answer that does not read"
        );
    }

    #[test]
    fn a_folder_without_a_config_has_none_and_a_broken_one_says_so() {
        let folder = tempfile::tempdir().unwrap();
        let finder = Finder::of(Some(folder.path()));
        let find = || shown(&block_on(finder.find("r.example")));
        assert!(find().starts_with("none: "), "{}", find());
        std::fs::write(folder.path().join("config.json"), "{hunter2").unwrap();
        assert!(
            find().starts_with("unreadable: ") && !find().contains("hunter2"),
            "{}",
            find()
        );
        // What does not read in the environment is passed over.
        let odd = Finder {
            dir: Some(folder.path().to_owned()),
            environment: Some(Secret::new("{hunter2")),
        };
        std::fs::write(folder.path().join("config.json"), "{}").unwrap();
        let odd = shown(&block_on(odd.find("r.example")));
        assert!(odd.starts_with("none: "), "{odd}");
        let absent = r#"{"credsStore":"absent-of-all"}"#;
        std::fs::write(folder.path().join("config.json"), absent).unwrap();
        assert_eq!(find(), "missing: docker-credential-absent-of-all");
        // Nobody writes into it: who waited for that would wait for ever.
        let folder = tempfile::tempdir().unwrap();
        let fifo = folder.path().join("config.json");
        nix::unistd::mkfifo(&fifo, nix::sys::stat::Mode::S_IRUSR).unwrap();
        let found = block_on(Finder::of(Some(folder.path())).find("r.example"));
        let found = shown(&found);
        assert!(found.ends_with("it is no plain file"), "{found}");
    }
}
