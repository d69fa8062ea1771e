use super::*;

fn said(config: &str, registry: &str) -> String {
    match look_up(config.as_bytes(), registry) {
        Err(why) => format!("error: {why}"),
        Ok(Configured::Nothing) => "nothing".into(),
        Ok(Configured::Helper(name, None)) => format!("helper {name}"),
        Ok(Configured::Helper(name, Some(_))) => format!("helper {name}, or the file"),
        Ok(Configured::Credentials(Credentials::Login { user, password })) => {
            format!("{user}/{}", password.expose())
        }
        Ok(Configured::Credentials(Credentials::IdentityToken(t))) => {
            format!("identity {}", t.expose())
        }
        Ok(Configured::Credentials(Credentials::RegistryToken(t))) => {
            format!("registry {}", t.expose())
        }
    }
}

const AUTH: &str = r#"{"auths":{"r.example:5000":{"auth":"bWU6cGFzczp3b3Jk"}}}"#;

#[test]
fn a_login_stands_in_the_file_and_its_password_may_hold_a_colon() {
    assert_eq!(said(AUTH, "r.example:5000"), "me/pass:word");
    assert_eq!(said(AUTH, "r.example"), "nothing");
    assert_eq!(said("{}", "r.example"), "nothing");
    assert_eq!(said(r#"{"auths":null}"#, "r.example"), "nothing");
    assert_eq!(
        said(r#"{"auths":{"r.example":{}}}"#, "r.example"),
        "nothing"
    );
}

#[test]
fn docker_hub_and_old_files_have_keys_of_their_own() {
    let hub = r#"{"auths":{"https://index.docker.io/v1/":{"auth":"bWU6cA=="}}}"#;
    assert_eq!(said(hub, "docker.io"), "me/p");
    let old = r#"{"auths":{"https://r.example/v1/":{"auth":"bWU6cA=="}}}"#;
    assert_eq!(said(old, "r.example"), "me/p");
}

#[test]
fn an_old_key_stands_for_its_host_and_none_for_docker_hub_but_its_own() {
    // Docker Hub's own key is no host name, so no other key matches it.
    for alike in [
        "index.docker.io",
        "docker.io",
        "https://index.docker.io/v2/",
    ] {
        let config = format!(r#"{{"auths":{{"{alike}":{{"auth":"bWU6cA=="}}}}}}"#);
        assert_eq!(said(&config, "docker.io"), "nothing", "{alike}");
    }
    let old = r#"{"auths":{"http://r.example:5000/x":{"auth":"bWU6cA=="}}}"#;
    assert_eq!(said(old, "r.example:5000"), "me/p");
    assert_eq!(said(old, "r.example"), "nothing");
}

#[test]
fn a_helper_goes_before_the_store_and_the_store_before_the_file() {
    let all = r#"{"credsStore":"s","credHelpers":{"r.example":"h"},"auths":{"q.example":{"auth":"bWU6cA=="}}}"#;
    assert_eq!(said(all, "r.example"), "helper h");
    assert_eq!(said(all, "q.example"), "helper s, or the file");
}

#[test]
fn a_helper_is_a_plain_name_and_no_path() {
    for name in ["../../tmp/x", "a b", "a/b"] {
        let config = format!(r#"{{"credsStore":"{name}"}}"#);
        assert!(said(&config, "r.example").starts_with("error: "), "{name}");
    }
}

#[test]
fn tokens_go_before_the_login_that_stands_beside_them() {
    let entry = r#"{"auths":{"r.example":{"auth":"bWU6cA==","identitytoken":"T"}}}"#;
    assert_eq!(said(entry, "r.example"), "identity T");
    let entry = r#"{"auths":{"r.example":{"registrytoken":"T"}}}"#;
    assert_eq!(said(entry, "r.example"), "registry T");
}

#[test]
fn an_error_never_quotes_the_text() {
    for config in [
        r#"{"auths":{"r.example":"hunter2"}}"#,
        r#"{"auths":{"r.example":{"auth":"hunter2!"}}}"#,
        r#"{"auths":{"r.example":{"auth":"aHVudGVyMg"}}}"#,
        r#"{"auths":{"r.example":{"auth":"Omh1bnRlcjI="}}}"#,
        r#"{"credHelpers":"hunter2"}"#,
        "hunter2",
    ] {
        let said = said(config, "r.example");
        assert!(
            said.starts_with("error: ") && !said.contains("hunter2"),
            "{said}"
        );
    }
}

#[test]
fn what_docker_reads_is_read() {
    let auth = r#""r.example":{"auth":"bWU6cA=="}"#;
    for (config, wanted) in [
        (
            r#"{"auths":{"r.example":{"auth":"bWU6\ncA==\r\n"}}}"#,
            "me/p",
        ),
        (r#"{"Auths":{"r.example":{"Auth":"bWU6cA=="}}}"#, "me/p"),
        (
            r#"{"auths":{"r.example":{"UserName":"me","PASSWORD":"p"}}}"#,
            "me/p",
        ),
        (&format!("{{\"auths\":{{{auth}}}}} }}}} behind"), "me/p"),
        (
            &format!(r#"{{"auths":{{{auth}}},"Auths":{{"q.example":{{}}}}}}"#),
            "me/p",
        ),
        (
            &format!(r#"{{"credsStore":"gone","auths":{{{auth}}}}}"#),
            "helper gone, or the file",
        ),
        (
            &format!(r#"{{"credsStore":"../x","auths":{{{auth}}}}}"#),
            "me/p",
        ),
        (
            &format!(r#"{{"credsStore":"x","credHelpers":{{"r.example":""}},"auths":{{{auth}}}}}"#),
            "me/p",
        ),
        ("", "nothing"),
        ("\n", "nothing"),
    ] {
        assert_eq!(said(config, "r.example"), wanted, "{config}");
    }
    // docker accepts neither a space in the base64 nor a byte order mark.
    for config in [
        r#"{"auths":{"r.example":{"auth":" bWU6cA=="}}}"#,
        &format!("\u{feff}{{\"auths\":{{{auth}}}}}"),
    ] {
        assert!(said(config, "r.example").starts_with("error: "), "{config}");
    }
}
