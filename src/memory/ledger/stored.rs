//! The ledger of one engine's store, and its format: one line of JSON that ends in a checksum.

use std::collections::BTreeMap;
use std::io::{self, BufWriter, Write as _};

use chrono::{DateTime, TimeDelta, Utc};
use serde::{Deserialize, Serialize};
use sha2::{Digest, Sha256};

use crate::memory::ledger::checksum::{self, Summed};
use crate::memory::ledger::former_image::FormerImage;
use crate::memory::ledger::sighting::Sighting;
use crate::memory::ledger::uses::Uses;
use crate::model::ImageId;
use crate::model::conditions::{CausesSince, ClockReading};
use crate::model::reference::Reference;
use crate::model::text::{escape, json_error};

/// The format that this version writes, and the highest that it reads. From 2 on,
/// each engine's ledger has its own file.
pub const FORMAT: u32 = 2;

/// Hex digits of an engine's key in its file's name.
const HASH: usize = 16;

/// The name of this engine's ledger file. It has a fixed length, whatever the engine
/// calls itself.
pub fn file_of(engine: &str) -> String {
    let sum = Sha256::digest(engine);
    let start = sum.first_chunk().copied().unwrap_or_default();
    format!("ledger-{:0HASH$x}.json", u64::from_be_bytes(start))
}

/// Whether this is the name of some engine's ledger file.
pub fn is_file_of_one(name: &str) -> bool {
    let hash = name.strip_prefix("ledger-");
    let hash = hash.and_then(|rest| rest.strip_suffix(".json"));
    hash.is_some_and(|hash| hash.len() == HASH && hash.bytes().all(|b| b.is_ascii_hexdigit()))
}

/// What was known of images that an engine may have again: of those that another driver had, or
/// of all, when none was here any more (it may have begun before its disk was mounted).
#[derive(Debug, Default, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Away {
    /// The driver that had them.
    pub(super) driver: String,
    /// None of them is here.
    pub(super) images: BTreeMap<ImageId, Sighting>,
}

impl Away {
    fn is_empty(&self) -> bool {
        self.images.is_empty()
    }
}

#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Ledger {
    /// [`FORMAT`].
    pub(super) format: u32,
    /// [`crate::model::EngineFacts::key`].
    pub(super) engine: String,
    /// The clocks at the last survey.
    pub(super) clock: Option<ClockReading>,
    /// Since when losses of earlier runs are not known, where that is before the last survey:
    /// the engine could not tell.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(super) losses_unknown_since: Option<DateTime<Utc>>,
    /// The sum of all jumps of the clock ahead.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(super) jumped: Option<Jumped>,
    /// The driver of the last survey.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub(super) driver: String,
    /// Only images that were there at the last survey: one that comes back is new, and keeps its
    /// names if it was [`away`](Self::away).
    pub(super) images: BTreeMap<ImageId, Sighting>,
    #[serde(default, skip_serializing_if = "Away::is_empty")]
    pub(super) away: Away,
    /// Causes that refused removals at the last survey, and since which survey: neither a held
    /// lock nor a running build tells since when.
    #[serde(
        rename = "standing",
        default,
        skip_serializing_if = "CausesSince::is_empty"
    )]
    pub(super) causes_since: CausesSince,
    /// Written by older versions in place of `causes_since`: only locks, by path.
    #[serde(default, skip_serializing)]
    pub(super) held_locks: BTreeMap<String, DateTime<Utc>>,
    /// Tags that no image here has any more, and the last survey that showed each. Only
    /// verify-cache shows them.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub(super) gone: BTreeMap<Reference, DateTime<Utc>>,
    /// Which image each of them led to then, where that is known.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub(super) gone_as: BTreeMap<Reference, FormerImage>,
    /// On which days each name ran. Only verify-cache uses it.
    #[serde(default, skip_serializing_if = "Uses::is_empty")]
    pub(super) uses: Uses,
}

/// How much later the ledger's dates are than those of the engine: the ledger's moved with each
/// jump of the clock, the engine's did not.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Jumped {
    /// The survey that saw the last jump. The engine may have given an earlier date before any
    /// of the jumps.
    pub(super) seen_at: DateTime<Utc>,
    /// The sum of all jumps.
    pub(super) milliseconds: i64,
}

/// Counts bytes and keeps none of them.
struct Length(u64);

impl io::Write for Length {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.0 += bytes.len() as u64;
        Ok(bytes.len())
    }
    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

/// Why a ledger's bytes cannot be used.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Unusable {
    /// Damaged, cut off, or empty.
    Corrupt(String),
    /// Written by a newer secateur in this format.
    Newer(u32),
    /// Of another engine or store; its key.
    OtherEngine(String),
}

impl Ledger {
    pub fn empty(engine: &str) -> Self {
        Self {
            format: FORMAT,
            engine: engine.to_owned(),
            clock: None,
            losses_unknown_since: None,
            jumped: None,
            images: BTreeMap::new(),
            driver: String::new(),
            away: Away::default(),
            causes_since: CausesSince::new(),
            held_locks: BTreeMap::new(),
            gone: BTreeMap::new(),
            gone_as: BTreeMap::new(),
            uses: Uses::default(),
        }
    }

