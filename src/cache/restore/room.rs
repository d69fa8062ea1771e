//! Whether the disk has room for a restore: before the run, and during a transfer. Decides from
//! figures alone.

use crate::guard::NoRoom;
use crate::model::conditions::Disk;
use crate::model::{Bytes, EngineFacts, Measure, Observed};
use crate::policy::DiskLimits;

/// Why nothing may be restored to this disk: a prune must come first.
pub fn before(disk: &Observed<Disk>, engine: &EngineFacts, limits: &DiskLimits) -> Option<NoRoom> {
    // 0 is no threshold: a prune then removes every candidate, however much room there is.
    let stop = Some(limits.stop_below_percent).filter(|percent| *percent > 0.0);
    if stop.is_none() && limits.min_free.is_none() {
        return None;
    }
    let disk = match (disk, engine.measure(), limits.min_free) {
        (Observed::Known(disk), Measure::All, _) => disk,
        (Observed::Known(disk), Measure::OnlyFree, Some(_)) => disk,
        (Observed::Unknown(why), ..) => return Some(NoRoom::Unclear(why.clone())),
        (_, Measure::OnlyFree | Measure::Nothing, _) => {
            let why =
                "the engine's driver keeps images where a file system's use says nothing of them";
            return Some(NoRoom::Unclear(why.to_owned()));
        }
    };
    let path = disk.path.clone();
    if let (Some(limit), Some(used_percent)) = (stop, engine.used_percent(disk))
        && used_percent > limit
    {
        return Some(NoRoom::Above {
            path,
            used_percent,
            limit,
        });
    }
    let free = disk.free();
    let limit = limits.min_free.filter(|limit| free < *limit)?;
    Some(NoRoom::Below { path, free, limit })
}

/// The limit that this disk reaches with `coming` more bytes, fit to print.
pub fn reached(
    disk: &Disk,
    engine: &EngineFacts,
    limits: &DiskLimits,
    coming: Bytes,
) -> Option<String> {
    let free = disk.free().0.saturating_sub(coming.0);
    if let Some(least) = limits.min_free.filter(|least| free < least.0) {
        return Some(format!("less than {least} would be free (disk.min_free)"));
    }
    engine.used_percent(disk)?;
    let most = Some(limits.start_above_percent).filter(|percent| *percent > 0.0)?;
    let mut then = disk.clone();
    then.bytes.used = then.bytes.used.saturating_add(coming.0);
    then.bytes.available = free;
    (then.used_percent() > most)
        .then(|| format!("it would be more than {most} % full (disk.start_above_percent)"))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::testing::{disk, inventory};

    fn limits(start: f64, stop: f64, min_free: Option<u64>) -> DiskLimits {
        DiskLimits {
            start_above_percent: start,
            stop_below_percent: stop,
            min_free: min_free.map(Bytes),
        }
    }

    /// The result for an engine with this driver, on a disk of 100 bytes.
    fn refused(driver: &str, used: Option<u64>, limits: &DiskLimits) -> Option<NoRoom> {
        let mut engine = inventory([]).engine;
        engine.driver = crate::model::text::Untrusted::new(driver);
        let unknown = || Observed::Unknown("EACCES".to_owned());
        let seen = used.map_or_else(unknown, |used| Observed::Known(disk(used)));
        before(&seen, &engine, limits)
    }

    #[test]
    fn a_disk_that_a_prune_would_go_on_with_is_not_brought_to() {
        let usual = limits(85.0, 75.0, None);
        assert_eq!(refused("overlay2", Some(75), &usual), None);
        let above = refused("overlay2", Some(76), &usual);
        assert!(matches!(above, Some(NoRoom::Above { limit: 75.0, .. })));
        let free = limits(85.0, 75.0, Some(31));
        let below = refused("overlay2", Some(70), &free);
        assert!(matches!(
            below,
            Some(NoRoom::Below {
                free: Bytes(30),
                ..
            })
        ));
        // 0 is no threshold.
        assert_eq!(refused("overlay2", Some(99), &limits(0.0, 0.0, None)), None);
        assert_eq!(refused("overlay2", None, &limits(0.0, 0.0, None)), None);
    }

    #[test]
    fn a_disk_that_cannot_be_judged_is_not_brought_to() {
        let unclear = |found: Option<NoRoom>| matches!(found, Some(NoRoom::Unclear(_)));
        let usual = limits(85.0, 75.0, None);
        assert!(unclear(refused("overlay2", None, &usual)));
        assert!(unclear(refused("zfs", Some(1), &usual)));
        assert!(unclear(refused(
            "devicemapper",
            Some(1),
            &limits(85.0, 75.0, Some(1))
        )));
        // For zfs the free space is enough to decide, if a limit asks for it.
        assert_eq!(refused("zfs", Some(99), &limits(85.0, 75.0, Some(1))), None);
    }

    #[test]
    fn what_is_coming_counts_before_it_is_there() {
        let engine = inventory([]).engine;
        let why = |used, coming, limits: &DiskLimits| {
            reached(&disk(used), &engine, limits, Bytes(coming))
        };
        let usual = limits(85.0, 75.0, None);
        assert_eq!(why(80, 5, &usual), None);
        assert!(
            why(80, 6, &usual)
                .unwrap()
                .contains("disk.start_above_percent")
        );
        let free = limits(0.0, 0.0, Some(10));
        assert_eq!(why(80, 10, &free), None);
        assert!(why(80, 11, &free).unwrap().contains("disk.min_free"));
        assert!(why(80, u64::MAX, &usual).is_some());
    }
}
