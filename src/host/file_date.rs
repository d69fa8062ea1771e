//! Dates of files. A date that chrono cannot hold counts as the far future, which proves
//! neither age nor quiet.

use std::fs::Metadata;
use std::os::unix::fs::MetadataExt;

use chrono::{DateTime, Utc};

/// The date of a file's last change of content (mtime), which its owner may set to
/// anything.
pub fn modified(meta: &Metadata) -> DateTime<Utc> {
    moment(meta.mtime(), meta.mtime_nsec())
}

/// The date of a file's last change of any kind (ctime), which nobody can set.
pub(super) fn changed(meta: &Metadata) -> DateTime<Utc> {
    moment(meta.ctime(), meta.ctime_nsec())
}

fn moment(seconds: i64, nanoseconds: i64) -> DateTime<Utc> {
    u32::try_from(nanoseconds)
        .ok()
        .and_then(|nanoseconds| DateTime::from_timestamp(seconds, nanoseconds))
        .unwrap_or(DateTime::<Utc>::MAX_UTC)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_date_that_chrono_cannot_hold_is_in_the_future() {
        for (seconds, nanoseconds) in [(i64::MAX, 0), (i64::MIN, 0), (0, -1)] {
            assert_eq!(moment(seconds, nanoseconds), DateTime::<Utc>::MAX_UTC);
        }
        assert_eq!(moment(0, 0), DateTime::UNIX_EPOCH);
        assert_eq!(moment(1, 5).timestamp_subsec_nanos(), 5);
    }
}
