//! The sources of promises, in the order in which images are restored: the arguments, `[cache]
//! images` and the exact names of `[keep] images` in the policy, the lists, recent containers,
//! and a baseline. A name promised twice is one promise.

use std::collections::BTreeMap;
use std::path::PathBuf;

use chrono::{DateTime, NaiveDate, TimeDelta, Utc};

use crate::memory::ledger::Uses;
use crate::model::kinds::kinds;
use crate::model::reference::{Reference, is_hex};
use crate::model::text::{escape, escape_path};
use crate::model::{Image, ImageId};
use crate::policy::{Policy, Promised};

use crate::cache::promise::baseline::{Baseline, Recorded};
use crate::cache::promise::lists::Listed;
use crate::cache::promise::wanted::Wanted;

#[derive(Debug, Clone, PartialEq, Eq)]
pub enum By {
    Argument,
    /// `[cache] images`.
    Policy,
    /// An exact name of `[keep] images`.
    Keep,
    List {
        file: PathBuf,
        /// From 1.
        line: usize,
    },
    /// A container of it ran here.
    Recent {
        /// Days of use within `cache.recent`.
        days: u32,
        last: NaiveDate,
    },
    /// It was here when the baseline was recorded.
    Baseline,
}

kinds! {
    /// [`By`] without its fields.
    pub enum ByKind of By {
        Argument = "argument",
        Policy = "policy",
        Keep = "keep",
        List = "list",
        Recent = "recent",
        Baseline = "baseline",
    }
}

impl By {
    /// Fit to print.
    pub fn words(&self) -> String {
        match self {
            Self::Argument => "the command line".to_owned(),
            Self::Policy => "cache.images".to_owned(),
            Self::Keep => "keep.images".to_owned(),
            Self::List { file, line } => {
                format!("{} line {line}", escape_path(file))
            }
            Self::Recent { days, last } => {
                let s = if *days == 1 { "" } else { "s" };
                format!("cache.recent ({days} day{s} of use, last {last})")
            }
            Self::Baseline => "the baseline".to_owned(),
        }
    }
}

#[derive(Debug, Clone, PartialEq)]
pub struct Promise {
    pub wanted: Wanted,
    /// In the order of the sources; never empty.
    pub by: Vec<By>,
    /// As it was when the baseline was recorded.
    pub recorded: Option<Recorded>,
}

impl Promise {
    pub fn new(wanted: Wanted, by: By) -> Self {
        Self {
            wanted,
            by: vec![by],
            recorded: None,
        }
    }

    /// Whether the promised name leads to another image than the recorded one.
    pub fn leads_elsewhere(&self, image: &Image) -> bool {
        let (Some(recorded), Wanted::Name(name)) = (&self.recorded, &self.wanted) else {
            return false;
        };
        recorded.identifies() && !recorded.matches(image, &name.repository())
    }

    /// Whether nobody named it, and it was only seen here. It may have been built on this host,
    /// and then no registry has it.
    pub fn only_seen(&self) -> bool {
        let seen = |by: &By| matches!(by, By::Recent { .. } | By::Baseline);
        self.by.iter().all(seen)
    }
}

#[derive(Debug, Clone, Copy)]
pub struct Sources<'a> {
    pub arguments: &'a [String],
    pub policy: &'a Policy,
    pub lists: &'a [Listed],
    /// The recorded uses, and the current time.
    pub ran: Option<(&'a Uses, DateTime<Utc>)>,
    pub baseline: Option<&'a Baseline>,
}

impl<'a> Sources<'a> {
    /// The policy without its lists.
    pub fn of(policy: &'a Policy) -> Self {
        Self {
            arguments: &[],
            policy,
            lists: &[],
            ran: None,
            baseline: None,
        }
    }
}

/// In the order of the sources. The error is fit to print.
pub fn promises(
    sources: &Sources<'_>,
    here: &BTreeMap<ImageId, Image>,
) -> Result<Vec<Promise>, String> {
    let mut found: Vec<Promise> = Vec::new();
    let mut places: BTreeMap<Wanted, usize> = BTreeMap::new();
    let mut add = |wanted: Wanted, by: By, recorded: Option<Recorded>| {
        let place = *places.entry(wanted.clone()).or_insert(found.len());
        match found.get_mut(place) {
            Some(promise) if promise.by.contains(&by) => {}
            Some(promise) => promise.by.push(by),
            None => found.push(Promise::new(wanted, by)),
        }
        if let (Some(promise), Some(recorded)) = (found.get_mut(place), recorded) {
            promise.recorded = Some(recorded);
        }
    };
    for text in sources.arguments {
        add(argument(text, here)?, By::Argument, None);
    }
    for name in &sources.policy.promised.images {
        add(Wanted::Name(name.clone()), By::Policy, None);
    }
    let patterns = sources.policy.keep_images.iter();
    for name in patterns.filter_map(|pattern| pattern.exact()) {
        add(Wanted::Name(name.clone()), By::Keep, None);
    }
    for Listed { name, file, line } in sources.lists {
        let (file, line) = (file.clone(), *line);
        add(Wanted::Name(name.clone()), By::List { file, line }, None);
    }
    for (name, by) in recent(&sources.policy.promised, sources.ran) {
        add(Wanted::Name(name), by, None);
    }
    let recorded = sources.baseline.map(Baseline::promises);
    for (wanted, recorded) in recorded.into_iter().flatten() {
        add(wanted, By::Baseline, Some(recorded));
    }
    Ok(found)
}

