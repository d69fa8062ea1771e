//! Fingerprints of names that an image once had, so that a ledger does not grow without end.
//! Decides only whether a name may be one of them: it may say yes for a name that is not, which
//! keeps the image, and never says no for one that is.

use std::collections::{BTreeMap, BTreeSet};

use serde::{Deserialize, Serialize};
use sha2::{Digest, Sha256};

use crate::model::reference::Reference;

#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct Fingerprints {
    /// Sorted, each once.
    prints: Vec<u32>,
    /// The image may have had any name: not even fingerprints are left.
    any: bool,
}

/// An index of names by their fingerprints.
#[derive(Debug)]
pub struct FingerprintIndex<'a>(BTreeMap<u32, Vec<&'a Reference>>);

impl<'a> FingerprintIndex<'a> {
    pub fn of(names: impl IntoIterator<Item = &'a Reference>) -> Self {
        let mut printed: BTreeMap<u32, Vec<&Reference>> = BTreeMap::new();
        for name in names {
            printed.entry(print(name)).or_default().push(name);
        }
        Self(printed)
    }
}

/// Written in place of fingerprints that were too many.
const ANY: &str = "*";

/// Hex digits of a fingerprint.
const DIGITS: usize = 8;

impl Fingerprints {
    pub fn is_empty(&self) -> bool {
        self.prints.is_empty() && !self.any
    }

    pub(super) fn count(&self) -> usize {
        self.prints.len()
    }

    pub fn is_any(&self) -> bool {
        self.any
    }

    /// Whether the name may be one of these.
    pub fn has(&self, name: &Reference) -> bool {
        self.any || (!self.prints.is_empty() && self.prints.binary_search(&print(name)).is_ok())
    }

    /// Which of `names` may be among these.
    pub fn among<'a>(&self, names: &FingerprintIndex<'a>) -> BTreeSet<&'a Reference> {
        if self.any {
            return names.0.values().flatten().copied().collect();
        }
        let found = self.prints.iter().filter_map(|print| names.0.get(print));
        found.flatten().copied().collect()
    }

    pub(super) fn add<'a>(&mut self, names: impl IntoIterator<Item = &'a Reference>) {
        self.join(&Self {
            prints: names.into_iter().map(print).collect(),
            any: false,
        });
    }

    pub(super) fn join(&mut self, other: &Self) {
        self.any |= other.any;
        if self.any {
            self.prints = Vec::new();
            return;
        }
        self.prints.extend(&other.prints);
        self.prints.sort_unstable();
        self.prints.dedup();
        self.prints.shrink_to_fit();
    }

    /// Drops the fingerprints.
    pub(super) fn becomes_any(&mut self) {
        *self = Self {
            prints: Vec::new(),
            any: true,
        };
    }
}

fn print(name: &Reference) -> u32 {
    let sum = Sha256::digest(name.to_string());
    u32::from_be_bytes([sum[0], sum[1], sum[2], sum[3]])
}

impl From<Fingerprints> for String {
    fn from(fingerprints: Fingerprints) -> Self {
        use std::fmt::Write as _;
        if fingerprints.any {
            return ANY.to_owned();
        }
        let mut text = Self::with_capacity(fingerprints.prints.len() * DIGITS);
        for print in fingerprints.prints {
            // Writing to a String cannot fail.
            let _ = write!(text, "{print:08x}");
        }
        text
    }
}

impl TryFrom<String> for Fingerprints {
    type Error = String;
    fn try_from(text: String) -> Result<Self, String> {
        if text == ANY {
            return Ok(Self {
                prints: Vec::new(),
                any: true,
            });
        }
        let print = |digits: &[u8]| {
            let digits = std::str::from_utf8(digits).ok()?;
            let all = digits.len() == DIGITS && digits.bytes().all(|b| b.is_ascii_hexdigit());
            all.then(|| u32::from_str_radix(digits, 16).ok())?
        };
        let prints = text.as_bytes().chunks(DIGITS).map(print);
        let prints: Option<Vec<u32>> = prints.collect();
        let mut fingerprints = Self::default();
        fingerprints.join(&Self {
            prints: prints.ok_or("no list of fingerprints, each of 8 hex digits")?,
            any: false,
        });
        Ok(fingerprints)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn name(n: u32) -> Reference {
        format!("app:{n}").parse().unwrap()
    }

    #[test]
    fn a_fingerprinted_name_is_known_again_and_others_are_not() {
        let mut prints = Fingerprints::default();
        prints.add(&[name(1), name(2), name(1)]);
        let text = String::from(prints.clone());
        assert_eq!(text.len(), 2 * DIGITS);
        let read = Fingerprints::try_from(text).unwrap();
        assert_eq!(read, prints);
        assert!(read.has(&name(1)) && read.has(&name(2)) && !read.has(&name(3)));
        let (two, three) = (name(2), name(3));
        assert_eq!(
            read.among(&FingerprintIndex::of([&two, &three])),
            [&two].into()
        );
    }

    #[test]
    fn what_may_have_had_any_name_has_each() {
        let mut prints = Fingerprints::default();
        prints.add(&[name(1)]);
        prints.becomes_any();
        let read = Fingerprints::try_from(String::from(prints)).unwrap();
        assert!(read.has(&name(2)) && read.is_any() && read.count() == 0);
    }

    #[test]
    fn what_is_no_list_of_fingerprints_does_not_read() {
        for text in ["1", "0000000g", "00000001é", "+0000001"] {
            Fingerprints::try_from(text.to_owned()).unwrap_err();
        }
    }
}