    /// Reads what [`Ledger::write_to`] wrote, for this engine and no other.
    pub fn from_json(bytes: &[u8], engine: &str) -> Result<Self, Unusable> {
        let ledger = Self::of_any_engine(bytes)?;
        if ledger.engine != engine {
            return Err(Unusable::OtherEngine(escape(&ledger.engine)));
        }
        Ok(ledger)
    }

    /// Reads the ledger of any engine.
    pub fn of_any_engine(bytes: &[u8]) -> Result<Self, Unusable> {
        #[derive(Deserialize)]
        struct Head {
            format: u32,
        }
        let corrupt = |error: serde_json::Error| Unusable::Corrupt(json_error(&error));
        let head: Head = serde_json::from_slice(bytes).map_err(corrupt)?;
        if head.format > FORMAT {
            return Err(Unusable::Newer(head.format));
        }
        if !checksum::holds(bytes) {
            let why = "it is not what was written: its checksum is another".to_owned();
            return Err(Unusable::Corrupt(why));
        }
        let mut ledger: Self = serde_json::from_slice(bytes).map_err(corrupt)?;
        for (path, at) in std::mem::take(&mut ledger.held_locks) {
            for kind in ["flock", "exists"] {
                let what = format!("deploy-lock {kind} {path}");
                ledger.causes_since.entry(what).or_insert(at);
            }
        }
        Ok(ledger)
    }

    /// [`crate::model::EngineFacts::key`].
    pub fn engine(&self) -> &str {
        &self.engine
    }

    /// Writes one line of JSON, whose last field is a checksum of all before it. It is many
    /// megabytes where names are long, and so is never whole in memory.
    pub fn write_to(&self, to: impl io::Write) -> io::Result<()> {
        let mut to = BufWriter::new(to);
        let mut summed = Summed::new(&mut to);
        serde_json::to_writer(&mut summed, self)?;
        summed.end()?;
        to.write_all(b"\n")?;
        to.flush()
    }

    /// In bytes, of what [`Ledger::write_to`] writes.
    pub fn length(&self) -> io::Result<u64> {
        let mut length = Length(0);
        serde_json::to_writer(&mut length, self)?;
        // And the end of the line.
        Ok(length.0 + checksum::LENGTH as u64 + 1)
    }

    /// The clocks at the last survey, if there was one.
    pub fn clock(&self) -> Option<&ClockReading> {
        self.clock.as_ref()
    }

    /// The moment from which events are asked for: the last survey, or an earlier one set by
    /// [`Ledger::with_events_since`].
    pub fn events_since(&self) -> Option<DateTime<Utc>> {
        let last_survey = self.clock.as_ref().map(|clock| clock.wall);
        self.losses_unknown_since.or(last_survey)
    }

    /// Makes the next survey ask from this moment on, because losses since then are not known.
    #[must_use]
    pub fn with_events_since(mut self, since: Option<DateTime<Utc>>) -> Self {
        self.losses_unknown_since = since;
        self
    }

    pub fn sighting(&self, id: &ImageId) -> Option<&Sighting> {
        self.images.get(id)
    }

    pub fn sightings(&self) -> impl Iterator<Item = (&ImageId, &Sighting)> {
        self.images.iter()
    }

    pub fn causes_since(&self) -> &CausesSince {
        &self.causes_since
    }

    /// Replaces the causes: one that a survey did not find begins anew when it comes back.
    #[must_use]
    pub fn with_causes_since(mut self, causes_since: CausesSince) -> Self {
        self.causes_since = causes_since;
        self
    }

    /// A date of the engine, moved by the clock's later jumps; never too early.
    pub fn by_this_clock(&self, at: DateTime<Utc>) -> DateTime<Utc> {
        let Some(jumped) = self.jumped.as_ref().filter(|jumped| at < jumped.seen_at) else {
            return at;
        };
        let by = TimeDelta::try_milliseconds(jumped.milliseconds);
        let moved = by.and_then(|by| at.checked_add_signed(by));
        moved.map_or(jumped.seen_at, |moved| moved.min(jumped.seen_at))
    }

    pub fn uses(&self) -> &Uses {
        &self.uses
    }

    /// The image that this tag was last seen with, as far as the ledger goes back; `None` if
    /// another image that is gone had it later.
    pub fn last_image(&self, tag: &Reference) -> Option<FormerImage> {
        if let Some(was) = self.gone_as.get(tag) {
            return Some(was.clone());
        }
        let seen = |(id, sighting): (&ImageId, &Sighting)| {
            let at = *sighting.tags.get(tag)?;
            Some((at, id.clone()))
        };
        let (at, id) = self.images.iter().filter_map(seen).max()?;
        if self.gone(tag).is_some_and(|gone| gone > at) {
            return None;
        }
        let digests = self.images.get(&id)?.digests_then.clone();
        Some(FormerImage { id, digests })
    }

    /// When the tag was last seen, if no image had it at the last survey.
    pub fn gone(&self, tag: &Reference) -> Option<DateTime<Utc>> {
        self.gone.get(tag).copied()
    }
}
