//! Writes a whole file at a path, or leaves the old one: also in a folder that is not ours, and
//! after a kill at any moment.

use std::ffi::{OsStr, OsString};
use std::fs::{self, File};
use std::hash::{BuildHasher, Hasher, RandomState};
use std::io::{self, Write};
use std::os::fd::AsRawFd;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};

use nix::errno::Errno;
use nix::fcntl::{AT_FDCWD, AtFlags, OFlag, openat, renameat};
use nix::libc;
use nix::sys::stat::Mode;
use nix::unistd::{UnlinkatFlags, geteuid, linkat, unlinkat};

use crate::host::files::error::FileError;
use crate::host::files::folder::{Folder, folder_of};
use crate::host::files::kind::type_name_of;

/// All temporary names end in this.
pub(in crate::host) const TEMPORARY: &str = ".secateur-tmp";

/// Whether it is the name of a file that is being written, or of what a killed write left.
pub fn is_temporary(name: &OsStr) -> bool {
    name.as_encoded_bytes().ends_with(TEMPORARY.as_bytes())
}

/// As [`write_atomic`], but everybody may read the file (mode 0644), whatever the umask.
///
/// # Errors
///
/// As [`write_atomic`].
pub fn write_for_all(path: &Path, bytes: &[u8]) -> Result<(), FileError> {
    write_with_mode(path, &|mut file| file.write_all(bytes), 0o644)
}

/// Writes `bytes` to `path` (mode 0600) so that a reader finds the old file or the new one,
/// also after a crash. The folder must exist.
///
/// On an error the old file is still there and no temporary one is. Only if the last step fails
/// (flushing the folder), the new file is in place, and a power cut may bring the old one back.
/// Left-overs of killed writes of this file are removed.
///
/// # Errors
///
/// [`FileError::Untrusted`] if a link on the way leads to a folder of somebody else;
/// [`FileError::Io`], also if `path` is there and is no plain file: a rename over `/dev/stdout`
/// would replace the device.
pub fn write_atomic(path: &Path, bytes: &[u8]) -> Result<(), FileError> {
    write_atomic_by(path, |mut file| file.write_all(bytes))
}

/// As [`write_atomic`], for content that need not be in memory whole. `content` may be asked
/// for twice, and flushes what it buffers.
///
/// # Errors
///
/// As [`write_atomic`], and what `content` returns.
pub fn write_atomic_by(
    path: &Path,
    content: impl Fn(&File) -> io::Result<()>,
) -> Result<(), FileError> {
    write_with_mode(path, &content, 0o600)
}

fn write_with_mode(
    path: &Path,
    content: &dyn Fn(&File) -> io::Result<()>,
    mode: u32,
) -> Result<(), FileError> {
    let Some(name) = path.file_name() else {
        return Err(FileError::unfit("write", path, "the path has no last part"));
    };
    let destination = Destination {
        folder: Folder::open(folder_of(path))?,
        name: name.to_owned(),
    };
    match destination.folder.stat(Path::new(name)) {
        Ok(stat) if stat.st_mode & libc::S_IFMT != libc::S_IFREG => {
            let found = type_name_of(stat.st_mode);
            let why = format!("it is {found}, wanted a plain file or none");
            return Err(FileError::unfit("write", path, why));
        }
        Ok(_) | Err(Errno::ENOENT) => {}
        Err(errno) => return Err(FileError::io("write", path)(errno)),
    }
    destination.sweep();
    let put = |temporary: Result<Temporary<'_>, Errno>| {
        let temporary = temporary.map_err(FileError::io("make a temporary file beside", path))?;
        temporary.fill(path, content, mode)?;
        Ok(temporary.persist())
    };
    let mut replaced = put(destination.temporary())?;
    if let Err(Errno::EPERM | Errno::EOPNOTSUPP | Errno::EMLINK) = replaced {
        // On CIFS a file without a name cannot be given one.
        replaced = put(destination.named_temporary())?;
    }
    replaced.map_err(FileError::io("replace", path))?;
    openat(
        &destination.folder.fd,
        ".",
        OFlag::O_DIRECTORY | OFlag::O_CLOEXEC,
        Mode::empty(),
    )
    .map_err(io::Error::from)
    .and_then(|folder| File::from(folder).sync_all())
    .map_err(FileError::io("flush the folder of", path))
}

struct Destination {
    folder: Folder,
    name: OsString,
}

