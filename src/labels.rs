//! An image's labels: what its builder wrote on it. Read often, never changed,
//! and the largest part of most images, so a copy of an image shares them.

use std::collections::BTreeMap;
use std::sync::Arc;

use serde::{Deserialize, Serialize};

use crate::text::Untrusted;

/// Keys and values, ordered by key.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(
    from = "BTreeMap<String, Untrusted>",
    into = "BTreeMap<String, Untrusted>"
)]
pub struct Labels(Arc<[(String, Untrusted)]>);

impl Labels {
    /// The value of a key.
    pub fn get(&self, key: &str) -> Option<&Untrusted> {
        let place = self
            .0
            .binary_search_by(|(other, _)| other.as_str().cmp(key));
        place.ok().map(|place| &self.0[place].1)
    }

    /// All, by key.
    pub fn iter(&self) -> impl Iterator<Item = (&str, &Untrusted)> {
        self.0.iter().map(|(key, value)| (key.as_str(), value))
    }
}

impl From<BTreeMap<String, Untrusted>> for Labels {
    fn from(labels: BTreeMap<String, Untrusted>) -> Self {
        Self(labels.into_iter().collect())
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
