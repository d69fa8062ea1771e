//! The files of a release: the same bytes wherever they are packed, and an image that does on
//! engines what the page says.

use std::collections::BTreeSet;
use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::OnceLock;

use crate::lab::image::Archive;
use crate::lab::{Engine, Kind, Machine, Registry, wait_until};
use crate::support::compiled::{path_with_tools, static_program};
use crate::support::{EAGER, PROGRAM, Ran, ids, image, page};
use serde_json::{Value, json};

use super::package::types;

const IMAGE: &str = concat!("localhost/secateur:", env!("CARGO_PKG_VERSION"));

/// The programs that are packed here, small: linked, static.
fn programs() -> &'static [PathBuf; 2] {
    static PROGRAMS: OnceLock<(tempfile::TempDir, [PathBuf; 2])> = OnceLock::new();
    let (_, programs) = PROGRAMS.get_or_init(|| {
        let dir = tempfile::tempdir().expect("a folder");
        let stripped = |name: &str, program: &Path| {
            let small = dir.path().join(name);
            let mut strip = Command::new("strip");
            strip.arg("-o").args([&small, program]);
            Ran::of(strip.output().expect("strip")).ended(0);
            small
        };
        let linked = stripped("linked", Path::new(&*PROGRAM));
        let programs = [linked, stripped("static", &static_program())];
        (dir, programs)
    });
    programs
}

