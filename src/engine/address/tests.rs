use super::*;
use crate::engine::context::LONGEST;

fn resolve(host: Option<&str>, environment: &Environment) -> String {
    let mut warned = String::new();
    let warn = |why: &str| warned = format!("{why}: ");
    let resolved = Address::resolve(host, environment, warn);
    warned + &resolved.map_or_else(|e| format!("{} ({:?})", e, e.exit), |a| a.to_string())
}

const DEFAULT_HOST: &str = "unix:///var/run/docker.sock";

#[test]
fn the_command_line_goes_before_the_environment() {
    let environment = Environment {
        docker_host: Some("unix:///env.sock".into()),
        ..Environment::default()
    };
    assert_eq!(
        resolve(Some("unix:///arg.sock"), &environment),
        "unix:///arg.sock"
    );
    assert_eq!(resolve(None, &environment), "unix:///env.sock");
    assert_eq!(resolve(None, &Environment::default()), DEFAULT_HOST);
}

#[test]
fn only_a_local_socket_is_taken_and_a_path_is_told_how_to_be_one() {
    for (host, why) in [
        ("tcp://10.0.0.1:2375", ": wanted a local socket"),
        ("ssh://me@host", ": wanted a local socket"),
        ("http://x", ": wanted a local socket"),
        ("unix://relative", ": wanted a local socket"),
        ("unix:relative", ": wanted a local socket"),
        ("", ": wanted a local socket"),
        ("/run/x.sock", "; did you mean unix:///run/x.sock? (Usage)"),
        (
            "unix:/run/x.sock",
            "; did you mean unix:///run/x.sock? (Usage)",
        ),
    ] {
        let seen = resolve(Some(host), &Environment::default());
        assert!(
            seen.starts_with(&format!("--host is {host}{why}")),
            "{seen}"
        );
        assert!(seen.ends_with("(Usage)"), "{seen}");
    }
}

/// A folder of docker's own, with a context `lab` and this config.json.
fn docker(config: Option<&[u8]>) -> (tempfile::TempDir, Environment) {
    let folder = tempfile::tempdir().unwrap();
    // As docker 28.2 calls it.
    let meta = "contexts/meta/a51146d38077ff992eba84cf1d5e9b249073503eb74868699016153b031a38f7";
    let meta = folder.path().join(meta);
    std::fs::create_dir_all(&meta).unwrap();
    if let Some(config) = config {
        std::fs::write(folder.path().join("config.json"), config).unwrap();
    }
    std::fs::write(
        meta.join("meta.json"),
        r#"{"Name":"lab","Endpoints":{"docker":{"Host":"unix:///lab.sock"}}}"#,
    )
    .unwrap();
    let environment = Environment {
        docker_config: Some(folder.path().into()),
        ..Environment::default()
    };
    (folder, environment)
}

#[test]
fn a_docker_context_is_followed_and_a_missing_one_is_an_error() {
    let (folder, mut environment) = docker(Some(br#"{"currentContext":"lab"}"#));
    assert_eq!(resolve(None, &environment), "unix:///lab.sock");
    environment.docker_context = Some("default".into());
    assert_eq!(resolve(None, &environment), DEFAULT_HOST);
    environment.docker_context = Some("gone".into());
    let gone = resolve(None, &environment);
    assert!(
        gone.starts_with("docker context gone: cannot open "),
        "{gone}"
    );
    assert!(
        gone.ends_with("; name the engine with --host (Engine)"),
        "{gone}"
    );
    for (meta, why) in [
        (
            "[",
            "meta.json: it ends too early, at line 1, column 1; make it anew",
        ),
        (
            "{}",
            "meta.json: it has no Endpoints.docker, wanted one with a Host",
        ),
        (
            r#"{"Endpoints":{"docker":{"Host":1}}}"#,
            "its Endpoints.docker.Host is no text",
        ),
        (
            r#"{"Endpoints":{"kubernetes":{"Host":"https://h"}}}"#,
            "it has no Endpoints.docker",
        ),
        (
            r#"{"Endpoints":{"docker":{"Host":"tcp://h:1"}}}"#,
            "its host is tcp://h:1: wanted a local socket",
        ),
    ] {
        let contexts = folder.path().join("contexts/meta");
        let own = std::fs::read_dir(contexts)
            .unwrap()
            .next()
            .unwrap()
            .unwrap();
        std::fs::write(own.path().join("meta.json"), meta).unwrap();
        environment.docker_context = Some("lab".into());
        let seen = resolve(None, &environment);
        assert!(seen.contains(why) && seen.ends_with("(Engine)"), "{seen}");
    }
}

#[test]
fn a_context_that_is_asked_for_where_there_is_no_home_is_an_error_and_not_the_default() {
    let mut environment = Environment {
        docker_context: Some("lab".into()),
        ..Environment::default()
    };
    let seen = resolve(None, &environment);
    assert!(
        seen.starts_with("docker context lab: there is no "),
        "{seen}"
    );
    assert!(seen.ends_with("(Engine)"), "{seen}");
    environment.docker_context = Some("default".into());
    assert_eq!(resolve(None, &environment), DEFAULT_HOST);
}

#[test]
fn a_config_that_cannot_be_read_is_a_warning_and_the_default_context() {
    let long = [
        &b"{"[..],
        &vec![b' '; usize::try_from(LONGEST).unwrap()],
        b"}",
    ]
    .concat();
    for config in [
        b"\xef\xbb\xbf{\"currentContext\":\"lab\"}",
        &b"{\"currentContext"[..],
        b"\xff\xfe",
        b"[]",
        b"{\"currentContext\":1}",
        &long,
    ] {
        let (folder, environment) = docker(Some(config));
        let seen = resolve(None, &environment);
        let warned = "the default one, as docker has it: unix:///var/run/docker.sock";
        assert!(seen.ends_with(warned), "{seen}");
        assert!(seen.contains("config.json"), "{seen}");
        drop(folder);
    }
    for config in [
        &b""[..],
        b" \n",
        b"{}",
        b"{\"currentContext\":\"\"}",
        b"{\"currentContext\":null}",
    ] {
        let (_folder, environment) = docker(Some(config));
        assert_eq!(resolve(None, &environment), DEFAULT_HOST);
    }
    for config in [
        &br#"{"auths":1,"currentContext":"lab"} and more"#[..],
        br#"{"CURRENTCONTEXT":"lab"}"#,
    ] {
        let (_folder, environment) = docker(Some(config));
        assert_eq!(resolve(None, &environment), "unix:///lab.sock");
    }
}

#[test]
fn a_config_that_is_no_file_is_a_warning_and_is_not_waited_for() {
    let (_folder, environment) = docker(None);
    assert_eq!(resolve(None, &environment), DEFAULT_HOST);
    let warned = |make: &dyn Fn(&Path), what: &str| {
        let (folder, environment) = docker(None);
        make(&folder.path().join("config.json"));
        let seen = resolve(None, &environment);
        assert!(
            seen.contains(what) && seen.ends_with(DEFAULT_HOST),
            "{seen}"
        );
        assert!(
            seen.contains("the docker context is the default one"),
            "{seen}"
        );
    };
    warned(&|path| std::fs::create_dir(path).unwrap(), "it is a folder");
    let mode = nix::sys::stat::Mode::S_IRWXU;
    warned(
        &|path| nix::unistd::mkfifo(path, mode).unwrap(),
        "it is a FIFO",
    );
    let device = |path: &Path| std::os::unix::fs::symlink("/dev/zero", path).unwrap();
    warned(&device, "wanted a plain file");
}
