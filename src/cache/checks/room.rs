//! Whether there is space for the next deploy: compares how full the store's file systems are
//! with the policy's `[room]`, and the free space with the largest promised image, because a new
//! version may need as much again.

use crate::cache::check::{Check, Kind, Status};
use crate::cache::promise::Wanted;
use crate::host::storage::Storage;
use crate::model::conditions::Disk;
use crate::model::kinds::kinds;
use crate::model::text::escape_path;
use crate::model::{Bytes, EngineFacts, Measure, Observed};
use crate::policy::RoomLimits;

kinds! {
    /// Worst first.
    pub enum Level {
        /// At least `room.crit_percent` full.
        Crit = "crit",
        Unknown = "unknown",
        /// At least `room.warn_percent` full, or the largest promised image would not fit again.
        Warn = "warn",
        Enough = "enough",
    }
}

/// A promised image that is here.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Largest {
    pub image: Wanted,
    pub size: Bytes,
}

#[derive(Debug, Clone, PartialEq)]
pub struct Room {
    pub level: Level,
    pub check: Check,
    /// The file system that the answer is about; `None` if unknown.
    pub disk: Option<Disk>,
    pub limits: RoomLimits,
    /// `None` if no promised image is here, or no size is known.
    pub largest: Option<Largest>,
}

pub fn check(
    folders: &[Storage],
    engine: &EngineFacts,
    limits: RoomLimits,
    largest: Option<Largest>,
) -> Room {
    let answers = folders
        .iter()
        .map(|folder| of_folder(folder, engine, limits, largest.as_ref()));
    let fuller = |disk: Option<&Disk>| disk.map_or(0.0, |disk| -disk.used_percent());
    let worst = answers.min_by(|a, b| {
        let levels = a.0.cmp(&b.0);
        levels.then(fuller(a.2).total_cmp(&fuller(b.2)))
    });
    let (level, message, disk) = worst.unwrap_or_else(|| {
        let why = "the engine names no folder";
        (Level::Unknown, why.to_owned(), None)
    });
    let status = match level {
        Level::Crit => Status::Broken,
        Level::Unknown => Status::Unknown,
        Level::Warn | Level::Enough => Status::Ok,
    };
    let disk = disk.cloned();
    Room {
        level,
        check: Check::new(Kind::Room, status, message),
        disk,
        limits,
        largest,
    }
}

