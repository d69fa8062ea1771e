//! Deserializers that keep only the needed part of an item. An item may be some MiB long (its
//! builder writes its labels), and many times that where all of it becomes values. Decides how
//! much of one image is kept.

use std::collections::BTreeMap;
use std::fmt;
use std::marker::PhantomData;

use serde::Deserialize;
use serde::de::{Deserializer, Error, IgnoredAny, MapAccess, SeqAccess, Visitor};

use crate::model::labels::{Labels, cut};
use crate::model::text::Untrusted;

/// Longest list within an item that is kept: an image with 10,000 tags.
const ELEMENTS: usize = 10_000;

/// Bytes that one image's labels may take. Most take 1 KiB; those of buildpacks, with
/// their long values cut, some 12 KiB.
const LABELS: usize = 32 << 10;

/// Memory of a name or a label besides its letters, in bytes.
const EACH: usize = 96;

/// Reads a list, or null, and keeps the results of `keep` for each element.
pub(super) fn some_of<'de, D, T, U, I>(
    from: D,
    keep: impl FnMut(T) -> I,
) -> Result<Vec<U>, D::Error>
where
    D: Deserializer<'de>,
    T: Deserialize<'de>,
    I: IntoIterator<Item = U>,
{
    struct Elements<T, F>(F, PhantomData<T>);
    impl<'de, T, U, I, F> Visitor<'de> for Elements<T, F>
    where
        T: Deserialize<'de>,
        I: IntoIterator<Item = U>,
        F: FnMut(T) -> I,
    {
        type Value = Vec<U>;
        fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
            f.write_str("a list")
        }
        fn visit_none<E>(self) -> Result<Vec<U>, E> {
            Ok(Vec::new())
        }
        fn visit_some<D: Deserializer<'de>>(self, from: D) -> Result<Vec<U>, D::Error> {
            from.deserialize_seq(self)
        }
        fn visit_seq<A: SeqAccess<'de>>(mut self, mut list: A) -> Result<Vec<U>, A::Error> {
            let mut kept = Vec::new();
            while let Some(element) = list.next_element()? {
                kept.extend((self.0)(element));
                if kept.len() > ELEMENTS {
                    let why = format!("a list within an item has more than {ELEMENTS} elements");
                    return Err(A::Error::custom(why));
                }
            }
            Ok(kept)
        }
    }
    from.deserialize_option(Elements(keep, PhantomData))
}

/// A list of texts, or null: as many as an image may have names.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(super) struct Texts(pub(super) Vec<String>);

impl<'de> Deserialize<'de> for Texts {
    fn deserialize<D: Deserializer<'de>>(from: D) -> Result<Self, D::Error> {
        some_of(from, |text: String| [text]).map(Self)
    }
}

/// The first of a list of texts.
pub(super) fn first<'de, D: Deserializer<'de>>(from: D) -> Result<Option<String>, D::Error> {
    let mut found = None;
    some_of(from, |text: String| {
        found.get_or_insert(text);
        None::<()>
    })?;
    Ok(found)
}

/// The labels of an image that are kept.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(super) struct KeptLabels {
    pub(super) labels: Labels,
    /// There are more labels, which a keep rule may cover.
    pub(super) more: bool,
}

impl<'de> Deserialize<'de> for KeptLabels {
    fn deserialize<D: Deserializer<'de>>(from: D) -> Result<Self, D::Error> {
        struct Pairs;
        impl<'de> Visitor<'de> for Pairs {
            type Value = KeptLabels;
            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("labels")
            }
            fn visit_none<E>(self) -> Result<KeptLabels, E> {
                Ok(KeptLabels::default())
            }
            fn visit_some<D: Deserializer<'de>>(self, from: D) -> Result<KeptLabels, D::Error> {
                from.deserialize_map(self)
            }
            fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<KeptLabels, A::Error> {
                let (mut kept, mut left) = (BTreeMap::new(), LABELS);
                while let Some((key, value)) = map.next_entry::<String, String>()? {
                    let value = cut(&value);
                    let Some(rest) = left.checked_sub(EACH + key.len() + value.len()) else {
                        while map.next_entry::<IgnoredAny, IgnoredAny>()?.is_some() {}
                        return Ok(KeptLabels {
                            labels: kept.into(),
                            more: true,
                        });
                    };
                    left = rest;
                    kept.insert(key, Untrusted::new(value));
                }
                Ok(KeptLabels {
                    labels: kept.into(),
                    more: false,
                })
            }
        }
        from.deserialize_option(Pairs)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(labels: &str) -> KeptLabels {
        serde_json::from_str(labels).unwrap()
    }

    #[test]
    fn of_labels_that_are_too_many_the_first_are_kept_and_the_rest_is_told_of() {
        let label = |n: usize| format!("\"{n:04}\":\"{}\"", "x".repeat(1000));
        let labels = |count: usize| {
            let all: Vec<String> = (0..count).map(label).collect();
            read(&format!("{{{}}}", all.join(",")))
        };
        let few = labels(29);
        assert_eq!((few.labels.iter().count(), few.more), (29, false));
        let many = labels(1000);
        assert_eq!((many.labels.iter().count(), many.more), (29, true));
        assert_eq!(read("null"), KeptLabels::default());
        assert!(serde_json::from_str::<KeptLabels>(r#"{"a":1}"#).is_err());
        assert!(serde_json::from_str::<KeptLabels>("[]").is_err());
    }

    #[test]
    fn a_long_value_leaves_room_for_the_labels_beside_it() {
        let long = "\u{e4}".repeat(1 << 20);
        let seen = read(&format!(r#"{{"sbom":"{long}","keep":"yes"}}"#));
        assert!(!seen.more);
        assert_eq!(seen.labels.get("keep"), Some(&Untrusted::new("yes")));
        assert_eq!(seen.labels.get("sbom").unwrap().raw(), cut(&long));
    }

    #[test]
    fn names_are_read_up_to_a_number_that_no_image_has() {
        let read = |count| serde_json::from_value::<Texts>(serde_json::json!(vec!["x"; count]));
        assert_eq!(read(10_000).unwrap().0.len(), 10_000);
        assert!(read(10_001).is_err());
        assert_eq!(
            serde_json::from_str::<Texts>("null").unwrap(),
            Texts(vec![])
        );
    }
}
