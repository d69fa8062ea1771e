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
use nix::unistd::{Uid, User, geteuid};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::process::Command;

use super::config::{Said, key, look_up, look_up_environment};
use super::fields::Fields;
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
    /// Whether somebody named the folder.
    named: bool,
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
                named: true,
                environment: None,
            };
        }
        let home = || Some(crate::host::user::home()?.join(".docker"));
        Self {
            dir: variable("DOCKER_CONFIG").map(PathBuf::from).or_else(home),
            named: false,
            environment: variable("DOCKER_AUTH_CONFIG")
                .and_then(|value| value.into_string().ok())
                .map(Secret::new),
        }
    }

    /// Looks one registry up.
    pub async fn find(&self, registry: &str) -> Lookup {
        let Some(text) = &self.environment else {
            return self.find_in_file(registry).await;
        };
        match look_up_environment(text.expose().as_bytes(), registry) {
            Ok(Said::Credentials(found)) => Lookup::Found(found, "DOCKER_AUTH_CONFIG".into()),
            Ok(_) => self.find_in_file(registry).await,
            // Passed over, as docker does; it, too, says so.
            Err(odd) => match self.find_in_file(registry).await {
                Lookup::None(why) => Lookup::None(format!(
                    "DOCKER_AUTH_CONFIG is passed over, for {odd}; {why}"
                )),
                found => found,
            },
        }
    }

    async fn find_in_file(&self, registry: &str) -> Lookup {
        let Some(dir) = &self.dir else {
            return Lookup::None("there is no home and no DOCKER_CONFIG to look in".into());
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
            Ok(Said::Helper(name, stored)) => {
                let program = format!("docker-credential-{name}");
                let found = match helper(&program, dir, self.named, owner) {
                    Ok(command) => ask(&program, command, registry).await,
                    Err(why) => Lookup::HelperFailed(format!("{program} {why}")),
                };
                let why = match (&found, &stored) {
                    (Lookup::HelperMissing(program), Some(_)) => format!("{program} is missing"),
                    (Lookup::HelperFailed(why), Some(_)) => why.clone(),
                    _ => return found,
                };
                stored.map_or(found, |stored| {
                    Lookup::Found(stored, format!("{shown} ({why})"))
                })
            }
        }
    }
}

/// What the file has, and whose it is. Links are followed; a FIFO would be waited
/// for.
fn read(path: &Path) -> Result<Option<(Vec<u8>, Uid)>, String> {
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
    Ok(Some((text, Uid::from_raw(meta.uid()))))
}

