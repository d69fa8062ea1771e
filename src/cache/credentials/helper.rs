//! Finds credentials the way docker finds them: $DOCKER_AUTH_CONFIG, the
//! config.json of the deploying user, the helper that it names. The edge to
//! [`crate::cache::credentials::config`]: reads the file and runs the helper, with a deadline. It
//! never stores anything, and shows nothing of what a helper wrote, for that
//! may be a secret.

use std::ffi::OsString;
use std::path::{Path, PathBuf};
use std::process::Stdio;
use std::time::Duration;

use nix::unistd::{Uid, User, geteuid};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::process::Command;

use crate::cache::credentials::config::{Said, key, look_up, look_up_environment};
use crate::cache::credentials::fields::Fields;
use crate::cache::credentials::session::{Group, Search};
use crate::host::files::{FileError, read_of_owner};
use crate::host::variables;
use crate::model::secret::{Credentials, Secret};
use crate::model::text::escape;

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
    /// The helper that the configuration names is not installed; and where it was
    /// looked for, fit to print.
    HelperMissing(String, String),
    /// The helper failed: how, fit to print.
    HelperFailed(String),
    /// The configuration cannot be read: why, fit to print.
    Unreadable(String),
    /// Docker may find some, and they were not looked for here: why, fit to print.
    NotTried(String),
}

/// Where to look.
#[derive(Default)]
pub struct Finder {
    dir: Option<PathBuf>,
    /// Whether somebody named the folder.
    named: bool,
    /// The error of a variable that does not read counts for every registry.
    environment: Option<Result<Secret, String>>,
    /// Where programs are, other than $PATH says.
    search: Option<OsString>,
}

impl Finder {
    /// For the user whose docker configuration is in `dir`; `None`: for this
    /// process's user and environment.
    pub fn of(dir: Option<&Path>) -> Self {
        if let Some(dir) = dir {
            // Another user's environment is not ours.
            return Self {
                dir: Some(dir.to_owned()),
                named: true,
                ..Self::default()
            };
        }
        let home = || Some(crate::host::user::home()?.join(".docker"));
        Self {
            dir: variables::path("DOCKER_CONFIG").or_else(home),
            environment: variables::text("DOCKER_AUTH_CONFIG")
                .map(|text| text.map(Secret::new))
                .transpose(),
            ..Self::default()
        }
    }

