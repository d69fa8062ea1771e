//! The Debian package and its units, in a booted Debian 12 of their own: what
//! an operator installs, enables, and finds in the journal next morning.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::OnceLock;

use crate::lab::image::{noise, tar};
use crate::lab::{Machine, Said, lab_dir, wait_until};
use crate::support::{PROGRAM, page};

const POLICY: &str = "/etc/secateur/policy.toml";
/// As engines know it: on loopback, plain HTTP is allowed.
const REGISTRY: &str = "127.0.0.1:5000";
const METRICS: &str = "/run/secateur/metrics/prune.prom";
const LOCK: &str = "/run/secateur/deploy.lock";
const UNITS: [&str; 4] = [
    "secateur.service",
    "secateur.timer",
    "secateur-verify.service",
    "secateur-verify.timer",
];

/// The package, made once: with the program that the tests run, for the release
/// profile takes minutes and changes nothing of what is looked at here.
fn package() -> &'static Path {
    static PACKAGE: OnceLock<(tempfile::TempDir, PathBuf)> = OnceLock::new();
    let (_, path) = PACKAGE.get_or_init(|| {
        let dir = tempfile::tempdir().expect("a folder");
        let release = dir.path().join("target/release");
        fs::create_dir_all(&release).expect("a folder");
        let stripped = Command::new("strip")
            .arg("-o")
            .arg(release.join("secateur"))
            .arg(&*PROGRAM)
            .status();
        assert!(stripped.expect("strip").success());
        let path = dir.path().join("secateur.deb");
        let output = Command::new(lab_dir().join("tools/bin/cargo-deb"))
            .args(["--no-build", "--offline", "--locked", "--fast", "--output"])
            .arg(&path)
            .current_dir(env!("CARGO_MANIFEST_DIR"))
            .env("CARGO_TARGET_DIR", dir.path().join("target"))
            .output()
            .expect("cargo-deb");
        let said = String::from_utf8_lossy(&output.stderr).into_owned();
        assert!(output.status.success() && path.exists(), "{said}");
        (dir, path)
    });
    path
}

/// Puts the package into the machine, and installs it as an operator does.
fn install(machine: &Machine) {
    put(machine, "/root/secateur.deb");
    machine.ok(&["apt-get", "install", "--yes", "/root/secateur.deb"]);
}

fn put(machine: &Machine, path: &str) {
    fs::copy(package(), machine.path(path)).expect("the package");
}

/// Runs lines of a page, as root in root's home.
#[track_caller]
pub fn types(machine: &Machine, lines: &str) -> String {
    let lines = format!("cd; PATH=/usr/local/bin:$PATH\n{lines}");
    machine.ok(&["bash", "-euo", "pipefail", "-c", &lines])
}

/// The drop-in of docs/operating.md that sets this.
#[track_caller]
fn drop_in_of_the_page(setting: &str) -> String {
    let blocks = page::of("operating.md", "Settings of the units", "");
    let its = blocks
        .into_iter()
        .find(|block| block.text.contains(setting));
    its.expect("its block").text
}

/// Has the timers wait for a day that does not come: the test starts the units. And systemd
/// remembers how a unit ended for as long as a timer refers to it.
fn timers_wait(machine: &Machine) {
    for timer in ["secateur.timer", "secateur-verify.timer"] {
        machine.write(
            &format!("/etc/systemd/system/{timer}.d/never.conf"),
            "[Timer]\nOnCalendar=\nOnCalendar=2199-01-01\n",
        );
        machine.ok(&["systemctl", "daemon-reload"]);
        machine.ok(&["systemctl", "start", timer]);
    }
}

/// A policy under which an image that nobody needs goes after a second; the rest as installed.
fn eager(machine: &Machine) {
    let policy = machine.read(POLICY);
    let policy = policy
        .replace("min_age = \"14d\"", "min_age = \"1s\"")
        .replace("max_fraction = 0.5", "max_fraction = 1.0");
    machine.write(POLICY, policy);
}

/// Makes an image of these bytes with that tag; gives its id.
fn import(machine: &Machine, name: &str, bytes: &[u8]) -> String {
    machine.write("/root/image.tar", tar(&[("file", bytes)]));
    machine.ok(&["docker", "import", "/root/image.tar", name])
}

fn images(machine: &Machine) -> String {
    machine.ok(&["docker", "images", "--quiet", "--no-trunc", "--all"])
}

/// Starts a unit and says how its program ended, and what systemd makes of it.
fn start(machine: &Machine, unit: &str) -> (String, String) {
    machine.run(&["systemctl", "start", unit]);
    let property = |name| machine.property(unit, name);
    (property("ExecMainStatus"), property("ActiveState"))
}

fn ends(code: &str, state: &str) -> (String, String) {
    (code.to_owned(), state.to_owned())
}

/// Somebody deploys: holds this lock until [`deployed`].
fn deploy(machine: &Machine, lock: &str) {
    machine.ok(&[
        "systemd-run",
        "--quiet",
        "--unit=deploy",
        "--uid=deployer",
        "--property=SupplementaryGroups=docker",
        "flock",
        "--shared",
        lock,
        "sleep",
        "infinity",
    ]);
    wait_until("the deploy holds its lock", || {
        let probe = machine.run(&["flock", "--nonblock", lock, "true"]);
        (probe.code == 1).then_some(())
    });
}

fn deployed(machine: &Machine) {
    machine.ok(&["systemctl", "stop", "deploy"]);
}

/// Has failed units start one that a test can see, by the drop-ins that the page shows.
fn alarm(machine: &Machine) {
    machine.write(
        "/etc/systemd/system/notify-me@.service",
        "[Service]\nType=oneshot\nExecStart=/usr/bin/touch /run/alarm-%i\n",
    );
    let blocks = page::of("operating.md", "Next morning", "");
    let block = blocks.iter().find(|block| block.text.contains("OnFailure"));
    let text = &block.expect("the drop-in").text;
    let paths = text.lines().filter_map(|line| line.strip_prefix("# "));
    let count = paths.map(|path| machine.write(path, text)).count();
    assert_eq!(count, 2, "{text}");
    machine.ok(&["systemctl", "daemon-reload"]);
}

