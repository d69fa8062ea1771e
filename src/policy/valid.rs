//! A valid policy: complete and in range.

use std::path::PathBuf;
use std::time::Duration;

use crate::model::conditions::LockKind;
use crate::model::reference::Reference;
use crate::model::{Bytes, Image};
use crate::policy::pattern::NamePattern;
use crate::policy::retain::{DigestPinned, Effective, Retain, Retention};

/// The built-in policy: the file that the package installs.
pub const DEFAULT: &str = include_str!("../../config/policy.toml");

#[derive(Debug, Clone, PartialEq)]
pub struct Policy {
    /// How long an image must have been unneeded. Never zero.
    pub min_age: Duration,
    pub digest_pinned: DigestPinned,
    pub keep_images: Vec<NamePattern>,
    pub keep_labels: Vec<LabelRule>,
    /// Superseded images that are kept for each tag.
    pub previous: usize,
    pub retain: Vec<Retain>,
    pub disk: DiskLimits,
    /// What one run may do at most.
    pub limits: Limits,
    pub guard: Guard,
    /// Where this program finds the engine's data root, if not where the engine says.
    pub data_root: Option<PathBuf>,
    /// What verify-cache promises besides the exact names of `keep_images`.
    pub promised: Promised,
    /// What `verify-cache --restore` may cost the host.
    pub restore: RestoreLimits,
    pub archive: Archive,
    pub room: RoomLimits,
}

/// Thresholds, in percent of the file system (bytes or inodes, whichever is
/// fuller).
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct DiskLimits {
    /// Removing starts above this; 0: always.
    pub start_above_percent: f64,
    /// Removing stops below this; 0: not before every candidate is gone.
    pub stop_below_percent: f64,
    /// Removing also starts below this much free space, and goes on until it is there.
    pub min_free: Option<Bytes>,
}

/// `[cache]`: what verify-cache promises.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Promised {
    pub images: Vec<Reference>,
    /// Files with more names; the last part of a path may hold `*`.
    pub lists: Vec<PathBuf>,
    /// Images that ran here within this time are promised, too.
    pub recent: Option<Duration>,
    /// Images that `recent` does not promise and that are never restored. It covers none of
    /// `images`.
    pub never: Vec<NamePattern>,
}

impl Promised {
    /// Says which pattern of `never` covers this name, if one does. Fit to print.
    pub fn never(&self, name: &Reference) -> Option<String> {
        let pattern = self.never.iter().find(|pattern| pattern.covers(name))?;
        Some(format!("cache.never has {:?}", pattern.text))
    }
}

/// `[restore]`: what restoring images may cost the host.
#[derive(Debug, Clone, PartialEq)]
pub struct RestoreLimits {
    pub max_share: Share,
    /// Percent of time, over a minute, in which some task waited for a processor; 100: not
    /// asked.
    pub max_cpu_pressure: f64,
    /// While a running container has one of these labels, nothing is restored.
    pub busy_labels: Vec<LabelRule>,
    /// Pulls that are left to others at a registry that reports its rate limit.
    pub min_pulls_left: u32,
    pub max_run: Duration,
}

#[derive(Debug, Clone, Copy, PartialEq)]
pub enum Share {
    /// Of the file system that holds the images.
    Percent(f64),
    Size(Bytes),
}

/// `[archive]`: where images are saved, and how.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Archive {
    pub dir: Option<PathBuf>,
    pub limits: ArchiveLimits,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct ArchiveLimits {
    /// Of all blobs.
    pub max_size: Bytes,
    /// Of layers that the engine gives uncompressed.
    pub compress: Compress,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Compress {
    None,
    Gzip,
}

/// How full the file system of the images may be for the next deploy, in percent (bytes
/// or inodes, whichever is fuller).
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct RoomLimits {
    pub warn_percent: f64,
    /// At least `warn_percent`.
    pub crit_percent: f64,
}

/// What one run may do at most.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Limits {
    pub max_images: usize,
    /// Fraction of all images, above 0 to 1.
    pub max_fraction: f64,
    pub max_run: Duration,
    /// For one answer of the engine.
    pub max_answer: Duration,
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Guard {
    /// What to do if the signs of a pull cannot be read.
    pub pulls: Pulls,
    /// A refusal that lasts longer than this needs a person.
    pub alert_after: Duration,
    pub locks: Vec<DeployLock>,
}

/// What to do if the signs of a pull cannot be read.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Pulls {
    Require,
    /// Go on with what can be read.
    BestEffort,
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub struct DeployLock {
    /// Its path; the last part may hold `*`.
    pub path: PathBuf,
    pub kind: LockKind,
}

/// A label of `keep.labels`: `key`, or `key=value`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct LabelRule {
    pub key: String,
    /// Its value; `None`: any.
    pub value: Option<String>,
}

impl LabelRule {
    pub(super) fn parse(text: &str) -> Result<Self, String> {
        let (key, value) = match text.split_once('=') {
            Some((key, value)) => (key, Some(value.to_owned())),
            None => (text, None),
        };
        if key.trim().is_empty() {
            return Err("a label is `key` or `key=value`, and the key is missing".into());
        }
        // No label has such a key, and blanks around a value are a mistake.
        let blank = |text: &str| text.starts_with([' ', '\t']) || text.ends_with([' ', '\t']);
        if blank(key) || value.as_ref().is_some_and(|value| blank(value)) {
            return Err(format!(
                "{text:?} has blanks around its key or its value; wanted none there"
            ));
        }
        Ok(Self {
            key: key.to_owned(),
            value,
        })
    }

    /// Whether the image carries it.
    pub fn covers(&self, image: &Image) -> bool {
        image.labels.covers(&self.key, self.value.as_deref())
    }

    /// As it was typed.
    pub fn text(&self) -> String {
        match &self.value {
            Some(value) => format!("{}={value}", self.key),
            None => self.key.clone(),
        }
    }
}

impl Policy {
    /// The values for an image whose names match `covers`.
    pub fn retention(&self, covers: impl Fn(&NamePattern) -> bool) -> Retention<'_> {
        let general = Retention {
            min_age: Effective::general(self.min_age),
            digest_pinned: Effective::general(self.digest_pinned),
            previous: Effective::general(self.previous),
        };
        Retention::longest(general, &self.retain, covers)
    }

    /// Changes when anything in the file's text does, comments included. It distinguishes a
    /// reviewed plan of another policy from one of this policy; it is no signature.
    pub fn fingerprint(text: &str) -> String {
        // FNV-1a, 64 bits: the same on every version and platform, and it only has to
        // withstand chance.
        let hash = text.bytes().fold(0xcbf2_9ce4_8422_2325_u64, |hash, byte| {
            (hash ^ u64::from(byte)).wrapping_mul(0x0100_0000_01b3)
        });
        format!("{hash:016x}")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_label_rule_compares_the_value_only_where_it_names_one() {
        let mut image = crate::testing::image(1);
        image.labels = [(
            "tier".to_owned(),
            crate::model::text::Untrusted::new("base"),
        )]
        .into();
        assert!(LabelRule::parse("tier").unwrap().covers(&image));
        assert!(LabelRule::parse("tier=base").unwrap().covers(&image));
        assert!(!LabelRule::parse("tier=").unwrap().covers(&image));
        assert!(!LabelRule::parse("tie").unwrap().covers(&image));
        assert!(LabelRule::parse("=x").is_err());
        for blank in ["tier = base", " tier", "tier=base "] {
            assert!(LabelRule::parse(blank).is_err(), "{blank:?}");
        }
    }
}
