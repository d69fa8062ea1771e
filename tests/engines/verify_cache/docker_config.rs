//! What docker's own client makes of a config.json, and what verify-cache does.

use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::process::Command;

use serde_json::Value;

use super::{Host, check};
use crate::lab::image::Archive;
use crate::lab::{Kind, USER, base64url};

/// Texts of config.json: what is odd about each, and the text. `AUTH` is the login in
/// base64, `TWO` the same on two lines, `AT` the registry, `PASS` its password.
/// Not among them: a login beside one that does not read, for docker's client stops at
/// that one, and reads the others before it or not, by chance.
const TEXTS: [(&str, &str); 17] = [
    (
        "as docker login writes it",
        r#"{"auths":{"AT":{"auth":"AUTH"}}}"#,
    ),
    (
        "line ends in the login",
        r#"{"auths":{"AT":{"auth":"TWO\r\n"}}}"#,
    ),
    (
        "a space in the login",
        r#"{"auths":{"AT":{"auth":" AUTH"}}}"#,
    ),
    ("keys in capitals", r#"{"AUTHS":{"AT":{"Auth":"AUTH"}}}"#),
    (
        "user and password",
        r#"{"auths":{"AT":{"UserName":"USER","PASSWORD":"PASS"}}}"#,
    ),
    (
        "text behind the object",
        r#"{"auths":{"AT":{"auth":"AUTH"}}} }} behind"#,
    ),
    (
        "an old key",
        r#"{"auths":{"https://AT/v1/":{"auth":"AUTH"}}}"#,
    ),
    (
        "an old key without TLS",
        r#"{"auths":{"http://AT/x":{"auth":"AUTH"}}}"#,
    ),
    (
        "the same key twice",
        r#"{"auths":{"AT":{"auth":"AUTH"}},"Auths":{"other.example":{}}}"#,
    ),
    (
        "a store that is gone",
        r#"{"credsStore":"gone","auths":{"AT":{"auth":"AUTH"}}}"#,
    ),
    (
        "a store that is a path",
        r#"{"credsStore":"../gone","auths":{"AT":{"auth":"AUTH"}}}"#,
    ),
    (
        "a helper that is gone",
        r#"{"credHelpers":{"AT":"gone"},"auths":{"AT":{"auth":"AUTH"}}}"#,
    ),
    (
        "a helper without a name",
        r#"{"credsStore":"gone","credHelpers":{"AT":""},"auths":{"AT":{"auth":"AUTH"}}}"#,
    ),
    (
        "a byte order mark",
        "\u{feff}{\"auths\":{\"AT\":{\"auth\":\"AUTH\"}}}",
    ),
    ("no object", r#"["AUTH"]"#),
    ("empty", ""),
    ("white space", " \n"),
];

/// Whether docker's own client gets in with this config.json.
fn docker_pulls(host: &Host, docker: &std::path::Path, name: &str) -> bool {
    let mut command = Command::new(docker);
    command
        .args(["--host", &host.engine.host(), "pull", "--quiet", name])
        .env("DOCKER_CONFIG", host.user());
    for variable in ["DOCKER_HOST", "DOCKER_CONTEXT", "DOCKER_AUTH_CONFIG"] {
        command.env_remove(variable);
    }
    let output = command.output().expect("the client");
    let said = String::from_utf8_lossy(&output.stderr);
    let refused =
        said.contains("authentication") || said.contains("denied") || said.contains("credentials");
    assert!(output.status.success() || refused, "{said}");
    output.status.success()
}

#[test]
#[ignore = "needs the lab: run tests/run"]
fn what_dockers_client_gets_in_with_is_authenticated_and_what_it_does_not_is_not() {
    let mut wrong = Vec::new();
    for kind in Kind::OVERLAY {
        let host = Host::new(kind);
        host.registry.put("app:v1", &Archive::new().tag("x:1"));
        let name = host.registry.name("app:v1");
        let docker = host.secateur.dir().join("client");
        fs::write(&docker, host.engine.client()).expect("the client");
        fs::set_permissions(&docker, PermissionsExt::from_mode(0o755)).expect("its mode");
        let password = host.registry.password();
        let auth = base64url(format!("{USER}:{password}").as_bytes());
        let two = format!("{}\\n{}", &auth[..4], &auth[4..]);
        let mut got_in = 0;
        for (what, text) in TEXTS {
            let text = text
                .replace("AT", host.registry.address())
                .replace("AUTH\"", &format!("{auth}\""))
                .replace("TWO", &two)
                .replace("\"USER\"", &format!("{USER:?}"))
                .replace("PASS\"", &format!("{password}\""));
            fs::write(host.user().join("config.json"), text).expect("config.json");
            let pulls = docker_pulls(&host, &docker, &name);
            let ran = host.run(&["--format", "json", &name]);
            let report: Value = ran.json();
            let check = check(&report, &name, "authenticated");
            if (check["status"] == "ok") != pulls {
                wrong.push(format!(
                    "{}, {what}: docker pulls {pulls}, {check}",
                    kind.name()
                ));
            }
            got_in += usize::from(pulls);
            let _ = host.engine.remove(&name);
        }
        assert!((1..TEXTS.len()).contains(&got_in), "{got_in}");
    }
    assert!(wrong.is_empty(), "{wrong:#?}");
}