/// Waits for the alarm, and silences it.
fn alarmed(machine: &Machine, unit: &str) {
    let path = machine.path(&format!("/run/alarm-{unit}"));
    wait_until("the alarm", || path.exists().then_some(()));
    fs::remove_file(path).expect("the alarm");
    machine.ok(&["systemctl", "reset-failed", unit]);
}

#[test]
#[ignore = "needs the lab: run tests/run"]
fn the_unit_prunes_a_full_disk_and_refuses_beside_a_deploy() {
    let machine = Machine::boot(Some("64m"));
    install(&machine);
    timers_wait(&machine);
    eager(&machine);
    machine.ok(&["useradd", "--create-home", "deployer"]);

    // A build, and the one that took its tag, on a disk that is 85 % full with both.
    let old = import(&machine, "app:1", &noise(20 << 20));
    let new = import(&machine, "app:1", b"new");
    assert_ne!(old, new);
    machine.ok(&["fallocate", "--length", "36M", "/var/lib/docker/ballast"]);

    let first = start(&machine, "secateur.service");
    let said = machine.journal("secateur.service");
    assert_eq!(first, ends("0", "inactive"), "{said}");
    assert!(images(&machine).contains(&old), "the first look: {said}");

    // By hand, as root: the same memory.
    wait_until("the old image is old enough", || {
        let plan = machine.ok(&["secateur", "plan", "--format", "json"]);
        let plan: serde_json::Value = serde_json::from_str(&plan).expect("JSON");
        (plan["summary"]["remove"] == 1).then_some(())
    });

    // Beside a deploy.
    deploy(&machine, LOCK);
    let beside = start(&machine, "secateur.service");
    let said = machine.journal("secateur.service");
    assert_eq!(beside, ends("75", "inactive"), "{said}");
    assert_eq!(machine.property("secateur.service", "Result"), "success");
    assert!(said.contains(LOCK), "{said}");
    // The unit's restrictions leave it the kernel's list of locks.
    let holder = machine.property("deploy", "MainPID");
    assert!(said.contains(&format!("pid {holder}")), "{said}");
    assert!(images(&machine).contains(&old), "{said}");
    let refused = "secateur_prune_refused{kind=\"deploy-lock\"} 1";
    let metrics = machine.read(METRICS);
    assert!(metrics.contains(refused), "{metrics}");
    deployed(&machine);

    // Beside a pull: the unit reads the signs of it in the engine's own files.
    let sign = "/var/lib/docker/tmp/GetImageBlob1";
    machine.write(sign, "half a layer");
    let beside = start(&machine, "secateur.service");
    let said = machine.journal("secateur.service");
    assert_eq!(beside, ends("75", "inactive"), "{said}");
    assert!(said.contains(sign), "{said}");
    machine.ok(&["rm", sign]);

    // And then.
    let then = start(&machine, "secateur.service");
    let said = machine.journal("secateur.service");
    assert_eq!(then, ends("0", "inactive"), "{said}");
    assert!(!images(&machine).contains(&old), "{said}");
    assert!(images(&machine).contains(&new), "{said}");
    let hex = old.trim_start_matches("sha256:");
    assert!(said.contains(&hex[..12]), "{said}");
    let removed = machine.ok(&["journalctl", "--output=cat", "SECATEUR_OUTCOME=removed"]);
    assert!(removed.contains(&hex[..12]), "{removed}");
    let metrics = machine.read(METRICS);
    let removed = "secateur_prune_outcome_images{outcome=\"removed\"} 1";
    assert!(metrics.contains(removed), "{metrics}");
    assert!(!metrics.contains(refused), "{metrics}");
    let modes = ["stat", "--format=%U %a", "/var/lib/secateur", METRICS];
    assert_eq!(machine.ok(&modes), "root 700\nroot 644");
}

#[test]
#[ignore = "needs the lab: run tests/run"]
fn an_operator_gets_by_with_the_commands_of_the_pages() {
    let machine = Machine::boot(None);
    put(&machine, "/root/secateur_0_amd64.deb");
    let fenced = |page, section| page::of(page, section, "");
    let readme = page::blocks_of(&page::readme());
    let install: Vec<_> = readme.iter().filter(|b| b.section == "Install").collect();
    // Others make the package: another test.
    let line = install[0]
        .text
        .lines()
        .find(|line| line.starts_with("apt install ./"));
    types(&machine, line.expect("a line that installs"));
    types(&machine, &fenced("operating.md", "Install")[0].text);
    machine.ok(&["secateur", "--version"]);

    // Whatever the editor is: here, one that protects an image.
    machine.write(
        "/usr/local/bin/editor",
        "#!/bin/sh\nexec sed -i 's/^images = \\[\\]/images = [\"app:1\"]/' \"$1\"\n",
    );
    machine.ok(&["chmod", "755", "/usr/local/bin/editor"]);
    import(&machine, "app:1", b"app");
    let said = types(&machine, &install[2].text);
    assert!(said.contains("kept 1 image"), "{said}");
    types(&machine, &fenced("operating.md", "The first day")[0].text);
    for timer in ["secateur.timer", "secateur-verify.timer"] {
        machine.ok(&["systemctl", "is-active", timer]);
        machine.ok(&["systemctl", "is-enabled", timer]);
    }
    for unit in ["secateur", "secateur-verify"] {
        machine.ok(&["systemctl", "start", unit]);
        machine.journal(&format!("{unit}.service"));
    }
    let morning = types(&machine, &fenced("operating.md", "Next morning")[0].text);
    for expected in ["secateur.timer", "secateur-verify.timer", "held: 1 of 1"] {
        assert!(morning.contains(expected), "{expected}: {morning}");
    }

    let full = page::section("operating.md", "When the disk is full");
    let commands: Vec<String> = page::spans(&full);
    let typed = |span: &&String| span.starts_with("secateur ") || span.starts_with("docker system");
    assert_eq!(commands.iter().filter(typed).count(), 5, "{commands:?}");
    for command in commands.iter().filter(typed) {
        types(&machine, command);
    }

    types(
        &machine,
        &fenced("operating.md", "When the disk is full")[0].text,
    );
    types(&machine, &fenced("refusals.md", "max-fraction")[0].text);

    // A CI runner that is not root, by one line for sudo.
    let rule = &page::of("ci-teardown.md", "Who runs secateur", page::INDENTED)[0].text;
    machine.write("/etc/sudoers.d/secateur", rule);
    machine.ok(&["useradd", "gitlab-runner"]);
    let sudo = [
        "runuser",
        "-u",
        "gitlab-runner",
        "--",
        "sudo",
        "-n",
        "secateur",
    ];
    machine.ok(&[&sudo[..], &["prune"]].concat());
    machine.run(&[&sudo[..], &["plan"]].concat()).ended(1);
}