async fn ask(program: &str, mut command: Command, registry: &str) -> Lookup {
    let failed = |why: String| Lookup::HelperFailed(format!("{program} {why}"));
    command
        .arg("get")
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::null())
        .kill_on_drop(true);
    let mut child = match command.spawn() {
        Ok(child) => child,
        Err(error) if error.kind() == ErrorKind::NotFound => {
            return Lookup::HelperMissing(program.to_owned());
        }
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
    judge(program, status.success(), &status.to_string(), &said)
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
    let Ok((user, secret)) = login(said) else {
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

/// User and secret; empty where the answer has none, as docker reads it.
fn login(said: &[u8]) -> Result<(String, String), String> {
    let mut answer = Fields::read(said)?;
    let mut text = |name| Ok::<_, String>(answer.text(name)?.unwrap_or_default());
    Ok((text("username")?, text("secret")?))
}

/// The helper that a file names, as a command. Root runs that of somebody else as
/// the file's owner, with that user's key ring and nothing of its own environment
/// but where programs are and the language. Nobody else can, or needs to.
fn helper(program: &str, dir: &Path, named: bool, owner: Uid) -> Result<Command, String> {
    let mut command = Command::new(program);
    if geteuid().is_root() && (named || !owner.is_root()) {
        let user = User::from_uid(owner).ok().flatten().ok_or_else(|| {
            format!("cannot be run: config.json belongs to uid {owner}, which is no user here")
        })?;
        command.env_clear();
        for name in ["PATH", "LANG"] {
            command.envs(std::env::var_os(name).map(|value| (name, value)));
        }
        command
            .uid(user.uid.as_raw())
            .gid(user.gid.as_raw())
            .envs([("USER", &user.name), ("LOGNAME", &user.name)])
            .env("HOME", user.dir);
    }
    command.env("DOCKER_CONFIG", dir);
    Ok(command)
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
            ..Finder::default()
        };
        std::fs::write(folder.path().join("config.json"), "{}").unwrap();
        let odd = shown(&block_on(odd.find("r.example")));
        assert!(odd.starts_with("none: "), "{odd}");
        let absent = r#"{"credsStore":"absent-of-all"}"#;
        std::fs::write(folder.path().join("config.json"), absent).unwrap();
        assert_eq!(find(), "missing: docker-credential-absent-of-all");
        // As docker does: what stands beside it serves.
        let stored = r#"{"credsStore":"absent-of-all","auths":{"r.example":{"auth":"bWU6cA=="}}}"#;
        std::fs::write(folder.path().join("config.json"), stored).unwrap();
        let found = find();
        assert!(
            found.starts_with("found by ") && found.ends_with("absent-of-all is missing)"),
            "{found}"
        );
        // Nobody writes into it: who waited for that would wait for ever.
        let folder = tempfile::tempdir().unwrap();
        let fifo = folder.path().join("config.json");
        nix::unistd::mkfifo(&fifo, nix::sys::stat::Mode::S_IRUSR).unwrap();
        let found = block_on(Finder::of(Some(folder.path())).find("r.example"));
        let found = shown(&found);
        assert!(found.ends_with("it is no plain file"), "{found}");
    }

    #[test]
    fn the_environment_is_taken_whole_or_not_at_all_as_docker_takes_it() {
        let folder = tempfile::tempdir().unwrap();
        let found = |environment: &str| {
            let finder = Finder {
                dir: Some(folder.path().to_owned()),
                environment: Some(Secret::new(environment)),
                ..Finder::default()
            };
            shown(&block_on(finder.find("r.example")))
        };
        let fine = r#"{"auths":{"r.example":{"auth":"bWU6cA=="},"q.example":{"auth":"bWU6cA=="}}}"#;
        assert_eq!(found(fine), "found by DOCKER_AUTH_CONFIG");
        for odd in [
            r#"{"auths":{"r.example":{"auth":"bWU6cA=="}},"credsStore":"x"}"#,
            r#"{"auths":{"r.example":{"auth":"bWU6cA==","username":"me"}}}"#,
            r#"{"auths":{"r.example":{"auth":"bWU6cA=="},"q.example":{}}}"#,
            r#"{"auths":{"r.example":{"auth":"bWU6cA=="},"q.example":{"auth":"hunter2!"}}}"#,
            r#"{"auths":{"r.example":{"auth":"bWU6cA=="}}} {}"#,
            // In the file an old key stands for its host, here none does.
            r#"{"auths":{"https://r.example/v1/":{"auth":"bWU6cA=="}}}"#,
        ] {
            assert!(found(odd).starts_with("none: "), "{odd}: {}", found(odd));
        }
    }

    /// What a helper is given, line by line.
    fn environment_of(named: bool, owner: Uid) -> Result<Vec<String>, String> {
        let mut command = helper("env", Path::new("/d"), named, owner)?;
        let said = block_on(async { command.output().await }).unwrap();
        let said = String::from_utf8(said.stdout).unwrap();
        let mut lines: Vec<_> = said.lines().map(str::to_owned).collect();
        lines.retain(|line| !line.starts_with("PATH=") && !line.starts_with("LANG="));
        lines.sort();
        Ok(lines)
    }

    #[test]
    fn root_gives_a_helper_of_somebody_else_nothing_of_its_own_environment() {
        let own = std::env::vars_os().filter(|(name, _)| name != "PATH" && name != "LANG");
        let own = own.count();
        let root = Uid::from_raw(0);
        // Root's own folder, or that of the user who runs this.
        for named in [false, !geteuid().is_root()] {
            assert!(environment_of(named, root).unwrap().len() >= own);
        }
        if !geteuid().is_root() {
            return;
        }
        let daemon = User::from_name("daemon").unwrap().unwrap();
        for (named, owner) in [(false, daemon.uid), (true, daemon.uid), (true, root)] {
            let User { name, dir, .. } = User::from_uid(owner).unwrap().unwrap();
            let wanted = [
                "DOCKER_CONFIG=/d".to_owned(),
                format!("HOME={}", dir.display()),
                format!("LOGNAME={name}"),
                format!("USER={name}"),
            ];
            assert_eq!(environment_of(named, owner).unwrap(), wanted);
        }
        let why = environment_of(false, Uid::from_raw(4_000_000_000)).unwrap_err();
        assert!(
            why.contains("uid 4000000000, which is no user here"),
            "{why}"
        );
    }

    #[test]
    fn a_helper_runs_as_the_user_of_the_file_and_in_that_users_group() {
        if !geteuid().is_root() {
            return;
        }
        let daemon = User::from_name("daemon").unwrap().unwrap();
        let mut command = helper("id", Path::new("/d"), true, daemon.uid).unwrap();
        let said = block_on(async { command.output().await }).unwrap();
        let said = String::from_utf8(said.stdout).unwrap();
        let (uid, gid) = (daemon.uid, daemon.gid);
        assert!(
            said.starts_with(&format!("uid={uid}(daemon) gid={gid}(")),
            "{said}"
        );
    }
}
