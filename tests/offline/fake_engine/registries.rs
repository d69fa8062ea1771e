//! The command of the timer's unit beside a registry that takes connections and never
//! answers.

use std::fs;
use std::net::TcpListener;
use std::process::Command;

use super::{Host, KIND};
use crate::support::page;
use crate::support::{EAGER, PROGRAM, Ran};

/// What systemd starts: after the program, with its two folders.
fn command_of_unit(host: &Host) -> Command {
    let unit = page::file("systemd/secateur-verify.service");
    let unit = fs::read_to_string(unit).expect("the unit");
    let mut lines = unit.lines();
    let line = lines.find_map(|line| line.strip_prefix("ExecStart=/usr/bin/secateur "));
    let dir = host.secateur.dir().display().to_string();
    let mut command = Command::new(&*PROGRAM);
    for word in line.expect("what it starts").split_whitespace() {
        let word = word.replace("${RUNTIME_DIRECTORY}", &format!("{dir}/runtime"));
        command.arg(word.replace("${CREDENTIALS_DIRECTORY}", &format!("{dir}/login")));
    }
    command
        .env("SECATEUR_POLICY", host.secateur.policy_path())
        .env("SECATEUR_METRICS", format!("{dir}/verify.prom"))
        .env("DOCKER_HOST", host.fake.host());
    command
}

#[test]
fn the_units_command_writes_report_and_metrics_beside_a_registry_that_never_answers() {
    let host = Host::of(KIND);
    // The kernel takes the connections, and nobody reads them.
    let listener = TcpListener::bind("127.0.0.1:0").expect("an address");
    let registry = listener.local_addr().expect("an address");
    let images: Vec<String> = (0..9).map(|n| format!("{registry}/app:{n}")).collect();
    let policy = format!("{EAGER}[cache]\nimages = {images:?}\n");
    host.secateur.policy(&policy);
    let dir = host.secateur.dir();
    for folder in ["runtime", "login"] {
        fs::create_dir(dir.join(folder)).expect("a folder");
    }
    let login = format!(r#"{{"auths": {{"{registry}": {{"auth": "bWU6aHVudGVyMg=="}}}}}}"#);
    fs::write(dir.join("login/config.json"), login).expect("a login");
    for more in [&[][..], &["--registry"]] {
        let out = command_of_unit(&host).args(more).output();
        let ran = Ran::of(out.expect("it starts")).ended(1);
        let words: Vec<&str> = ran.stdout.split_whitespace().collect();
        let report = words.join(" "); // lines are as wide as a terminal
        for image in &images {
            assert!(report.contains(image.as_str()), "{report}");
        }
        assert!(report.contains("no answer within"), "{report}");
        let metrics = fs::read_to_string(dir.join("verify.prom")).expect("the metrics");
        assert!(
            metrics.contains("\nsecateur_cache_last_run_exit_code 1\n"),
            "{metrics}"
        );
        fs::rename(dir.join("verify.prom"), dir.join("old.prom")).expect("it is there");
    }
}