/// Where Ansible runs: not on the machine, but beside it. An administrator may log in there by
/// ssh, over a socket of the folder that both have, and may become root.
struct Control<'a> {
    machine: &'a Machine,
    files: PathBuf,
}

impl Control<'_> {
    fn of(machine: &Machine) -> Control<'_> {
        let files = machine.dir().join("control");
        fs::create_dir(&files).expect("a folder");
        let key = files.join("key").display().to_string();
        let made = ["ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-f", &key];
        machine.beside("trixie", &made).ended(0);
        machine.ok(&["useradd", "--create-home", "--shell=/bin/sh", "admin"]);
        machine.write("/etc/sudoers.d/admin", "admin ALL=(ALL) NOPASSWD: ALL\n");
        let public = fs::read(files.join("key.pub")).expect("its public half");
        machine.write("/home/admin/.ssh/authorized_keys", public);
        machine.ok(&["chown", "--recursive", "admin:", "/home/admin/.ssh"]);
        machine.write(
            "/etc/systemd/system/control.socket",
            "[Socket]\nListenStream=/var/lib/docker/control.socket\nAccept=yes\n",
        );
        machine.write(
            "/etc/systemd/system/control@.service",
            "[Service]\nExecStart=-/usr/sbin/sshd -i\nStandardInput=socket\nRuntimeDirectory=sshd\n\
             RuntimeDirectoryPreserve=yes\n",
        );
        machine.ok(&["systemctl", "daemon-reload"]);
        machine.ok(&["systemctl", "start", "control.socket"]);
        let socket = machine.dir().join("data/control.socket");
        let inventory = format!(
            "[docker]\nshop.example ansible_user=admin ansible_ssh_private_key_file={key} \
             ansible_ssh_common_args='-o ProxyCommand=\"nc -U {}\" -o StrictHostKeyChecking=no'\n",
            socket.display()
        );
        fs::write(files.join("inventory"), inventory).expect("the inventory");
        Control { machine, files }
    }

    fn plays(&self, play: &str) -> Said {
        fs::write(self.files.join("play.yml"), play).expect("the play");
        let [inventory, play] = ["inventory", "play.yml"].map(|name| self.files.join(name));
        let [inventory, play] = [inventory, play].map(|path| path.display().to_string());
        let command = ["ansible-playbook", "--inventory", &inventory, &play];
        // Quicker: no task needs facts of the host, and fewer connections will do.
        let settings = [
            "env",
            "ANSIBLE_GATHERING=explicit",
            "ANSIBLE_PIPELINING=true",
        ];
        let command = [&settings[..], &command].concat();
        self.machine.beside("trixie", &command)
    }
}

#[test]
#[ignore = "needs the lab: run tests/run"]
fn the_play_of_the_page_installs_what_it_says() {
    let machine = Machine::boot(None);
    let control = Control::of(&machine);
    fs::copy(package(), control.files.join("secateur.deb")).expect("the package");
    let policy = |age: &str| {
        let text = format!("[age]\nmin_age = \"{age}\"\n");
        fs::write(control.files.join("policy.toml"), text).expect("a policy");
    };
    let play = &page::of("fleet.md", "Same package", "yaml")[0].text;
    policy("30d");
    let said = control.plays(play).ended(0);
    assert!(said.stdout.contains("changed=4"), "{said:?}");
    machine.ok(&[
        "systemctl",
        "is-active",
        "secateur.timer",
        "secateur-verify.timer",
    ]);
    // All is as it says already, but for the policy, which is none.
    policy("soon");
    let said = control.plays(play).ended(2);
    for words in ["\"exit_status\": 78", "ok=2", "changed=0"] {
        assert!(said.stdout.contains(words), "{said:?}");
    }
    policy("7d");
    machine.ok(&["systemctl", "stop", "docker.socket", "docker.service"]);
    let said = control.plays(play).ended(2);
    assert!(said.stdout.contains("\"exit_status\": 69"), "{said:?}");
    assert!(machine.read(POLICY).contains("30d"));
}

#[test]
#[ignore = "needs the lab: run tests/run"]
fn the_manual_and_the_completions_are_found_where_they_are_installed() {
    let machine = Machine::boot(None);
    install(&machine);
    let pages = machine.ok(&["man", "-w", "secateur", "secateur-policy"]);
    assert_eq!(pages.lines().count(), 2, "{pages}");
    let loader = "source /usr/share/bash-completion/bash_completion
        _completion_loader secateur || [ $? -eq 124 ]
        COMP_WORDS=(secateur pl) COMP_CWORD=1 COMP_LINE='secateur pl' COMP_POINT=11
        $(complete -p secateur | sed 's/.*-F \\([^ ]*\\).*/\\1/') secateur pl secateur
        echo \"${COMPREPLY[@]}\"";
    assert_eq!(machine.ok(&["bash", "-c", loader]), "plan");
    let offered = machine.ok(&["fish", "-c", "complete -C 'secateur pl'"]);
    assert!(offered.starts_with("plan\t"), "{offered}");
}

