//! Whether the image store has room for the next image.

use crate::model::Observed;
use crate::model::conditions::Disk;

use crate::cache::check::Status;

/// A store that is fuller than this cannot take the next image, and an engine on a full
/// disk fails even at deleting (moby#44632).
const FULL_PERCENT: f64 = 99.0;

/// `path`: fit to print.
pub fn room(path: &str, disk: &Observed<Disk>) -> (Status, String) {
    let disk = match disk {
        Observed::Known(disk) => disk,
        Observed::Unknown(why) => {
            let why = format!("cannot tell how full {path} is: {why}");
            return (Status::Unknown, why);
        }
    };
    let (used, free) = (disk.used_percent(), disk.free());
    if used < FULL_PERCENT {
        return (Status::Ok, format!("{path}: {used:.1} % used, {free} free"));
    }
    let why = format!(
        "{path} is full: {used:.1} % used, {free} free (broken from {FULL_PERCENT} % on, bytes or inodes)"
    );
    (Status::Broken, why)
}