/// Packs the programs into `page/` of this folder, by the sources that are there.
#[track_caller]
fn pack(sources: &Path, folder: &Path, umask: &str) -> PathBuf {
    let [linked, r#static] = programs();
    let output = Command::new("bash")
        .args(["-c", "umask $1; shift; exec \"$@\"", "pack", umask])
        .arg(sources.join("config/release/build"))
        .args(["page".as_ref(), linked.as_os_str(), r#static.as_os_str()])
        .current_dir(folder)
        .env("PATH", path_with_tools())
        .env("CARGO_NET_OFFLINE", "true")
        .env("SOURCE_DATE_EPOCH", "1780000000")
        .output();
    Ran::of(output.expect("bash")).ended(0);
    folder.join("page")
}

/// The files of a release, packed once.
fn packed() -> &'static Path {
    static PAGE: OnceLock<(tempfile::TempDir, PathBuf)> = OnceLock::new();
    let (_, page) = PAGE.get_or_init(|| {
        let dir = tempdir();
        let page = pack(&page::file(""), dir.path(), "022");
        (dir, page)
    });
    page
}

/// The project as somebody else has it: without git, with another umask, everything new.
fn checked_out(folder: &Path) -> PathBuf {
    let sources = folder.join("sources");
    let all = "umask 077; mkdir \"$1\"; cp -r [!t.]* \"$1\"";
    let output = Command::new("bash")
        .args(["-euc", all, "copy"])
        .arg(&sources)
        .current_dir(page::file(""))
        .output();
    Ran::of(output.expect("bash")).ended(0);
    // Its tests are not packed, but cargo looks for those that the manifest names.
    std::os::unix::fs::symlink(page::file("tests"), sources.join("tests")).expect("a link");
    sources
}

fn names(folder: &Path) -> Vec<String> {
    let entries = fs::read_dir(folder).expect("the page");
    let name = |entry: fs::DirEntry| entry.file_name().into_string().expect("UTF-8");
    let mut names: Vec<String> = entries.flatten().map(name).collect();
    names.sort();
    names
}

#[test]
#[ignore = "needs the lab: run tests/run"]
fn the_files_of_a_release_are_the_same_bytes_wherever_they_are_packed() {
    let first = packed();
    let there = tempdir();
    let second = pack(&checked_out(there.path()), there.path(), "077");
    let version = env!("CARGO_PKG_VERSION");
    let expected = [
        "SHA256SUMS".to_owned(),
        format!("secateur-{version}-x86_64-linux.tar.gz"),
        format!("secateur-{version}-x86_64-oci.tar"),
        format!("secateur-{version}.cdx.json"),
        format!("secateur_{version}-1_amd64.deb"),
    ];
    assert_eq!(names(first), expected);
    for name in &expected {
        let read = |page: &Path| fs::read(page.join(name)).expect("a file");
        assert!(read(first) == read(&second), "{name} differs");
    }
    let typed = |line: &str| {
        let mut bash = Command::new("bash");
        bash.args(["-euo", "pipefail", "-c", line]);
        let output = bash.current_dir(first).output();
        Ran::of(output.expect("bash")).ended(0).stdout
    };
    typed("sha256sum --check --strict SHA256SUMS");
    let listed = typed("tar --list --verbose --file secateur-*-linux.tar.gz");
    for file in ["secateur", "docs/man/secateur.1", "config/policy.toml"] {
        let path = format!(" secateur-{version}/{file}\n");
        assert!(listed.contains(&path), "{file}: {listed}");
    }
    for file in ["systemd/secateur.timer", "config/completions/_secateur"] {
        assert!(listed.contains(file), "{file}: {listed}");
    }
    let document = fs::read(first.join(&expected[3])).expect("it");
    names_what_it_is_made_of(&serde_json::from_slice(&document).expect("JSON"));

    // Nothing is written over.
    let again = Command::new(page::file("config/release/build"))
        .arg(first)
        .env("PATH", path_with_tools())
        .output();
    let again = Ran::of(again.expect("bash"));
    assert!(again.code == 1 && again.stderr.contains("is not empty"));
}

fn tempdir() -> tempfile::TempDir {
    tempfile::tempdir().expect("a folder")
}

/// Crates with their checksums, none that only tests use, and each that another one needs.
#[track_caller]
fn names_what_it_is_made_of(document: &Value) {
    assert_eq!(document["bomFormat"], "CycloneDX");
    let lock = fs::read_to_string(page::file("Cargo.lock")).expect("Cargo.lock");
    let components = document["components"].as_array().expect("components");
    let mut known = BTreeSet::from([document["metadata"]["component"]["bom-ref"]
        .clone()
        .to_string()]);
    for component in components {
        assert!(
            known.insert(component["bom-ref"].to_string()),
            "{component}"
        );
        let license = component["licenses"][0]["expression"].as_str();
        assert!(
            license.is_some_and(|text| !text.contains('/')),
            "{component}"
        );
        if component["purl"]
            .as_str()
            .is_some_and(|url| url.starts_with("pkg:cargo/"))
        {
            let of = |key: &str| component[key].as_str().expect("a text").to_owned();
            let sum = component["hashes"][0]["content"].as_str().expect("a sum");
            let package = format!(
                "name = \"{}\"\nversion = \"{}\"\nsource = \"registry+https://github.com/rust-lang/crates.io-index\"\nchecksum = \"{sum}\"",
                of("name"),
                of("version")
            );
            assert!(lock.contains(&package), "{package}");
        }
    }
    let has = |name: &str| components.iter().any(|it| it["name"] == name);
    for name in ["bollard", "ring", "glibc", "ca-certificates", "rust-std"] {
        assert!(has(name), "{name} is missing");
    }
    assert!(!has("proptest") && !has("schemars"), "only tests use them");
    for line in document["dependencies"].as_array().expect("dependencies") {
        let wanted = line["dependsOn"].as_array().expect("a list");
        for name in wanted.iter().chain([&line["ref"]]) {
            assert!(known.contains(&name.to_string()), "{name}");
        }
    }
}

#[test]
#[ignore = "needs the lab: run tests/run"]
fn a_host_without_apt_gets_the_units_out_of_the_tarball() {
    let machine = Machine::boot(None);
    for name in names(packed()) {
        let to = machine.path(&format!("/root/{name}"));
        fs::copy(packed().join(name), to).expect("a file of the page");
    }
    let blocks = page::of("operating.md", "Install", "");
    let block = blocks.iter().find(|block| block.text.contains("tmpfiles"));
    types(&machine, &block.expect("its commands").text);
    for unit in ["secateur", "secateur-verify"] {
        machine.ok(&["systemctl", "start", unit]);
    }
    assert!(machine.path("/run/secateur/deploy.lock").exists());
    assert!(machine.path("/var/lib/secateur/ledger.json").exists());

    // And one with apt the package, as the README says.
    let readme = page::blocks_of(&page::readme());
    let block = readme.iter().find(|block| block.section == "Install");
    let said = types(&machine, &block.expect("its commands").text);
    assert!(said.contains("-linux.tar.gz: OK"), "{said}");
}

/// An engine, and a folder from which its client and compose are used as the page says.
struct Host {
    engine: Engine,
    folder: tempfile::TempDir,
}

impl Host {
    fn of(kind: Kind) -> Host {
        let engine = Engine::start(kind);
        let folder = tempdir();
        let compose = engine.program("usr/libexec/docker/cli-plugins/docker-compose");
        for (name, script) in [("docker", engine.client()), ("docker-compose", compose)] {
            let path = folder.path().join(name);
            fs::write(&path, script).expect("a program");
            fs::set_permissions(path, fs::Permissions::from_mode(0o755)).expect("its mode");
        }
        for part in ["etc", "locks", "docker"] {
            fs::create_dir(engine.dir().join(part)).expect("a folder");
        }
        fs::write(engine.dir().join("etc/policy.toml"), EAGER).expect("the policy");
        Host { engine, folder }
    }

    /// The places of a host, where this engine has them.
    fn here(&self, text: &str) -> String {
        let room = self.engine.dir().display();
        let data = self.engine.data_root().display();
        text.replace("/run/docker.sock:/", &format!("{room}/docker.sock:/"))
            .replace("/run/secateur:/", &format!("{room}/locks:/"))
            .replace("/etc/secateur:/", &format!("{room}/etc:/"))
            .replace("/root/.docker:/", &format!("{room}/docker:/"))
            .replace("/var/lib/docker:/var/lib/docker", &format!("{data}:{data}"))
    }

    #[track_caller]
    fn types(&self, line: &str, code: i32) -> Ran {
        let path = std::env::var("PATH").expect("PATH");
        let output = Command::new("bash")
            .args(["-euo", "pipefail", "-c", &self.here(line)])
            .current_dir(self.folder.path())
            .env("PATH", format!("{}:{path}", self.folder.path().display()))
            .env("DOCKER_HOST", self.engine.host())
            .env("HOME", self.folder.path())
            .output();
        Ran::of(output.expect("bash")).ended(code)
    }

    /// An image that nobody needs goes at the second prune, and no other.
    #[track_caller]
    fn prunes(&self, by: &dyn Fn(&str) -> String) {
        let kind = self.engine.kind().name();
        let old = self.engine.load(&Archive::new().noise(1000));
        let run = |command: &str| {
            self.types(&by(&format!("{command} --format json")), 0)
                .json()
        };
        assert_eq!(run("prune")["result"], "nothing", "{kind}");
        wait_until("the image is old enough", || {
            (image(&run("plan"), &old)["verdict"] == "remove").then_some(())
        });
        let outcome = run("prune");
        assert_eq!(ids(&outcome, "removed"), [&*old], "{kind}: {outcome:#}");
        assert!(!self.engine.has(&old), "{kind}");
    }
}

#[test]
#[ignore = "needs the lab: run tests/run"]
fn the_image_of_a_release_does_all_by_the_mounts_that_the_page_names() {
    let registry = Registry::start();
    registry.put("app:1", &Archive::new().noise(64));
    let name = registry.name("app:1");
    for kind in Kind::MAIN {
        let host = Host::of(kind);
        let mut made = Command::new(page::file("config/release/image"));
        made.arg(&programs()[1])
            .arg(host.folder.path().join("secateur-0-oci.tar"))
            .env("SOURCE_DATE_EPOCH", "1780000000");
        Ran::of(made.output().expect("bash")).ended(0);
        let text = &page::of("other-engines.md", "In a container", "sh")[0].text;
        let (load, run) = text.split_once('\n').expect("two commands");
        host.types(load, 0);
        assert!(run.contains(&format!("{IMAGE} plan\n")), "{run}");
        let said = host.types(run, 0).stdout;
        assert!(said.contains("kept 1 image"), "{}: {said}", kind.name());
        let by_docker = |command: &str| run.replace(" plan\n", &format!(" {command}\n"));
        host.prunes(&by_docker);

        // The same ledger, by the mounts of the file.
        if kind.suite() == "sid" {
            let file = fs::read_to_string(page::file("config/compose.yml")).expect("it");
            assert!(file.contains(&format!("image: {IMAGE}\n")), "{file}");
            fs::write(host.folder.path().join("compose.yml"), host.here(&file)).expect("it");
            host.prunes(&|command| format!("docker-compose run --rm secateur {command}"));
        }

        // A registry is found as the engine finds it, and asked with the host's credentials.
        host.engine.pull(&name, Some(&registry.auth_header()));
        let check = by_docker(&format!("verify-cache {name}"));
        let said = host.types(&check, 1).stdout;
        assert!(said.contains("no credentials"), "{}: {said}", kind.name());
        let config = json!({"auths": {registry.address(): {"auth": registry.basic_auth()}}});
        fs::write(
            host.engine.dir().join("docker/config.json"),
            config.to_string(),
        )
        .expect("it");
        let mount = page::section("other-engines.md", "In a container");
        let mount = page::spans(&mount)
            .into_iter()
            .find(|span| span.contains(".docker"));
        let check = check.replace(IMAGE, &format!("{} {IMAGE}", mount.expect("its mount")));
        let said = host.types(&check, 0).stdout;
        assert!(
            said.contains("held: 1 of 1 image"),
            "{}: {said}",
            kind.name()
        );
    }
}