#[test]
#[ignore = "needs the lab: run tests/run"]
fn every_link_in_the_packaged_documents_leads_to_a_packaged_file() {
    let dir = tempfile::tempdir().expect("a folder");
    let unpacked = Command::new("dpkg-deb")
        .arg("--extract")
        .args([package(), dir.path()])
        .status();
    assert!(unpacked.expect("dpkg-deb").success());
    let docs = dir.path().join("usr/share/doc/secateur");
    let (mut folders, mut links) = (vec![docs], 0);
    while let Some(folder) = folders.pop() {
        for entry in fs::read_dir(&folder).expect("a folder").flatten() {
            let path = entry.path();
            if path.is_dir() {
                folders.push(path);
                continue;
            }
            if path.extension().is_none_or(|end| end != "md") {
                continue;
            }
            let text = fs::read_to_string(&path).expect("a text");
            for target in text.split("](").skip(1) {
                let target = target.split([')', '#']).next().expect("a target");
                if !target.starts_with("http") {
                    assert!(folder.join(target).exists(), "{path:?}: {target}");
                    links += 1;
                }
            }
        }
    }
    assert!(links > 20, "only {links} links");
}

#[test]
#[ignore = "needs the lab: run tests/run"]
fn the_unit_sees_every_lock_that_a_policy_may_name() {
    let machine = Machine::boot(None);
    install(&machine);
    timers_wait(&machine);
    eager(&machine);
    machine.ok(&["useradd", "--create-home", "deployer"]);
    machine.ok(&["chmod", "755", "/home/deployer"]);
    let policy = machine.read(POLICY);
    let locks = [
        ("/tmp/deploy.lock", "exists"),
        ("/var/tmp/deploy.lock", "flock"),
        ("/home/deployer/.kamal/lock-*", "exists"),
        ("/run/lock/deploy.lock", "flock"),
        ("/dev/shm/deploy.lock", "exists"),
    ];
    for (path, kind) in locks {
        let lock = format!("\n[[guard.lock]]\npath = \"{path}\"\nkind = \"{kind}\"\n");
        machine.write(POLICY, format!("{policy}{lock}"));
        assert_eq!(
            start(&machine, "secateur.service"),
            ends("0", "inactive"),
            "{path} is free: {}",
            machine.journal("secateur.service")
        );
        let path = path.replace('*', "app");
        let folder = Path::new(&path).parent().expect("a folder");
        let folder = folder.to_str().expect("UTF-8");
        machine.ok(&["mkdir", "--parents", folder]);
        machine.ok(&["touch", &path]);
        machine.ok(&["chown", "deployer", &path]);
        if kind == "flock" {
            deploy(&machine, &path);
        }
        let beside = start(&machine, "secateur.service");
        let said = machine.journal("secateur.service");
        assert_eq!(beside, ends("75", "inactive"), "{path}: {said}");
        assert!(said.contains(&path), "{path}: {said}");
        if kind == "flock" {
            deployed(&machine);
        }
    }
    // What its restrictions hide is no free lock, with a drop-in of the admin's own.
    machine.write(
        "/etc/systemd/system/secateur.service.d/tmp.conf",
        "[Service]\nPrivateTmp=yes\n",
    );
    machine.ok(&["systemctl", "daemon-reload"]);
    let (path, kind) = locks[0];
    let lock = format!("\n[[guard.lock]]\npath = \"{path}\"\nkind = \"{kind}\"\n");
    machine.write(POLICY, format!("{policy}{lock}"));
    let hidden = start(&machine, "secateur.service");
    let said = machine.journal("secateur.service");
    assert_eq!(hidden, ends("75", "inactive"), "{said}");
    assert!(said.contains("PrivateTmp="), "{said}");
    // Nor is what it may not look into.
    machine.ok(&["chmod", "700", "/home/deployer"]);
    let lock = "\n[[guard.lock]]\npath = \"/home/deployer/deploy.lock\"\nkind = \"exists\"\n";
    machine.write(POLICY, format!("{policy}{lock}"));
    let hidden = start(&machine, "secateur.service");
    let said = machine.journal("secateur.service");
    assert_eq!(hidden, ends("75", "inactive"), "{said}");
    let drop_in = drop_in_of_the_page("CAP_DAC_READ_SEARCH");
    for (name, section) in [
        ("deploy-lock.md", "Kamal"),
        ("refusals.md", "signs-unreadable"),
    ] {
        assert_eq!(page::of(name, section, "")[0].text, drop_in, "{name}");
    }
    machine.write("/etc/systemd/system/secateur.service.d/homes.conf", drop_in);
    machine.ok(&["systemctl", "daemon-reload"]);
    let shown = start(&machine, "secateur.service");
    let said = machine.journal("secateur.service");
    assert_eq!(shown, ends("0", "inactive"), "{said}");
}

/// Starts the unit, which says that there is no engine, and fails.
fn not_running(machine: &Machine, service: &str) {
    let ended = machine.run(&["systemctl", "start", service]);
    let said = machine.journal(service);
    assert_ne!(ended.code, 0, "{said}");
    assert!(said.contains("docker.service is not running"), "{said}");
    assert!(said.contains("status=69/"), "{said}");
}

