//! Whether the disk has room for what is brought: before a run, and while something comes.
//! It decides from figures alone.

use crate::guard::NoRoom;
use crate::model::conditions::Disk;
use crate::model::{Bytes, EngineFacts, Measure, Observed};
use crate::policy::DiskLimits;

/// Why nothing is brought to this disk: a prune comes first.
pub fn before(disk: &Observed<Disk>, engine: &EngineFacts, limits: &DiskLimits) -> Option<NoRoom> {
    // 0 is no threshold: every candidate goes, however much room there is.
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

/// Which limit this disk reaches once these bytes have come, too: fit to print.
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
