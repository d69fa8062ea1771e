//! Builds by a real compose, and what others deploy of them.

use std::collections::BTreeSet;
use std::fs;

use super::whose::{all, said};
use super::{Machine, Ran, executable};
use crate::lab::{Kind, wait_until};

const FILE: &str = "\
services:
  web:
    image: registry.example/web:1
    build: .
    network_mode: none
    stop_grace_period: 0s
    volumes: ['db:/db']
  # Compose makes its default network for a service that has none of its own.
  idle:
    image: registry.example/web:1
    scale: 0
volumes: {db: {}}
";

const STACK: &str = "\
version: '3.8'
services: {web: {image: registry.example/web:1, networks: [out]}}
networks: {out: {external: true, name: host}}
";

/// A machine whose docker has compose.
fn machine() -> Machine {
    let machine = Machine::of(Kind::Overlay28);
    let compose = machine
        .engine
        .program("usr/libexec/docker/cli-plugins/docker-compose");
    executable(&machine.bin().join("docker-compose"), &compose);
    let dir = machine.secateur.dir();
    fs::write(dir.join("compose.yml"), FILE).expect("the project");
    fs::write(dir.join("stack.yml"), STACK).expect("the stack");
    let dockerfile = "FROM registry.example/app:1\nENV BUILT=yes\n";
    fs::write(dir.join("Dockerfile"), dockerfile).expect("the Dockerfile");
    machine
}

#[track_caller]
fn compose(machine: &Machine, project: &str, args: &[&str]) -> Ran {
    let mut command = machine.command("docker-compose", args);
    command.env("COMPOSE_PROJECT_NAME", project);
    Ran::of(command.output().expect("compose")).ended(0)
}

#[test]
#[ignore = "needs the lab: run tests/run"]
fn what_others_deploy_of_a_build_by_compose_stays_and_what_its_compose_made_goes() {
    let machine = machine();
    let empty = all(&machine);
    compose(&machine, "job-1", &["build"]);
    let image = machine.engine.inspect("registry.example/web:1");
    let stamp = &image["Config"]["Labels"]["com.docker.compose.project"];
    assert_eq!(stamp, "job-1", "{image:#}");

    let run = ["run", "--detach", "--network=none", "--name=deployed"];
    let mounts = ["--volume=shop-data:/data", "registry.example/web:1"];
    machine.docker(&[&run[..], &mounts].concat());
    let stack = [
        "stack",
        "deploy",
        "--detach=true",
        "--compose-file=stack.yml",
    ];
    machine.docker(&[&stack[..], &["--resolve-image=never", "shop"]].concat());
    compose(&machine, "shop", &["up", "--detach", "--no-build"]);
    wait_until("the stack runs", || {
        let tasks = machine.engine.tasks("shop_web");
        let running = |task: &serde_json::Value| task["Status"]["State"] == "running";
        tasks.iter().any(running).then_some(())
    });
    let production = all(&machine);

    compose(&machine, "job-1", &["up", "--detach"]);
    compose(
        &machine,
        "job-1",
        &["run", "--detach", "--name=once", "web"],
    );
    let ours: BTreeSet<String> = all(&machine).difference(&production).cloned().collect();
    for made in ["container job-1-web-1", "container once", "volume job-1_db"] {
        assert!(ours.contains(made), "{ours:?}");
    }
    let ran = machine.teardown("job-1").ended(0);
    assert_eq!(all(&machine), production, "{ran:#?}");
    assert_eq!(said(&ran.stdout, "removed"), ours, "{}", ran.stdout);
    let left = said(&ran.stderr, "left alone:");
    assert!(left.contains("container deployed"), "{}", ran.stderr);
    assert!(!left.contains("container shop-web-1"), "{}", ran.stderr);

    // The project's own name, which is production's: not by one slip.
    let ran = machine.teardown("shop").ended(2);
    assert!(ran.stderr.contains("could be production"), "{}", ran.stderr);
    assert_eq!(all(&machine), production);
    machine.run("secateur-teardown", &["shop", "shop"]).ended(0);
    machine.docker(&["rm", "--force", "deployed"]);
    machine.docker(&["volume", "rm", "shop-data"]);
    assert_eq!(all(&machine), empty);
}