#[test]
#[ignore = "needs the lab: run tests/run"]
fn a_unit_fails_where_a_person_must_look_and_alarms() {
    let machine = Machine::boot(None);
    install(&machine);
    timers_wait(&machine);
    machine.ok(&["useradd", "deployer"]);
    alarm(&machine);
    let policy = machine.read(POLICY);

    machine.write(POLICY, format!("{policy}\n[limit]\n"));
    let wrong = start(&machine, "secateur.service");
    let said = machine.journal("secateur.service");
    assert_eq!(wrong, ends("78", "failed"), "{said}");
    assert!(said.contains("limits"), "names the nearest key: {said}");
    alarmed(&machine, "secateur.service");

    // A deploy of the policy that failed: the built-in one keeps less.
    machine.ok(&["rm", POLICY]);
    for service in ["secateur.service", "secateur-verify.service"] {
        let gone = start(&machine, service);
        let said = machine.journal(service);
        assert_eq!(gone, ends("78", "failed"), "{said}");
        assert!(said.contains("it is not there"), "{said}");
    }

    // A deploy that never ends.
    machine.write(
        POLICY,
        policy.replace("alert_after = \"6h\"", "alert_after = \"1s\""),
    );
    deploy(&machine, LOCK);
    wait_until("the lock is held for too long", || {
        let state = start(&machine, "secateur.service");
        (state == ends("65", "failed")).then_some(())
    });
    alarmed(&machine, "secateur.service");
    deployed(&machine);

    // Who stopped the engine wants it stopped, and its socket would start it.
    machine.write(POLICY, &policy);
    machine.ok(&["systemctl", "stop", "docker.service"]);
    for service in ["secateur.service", "secateur-verify.service"] {
        not_running(&machine, service);
    }
    for service in ["secateur.service", "secateur-verify.service"] {
        alarmed(&machine, service);
    }
    assert_eq!(machine.property("docker.socket", "ActiveState"), "active");
    assert_eq!(
        machine.property("docker.service", "ActiveState"),
        "inactive"
    );

    // An engine that is another unit, and a drop-in that says so.
    let other = "unix:///run/other.sock";
    machine.ok(&["systemctl", "stop", "docker.socket"]);
    machine.ok(&["systemd-run", "--quiet", "dockerd", "--host", other]);
    wait_until("the other engine answers", || {
        let info = machine.run(&["docker", "--host", other, "info"]);
        (info.code == 0).then_some(())
    });
    let drop_in = drop_in_of_the_page(other);
    machine.ok(&["rm", LOCK]);
    for service in ["secateur.service", "secateur-verify.service"] {
        let path = format!("/etc/systemd/system/{service}.d/other.conf");
        machine.write(&path, &drop_in);
        machine.ok(&["systemctl", "daemon-reload"]);
        let ended = start(&machine, service);
        let said = machine.journal(service);
        assert_eq!(ended, ends("0", "inactive"), "{said}");
    }
    // The drop-in does not take the lock's own line away.
    assert!(machine.path(LOCK).exists());
}

/// A registry on the machine's own loopback, with one user and a password.
fn registry(machine: &Machine) {
    // "right-1", for the user gardener (htpasswd -B).
    let line = "gardener:$2y$05$Q0oSeW26KV.HfIs/2P1/eeIY2.QeT5EnW6a8PopKlE8.l.ntRyZeu\n";
    machine.write("/etc/docker/registry/htpasswd", line);
    let config = machine.read("/etc/docker/registry/config.yml");
    let config = config.replace(
        "path: /etc/docker/registry\n",
        "path: /etc/docker/registry/htpasswd\n",
    );
    machine.write("/etc/docker/registry/config.yml", config);
    machine.ok(&["systemctl", "restart", "docker-registry"]);
    wait_until("the registry answers", || {
        let login = [
            "docker", "login", "-u", "gardener", "-p", "right-1", REGISTRY,
        ];
        (machine.run(&login).code == 0).then_some(())
    });
}

#[test]
#[ignore = "needs the lab: run tests/run"]
fn the_verify_unit_holds_a_host_to_its_promises_and_alarms_when_one_breaks() {
    let machine = Machine::boot(None);
    install(&machine);
    timers_wait(&machine);
    alarm(&machine);
    registry(&machine);
    let name = format!("{REGISTRY}/app:1");
    import(&machine, &name, b"app");
    machine.ok(&["docker", "push", "--quiet", &name]);
    let policy = machine.read(POLICY);
    let promise = |images: &str| {
        let policy = policy.rsplit_once("images = []").expect("[cache] is last");
        machine.write(
            POLICY,
            format!("{}images = [{images}]{}", policy.0, policy.1),
        );
    };
    let verify = || {
        let ended = start(&machine, "secateur-verify.service");
        (ended, machine.journal("secateur-verify.service"))
    };

    // With the credentials that root logged in with, which it reads without being root.
    promise(&format!("\"{name}\""));
    let (ended, said) = verify();
    assert_eq!(ended, ends("0", "inactive"), "{said}");
    assert!(said.contains("held: 1 of 1"), "{said}");
    let metrics = machine.read("/run/secateur/metrics/verify.prom");
    let held = "secateur_cache_images{status=\"ok\"} 1";
    assert!(metrics.contains(held), "{metrics}");

    // With somebody else's, from a home that it may not enter.
    machine.ok(&["useradd", "--create-home", "deploy"]);
    machine.ok(&["chmod", "700", "/home/deploy"]);
    machine.ok(&["mv", "/root/.docker", "/home/deploy/.docker"]);
    machine.write(
        "/etc/systemd/system/secateur-verify.service.d/deploy.conf",
        drop_in_of_the_page("LoadCredential"),
    );
    machine.ok(&["systemctl", "daemon-reload"]);
    let (ended, said) = verify();
    assert_eq!(ended, ends("0", "inactive"), "{said}");

    machine.write("/etc/docker/registry/htpasswd", "somebody:else\n");
    machine.ok(&["systemctl", "restart", "docker-registry"]);
    wait_until("the registry answers again", || {
        (verify().0 == ends("1", "failed")).then_some(())
    });
    let (ended, said) = verify();
    assert_eq!(ended, ends("1", "failed"), "{said}");
    assert!(said.contains("refuses the credentials"), "{said}");
    alarmed(&machine, "secateur-verify.service");

    // Without any: a private registry wants some, and that is said.
    machine.ok(&["rm", "-r", "/home/deploy/.docker"]);
    let (ended, said) = verify();
    assert_eq!(ended, ends("1", "failed"), "{said}");
    assert!(said.contains("no credentials found"), "{said}");

    // An image that went.
    promise("\"gone:1\"");
    let (ended, said) = verify();
    assert_eq!(ended, ends("1", "failed"), "{said}");
    assert!(said.contains("gone:1"), "{said}");
    alarmed(&machine, "secateur-verify.service");

    // A registry that takes connections and never answers: the report comes all the same.
    let silent = "127.0.0.1:5001";
    let listen = format!("--socket-property=ListenStream={silent}");
    machine.ok(&[
        "systemd-run",
        "--quiet",
        "--unit=silent",
        &listen,
        "sleep",
        "infinity",
    ]);
    promise(&format!(
        "\"{silent}/app:1\", \"{silent}/app:2\", \"{name}\""
    ));
    let (ended, said) = verify();
    assert_eq!(ended, ends("1", "failed"), "{said}");
    let result = machine.property("secateur-verify.service", "Result");
    assert_eq!(result, "exit-code", "not its time limit");
    for words in ["no answer within 20 s", &name] {
        assert!(said.contains(words), "{words}: {said}");
    }
    let metrics = machine.read("/run/secateur/metrics/verify.prom");
    let ended = "\nsecateur_cache_last_run_exit_code 1\n";
    assert!(metrics.contains(ended), "{metrics}");
    let unknown = "secateur_cache_checks{check=\"authenticated\",status=\"unknown\"} 2";
    assert!(metrics.contains(unknown), "{metrics}");
    alarmed(&machine, "secateur-verify.service");

    // It left nothing: its user and its folder were for the run.
    assert_ne!(machine.run(&["id", "secateur-verify"]).code, 0);
    assert!(!machine.path("/run/secateur-verify").exists());
}

