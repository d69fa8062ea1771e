//! Whether the image store will be there tomorrow. Decides from the kind of
//! file system, the folder and its room, as the host reports them; it looks at
//! nothing itself.

use crate::host::storage::{Medium, Storage};
use crate::model::Observed;
use crate::model::text::escape;

use crate::cache::{Check, Kind, Status};

/// A store that is fuller than this cannot take the next image, and an engine
/// on a full disk fails even at deleting (moby#44632).
const FULL_PERCENT: f64 = 99.0;

/// The answer for all folders of a store: the worst of them.
pub fn judge(folders: &[Storage]) -> Check {
    folders
        .iter()
        .map(one)
        .min_by_key(|check| check.status)
        .unwrap_or_else(|| Check::new(Kind::Lasting, Status::Unknown, "the engine names no folder"))
}

fn one(storage: &Storage) -> Check {
    let check = |status, message: String| Check::new(Kind::Lasting, status, message);
    let path = escape(&storage.path.to_string_lossy());
    let swept = ["/tmp", "/var/tmp"]
        .iter()
        .any(|folder| storage.path.starts_with(folder));
    match &storage.medium {
        Observed::Unknown(why) => {
            return check(
                Status::Unknown,
                format!("cannot tell what {path} lies on: {why}"),
            );
        }
        Observed::Known(Medium::Tmpfs) => {
            return check(
                Status::Broken,
                format!("{path} lies in memory (tmpfs): a restart of the host empties it"),
            );
        }
        Observed::Known(Medium::Ramfs) => {
            return check(
                Status::Broken,
                format!("{path} lies in memory (ramfs): a restart of the host empties it"),
            );
        }
        Observed::Known(Medium::Overlay) => {
            let why = format!(
                "{path} lies on an overlay, as in a container, and goes with it unless somebody keeps it"
            );
            return check(Status::Unknown, why);
        }
        Observed::Known(Medium::Lasting) => {}
    }
    if swept {
        return check(
            Status::Broken,
            format!("{path} is below a folder that the system empties (systemd-tmpfiles)"),
        );
    }
    match &storage.disk {
        Observed::Unknown(why) => check(
            Status::Unknown,
            format!("cannot tell how full {path} is: {why}"),
        ),
        Observed::Known(disk) if disk.used_percent() >= FULL_PERCENT => {
            let why = format!(
                "{path} is full: {:.1} % used, {} free (broken from {FULL_PERCENT} % on, bytes or inodes)",
                disk.used_percent(),
                disk.free()
            );
            check(Status::Broken, why)
        }
        Observed::Known(disk) => check(
            Status::Ok,
            format!(
                "{path}: {:.1} % used, {} free",
                disk.used_percent(),
                disk.free()
            ),
        ),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::conditions::{Disk, Room};

    fn on(path: &str, medium: Medium, used: u64) -> Status {
        let disk = Disk {
            path: path.into(),
            bytes: Room {
                used,
                available: 1000 - used,
            },
            inodes: None,
        };
        let storage = Storage {
            path: path.into(),
            medium: Observed::Known(medium),
            disk: Observed::Known(disk),
        };
        judge(&[storage]).status
    }

    #[test]
    fn memory_does_not_last_and_an_overlay_cannot_be_told() {
        assert_eq!(on("/var/lib/docker", Medium::Tmpfs, 1), Status::Broken);
        assert_eq!(on("/var/lib/docker", Medium::Ramfs, 1), Status::Broken);
        assert_eq!(on("/var/lib/docker", Medium::Overlay, 1), Status::Unknown);
        assert_eq!(on("/var/lib/docker", Medium::Lasting, 1), Status::Ok);
        assert_eq!(on("/var/tmp/docker", Medium::Lasting, 1), Status::Broken);
    }

    #[test]
    fn full_begins_at_99_percent() {
        assert_eq!(on("/d", Medium::Lasting, 989), Status::Ok);
        assert_eq!(on("/d", Medium::Lasting, 990), Status::Broken);
    }

    #[test]
    fn the_worst_folder_counts_and_none_is_unknown() {
        let good = Storage {
            path: "/d".into(),
            medium: Observed::Known(Medium::Lasting),
            disk: Observed::Unknown("x".into()),
        };
        let bad = Storage {
            medium: Observed::Known(Medium::Tmpfs),
            ..good.clone()
        };
        assert_eq!(judge(std::slice::from_ref(&good)).status, Status::Unknown);
        assert_eq!(judge(&[good, bad]).status, Status::Broken);
        assert_eq!(judge(&[]).status, Status::Unknown);
    }
}
