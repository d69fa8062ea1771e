use std::process::Stdio;
use std::time::Duration;

use nix::unistd::geteuid;

use super::*;
use crate::model::secret::Credentials;
use crate::testing::block_on;

#[test]
fn a_folder_without_a_config_has_none_and_a_broken_one_says_so() {
    let folder = tempfile::tempdir().unwrap();
    let finder = Finder::of(Some(folder.path()));
    let find = || block_on(finder.find("r.example")).shown();
    assert!(find().starts_with("none: "), "{}", find());
    std::fs::write(folder.path().join("config.json"), "{hunter2").unwrap();
    assert!(
        find().starts_with("unreadable: ") && !find().contains("hunter2"),
        "{}",
        find()
    );
    // An invalid variable is ignored.
    let odd = Finder {
        dir: Some(folder.path().to_owned()),
        environment: Some(Ok(Secret::new("{hunter2"))),
        ..Finder::default()
    };
    std::fs::write(folder.path().join("config.json"), "{}").unwrap();
    let odd = block_on(odd.find("r.example")).shown();
    assert!(odd.starts_with("none: "), "{odd}");
    let absent = r#"{"credsStore":"absent-of-all"}"#;
    std::fs::write(folder.path().join("config.json"), absent).unwrap();
    assert_eq!(
        find().find("missing: docker-credential-absent-of-all in /"),
        Some(0)
    );
    // As docker does: the credentials in the file are used.
    let stored = r#"{"credsStore":"absent-of-all","auths":{"r.example":{"auth":"bWU6cA=="}}}"#;
    std::fs::write(folder.path().join("config.json"), stored).unwrap();
    let found = find();
    assert!(
        found.starts_with("found by ") && found.ends_with("absent-of-all is missing)"),
        "{found}"
    );
    // Nobody writes into it: a read would block for ever.
    let folder = tempfile::tempdir().unwrap();
    let fifo = folder.path().join("config.json");
    nix::unistd::mkfifo(&fifo, nix::sys::stat::Mode::S_IRUSR).unwrap();
    let found = block_on(Finder::of(Some(folder.path())).find("r.example"));
    let found = found.shown();
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
        block_on(finder.find("r.example")).shown()
    };
    let fine = r#"{"auths":{"r.example":{"auth":"bWU6cA=="},"q.example":{"auth":"bWU6cA=="}}}"#;
    assert_eq!(found(fine), "found by DOCKER_AUTH_CONFIG");
    for odd in [
        r#"{"auths":{"r.example":{"auth":"bWU6cA=="}},"credsStore":"x"}"#,
        r#"{"auths":{"r.example":{"auth":"bWU6cA==","username":"me"}}}"#,
        r#"{"auths":{"r.example":{"auth":"bWU6cA=="},"q.example":{}}}"#,
        r#"{"auths":{"r.example":{"auth":"bWU6cA=="},"q.example":{"auth":"hunter2!"}}}"#,
        r#"{"auths":{"r.example":{"auth":"bWU6cA=="}}} {}"#,
        // In the file an old key matches its host, in the variable it does not.
        r#"{"auths":{"https://r.example/v1/":{"auth":"bWU6cA=="}}}"#,
    ] {
        assert!(found(odd).starts_with("none: "), "{odd}: {}", found(odd));
    }
}

/// A user's docker folder whose configuration names the helper `x`, and this script as that
/// helper, in a folder that every user may enter.
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
            // A harmless user that every system has: "daemon".
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

/// Whether a process is alive; a zombie is not.
fn lives(pid: &str) -> bool {
    let stat = std::fs::read_to_string(format!("/proc/{pid}/stat"));
    stat.is_ok_and(|stat| !stat.contains(") Z "))
}

#[test]
fn a_helper_has_no_terminal_where_root_has_one() {
    const INSIDE: &str = "SECATEUR_TEST_IN_A_TERMINAL";
    if std::env::var_os(INSIDE).is_none() {
        let name = "cache::credentials::find::tests::a_helper_has_no_terminal_where_root_has_one";
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
        panic!("{}", scene.find().shown());
    };
    assert_eq!(user, "none");
}

#[test]
fn all_that_a_helper_started_ends_with_it() {
    let wait = r#"sleep 1000 >/dev/null & echo $! >"$DOCKER_CONFIG/pid.new"
                  mv "$DOCKER_CONFIG/pid.new" "$DOCKER_CONFIG/pid""#;
    let answer = r#"echo '{"Username":"me","Secret":"s"}'"#;
    // One helper answers, the other is given up.
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
                assert_eq!(find.await.shown(), "found by docker-credential-x");
            } else {
                // The deadline drops it in the same way.
                tokio::select! {
                    found = find => panic!("{}", found.shown()),
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
    // A folder that only root may enter is in root's PATH.
    let private = crate::testing::folder_of_ours();
    let mut scene = Scene::new("");
    let bin = scene.dir.parent().unwrap().join("bin");
    let mut search = OsString::from(private.path());
    search.push(":relative:/usr/bin:/bin");
    scene.finder.search = Some(search);
    let found = scene.find().shown();
    let places = format!("{}:/usr/bin:/bin", private.path().display());
    assert_eq!(found, format!("missing: docker-credential-x in {places}"));
    let program = private.path().join("docker-credential-x");
    std::fs::rename(bin.join("docker-credential-x"), &program).unwrap();
    let found = scene.find().shown();
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
    // docker would ask the helper, so the login in the file proves nothing.
    let bin = scene.dir.parent().unwrap().join("bin");
    scene.finder.search = Some(bin.into());
    let found = scene.find().shown();
    assert!(
        found.starts_with("not tried: docker-credential-x cannot be run: setsid"),
        "{found}"
    );
    // As in a repository of dotfiles.
    std::fs::rename(&config, scene.dir.join("kept.json")).unwrap();
    std::os::unix::fs::symlink("kept.json", &config).unwrap();
    let found = scene.find().shown();
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
    let found = block_on(finder.find("r.example")).shown();
    assert_eq!(found, "unreadable: DOCKER_AUTH_CONFIG is not UTF-8");
}