#[test]
#[ignore = "needs the lab: run tests/run"]
fn with_the_drop_ins_of_the_page_what_is_promised_comes_back_after_a_prune() {
    let machine = Machine::boot(None);
    install(&machine);
    timers_wait(&machine);
    registry(&machine);
    let name = format!("{REGISTRY}/app:1");
    import(&machine, &name, b"app");
    machine.ok(&["docker", "push", "--quiet", &name]);
    let promise = format!("images = [\"{name}\"]");
    let policy = machine.read(POLICY);
    let (before, after) = policy.rsplit_once("images = []").expect("[cache] is last");
    // The disk and the processors of whoever runs this are not looked at.
    let policy = format!("{before}{promise}{after}")
        .replace("start_above_percent = 85", "start_above_percent = 0")
        .replace("stop_below_percent = 75", "stop_below_percent = 0")
        .replace("max_cpu_pressure = 20", "max_cpu_pressure = 100");
    machine.write(POLICY, policy);
    let blocks = page::of("cache.md", "First boot, and after each prune", "");
    types(&machine, &blocks.first().expect("its commands").text);

    machine.ok(&["docker", "rmi", &name]);
    assert_eq!(images(&machine), "");
    let (ended, said) = (start(&machine, "secateur.service"), || {
        machine.journal("secateur-verify.service")
    });
    assert_eq!(ended, ends("0", "inactive"));
    let back = || {
        let list = machine.ok(&["docker", "images", "--format", "{{.Repository}}:{{.Tag}}"]);
        (list == name).then_some(())
    };
    wait_until("the image is back", back);
    wait_until("the unit ended", || {
        (machine.property("secateur-verify.service", "ActiveState") == "inactive").then_some(())
    });
    assert!(said().contains("held: 1 of 1"), "{}", said());
    let journal = machine.read("/var/lib/secateur/journal.jsonl");
    assert!(journal.contains("\"event\":\"restored\""), "{journal}");
}

/// When this unit last ran to its end since the boot, if it did.
fn ended_at(machine: &Machine, unit: &str) -> Option<u64> {
    let time = machine.property(unit, "ExecMainExitTimestampMonotonic");
    time.parse().ok().filter(|time| *time > 0)
}

/// How long a timer that counts from the boot waits, from its own start.
fn after_boot(machine: &Machine, timer: &str) -> std::time::Duration {
    let of = |property: &str| -> u64 {
        let path = format!(
            "/org/freedesktop/systemd1/unit/{}",
            timer.replace('-', "_2d").replace('.', "_2e")
        );
        let interface = match property {
            "ActiveEnterTimestampMonotonic" => "org.freedesktop.systemd1.Unit",
            _ => "org.freedesktop.systemd1.Timer",
        };
        let get = ["busctl", "get-property", "org.freedesktop.systemd1"];
        let said = machine.ok(&[&get[..], &[&path, interface, property]].concat());
        let number = said.strip_prefix("t ").expect("a number");
        number.parse().expect("a number")
    };
    let next = of("NextElapseUSecMonotonic") - of("ActiveEnterTimestampMonotonic");
    std::time::Duration::from_micros(next)
}

