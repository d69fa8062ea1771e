//! Whether the image store survives a restart of the host, by the media of its folders.

use crate::host::storage::{Medium, Storage};
use crate::model::Observed;
use crate::model::text::escape_path;

use crate::cache::check::{Check, Kind, Status};

/// systemd-tmpfiles empties these folders.
const SWEPT: [&str; 2] = ["/tmp", "/var/tmp"];

pub fn check(folders: &[Storage]) -> Check {
    let answers = folders.iter().map(of_folder);
    let (status, message) = answers
        .min_by_key(|(status, _)| *status)
        .unwrap_or_else(|| {
            let why = "the engine names no folder";
            (Status::Unknown, why.to_owned())
        });
    Check::new(Kind::Lasting, status, message)
}

fn of_folder(storage: &Storage) -> (Status, String) {
    let path = escape_path(&storage.path);
    let in_memory = |what: &str| {
        let why = format!("{path} lies in memory ({what}): a restart of the host empties it");
        (Status::Broken, why)
    };
    let is_swept = SWEPT.iter().any(|folder| storage.path.starts_with(folder));
    match &storage.medium {
        Observed::Unknown(why) => (
            Status::Unknown,
            format!("cannot tell what {path} lies on: {why}"),
        ),
        Observed::Known(Medium::Tmpfs) => in_memory("tmpfs"),
        Observed::Known(Medium::Ramfs) => in_memory("ramfs"),
        Observed::Known(Medium::Overlay) => (
            Status::Unknown,
            format!(
                "{path} lies on an overlay, as in a container, and goes with it unless somebody keeps it"
            ),
        ),
        Observed::Known(Medium::Lasting) if is_swept => (
            Status::Broken,
            format!("{path} is below a folder that the system empties (systemd-tmpfiles)"),
        ),
        Observed::Known(Medium::Lasting) => {
            let kept = format!("{path} lies on a file system that a restart keeps");
            (Status::Ok, kept)
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn on(path: &str, medium: Medium) -> Status {
        let storage = Storage {
            path: path.into(),
            medium: Observed::Known(medium),
            disk: Observed::Unknown("x".into()),
        };
        check(&[storage]).status
    }

    #[test]
    fn memory_does_not_last_and_an_overlay_cannot_be_told() {
        assert_eq!(on("/var/lib/docker", Medium::Tmpfs), Status::Broken);
        assert_eq!(on("/var/lib/docker", Medium::Ramfs), Status::Broken);
        assert_eq!(on("/var/lib/docker", Medium::Overlay), Status::Unknown);
        assert_eq!(on("/var/lib/docker", Medium::Lasting), Status::Ok);
        assert_eq!(on("/var/tmp/docker", Medium::Lasting), Status::Broken);
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
        assert_eq!(check(std::slice::from_ref(&good)).status, Status::Ok);
        assert_eq!(check(&[good, bad]).status, Status::Broken);
        assert_eq!(check(&[]).status, Status::Unknown);
    }
}