/// The images that ran within `cache.recent`, most days of use first, except those that
/// `cache.never` covers.
fn recent(policy: &Promised, ran: Option<(&Uses, DateTime<Utc>)>) -> Vec<(Reference, By)> {
    let (Some(time), Some((uses, now))) = (policy.recent, ran) else {
        return Vec::new();
    };
    let time = TimeDelta::from_std(time).unwrap_or(TimeDelta::MAX);
    let names = uses.within(time, now).into_iter();
    let names = names.filter(|it| policy.never(&it.name).is_none());
    let by = |days, last| By::Recent { days, last };
    names.map(|it| (it.name, by(it.days, it.last))).collect()
}

/// A name, an id, or the beginning of an id that matches exactly one image here.
fn argument(text: &str, here: &BTreeMap<ImageId, Image>) -> Result<Wanted, String> {
    if let Ok(id) = text.parse::<ImageId>() {
        return Ok(Wanted::Id(id));
    }
    let name = text.parse::<Reference>().map(Wanted::Name);
    let hex = text.strip_prefix("sha256:").unwrap_or(text);
    let digits = hex.len() >= 4 && is_hex(hex);
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
    use crate::model::text::Untrusted;
    use crate::model::{Event, EventKind};
    use crate::testing::{at, id, inventory, tagged};

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
        let asked = promises(&Sources::of(&policy), &here).unwrap();
        assert_eq!(names(&asked), ["app:1", "db:2"]);
        assert_eq!(asked[0].by, [By::Policy, By::Keep]);
    }

    fn ran(days: &[(&str, i64)]) -> Uses {
        let event = |(name, day): &(&str, i64)| Event {
            at: at(day * 86_400),
            image: Untrusted::new(*name),
            what: EventKind::Ran,
            tag: None,
        };
        let events: Vec<Event> = days.iter().map(event).collect();
        Uses::default().and(&[], &events, &BTreeMap::new(), at(0))
    }

    #[test]
    fn arguments_come_beside_the_policy_and_the_first_to_promise_counts() {
        let policy = policy(
            "[keep]\nimages = [\"kept:1\", \"kept:*\"]\n\
             [cache]\nimages = [\"z:1\", \"a:1\"]\nrecent = \"14d\"\nnever = [\"*:pr-*\"]",
        );
        let listed = |name: &str, line| Listed {
            name: name.parse().unwrap(),
            file: "/l".into(),
            line,
        };
        let host = inventory([tagged(1, "seen:1"), tagged(2, "a:1")]);
        let baseline = Baseline::of(&host.engine, &host.images, at(0), None, &[].into());
        let uses = ran(&[
            ("often:1", 0),
            ("often:1", -5),
            ("once:1", 0),
            ("app:pr-7", 0),
            ("z:1", -3),
            ("long:1", -20),
        ]);
        let sources = Sources {
            arguments: &["y:1".into()],
            policy: &policy,
            lists: &[listed("m:1", 1), listed("b:1", 2), listed("y:1", 3)],
            ran: Some((&uses, at(0))),
            baseline: Some(&baseline),
        };
        let asked = promises(&sources, &host.images).unwrap();
        assert_eq!(
            names(&asked),
            [
                "y:1", "z:1", "a:1", "kept:1", "m:1", "b:1", "often:1", "once:1", "seen:1"
            ]
        );
        let by = |n: usize| asked[n].by.iter().map(By::words).collect::<Vec<_>>();
        assert_eq!(by(0), ["the command line", "/l line 3"]);
        let last = at(-3 * 86_400).date_naive();
        let recent = format!("cache.recent (1 day of use, last {last})");
        assert_eq!(by(1), ["cache.images", &recent]);
        assert_eq!(by(2), ["cache.images", "the baseline"]);
        assert!(asked[2].recorded.is_some() && asked[1].recorded.is_none());
        let only_seen: Vec<_> = asked.iter().map(Promise::only_seen).collect();
        assert_eq!(only_seen, [[false; 6].as_slice(), &[true; 3]].concat());
        let bad = ["../x".to_owned()];
        let sources = Sources {
            arguments: &bad,
            ..sources
        };
        assert!(promises(&sources, &host.images).is_err());
    }

    #[test]
    fn nothing_is_promised_by_use_where_the_policy_does_not_ask_for_it() {
        let uses = ran(&[("app:1", 0)]);
        let policy = policy("");
        let sources = Sources {
            ran: Some((&uses, at(0))),
            ..Sources::of(&policy)
        };
        assert_eq!(promises(&sources, &BTreeMap::new()).unwrap(), []);
    }

    #[test]
    fn ten_thousand_names_of_lists_are_promised_each_once_and_in_order() {
        let policy = policy("");
        let listed = |n: usize| Listed {
            name: format!("r.example/app:{}", n % 10_000).parse().unwrap(),
            file: "/l".into(),
            line: n + 1,
        };
        let lists: Vec<Listed> = (0..20_000).map(listed).collect();
        let sources = Sources {
            lists: &lists,
            ..Sources::of(&policy)
        };
        let asked = promises(&sources, &BTreeMap::new()).unwrap();
        assert_eq!(asked.len(), 10_000);
        assert_eq!(asked[9_999].wanted.to_string(), "r.example/app:9999");
        assert!(asked.iter().all(|promise| promise.by.len() == 2));
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
