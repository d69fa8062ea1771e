//! An image's labels. They are the largest part of most images and never change, so
//! copies of an image share them.

use std::collections::BTreeMap;
use std::sync::Arc;

use serde::{Deserialize, Serialize};

use crate::model::text::Untrusted;

/// Bytes of a value that are kept. No rule of a policy is that long, but a bill of materials
/// is, and many of them would fill a small host's memory.
const KEPT: usize = 4 << 10;

/// The beginning of a value: the part that is kept.
pub fn cut(value: &str) -> &str {
    &value[..value.floor_char_boundary(KEPT)]
}

/// Keys and values, ordered by key; of a long value the beginning.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(
    from = "BTreeMap<String, Untrusted>",
    into = "BTreeMap<String, Untrusted>"
)]
pub struct Labels(Arc<[(String, Untrusted)]>);

impl Labels {
    pub fn get(&self, key: &str) -> Option<&Untrusted> {
        let place = self
            .0
            .binary_search_by(|(other, _)| other.as_str().cmp(key));
        place.ok().map(|place| &self.0[place].1)
    }

    /// Whether the key is there, with this value where one is given. Only the parts
    /// that are kept are compared, so a value that was cut can only keep more images.
    pub fn covers(&self, key: &str, value: Option<&str>) -> bool {
        self.get(key)
            .is_some_and(|seen| value.is_none_or(|wanted| cut(wanted) == seen.raw()))
    }

    pub fn iter(&self) -> impl Iterator<Item = (&str, &Untrusted)> {
        self.0.iter().map(|(key, value)| (key.as_str(), value))
    }
}

impl From<BTreeMap<String, Untrusted>> for Labels {
    fn from(labels: BTreeMap<String, Untrusted>) -> Self {
        let kept = |value: Untrusted| match cut(value.raw()) {
            short if short.len() < value.raw().len() => Untrusted::new(short),
            _ => value,
        };
        let labels = labels.into_iter();
        Self(labels.map(|(key, value)| (key, kept(value))).collect())
    }
}

impl From<Labels> for BTreeMap<String, Untrusted> {
    fn from(labels: Labels) -> Self {
        labels.0.iter().cloned().collect()
    }
}

impl FromIterator<(String, Untrusted)> for Labels {
    fn from_iter<I: IntoIterator<Item = (String, Untrusted)>>(labels: I) -> Self {
        BTreeMap::from_iter(labels).into()
    }
}

impl<const N: usize> From<[(String, Untrusted); N]> for Labels {
    fn from(labels: [(String, Untrusted); N]) -> Self {
        labels.into_iter().collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn of_a_long_value_the_first_is_kept_and_a_rule_still_covers_it() {
        let long = "\u{20ac}".repeat(5000);
        let labels = Labels::from([("sbom".to_owned(), Untrusted::new(long.clone()))]);
        let kept = labels.get("sbom").unwrap().raw();
        assert_eq!(kept.len(), 4095, "no character is cut in two");
        assert!(labels.covers("sbom", None));
        assert!(labels.covers("sbom", Some(&long)));
        assert!(labels.covers("sbom", Some(kept)));
        assert!(!labels.covers("sbom", Some("\u{20ac}")));
        let other = format!("{long}, and more");
        assert!(labels.covers("sbom", Some(&other)), "keeps more");
    }

    #[test]
    fn a_label_is_found_by_its_key_and_reads_back() {
        let labels = Labels::from(["b", "a", "c"].map(|key| (key.to_owned(), Untrusted::new(key))));
        for key in ["a", "b", "c"] {
            assert_eq!(labels.get(key), Some(&Untrusted::new(key)));
        }
        assert_eq!(labels.get("d"), None);
        let text = serde_json::to_string(&labels).unwrap();
        assert_eq!(text, r#"{"a":"a","b":"b","c":"c"}"#);
        assert_eq!(serde_json::from_str::<Labels>(&text).unwrap(), labels);
    }
}