#[test]
#[ignore = "needs the lab: run tests/run"]
fn the_timers_fire_and_go_on_after_a_reboot() {
    let mut machine = Machine::boot(None);
    install(&machine);
    for (timer, wanted) in [
        ("secateur.timer", "OnCalendar=*-*-* *:00:00"),
        ("secateur-verify.timer", "OnCalendar=*-*-* 00:00:00"),
    ] {
        machine.ok(&["systemctl", "enable", "--now", timer]);
        assert_eq!(machine.property(timer, "Persistent"), "yes");
        let calendar = machine.property(timer, "TimersCalendar");
        assert!(calendar.contains(wanted), "{calendar}");
        let listed = machine.ok(&["systemctl", "list-timers"]);
        assert!(listed.contains(timer), "{listed}");
    }
    let boot = machine.property("secateur-verify.timer", "TimersMonotonic");
    assert!(boot.contains("OnActiveUSec=5min"), "{boot}");
    assert_eq!(
        machine.property("secateur.timer", "UnitFileState"),
        "enabled"
    );

    // As shipped, but for the waiting.
    let now = "[Timer]\nRandomizedDelaySec=0\nAccuracySec=1ms\n";
    machine.write(
        "/etc/systemd/system/secateur.timer.d/now.conf",
        format!("{now}OnActiveSec=1ms\n"),
    );
    machine.ok(&["systemctl", "daemon-reload"]);
    machine.ok(&["systemctl", "restart", "secateur.timer"]);
    wait_until("the timer fires", || ended_at(&machine, "secateur.service"));
    assert_eq!(machine.property("secateur.service", "Result"), "success");

    // Off for years: what was missed is done at once, and only by that.
    let stamp = "var/lib/systemd/timers/stamp-secateur.timer";
    machine.write("/etc/systemd/system/secateur.timer.d/now.conf", now);
    machine.reboot(|files| {
        let stamp = fs::File::options().write(true).open(files.join(stamp));
        // Not 1970, which systemd reads as "never".
        let long_ago = std::time::SystemTime::UNIX_EPOCH + std::time::Duration::from_hours(400_000);
        stamp
            .expect("the stamp")
            .set_modified(long_ago)
            .expect("a date");
    });
    // Verify waits for the host's own services: as shipped, for 5 to 35 minutes.
    let waits = after_boot(&machine, "secateur-verify.timer");
    let minutes = |count| std::time::Duration::from_mins(count);
    assert!(waits >= minutes(5) && waits <= minutes(35), "{waits:?}");
    machine.write(
        "/etc/systemd/system/secateur-verify.timer.d/now.conf",
        format!("{now}OnActiveSec=1ms\n"),
    );
    machine.ok(&["systemctl", "daemon-reload"]);
    machine.ok(&["systemctl", "restart", "secateur-verify.timer"]);
    for unit in ["secateur.service", "secateur-verify.service"] {
        wait_until("the unit runs after the boot", || ended_at(&machine, unit));
        let said = machine.journal(unit);
        assert_eq!(machine.property(unit, "Result"), "success", "{said}");
    }
    let lock = machine.ok(&["stat", "--format=%U:%G %a", LOCK]);
    assert_eq!(lock, "root:docker 660");
    // It remembers what it saw before.
    let ledger = machine.ok(&["sh", "-c", "cat /var/lib/secateur/ledger-*.json"]);
    assert!(ledger.contains("boot_id"), "{ledger}");
}

/// Files with the package's name in theirs, but for the records of dpkg and apt.
fn traces(machine: &Machine) -> String {
    machine.ok(&[
        "find",
        "/",
        "-xdev",
        "-name",
        "*secateur*",
        "-not",
        "-path",
        "/var/log/*",
        "-not",
        "-path",
        "/root/*",
        "-not",
        "-path",
        "/var/lib/dpkg/*",
    ])
}

/// The same package, later, with another policy in it.
fn newer(machine: &Machine) {
    machine.ok(&[
        "sh",
        "-ec",
        "dpkg-deb --raw-extract /root/secateur.deb /root/newer
         sed -i 's/^Version: .*/Version: 99/' /root/newer/DEBIAN/control
         sed -i 's/min_age = \"14d\"/min_age = \"15d\"/' /root/newer/etc/secateur/policy.toml
         rm -f /root/newer/DEBIAN/md5sums
         dpkg-deb -Znone --build /root/newer /root/secateur_99_amd64.deb",
    ]);
}

#[test]
#[ignore = "needs the lab: run tests/run"]
fn the_package_keeps_the_admins_policy_and_leaves_nothing_when_purged() {
    let machine = Machine::boot(None);
    let before = traces(&machine);
    assert_eq!(before, "");
    install(&machine);
    assert_eq!(
        machine
            .run(&["systemctl", "is-enabled", "secateur.timer"])
            .stdout
            .trim(),
        "disabled"
    );
    machine.ok(&["systemctl", "enable", "--now", "secateur.timer"]);
    machine.ok(&["systemctl", "start", "secateur.service"]);
    assert!(machine.path("/var/lib/secateur/ledger.json").exists());

    // An upgrade, once the admin has changed the policy.
    let mine = format!("{}\n# mine\n", machine.read(POLICY).replace("14d", "30d"));
    machine.write(POLICY, &mine);
    newer(&machine);
    // Asked, Enter keeps it; with nobody to ask, the line of the page does.
    let enter = "echo | apt-get install ./secateur_99_amd64.deb";
    let asked = types(&machine, enter);
    assert!(asked.contains("default action is to keep"), "{asked}");
    assert_eq!(machine.read(POLICY), mine);
    machine.ok(&["rm", &format!("{POLICY}.dpkg-dist")]);
    types(
        &machine,
        "dpkg --install --force-downgrade --force-confold secateur.deb",
    );
    types(&machine, &page::of("operating.md", "Upgrade", "")[0].text);
    assert_eq!(machine.read(POLICY), mine);
    let theirs = machine.read(&format!("{POLICY}.dpkg-dist"));
    assert!(theirs.contains("15d"), "{theirs}");
    for question in ["is-enabled", "is-active"] {
        machine.ok(&["systemctl", question, "secateur.timer"]);
    }
    assert_eq!(machine.property("secateur.timer", "NeedDaemonReload"), "no");

    // Removed: nothing runs, and what the admin wrote is there for another time.
    machine.ok(&["apt-get", "remove", "--yes", "secateur"]);
    assert_ne!(
        machine
            .run(&["systemctl", "is-active", "secateur.timer"])
            .code,
        0
    );
    assert_eq!(machine.read(POLICY), mine);
    assert!(machine.path("/var/lib/secateur/ledger.json").exists());
    // Installed again: as it was.
    machine.ok(&["apt-get", "install", "--yes", "/root/secateur_99_amd64.deb"]);
    machine.ok(&["systemctl", "is-enabled", "secateur.timer"]);
    assert_eq!(machine.read(POLICY), mine);

    // A deploy under way keeps its lock, and the next ones find the same.
    machine.ok(&["useradd", "deployer"]);
    let inode = ["stat", "--format=%i", LOCK];
    let lock = machine.ok(&inode);
    deploy(&machine, LOCK);
    machine.ok(&["apt-get", "purge", "--yes", "secateur"]);
    assert_eq!(machine.ok(&inode), lock);
    machine.run(&["flock", "--nonblock", LOCK, "true"]).ended(1);
    machine.ok(&["flock", "--shared", LOCK, "true"]);
    deployed(&machine);
    assert_eq!(traces(&machine), before);
    assert!(!machine.path("/etc/secateur").exists());
    assert!(!machine.path("/run/secateur/metrics").exists());
}

