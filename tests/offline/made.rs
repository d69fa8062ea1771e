//! The program and its package, made by the commands that the pages show.

use std::fs;
use std::path::Path;
use std::process::{Command, Stdio};

use crate::support::compiled::{static_program, types};
use crate::support::{Ran, page};

#[track_caller]
fn says_its_version(program: &Path) {
    let output = Command::new(program).arg("--version").output();
    let said = Ran::of(output.expect("the program")).ended(0).stdout;
    assert_eq!(said.trim(), concat!("secateur ", env!("CARGO_PKG_VERSION")));
}

/// The one command between words of the README that begins so.
#[track_caller]
fn command(begin: &str) -> String {
    let spans = page::spans(&page::readme());
    let found = spans.into_iter().find(|span| span.starts_with(begin));
    found.unwrap_or_else(|| panic!("the README has no {begin}"))
}

/// `tests/run --fast` where cargo does nothing, shellcheck is missing, and apt-get makes one.
fn runs_fast_as(user: u32) -> Ran {
    use std::os::unix::fs::{PermissionsExt as _, symlink};
    let dir = tempfile::tempdir().expect("a folder");
    for tool in ["bash", "dirname", "find", "env"] {
        let found = ["/usr/bin", "/bin"].map(|folder| Path::new(folder).join(tool));
        let found = found.iter().find(|path| path.exists()).expect("a tool");
        symlink(found, dir.path().join(tool)).expect("a link");
    }
    let stub = |name: &str, does: &str| {
        let path = dir.path().join(name);
        fs::write(&path, format!("#!{}/bash\n{does}\n", dir.path().display())).expect("a stub");
        fs::set_permissions(&path, fs::Permissions::from_mode(0o755)).expect("a mode");
    };
    stub("cargo", "echo cargo \"$@\"");
    stub("id", &format!("echo {user}"));
    let shellcheck = dir.path().join("shellcheck");
    let made = format!(
        "printf '#!/bin/bash\\necho checked' >{0}; /bin/chmod +x {0}",
        shellcheck.display()
    );
    stub(
        "apt-get",
        &format!("echo apt-get \"$@\"; [[ $* != *install* ]] || {{ {made}; }}"),
    );
    let output = Command::new(page::file("tests/run"))
        .arg("--fast")
        .env("PATH", dir.path())
        .stdin(Stdio::null())
        .output();
    Ran::of(output.expect("tests/run")).ended(0)
}

#[test]
fn what_is_tested_without_an_engine_is_tested_where_shellcheck_is_missing() {
    let said = runs_fast_as(0).stdout;
    assert!(
        said.contains("apt-get install") && said.contains("checked"),
        "{said}"
    );
    assert!(said.contains("cargo test --locked"), "{said}");
    let ran = runs_fast_as(1000);
    assert!(!ran.stdout.contains("apt-get"), "{ran:?}");
    assert!(ran.stdout.contains("cargo test --locked"), "{ran:?}");
    let last = ran.stderr.lines().last().unwrap_or_default();
    assert!(last.contains("left out: shellcheck"), "{ran:?}");
}

#[test]
#[ignore = "needs the lab: run tests/run"]
fn the_program_and_its_package_are_made_by_the_commands_of_the_readme() {
    let dir = tempfile::tempdir().expect("a folder");
    let here = dir.path().display();

    let line = command("cargo install --path .");
    types(&format!("{line} --debug --locked --root {here}"));
    says_its_version(&dir.path().join("bin/secateur"));

    let line = command("cargo build --release && install");
    let line = line
        .replace("--release", "--locked")
        .replace("target/release", "\"$CARGO_TARGET_DIR\"/debug")
        .replace("/usr/bin/", &format!("{here}/"))
        .replace("/etc/secateur/", &format!("{here}/etc/"));
    types(&line);
    says_its_version(&dir.path().join("secateur"));
    assert!(dir.path().join("etc/policy.toml").is_file());

    let blocks = page::blocks_of(&page::readme());
    let install = blocks.iter().filter(|block| block.section == "Install");
    let mut lines = install.flat_map(|block| block.text.lines());
    let line = lines.find(|line| line.starts_with("cargo deb"));
    let line = line.and_then(|line| line.split("  ").next());
    let line = line.expect("a line that makes the package");
    let made = format!("{here}/secateur.deb");
    types(&format!(
        "{line} --profile dev --locked --fast --output {made}"
    ));
    types(&format!("dpkg-deb --extract {made} {here}/package"));
    says_its_version(&dir.path().join("package/usr/bin/secateur"));
}

#[test]
#[ignore = "needs the lab: run tests/run"]
fn a_static_program_needs_nothing_of_its_root() {
    let built = static_program();
    let linked = Command::new("ldd").arg(&built).output().expect("ldd");
    let linked = String::from_utf8_lossy(&linked.stdout).into_owned();
    assert!(linked.contains("statically linked"), "{linked}");

    let root = tempfile::tempdir().expect("a folder");
    fs::copy(&built, root.path().join("secateur")).expect("the program");
    let host = page::file("tests/fuzz/seeds/inventory/small.json");
    fs::copy(host, root.path().join("host.json")).expect("a host");
    let output = Command::new("chroot")
        .arg(root.path())
        .args(["/secateur", "plan", "--inventory", "/host.json"])
        .env_clear()
        .env("PATH", "/usr/sbin:/usr/bin")
        .output();
    let said = Ran::of(output.expect("chroot")).ended(0).stdout;
    assert!(said.contains("kept 4 images"), "{said}");
}
