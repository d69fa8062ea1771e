//! Reads the image store: the file system of its folder, whether a graphdriver's layer folders
//! exist, and an image's files.

use std::path::{Component, Path, PathBuf};

use nix::sys::statfs::{self, statfs};

use crate::host::disk;
use crate::host::files::plain::read_named;
use crate::model::Observed;
use crate::model::conditions::Disk;
use crate::model::text::quoted;

/// In bytes. An id has 64 digits, for some drivers a few more.
const LONGEST_CACHE_ID: u64 = 4096;

/// ramfs has no constant in nix (linux/magic.h).
const RAMFS: i64 = 0x8584_58f6;

/// The file systems whose content does not last, and all others as one.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Medium {
    Tmpfs,
    Ramfs,
    /// A container's own layer: it goes with the container.
    Overlay,
    /// Any other: presumably a disk.
    Lasting,
}

#[derive(Debug, Clone, PartialEq)]
pub struct Storage {
    pub path: PathBuf,
    pub medium: Observed<Medium>,
    pub disk: Observed<Disk>,
}

/// The kind of a folder's file system, and its room.
pub fn read(path: &Path) -> Storage {
    let medium = match statfs(path) {
        Err(error) => {
            Observed::Unknown(format!("cannot look at {}: {}", quoted(path), error.desc()))
        }
        Ok(stat) => Observed::Known(match stat.filesystem_type() {
            statfs::TMPFS_MAGIC => Medium::Tmpfs,
            statfs::OVERLAYFS_SUPER_MAGIC => Medium::Overlay,
            other if other.0 == RAMFS => Medium::Ramfs,
            _ => Medium::Lasting,
        }),
    };
    let disk = disk::read(path).map_or_else(
        |error| Observed::Unknown(format!("{error:#}")),
        Observed::Known,
    );
    Storage {
        path: path.to_owned(),
        medium,
        disk,
    }
}

/// An image's configuration in a graphdriver's store; none where it cannot be read or is
/// longer than `longest` bytes.
pub fn config(data_root: &Path, driver: &str, hex: &str, longest: u64) -> Option<Vec<u8>> {
    let images = image_records(data_root, driver)?;
    let file = images.join("imagedb/content/sha256").join(hex);
    read_named(&file, longest).ok()
}

/// Indices of the layers whose folder is gone; none in a store that cannot be read.
pub fn missing_layers(data_root: &Path, driver: &str, chain_ids: &[String]) -> Vec<usize> {
    let gone = |folder: PathBuf| matches!(folder.try_exists(), Ok(false));
    places(data_root, driver, chain_ids, gone)
}

/// Indices of the layers that hold a file of that name.
pub fn layers_with(
    data_root: &Path,
    driver: &str,
    chain_ids: &[String],
    file: &Path,
) -> Vec<usize> {
    let plain = |part| matches!(part, Component::Normal(_) | Component::CurDir);
    if !file.components().all(plain) {
        return Vec::new();
    }
    let holds = |folder: PathBuf| folder.join(file).symlink_metadata().is_ok();
    places(data_root, driver, chain_ids, holds)
}

/// A blob of a containerd's content store. `None`: it is not there. `Some(None)`: it is
/// there, and longer than `longest` bytes or not readable.
pub fn blob(containerd_root: &Path, digest: &str, longest: u64) -> Option<Option<Vec<u8>>> {
    let plain = |c: char| c.is_ascii_alphanumeric();
    let (kind, hex) = digest.split_once(':')?;
    if !kind.chars().all(plain) || !hex.chars().all(plain) {
        return None;
    }
    let store = containerd_root.join("io.containerd.content.v1.content/blobs");
    let file = store.join(kind).join(hex);
    match read_named(&file, longest) {
        Err(error) if error.is_not_found() => None,
        read => Some(read.ok()),
    }
}

/// The folder where a graphdriver's store keeps its records of images; none where the
/// driver's name would lead out of it.
fn image_records(data_root: &Path, driver: &str) -> Option<PathBuf> {
    let plain = !driver.contains(['/', '.']);
    plain.then(|| data_root.join("image").join(driver))
}

fn places(
    data_root: &Path,
    driver: &str,
    chain_ids: &[String],
    wanted: impl Fn(PathBuf) -> bool,
) -> Vec<usize> {
    let Some(records) = image_records(data_root, driver) else {
        return Vec::new();
    };
    let records = records.join("layerdb/sha256");
    let found = |chain: &String| {
        let record = records
            .join(chain.trim_start_matches("sha256:"))
            .join("cache-id");
        let Some(folder) = read_named(&record, LONGEST_CACHE_ID)
            .ok()
            .and_then(|bytes| String::from_utf8(bytes).ok())
        else {
            return false;
        };
        wanted(data_root.join(driver).join(folder.trim()).join("diff"))
    };
    let all = chain_ids.iter().enumerate();
    all.filter(|(_, chain)| found(chain))
        .map(|(place, _)| place)
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn memory_is_told_from_a_disk() {
        let shm = read(Path::new("/dev/shm"));
        assert_eq!(shm.medium, Observed::Known(Medium::Tmpfs));
        assert!(shm.disk.known().is_some());
        assert!(matches!(
            read(Path::new("/nowhere/at/all")).medium,
            Observed::Unknown(_)
        ));
    }

    #[test]
    fn a_layer_without_its_folder_is_found_by_its_place() {
        let root = tempfile::tempdir().unwrap();
        for (chain, cache) in [("aa", "one"), ("bb", "two")] {
            let record = root
                .path()
                .join("image/overlay2/layerdb/sha256")
                .join(chain);
            std::fs::create_dir_all(&record).unwrap();
            std::fs::write(record.join("cache-id"), cache).unwrap();
        }
        std::fs::create_dir_all(root.path().join("overlay2/one/diff")).unwrap();
        let chain = [
            "sha256:aa".to_owned(),
            "sha256:bb".to_owned(),
            "sha256:cc".to_owned(),
        ];
        assert_eq!(missing_layers(root.path(), "overlay2", &chain), [1]);
        std::fs::write(root.path().join("overlay2/one/diff/file"), "").unwrap();
        let with = |file: &str| layers_with(root.path(), "overlay2", &chain, Path::new(file));
        assert_eq!(with("file"), [0]);
        assert_eq!(with("other"), [0; 0]);
        assert_eq!(with("../diff/file"), [0; 0], "no way out of a layer");
    }

    #[test]
    fn a_configuration_is_read_from_the_store_unless_it_is_too_long() {
        let root = tempfile::tempdir().unwrap();
        let folder = root.path().join("image/overlay2/imagedb/content/sha256");
        std::fs::create_dir_all(&folder).unwrap();
        std::fs::write(folder.join("aa"), "{}").unwrap();
        let read = |driver, hex, longest| config(root.path(), driver, hex, longest);
        assert_eq!(read("overlay2", "aa", 2), Some(b"{}".to_vec()));
        assert_eq!(read("overlay2", "aa", 1), None);
        assert_eq!(read("overlay2", "bb", 2), None);
        assert_eq!(read("../overlay2", "aa", 2), None);
    }
}