#[test]
#[ignore = "needs the lab: run tests/run"]
fn a_host_without_docker_is_told_so_and_one_that_gets_it_later_has_its_lock() {
    let machine = Machine::boot(None);
    let docker = ["docker.socket", "docker.service"];
    for unit in docker {
        let path = format!("/lib/systemd/system/{unit}");
        machine.ok(&["systemctl", "stop", unit]);
        machine.ok(&["mv", &path, "/root"]);
    }
    machine.ok(&["systemctl", "daemon-reload"]);
    machine.ok(&["groupmod", "--new-name", "away", "docker"]);
    install(&machine);
    not_running(&machine, "secateur.service");
    let by_hand = machine.run(&["secateur", "plan"]).ended(69);
    assert!(by_hand.stderr.contains("docker.sock"), "{by_hand:?}");

    machine.ok(&["groupmod", "--new-name", "docker", "away"]);
    for unit in docker {
        let path = format!("/root/{unit}");
        machine.ok(&["mv", &path, "/lib/systemd/system"]);
    }
    machine.ok(&["systemctl", "daemon-reload"]);
    machine.ok(&["systemctl", "start", docker[0], docker[1]]);
    machine.ok(&["systemctl", "start", "secateur.service"]);
    let lock = machine.ok(&["stat", "--format=%U:%G %a", LOCK]);
    assert_eq!(lock, "root:docker 660");
    machine.ok(&["systemctl", "start", "secateur-verify.service"]);
}

#[test]
#[ignore = "needs the lab: run tests/run"]
fn the_units_are_sound_and_expose_little() {
    let machine = Machine::boot(None);
    install(&machine);
    let units = UNITS.map(|unit| format!("/usr/lib/systemd/system/{unit}"));
    let mut verify = vec!["systemd-analyze", "verify"];
    verify.extend(units.iter().map(String::as_str));
    let said = machine.run(&verify).ended(0);
    assert_eq!((said.stdout.as_str(), said.stderr.as_str()), ("", ""));
    for service in ["secateur.service", "secateur-verify.service"] {
        // 10 is an exposure of 1.0; above it the command fails.
        let security = [
            "systemd-analyze",
            "security",
            "--no-pager",
            "--threshold=10",
            service,
        ];
        let said = machine.run(&security);
        assert_eq!(said.code, 0, "{}", said.stdout);
    }
}

#[test]
#[ignore = "needs the lab: run tests/run"]
fn the_units_may_write_their_metrics_and_nothing_else() {
    let machine = Machine::boot(None);
    install(&machine);
    timers_wait(&machine);
    for service in ["secateur.service", "secateur-verify.service"] {
        let tries = |command: &str| {
            machine.write(
                &format!("/etc/systemd/system/{service}.d/try.conf"),
                format!("[Service]\nExecStart=\nExecStart=/bin/sh -c '{command}'\n"),
            );
            machine.ok(&["systemctl", "daemon-reload"]);
            start(&machine, service).0
        };
        // As a file that is written beside and renamed.
        let metrics = "touch $$SECATEUR_METRICS.new; mv $$SECATEUR_METRICS.new $$SECATEUR_METRICS";
        assert_eq!(tries(metrics), "0", "{}", machine.journal(service));
        for path in [
            "/etc/secateur",
            "/var/lib/docker",
            "/root",
            "/home",
            "/tmp",
            "/usr",
            "/var/log",
        ] {
            // What it has of its own under that name goes with it.
            tries(&format!("touch {path}/written"));
            assert!(
                !machine.path(path).join("written").exists(),
                "{service}: {path}"
            );
        }
    }
    let metrics = machine.ok(&["ls", "/run/secateur/metrics"]);
    assert_eq!(metrics, "prune.prom\nverify.prom");
}

#[test]
#[ignore = "needs the lab: run tests/run"]
fn prune_may_run_as_a_dynamic_user_whose_memory_is_its_own() {
    let machine = Machine::boot(None);
    install(&machine);
    timers_wait(&machine);
    let drop_in = "[Service]\nUser=\nDynamicUser=yes\nSupplementaryGroups=docker\n\
        CapabilityBoundingSet=CAP_DAC_READ_SEARCH\nAmbientCapabilities=CAP_DAC_READ_SEARCH\n";
    machine.write("/etc/systemd/system/secateur.service.d/user.conf", drop_in);
    machine.ok(&["systemctl", "daemon-reload"]);
    // systemd puts the folder elsewhere, and a link in its place.
    for _ in 0..2 {
        let ended = start(&machine, "secateur.service");
        let said = machine.journal("secateur.service");
        assert_eq!(ended, ends("0", "inactive"), "{said}");
    }
    let state = machine.ok(&["readlink", "/var/lib/secateur"]);
    assert_eq!(state, "private/secateur");
    let sign = "/var/lib/docker/tmp/GetImageBlob1";
    machine.write(sign, "half a layer");
    let beside = start(&machine, "secateur.service");
    let said = machine.journal("secateur.service");
    assert_eq!(beside, ends("75", "inactive"), "{said}");
    // What another user may write, root does not believe.
    let by_hand = machine.run(&["secateur", "prune"]).ended(77);
    assert!(by_hand.stderr.contains("refusing to trust"), "{by_hand:?}");
    machine.ok(&["apt-get", "purge", "--yes", "secateur"]);
    assert!(!machine.path("/var/lib/private/secateur").exists());
}

#[test]
#[ignore = "needs the lab: run tests/run"]
fn the_package_has_nothing_that_lintian_finds_fault_with() {
    let output = Command::new("lintian")
        .args(["--allow-root", "--fail-on=error,warning"])
        .arg(package())
        .output()
        .expect("lintian");
    let said = String::from_utf8_lossy(&output.stdout);
    assert!(output.status.success(), "{said}");
}
