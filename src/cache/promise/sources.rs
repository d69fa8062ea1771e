//! Who promises images: the arguments, the policy's `[cache] images` and the exact names
//! of its `[keep] images`, and a baseline. A name promised twice is promised once.

use std::collections::BTreeMap;

use crate::model::reference::Reference;
use crate::model::text::escape;
use crate::model::{Image, ImageId};
use crate::policy::Policy;

use crate::cache::promise::baseline::{Baseline, Recorded};
use crate::cache::promise::wanted::Wanted;

/// Who promised an image.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum By {
    Argument,
    Policy,
    /// It was here when the baseline was recorded.
    Baseline,
}

#[derive(Debug, Clone, PartialEq)]
pub struct Promise {
    pub wanted: Wanted,
    /// The first of several.
    pub by: By,
    /// As it was when the baseline was recorded.
    pub recorded: Option<Recorded>,
}

/// Ordered by name. The error is fit to print.
pub fn promises(
    arguments: &[String],
    policy: &Policy,
    baseline: Option<&Baseline>,
    here: &BTreeMap<ImageId, Image>,
) -> Result<Vec<Promise>, String> {
    let mut found: BTreeMap<Wanted, Promise> = BTreeMap::new();
    let mut add = |wanted: Wanted, by: By, recorded: Option<&Recorded>| {
        let promise = found.entry(wanted.clone()).or_insert(Promise {
            wanted,
            by,
            recorded: None,
        });
        if let Some(recorded) = recorded {
            promise.recorded = Some(recorded.clone());
        }
    };
    for text in arguments {
        add(argument(text, here)?, By::Argument, None);
    }
    let exact = policy
        .keep_images
        .iter()
        .filter_map(|pattern| pattern.exact());
    for name in policy.cache_images.iter().chain(exact) {
        add(Wanted::Name(name.clone()), By::Policy, None);
    }
    for (wanted, recorded) in baseline.into_iter().flat_map(Baseline::promises) {
        add(wanted, By::Baseline, Some(&recorded));
    }
    Ok(found.into_values().collect())
}

/// A name, an id, or the beginning of one that leads to one image here.
fn argument(text: &str, here: &BTreeMap<ImageId, Image>) -> Result<Wanted, String> {
    if let Ok(id) = text.parse::<ImageId>() {
        return Ok(Wanted::Id(id));
    }
    let name = text.parse::<Reference>().map(Wanted::Name);
    let hex = text.strip_prefix("sha256:").unwrap_or(text);
    let digits = hex.len() >= 4 && hex.bytes().all(|b| matches!(b, b'0'..=b'9' | b'a'..=b'f'));
    if digits {
        let named =
            |image: &Image| matches!(&name, Ok(Wanted::Name(name)) if image.tags.contains(name));
        let mut ids = here
            .values()
            .filter(|image| image.id.hex().starts_with(hex));
        if let (Some(image), None) = (ids.next(), ids.next())
            && !here.values().any(named)
        {
            return Ok(Wanted::Id(image.id.clone()));
        }
    }
    if digits && text.parse::<Reference>().is_ok() && Reference::typed(text).is_err() {
        let text = escape(text);
        return Err(format!(
            "`{text}`: no image here has an id that begins so; wanted a name, or a whole id for an image that is gone"
        ));
    }
    let typed = Reference::typed(text).map(Wanted::Name);
    typed.map_err(|error| error.to_string())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::testing::{id, inventory, tagged};

    fn policy(more: &str) -> Policy {
        Policy::parse(&format!("[age]\nmin_age = \"1d\"\n{more}"), "test").unwrap()
    }

    fn names(promises: &[Promise]) -> Vec<String> {
        promises
            .iter()
            .map(|promise| promise.wanted.to_string())
            .collect()
    }

    #[test]
    fn the_policy_promises_its_cache_and_its_exact_names_once() {
        let policy = policy(
            "[keep]\nimages = [\"app:1\", \"app:*\"]\n[cache]\nimages = [\"app:1\", \"db:2\"]",
        );
        let here = BTreeMap::new();
        assert_eq!(
            names(&promises(&[], &policy, None, &here).unwrap()),
            ["app:1", "db:2"]
        );
    }

    #[test]
    fn arguments_come_beside_the_policy_and_the_first_to_promise_counts() {
        let policy = policy("[cache]\nimages = [\"db:2\", \"app:1\"]");
        let here = inventory([tagged(1, "app:1")]).images;
        let asked = promises(&["app:1".into()], &policy, None, &here).unwrap();
        assert_eq!(names(&asked), ["app:1", "db:2"]);
        assert_eq!((asked[0].by, asked[1].by), (By::Argument, By::Policy));
        assert!(promises(&["../x".into()], &policy, None, &here).is_err());
    }

    #[test]
    fn the_beginning_of_an_id_means_that_image_unless_it_is_a_name() {
        let here = inventory([tagged(1, "app:1"), tagged(2, "0000")]).images;
        let asked = |text: &str| argument(text, &here).unwrap();
        assert_eq!(asked("00000001"), Wanted::Id(id(1)));
        assert_eq!(asked(id(1).as_str()), Wanted::Id(id(1)));
        assert!(
            matches!(asked("0000"), Wanted::Name(_)),
            "two images, and a name"
        );
        assert!(matches!(asked("abcd"), Wanted::Name(_)));
    }

    #[test]
    fn what_can_be_no_name_is_an_error_that_says_so() {
        let here = inventory([tagged(1, "app:1")]).images;
        for (text, said) in [
            ("redis:.*", "in keep.images alone"),
            ("redis:[0-9]", "a tag is up to 128"),
            (
                "https://ghcr.io/acme/app:1",
                "did you mean \"ghcr.io/acme/app:1\"?",
            ),
            ("ghcr.io/Acme/app:1", "did you mean \"ghcr.io/acme/app:1\"?"),
            ("redis:*", "in keep.images alone"),
            ("sha256:abc", "is no image name: it is an id"),
            ("sha256:abcd", "no image here has an id that begins so"),
            ("0123456789ab", "no image here has an id that begins so"),
        ] {
            let seen = argument(text, &here).unwrap_err();
            assert!(seen.contains(said), "{text}: {seen}");
        }
    }
}
