//! An archive on a network file system: sshfs, whose server is a program beside it. Its locks
//! are those of one machine.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};

use super::layout::Layout;
use super::{MIB, Saving, saved};
use crate::lab::image::Archive;
use crate::lab::{Engine, Kind, wait_until};
use crate::support::scene::Running;
use crate::support::{CALM, EAGER, Secateur, executable};

/// A folder that is mounted elsewhere as another machine would. It ends with the test,
/// whatever ends that: the shell's input does.
struct Mount {
    at: PathBuf,
    shell: Child,
}

impl Mount {
    fn of(folder: &Path, at: &Path) -> Mount {
        fs::create_dir_all(folder).expect("a folder");
        fs::create_dir_all(at).expect("a folder");
        let server = at.with_extension("server");
        let script = "#!/bin/sh\necho $$ > \"$0.pid\"\nexec /usr/lib/openssh/sftp-server\n";
        executable(&server, script);
        // docs/archive.md says why: else a mount keeps the size of a file that another replaced.
        let fresh = "dir_cache=no,attr_timeout=0,entry_timeout=0";
        let mount = format!(
            "sshfs -f -o {fresh} -o ssh_command=\"$0\" there:\"$1\" \"$2\" & \
             read -r _; umount -l \"$2\""
        );
        let shell = Command::new("sh")
            .args(["-c", &mount])
            .args([&server, folder, at])
            .stdin(Stdio::piped())
            .spawn()
            .expect("sh");
        let mount = Mount {
            at: at.to_owned(),
            shell,
        };
        wait_until("sshfs", || {
            let mounts = fs::read_to_string("/proc/mounts").expect("mounts");
            mounts
                .contains(&format!(" {} fuse.sshfs", at.display()))
                .then_some(())
        });
        mount
    }

    /// Ends the server, and with it the connection.
    fn cut(&self) {
        let pid = self.at.with_extension("server.pid");
        let pid = fs::read_to_string(pid).expect("the server's pid");
        let killed = Command::new("kill").args(["-9", pid.trim()]).status();
        assert!(killed.expect("kill").success());
    }
}

impl Drop for Mount {
    fn drop(&mut self) {
        drop(self.shell.stdin.take());
        let _ = self.shell.wait();
    }
}

fn start(saving: &Saving) -> Running {
    let save = ["verify-cache", "--save", "--format", "json"];
    Running::of(&mut saving.secateur.command(&save))
}

#[test]
#[ignore = "needs the lab: run tests/run"]
fn an_archive_over_sshfs_is_whole_when_the_connection_ends_in_mid_save() {
    let engine = Engine::start(Kind::Overlay28);
    engine.load(&Archive::new().noise(1000).tag("one:1"));
    engine.load(&Archive::new().noise(64 * MIB).tag("large:1"));
    let mut saving = Saving::on(&engine);
    let there = saving.secateur.dir().join("there");
    let at = saving.secateur.dir().join("mounted");
    let mount = Mount::of(&there, &at);
    saving.folder = at.clone();
    saving.promise(&["one:1"]);
    assert_eq!(saving.blobs(), 4);
    saving.promise(&["one:1", "large:1"]);
    let run = start(&saving);
    let blobs = there.join("blobs/sha256");
    wait_until("a part of the layer is there", || {
        let files = fs::read_dir(&blobs).expect("blobs").flatten();
        let mut sizes = files
            .filter_map(|file| file.metadata().ok())
            .map(|it| it.len());
        sizes.any(|size| size > MIB as u64).then_some(())
    });
    mount.cut();
    let ran = run.done();
    assert_ne!(ran.code, 0, "{ran:?}");
    let left = Layout::read(&there);
    assert_eq!(left.names(), ["docker.io/library/one:1"]);
    drop(mount);
    let _mount = Mount::of(&there, &at);
    let report = saving.save().ended(0).json();
    assert_eq!(saved(&report, "one:1")["blobs_written"], 0, "{report:#}");
    assert_eq!(Layout::read(&there).names().len(), 2);
    let drafts = fs::read_dir(&blobs).expect("blobs").flatten();
    let drafts = drafts.filter(|file| file.file_name().as_encoded_bytes()[0] == b'.');
    assert_eq!(drafts.count(), 0);

    let other = Engine::start(Kind::Containerd28);
    let calm = format!("{EAGER}{CALM}");
    let restoring = Secateur::at(&other.host(), &calm);
    let folder = at.display().to_string();
    let restore = [
        "verify-cache",
        "--restore",
        "--archive",
        &folder,
        "one:1",
        "large:1",
    ];
    // The containerd store makes up a digest, and no registry answers for it.
    restoring.run(&restore);
    assert!(other.has("one:1") && other.has("large:1"));
}

#[test]
#[ignore = "needs the lab: run tests/run"]
fn two_hosts_that_save_over_sshfs_leave_a_valid_archive_and_one_may_have_to_come_again() {
    let engine = Engine::start(Kind::Overlay28);
    let names = ["app:1", "web:1"];
    for name in names {
        engine.load(&Archive::new().noise(4 * MIB).tag(name));
    }
    let mut hosts = names.map(|_| Saving::on(&engine));
    let there = hosts[0].secateur.dir().join("there");
    let mounts = [0, 1].map(|n| {
        let at = hosts[n].secateur.dir().join("mounted");
        let mount = Mount::of(&there, &at);
        hosts[n].folder = at;
        hosts[n].promise(&[names[n]]);
        mount
    });
    let ran = [0, 1].map(|n| start(&hosts[n])).map(Running::done);
    println!("{} and {}", ran[0].code, ran[1].code);
    // Neither waits for the other, and one may take the other's draft for a leftover.
    Layout::read(&there);
    for host in &hosts {
        host.save().ended(0);
        Layout::read(&there);
    }
    assert_eq!(Layout::read(&there).names().len(), 2);
    // On one machine, they wait.
    let both = [0, 1].map(|_| start(&hosts[0])).map(Running::done);
    assert_eq!(both.map(|ran| ran.code), [0, 0]);
    drop(mounts);
}