fn of_folder<'a>(
    folder: &'a Storage,
    engine: &EngineFacts,
    limits: RoomLimits,
    largest: Option<&Largest>,
) -> (Level, String, Option<&'a Disk>) {
    let path = escape_path(&folder.path);
    let disk = match &folder.disk {
        Observed::Known(disk) => disk,
        Observed::Unknown(why) => {
            let why = format!("cannot tell how full {path} is: {why}");
            return (Level::Unknown, why, None);
        }
    };
    let (used, free) = (disk.used_percent(), disk.free());
    let figures = format!("{path}: {used:.1} % used, {free} free");
    let RoomLimits {
        warn_percent: warn,
        crit_percent: crit,
    } = limits;
    // Checked before the driver: even if these figures are incomplete, the disk is at least this
    // full.
    if used >= crit {
        let why = format!("{figures}: no room for the next deploy (room.crit_percent is {crit})");
        return (Level::Crit, why, Some(disk));
    }
    let driver = engine.driver.escaped();
    let little = match engine.measure() {
        Measure::All => None,
        Measure::OnlyFree => Some("keeps each layer in a file system of its own"),
        Measure::Nothing => Some("keeps images in a pool of its own"),
    };
    if let Some(little) = little {
        let why =
            format!("{figures}, which does not tell how full it is: the driver {driver} {little}");
        return (Level::Unknown, why, Some(disk));
    }
    let (fits, room) = match largest {
        Some(Largest { image, size }) if size.0 > 0 => {
            let times = free.0 / size.0;
            let room =
                format!("; room for {times} more of the largest promised image, {image}: {size}");
            (times > 0, room)
        }
        Some(_) | None => (true, String::new()),
    };
    if used >= warn {
        let why = format!("{figures}{room} (room.warn_percent is {warn})");
        return (Level::Warn, why, Some(disk));
    }
    let level = if fits { Level::Enough } else { Level::Warn };
    (level, format!("{figures}{room}"), Some(disk))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::host::storage::Medium;
    use crate::model::conditions;
    use crate::model::text::Untrusted;
    use crate::testing::{inventory, wanted};

    const LIMITS: RoomLimits = RoomLimits {
        warn_percent: 85.0,
        crit_percent: 95.0,
    };

    fn folder(path: &str, used: u64) -> Storage {
        let room = |used| conditions::Usage {
            used,
            available: 1000 - used,
        };
        let disk = Disk {
            path: path.into(),
            bytes: room(used),
            inodes: Some(room(500)),
        };
        Storage {
            path: path.into(),
            medium: Observed::Known(Medium::Lasting),
            disk: Observed::Known(disk),
        }
    }

    fn of(folders: &[Storage], largest: Option<u64>) -> Room {
        let largest = largest.map(|size| Largest {
            image: wanted("app:1"),
            size: Bytes(size),
        });
        check(folders, &inventory([]).engine, LIMITS, largest)
    }

    #[test]
    fn it_warns_and_breaks_where_the_policy_says_so() {
        let level = |used| {
            let room = of(&[folder("/d", used)], None);
            (room.level, room.check.status)
        };
        assert_eq!(level(849), (Level::Enough, Status::Ok));
        assert_eq!(level(850), (Level::Warn, Status::Ok));
        assert_eq!(level(949), (Level::Warn, Status::Ok));
        assert_eq!(level(950), (Level::Crit, Status::Broken));
        let mut few = folder("/d", 1);
        if let Observed::Known(disk) = &mut few.disk {
            disk.inodes = Some(conditions::Usage {
                used: 95,
                available: 5,
            });
        }
        assert_eq!(of(&[few], None).level, Level::Crit, "inodes count, too");
    }

    #[test]
    fn how_often_the_largest_promised_image_fits_is_said_and_none_is_a_warning() {
        let room = of(&[folder("/d", 400)], Some(200));
        assert_eq!(room.level, Level::Enough);
        assert_eq!(
            room.check.message,
            "/d: 50.0 % used, 600 B free; room for 3 more of the largest promised image, app:1: 200 B"
        );
        let room = of(&[folder("/d", 400)], Some(601));
        assert_eq!((room.level, room.check.status), (Level::Warn, Status::Ok));
        assert!(room.check.message.contains("room for 0 more"));
        assert_eq!(of(&[folder("/d", 400)], Some(0)).level, Level::Enough);
    }

    #[test]
    fn the_worst_folder_counts_and_of_equals_the_fuller() {
        let mut unknown = folder("/u", 0);
        unknown.disk = Observed::Unknown("no".into());
        let path = |folders: &[Storage]| of(folders, None).disk.map(|disk| disk.path);
        let both = [folder("/a", 510), folder("/b", 520)];
        assert_eq!(path(&both), Some("/b".into()));
        assert_eq!(path(&[both[0].clone(), unknown.clone()]), None);
        let full = [unknown.clone(), folder("/full", 960)];
        assert_eq!(path(&full), Some("/full".into()));
        assert_eq!(of(&[unknown], None).check.status, Status::Unknown);
        assert_eq!(of(&[], None).level, Level::Unknown);
    }

    #[test]
    fn what_the_file_system_does_not_tell_is_unknown_and_never_enough() {
        let mut engine = inventory([]).engine;
        for driver in ["zfs", "devicemapper"] {
            engine.driver = Untrusted::new(driver);
            let level = |used| check(&[folder("/d", used)], &engine, LIMITS, None).level;
            assert_eq!(level(100), Level::Unknown, "{driver}");
            assert_eq!(level(950), Level::Crit, "{driver}");
        }
    }
}
