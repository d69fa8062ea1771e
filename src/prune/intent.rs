//! The journal's record that an image is about to be removed.

use chrono::{DateTime, Utc};

use crate::decide::plan::Entry;
use crate::memory::journal::{Record, RecordKind};

pub fn intent(run: &str, at: DateTime<Utc>, engine: &str, entry: &Entry) -> Record {
    let image = &entry.image;
    let names = image.digests.iter().chain(&image.ours);
    let unneeded = entry.unneeded;
    let what = RecordKind::Intent {
        names: names.map(ToString::to_string).collect(),
        had_tags: entry.had_tags.iter().map(ToString::to_string).collect(),
        class: entry.class.name().to_owned(),
        unneeded_since: unneeded.map(|unneeded| unneeded.since),
        evidence: unneeded.map(|unneeded| unneeded.evidence.words().to_owned()),
        reclaimable_bytes_at_least: entry.reclaimable.0,
    };
    Record::new(run, at, image.id.clone(), what).of(engine)
}