    /// Looks one registry up.
    pub async fn find(&self, registry: &str) -> Lookup {
        let text = match &self.environment {
            None => return self.find_in_file(registry).await,
            Some(Err(why)) => return Lookup::Unreadable(why.clone()),
            Some(Ok(text)) => text,
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
        let found = match read_of_owner(dir, "config.json", LONGEST) {
            Ok(Some(found)) => found,
            Ok(None) => return Lookup::None(format!("{shown} is not there")),
            // The user whose file it is may read it all the same.
            Err(error @ FileError::Untrusted { .. }) => return Lookup::NotTried(error.to_string()),
            Err(error) => return Lookup::Unreadable(error.to_string()),
        };
        match look_up(&found.bytes, registry) {
            Err(why) => Lookup::Unreadable(format!("{shown}: {why}")),
            Ok(Said::Nothing) => Lookup::None(format!("{shown} has none")),
            Ok(Said::Credentials(found)) => Lookup::Found(found, shown),
            Ok(Said::Helper(name, stored)) => {
                let program = format!("docker-credential-{name}");
                let search = self
                    .search
                    .as_ref()
                    .map_or_else(Search::read, |path| Search::of(path));
                let owner = Uid::from_raw(found.owner);
                let found = match search.find(&program) {
                    None => Lookup::HelperMissing(program, search.shown()),
                    Some(place) => match helper(&program, &search, dir, self.named, owner) {
                        Ok(command) => ask(&program, command, &place, registry).await,
                        Err(found) => found,
                    },
                };
                let why = match (&found, &stored) {
                    (Lookup::HelperMissing(program, _), Some(_)) => format!("{program} is missing"),
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

async fn ask(program: &str, mut command: Command, place: &Path, registry: &str) -> Lookup {
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
    let _group = Group::of(&child);
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
    // What setsid(1) says of a program that this user may not run.
    if status.code() == Some(126) && said.is_empty() {
        let place = escape(&place.to_string_lossy());
        return failed(format!(
            "cannot be run: {place} is not for the user of config.json to run"
        ));
    }
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
///
/// By way of setsid(1): in a session of its own, without a terminal. Whoever has
/// root's terminal can type into it (`TIOCSTI`), and root's shell reads that.
fn helper(
    program: &str,
    search: &Search,
    dir: &Path,
    named: bool,
    owner: Uid,
) -> Result<Command, Lookup> {
    let setsid = search.find("setsid").ok_or_else(|| {
        Lookup::NotTried(format!(
            "{program} cannot be run: setsid, which keeps it from the terminal, is not in {}; install util-linux",
            search.shown()
        ))
    })?;
    let mut command = Command::new(setsid);
    command.arg(program);
    if geteuid().is_root() && (named || !owner.is_root()) {
        let user = User::from_uid(owner).ok().flatten().ok_or_else(|| {
            Lookup::HelperFailed(format!(
                "{program} cannot be run: config.json belongs to uid {owner}, which is no user here"
            ))
        })?;
        command
            .env_clear()
            .envs(std::env::var_os("LANG").map(|value| ("LANG", value)))
            .uid(user.uid.as_raw())
            .gid(user.gid.as_raw())
            .envs([("USER", &user.name), ("LOGNAME", &user.name)])
            .env("HOME", user.dir);
    }
    command.env("PATH", search.path()).env("DOCKER_CONFIG", dir);
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
            Lookup::HelperMissing(program, places) => format!("missing: {program} in {places}"),
            Lookup::HelperFailed(why) => format!("failed: {why}"),
            Lookup::Unreadable(why) => format!("unreadable: {why}"),
            Lookup::NotTried(why) => format!("not tried: {why}"),
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
            environment: Some(Ok(Secret::new("{hunter2"))),
            ..Finder::default()
        };
        std::fs::write(folder.path().join("config.json"), "{}").unwrap();
        let odd = shown(&block_on(odd.find("r.example")));
        assert!(odd.starts_with("none: "), "{odd}");
        let absent = r#"{"credsStore":"absent-of-all"}"#;
        std::fs::write(folder.path().join("config.json"), absent).unwrap();
        assert_eq!(
            find().find("missing: docker-credential-absent-of-all in /"),
            Some(0)
        );
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
        assert!(
            found.contains("it is a FIFO, wanted a plain file"),
            "{found}"
        );
    }

    #[test]
    fn the_environment_is_taken_whole_or_not_at_all_as_docker_takes_it() {
        let folder = tempfile::tempdir().unwrap();
        let found = |environment: &str| {
            let finder = Finder {
                dir: Some(folder.path().to_owned()),
                environment: Some(Ok(Secret::new(environment))),
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

    fn search() -> Search {
        Search::of(&std::env::var_os("PATH").unwrap())
    }

    /// A user's folder, with a configuration that names the helper `x`, and this as
    /// the helper, in a folder that every user may enter.
    struct Scene {
        _folder: tempfile::TempDir,
        finder: Finder,
        dir: PathBuf,
    }

    const ALICE: u32 = 1;

    impl Scene {
        fn new(script: &str) -> Self {
            use std::os::unix::fs::{PermissionsExt, chown};
            let folder = crate::testing::folder_of_ours();
            let chmod = |path: &Path, mode| {
                std::fs::set_permissions(path, PermissionsExt::from_mode(mode)).unwrap();
            };
            chmod(folder.path(), 0o755);
            let (dir, bin) = (folder.path().join("user"), folder.path().join("bin"));
            for path in [&dir, &bin] {
                std::fs::create_dir(path).unwrap();
                chmod(path, 0o755);
            }
            let program = bin.join("docker-credential-x");
            std::fs::write(&program, format!("#!/bin/sh\n{script}\n")).unwrap();
            chmod(&program, 0o755);
            let config = dir.join("config.json");
            std::fs::write(&config, r#"{"credsStore":"x"}"#).unwrap();
            chmod(&config, 0o600);
            if geteuid().is_root() {
                // The owner of no file that matters: "daemon", which every system has.
                chown(&config, Some(ALICE), Some(ALICE)).unwrap();
                chown(&dir, Some(ALICE), Some(ALICE)).unwrap();
            }
            let mut search = OsString::from(&bin);
            search.push(":");
            search.push(std::env::var_os("PATH").unwrap());
            let finder = Finder {
                dir: Some(dir.clone()),
                search: Some(search),
                ..Finder::default()
            };
            Self {
                _folder: folder,
                finder,
                dir,
            }
        }

        fn find(&self) -> Lookup {
            block_on(self.finder.find("r.example"))
        }
    }

    /// Whether a process lives; one that nobody has waited for yet does not.
    fn lives(pid: &str) -> bool {
        let stat = std::fs::read_to_string(format!("/proc/{pid}/stat"));
        stat.is_ok_and(|stat| !stat.contains(") Z "))
    }

    #[test]
    fn a_helper_has_no_terminal_where_root_has_one() {
        const INSIDE: &str = "SECATEUR_TEST_IN_A_TERMINAL";
        if std::env::var_os(INSIDE).is_none() {
            let name =
                "cache::credentials::helper::tests::a_helper_has_no_terminal_where_root_has_one";
            let test = std::env::current_exe().unwrap();
            let test = format!("'{}' --exact {name}", test.display());
            let ran = std::process::Command::new("script")
                .args(["--quiet", "--return", "--command", &test, "/dev/null"])
                .env(INSIDE, "1")
                .stdin(Stdio::null())
                .output()
                .unwrap();
            let said = String::from_utf8_lossy(&ran.stdout);
            assert!(ran.status.success() && said.contains("1 passed"), "{said}");
            return;
        }
        std::fs::File::open("/dev/tty").expect("a terminal of our own");
        let scene = Scene::new(
            r#"(: </dev/tty) 2>/dev/null && has=terminal || has=none
               echo "{\"Username\":\"$has\",\"Secret\":\"s\"}""#,
        );
        let Lookup::Found(Credentials::Login { user, .. }, _) = scene.find() else {
            panic!("{}", shown(&scene.find()));
        };
        assert_eq!(user, "none");
    }

    #[test]
    fn all_that_a_helper_started_ends_with_it() {
        let wait = r#"sleep 1000 >/dev/null & echo $! >"$DOCKER_CONFIG/pid.new"
                      mv "$DOCKER_CONFIG/pid.new" "$DOCKER_CONFIG/pid""#;
        let answer = r#"echo '{"Username":"me","Secret":"s"}'"#;
        // One that answers, and one that is given up.
        for last in [answer, "sleep 1000"] {
            let scene = Scene::new(&format!("{wait}\n{last}"));
            let pid = scene.dir.join("pid");
            block_on(async {
                let there = async {
                    while !pid.exists() {
                        tokio::time::sleep(Duration::from_millis(5)).await;
                    }
                };
                let find = scene.finder.find("r.example");
                if last == answer {
                    assert_eq!(shown(&find.await), "found by docker-credential-x");
                } else {
                    // As at the deadline, it is dropped.
                    tokio::select! {
                        found = find => panic!("{}", shown(&found)),
                        () = there => {}
                    }
                }
            });
            let pid = std::fs::read_to_string(&pid).unwrap();
            while lives(pid.trim()) {
                std::thread::yield_now();
            }
        }
    }

    #[test]
    fn a_helper_that_is_nowhere_is_missing_whatever_the_user_may_not_enter() {
        if !geteuid().is_root() {
            return;
        }
        // A folder of root's alone is in root's PATH, and the user may not look into it.
        let private = crate::testing::folder_of_ours();
        let mut scene = Scene::new("");
        let bin = scene.dir.parent().unwrap().join("bin");
        let mut search = OsString::from(private.path());
        search.push(":relative:/usr/bin:/bin");
        scene.finder.search = Some(search);
        let found = shown(&scene.find());
        let places = format!("{}:/usr/bin:/bin", private.path().display());
        assert_eq!(found, format!("missing: docker-credential-x in {places}"));
        let program = private.path().join("docker-credential-x");
        std::fs::rename(bin.join("docker-credential-x"), &program).unwrap();
        let found = shown(&scene.find());
        let place = program.to_str().unwrap();
        assert!(
            found.contains("cannot be run") && found.contains(place),
            "{found}"
        );
    }

    #[test]
    fn what_docker_may_find_and_root_does_not_look_for_is_not_tried() {
        if !geteuid().is_root() {
            return;
        }
        let mut scene = Scene::new("");
        let config = scene.dir.join("config.json");
        let stored = r#"{"credsStore":"x","auths":{"r.example":{"auth":"bWU6cA=="}}}"#;
        std::fs::write(&config, stored).unwrap();
        // Docker would ask the helper, so the login beside it proves nothing.
        let bin = scene.dir.parent().unwrap().join("bin");
        scene.finder.search = Some(bin.into());
        let found = shown(&scene.find());
        assert!(
            found.starts_with("not tried: docker-credential-x cannot be run: setsid"),
            "{found}"
        );
        // As from a repository of dotfiles.
        std::fs::rename(&config, scene.dir.join("kept.json")).unwrap();
        std::os::unix::fs::symlink("kept.json", &config).unwrap();
        let found = shown(&scene.find());
        assert!(
            found.starts_with("not tried: refusing to trust ") && found.contains("a symbolic link"),
            "{found}"
        );
    }

    #[test]
    fn a_variable_that_does_not_read_is_an_error_and_not_passed_over() {
        let finder = Finder {
            environment: Some(Err("DOCKER_AUTH_CONFIG is not UTF-8".into())),
            ..Finder::default()
        };
        let found = shown(&block_on(finder.find("r.example")));
        assert_eq!(found, "unreadable: DOCKER_AUTH_CONFIG is not UTF-8");
    }

    /// What a helper is given, line by line.
    fn environment_of(named: bool, owner: Uid) -> Result<Vec<String>, String> {
        let command = helper("env", &search(), Path::new("/d"), named, owner);
        let mut command = command.map_err(|why| shown(&why))?;
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
        let command = helper("id", &search(), Path::new("/d"), true, daemon.uid);
        let mut command = command.map_err(|why| shown(&why)).unwrap();
        let said = block_on(async { command.output().await }).unwrap();
        let said = String::from_utf8(said.stdout).unwrap();
        let (uid, gid) = (daemon.uid, daemon.gid);
        assert!(
            said.starts_with(&format!("uid={uid}(daemon) gid={gid}(")),
            "{said}"
        );
    }
}