impl Destination {
    /// A new file in the folder. If the file system can (NFS and some of FUSE cannot), it has
    /// no name, so that a kill leaves nothing. The lock on it distinguishes it from a
    /// left-over.
    fn temporary(&self) -> Result<Temporary<'_>, Errno> {
        let mode = Mode::S_IRUSR | Mode::S_IWUSR;
        let flags = OFlag::O_WRONLY | OFlag::O_CLOEXEC;
        let file = match openat(&self.folder.fd, ".", flags | OFlag::O_TMPFILE, mode) {
            // A kernel without such files answers EISDIR.
            Err(Errno::EOPNOTSUPP | Errno::EISDIR | Errno::EINVAL) => {
                return self.named_temporary();
            }
            opened => opened?,
        };
        Ok(self.locked(file.into(), None))
    }

    fn named_temporary(&self) -> Result<Temporary<'_>, Errno> {
        let name = temporary_name(&self.name);
        let mode = Mode::S_IRUSR | Mode::S_IWUSR;
        let flags = OFlag::O_WRONLY | OFlag::O_CLOEXEC;
        let new = OFlag::O_CREAT | OFlag::O_EXCL | OFlag::O_NOFOLLOW;
        let file = openat(&self.folder.fd, name.as_os_str(), flags | new, mode)?;
        Ok(self.locked(file.into(), Some(name)))
    }

    fn locked(&self, file: File, name: Option<OsString>) -> Temporary<'_> {
        // Without locks, a second run may sweep the file: then this write fails.
        let _ = file.try_lock();
        let destination = self;
        Temporary {
            destination,
            file,
            name,
        }
    }

    /// Removes left-overs of killed writes of this file. One that cannot be removed does no
    /// harm.
    fn sweep(&self) {
        let folder = by_descriptor(&self.folder.fd);
        let prefix = prefix(&self.name);
        let names = fs::read_dir(&folder).into_iter().flatten().flatten();
        for name in names.map(|entry| entry.file_name()) {
            let is_of_this_file = name
                .as_encoded_bytes()
                .starts_with(prefix.as_encoded_bytes());
            if is_of_this_file && is_temporary(&name) && self.is_left_over(&name) {
                self.unlink(&name);
            }
        }
    }

    fn is_left_over(&self, name: &OsStr) -> bool {
        let ours = self.folder.stat(Path::new(name)).is_ok_and(|stat| {
            stat.st_mode & libc::S_IFMT == libc::S_IFREG && stat.st_uid == geteuid().as_raw()
        });
        // NFSv4 locks no file that is open for reading alone.
        let flags = OFlag::O_WRONLY | OFlag::O_NOFOLLOW | OFlag::O_NONBLOCK | OFlag::O_CLOEXEC;
        ours && openat(&self.folder.fd, name, flags, Mode::empty())
            .is_ok_and(|file| File::from(file).try_lock().is_ok())
    }

    fn unlink(&self, name: &OsStr) {
        let _ = unlinkat(&self.folder.fd, name, UnlinkatFlags::NoRemoveDir);
    }
}

/// A file that is being written. Dropping it before it is in place removes it.
struct Temporary<'a> {
    destination: &'a Destination,
    file: File,
    name: Option<OsString>,
}

impl Temporary<'_> {
    fn fill(
        &self,
        path: &Path,
        content: &dyn Fn(&File) -> io::Result<()>,
        mode: u32,
    ) -> Result<(), FileError> {
        let file = &self.file;
        content(file).map_err(FileError::io("write", path))?;
        file.set_permissions(fs::Permissions::from_mode(mode))
            .map_err(FileError::io("set the mode of", path))?;
        // Before the rename, or a power cut may leave the new name with no content.
        file.sync_all().map_err(FileError::io("flush", path))
    }

    fn persist(mut self) -> Result<(), Errno> {
        let folder = &self.destination.folder.fd;
        if self.name.is_none() {
            let name = temporary_name(&self.destination.name);
            linkat(
                AT_FDCWD,
                &by_descriptor(&self.file),
                folder,
                name.as_os_str(),
                AtFlags::AT_SYMLINK_FOLLOW,
            )?;
            self.name = Some(name);
        }
        let name = self.name.take().unwrap_or_default();
        let moved = renameat(
            folder,
            name.as_os_str(),
            folder,
            self.destination.name.as_os_str(),
        );
        if moved.is_err() {
            self.name = Some(name);
        }
        moved
    }
}

impl Drop for Temporary<'_> {
    fn drop(&mut self) {
        if let Some(name) = &self.name {
            self.destination.unlink(name);
        }
    }
}

fn by_descriptor(fd: &impl AsRawFd) -> PathBuf {
    PathBuf::from(format!("/proc/self/fd/{}", fd.as_raw_fd()))
}

/// The beginning of a file's temporary names. It is cut, because a name may have only 255
/// bytes.
fn prefix(name: &OsStr) -> OsString {
    let shown: String = name.to_string_lossy().chars().take(40).collect();
    format!(".{shown}.").into()
}

/// Has 64 random bits, so nothing of that name is there.
pub(in crate::host) fn temporary_name(name: &OsStr) -> OsString {
    let mut temporary = prefix(name);
    let random = RandomState::new().build_hasher().finish();
    temporary.push(format!("{random:016x}{TEMPORARY}"));
    temporary
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::os::unix::fs::{MetadataExt, chown, symlink};

    const ALICE: u32 = 4_001;
    const BOB: u32 = 4_002;

    fn names(folder: &Path) -> Vec<OsString> {
        let entries = fs::read_dir(folder).unwrap();
        entries.map(|entry| entry.unwrap().file_name()).collect()
    }

    #[test]
    fn what_a_killed_write_left_is_gone_after_the_next_write_of_that_file() {
        let folder = crate::testing::folder_of_ours();
        let path = folder.path().join("secateur.prom");
        let left = |name: &str| folder.path().join(temporary_name(name.as_ref()));
        let (ours, others) = (left("secateur.prom"), left("other.prom"));
        // One that a running write has open is no left-over.
        let live = left("secateur.prom");
        for path in [&ours, &others, &live] {
            fs::write(path, "half").unwrap();
        }
        let open = File::open(&live).unwrap();
        open.try_lock().unwrap();
        write_for_all(&path, b"new").unwrap();
        assert!(!ours.exists() && others.exists() && live.exists());
        drop(open);
        write_for_all(&path, b"new").unwrap();
        assert!(!live.exists());
        assert_eq!(names(folder.path()).len(), 2, "the other's, and the file");
    }

    #[test]
    fn a_file_has_no_name_before_it_is_whole() {
        let folder = crate::testing::folder_of_ours();
        let destination = Destination {
            folder: Folder::open(folder.path()).unwrap(),
            name: "plan.json".into(),
        };
        let temporary = destination.temporary().unwrap();
        if temporary.name.is_none() {
            assert!(names(folder.path()).is_empty());
        }
        drop(temporary);
        assert!(names(folder.path()).is_empty());
    }

    #[test]
    fn a_file_system_without_nameless_files_leaves_nothing_of_a_write_that_failed() {
        let folder = crate::testing::folder_of_ours();
        let name = temporary_name("plan.json".as_ref());
        let path = folder.path().join(&name);
        let destination = Destination {
            folder: Folder::open(folder.path()).unwrap(),
            name: "plan.json".into(),
        };
        let temporary = || Temporary {
            destination: &destination,
            file: File::create(&path).unwrap(),
            name: Some(name.clone()),
        };
        drop(temporary());
        assert!(!path.exists());
        temporary().persist().unwrap();
        assert_eq!(names(folder.path()), ["plan.json"]);
        // A rename that fails.
        let inside = Destination {
            folder: Folder::open(folder.path()).unwrap(),
            name: "..".into(),
        };
        let failing = Temporary {
            destination: &inside,
            file: File::create(&path).unwrap(),
            name: Some(name.clone()),
        };
        failing.persist().unwrap_err();
        assert!(!path.exists());
    }

    #[test]
    fn a_long_name_leaves_room_for_a_temporary_one() {
        let folder = crate::testing::folder_of_ours();
        let path = folder.path().join("ä".repeat(127));
        write_atomic(&path, b"x").unwrap();
        assert_eq!(fs::read(&path).unwrap(), b"x");
    }

    #[test]
    fn nothing_is_written_through_a_users_link_into_a_folder_of_somebody_else() {
        if !geteuid().is_root() {
            return;
        }
        let root = crate::testing::folder_of_ours();
        fs::set_permissions(root.path(), PermissionsExt::from_mode(0o755)).unwrap();
        let folder = |name: &str, owner: u32| {
            let path = root.path().join(name);
            fs::create_dir(&path).unwrap();
            chown(&path, Some(owner), Some(owner)).unwrap();
            path
        };
        let (secret, alice, bob) = (
            folder("secret", 0),
            folder("alice", ALICE),
            folder("bob", BOB),
        );
        let own = folder("alice/own", ALICE);
        let link = |to: &Path, name: &str, owner: u32| {
            let path = alice.join(name);
            symlink(to, &path).unwrap();
            std::os::unix::fs::lchown(&path, Some(owner), Some(owner)).unwrap();
            path
        };
        for (to, name) in [(&secret, "to-root"), (&bob, "to-bob")] {
            let link = link(to, name, ALICE);
            let error = write_atomic(&link.join("before.json"), b"x").unwrap_err();
            assert!(
                matches!(&error, FileError::Untrusted { path, .. } if path.ends_with(name)),
                "{error}"
            );
            assert!(names(to).is_empty());
        }
        // Through her own link into her own folder, and through root's.
        for link in [link(&own, "to-own", ALICE), link(&secret, "of-root", 0)] {
            write_atomic(&link.join("before.json"), b"x").unwrap();
            assert_eq!(fs::read(link.join("before.json")).unwrap(), b"x");
            assert_eq!(fs::metadata(link.join("before.json")).unwrap().uid(), 0);
        }
    }
}
