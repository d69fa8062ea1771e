//! Events: an engine keeps the last 256, in memory. They fill the gap between two surveys, and
//! can only show that an image was wanted later than a survey saw. Where events are lost, a use
//! between two surveys may stay unknown: docs/reliability.md, "What is not covered".

use chrono::{DateTime, TimeDelta, Utc};
use serde::Deserialize;

use crate::engine::allowance::{Allowance, Weighed};
use crate::engine::error::EngineError;
use crate::engine::info::Info;
use crate::engine::items::Form;
use crate::engine::reader::Reader;
use crate::model::reference::Reference;
use crate::model::text::{Untrusted, encode};
use crate::model::{Event, EventKind, ImageId};

impl Reader {
    /// Events from `since` to `until`, which has passed. None if `since` is `None`: there is no
    /// ledger to add them to.
    pub async fn events(
        &self,
        info: &Info,
        since: Option<DateTime<Utc>>,
        until: DateTime<Utc>,
    ) -> Result<Vec<Event>, EngineError> {
        let Some(since) = since else {
            return Ok(Vec::new());
        };
        let since = a_second_before(since).min(until);
        let doing = "read the events since the last survey (GET /events)";
        let filter = r#"{"type":["image","container"]}"#;
        let keep = |message: Message| Ok(wanted(&message));
        self.happened(doing, (since, until), filter, info, keep)
            .await
    }

    /// Events that show that an image is wanted where an inspection does not. Asked for before
    /// each removal, so without events of our own removals, of names (an inspection shows
    /// them), and of containers (they are listed anyway).
    pub async fn wanted(
        &self,
        info: &Info,
        since: DateTime<Utc>,
        until: DateTime<Utc>,
    ) -> Result<Vec<Event>, EngineError> {
        let since = a_second_before(since).min(until);
        let doing = "read what was pulled or used meanwhile (GET /events)";
        let filter = r#"{"type":["image","container"],"event":["pull","load","import","push","save","create","start","die","destroy","commit"]}"#;
        let keep = |message: Message| Ok(wanted(&message));
        self.happened(doing, (since, until), filter, info, keep)
            .await
    }

    /// Events of images from `since` to `until`, which has passed.
    pub async fn meanwhile(
        &self,
        info: &Info,
        since: DateTime<Utc>,
        until: DateTime<Utc>,
    ) -> Result<Vec<ImageEvent>, EngineError> {
        let doing = "read what was done to images meanwhile (GET /events)";
        let filter = r#"{"type":["image"],"event":["tag","pull","load","untag","delete"]}"#;
        let keep = |message: Message| Ok(meanwhile(&message).into_iter().collect());
        self.happened(doing, (since, until), filter, info, keep)
            .await
    }

    async fn happened<T: Weighed>(
        &self,
        doing: &str,
        (since, until): (DateTime<Utc>, DateTime<Utc>),
        filter: &str,
        info: &Info,
        keep: impl Fn(Message) -> Result<Vec<T>, String>,
    ) -> Result<Vec<T>, EngineError> {
        // To the nanosecond, because the latest events tell most. An end in the past ends the
        // stream at once.
        let stamp =
            |at: DateTime<Utc>| format!("{}.{:09}", at.timestamp(), at.timestamp_subsec_nanos());
        let path = format!(
            "/events?since={}&until={}&filters={}",
            stamp(since),
            stamp(until),
            encode(filter),
        );
        let allowance = Allowance::of_events(info);
        self.list(doing, &path, Form::Stream, &allowance, keep)
            .await
    }
}

/// Leaves no gap between two surveys.
fn a_second_before(at: DateTime<Utc>) -> DateTime<Utc> {
    at.checked_sub_signed(TimeDelta::seconds(1)).unwrap_or(at)
}

/// Only the fields that are used: each event of a container also has the labels of its image.
#[derive(Deserialize)]
struct Message {
    #[serde(rename = "Type")]
    kind: Option<String>,
    #[serde(rename = "Action")]
    action: Option<String>,
    #[serde(rename = "Actor")]
    actor: Option<Actor>,
    time: Option<i64>,
    #[serde(rename = "timeNano")]
    time_nano: Option<i64>,
}

impl Message {
    fn at(&self) -> Option<DateTime<Utc>> {
        let nanos = self.time_nano.map(DateTime::from_timestamp_nanos);
        nanos.or_else(|| DateTime::from_timestamp(self.time?, 0))
    }
}

#[derive(Deserialize)]
struct Actor {
    #[serde(rename = "ID")]
    id: Option<String>,
    #[serde(rename = "Attributes")]
    attributes: Option<Attributes>,
}

#[derive(Deserialize)]
struct Attributes {
    image: Option<String>,
    name: Option<String>,
}

impl Weighed for Event {
    fn weight(&self) -> usize {
        let tag = self.tag.as_ref().map_or(0, |tag| 16 + tag.raw().len());
        size_of::<Self>() + 16 + self.image.raw().len() + tag
    }
}

impl Weighed for ImageEvent {
    fn weight(&self) -> usize {
        size_of::<Self>() + 400
    }
}

/// A name that somebody gave to an image.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub struct Claim {
    pub image: ImageId,
    pub name: Reference,
}

/// An event of an image during a run.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub struct ImageEvent {
    pub at: DateTime<Utc>,
    pub what: ImageAction,
}

#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub enum ImageAction {
    /// Somebody gave an image a name.
    Tag(Claim),
    /// Somebody pulled this name; the engine does not say which image that is.
    Pull(Reference),
    Load(ImageId),
    /// An image lost a name, by us or by others. Only the containerd store tells which.
    Untag(ImageId, Option<Reference>),
    /// An image went, by us or by others.
    Delete(ImageId),
}

fn meanwhile(message: &Message) -> Option<ImageEvent> {
    let actor = message.actor.as_ref()?;
    let id = || actor.id.as_ref()?.parse().ok();
    let what = match message.action.as_deref()? {
        "tag" => ImageAction::Tag(claim(message)?),
        "pull" => ImageAction::Pull(pulled(actor.id.as_ref()?)?),
        "load" => ImageAction::Load(id()?),
        "untag" => ImageAction::Untag(id()?, untagged(actor)),
        "delete" => ImageAction::Delete(id()?),
        _ => return None,
    };
    Some(ImageEvent {
        at: message.at()?,
        what,
    })
}

/// `None` where all tags of a repository were pulled: a graphdriver store then names only the
/// repository.
fn pulled(name: &str) -> Option<Reference> {
    let (_, last) = name.rsplit_once('/').unwrap_or(("", name));
    name.parse().ok().filter(|_| last.contains([':', '@']))
}

/// A graphdriver store has the image's id in place of the name.
fn untagged(actor: &Actor) -> Option<Reference> {
    let name = actor.attributes.as_ref()?.name.as_ref()?;
    let is_id = name.parse::<ImageId>().is_ok();
    name.parse().ok().filter(|_| !is_id)
}

fn claim(message: &Message) -> Option<Claim> {
    let actor = message.actor.as_ref()?;
    let name = actor.attributes.as_ref()?.name.as_ref()?;
    let claim = Claim {
        image: actor.id.as_ref()?.parse().ok()?,
        name: name.parse().ok()?,
    };
    (!claim.name.is_ours()).then_some(claim)
}

/// The images that were wanted, by this message.
fn wanted(message: &Message) -> Vec<Event> {
    let actor = message.actor.as_ref();
    let attributes = actor.and_then(|actor| actor.attributes.as_ref());
    let Some(at) = message.at() else {
        return Vec::new();
    };
    let event = |image: String, what, tag: Option<String>| Event {
        at,
        image: Untrusted::new(image),
        what,
        tag: tag.map(Untrusted::new),
    };
    match (message.kind.as_deref(), message.action.as_deref()) {
        // A deletion does not show that an image is wanted.
        (Some("image"), Some("delete" | "prune")) => Vec::new(),
        (Some("image"), action) => {
            let name = attributes.and_then(|attributes| attributes.name.clone());
            let parsed = name
                .as_ref()
                .and_then(|name| name.parse::<Reference>().ok());
            if parsed.is_some_and(|name| name.is_ours()) {
                return Vec::new();
            }
            let tag = name.clone().filter(|_| action == Some("tag"));
            let id = actor.and_then(|actor| actor.id.clone());
            let what = match action {
                Some("pull") => EventKind::Pulled,
                Some("load" | "import") => EventKind::Loaded,
                _ => EventKind::Named,
            };
            let by_id = id.map(|id| event(id, what, tag));
            let by_name = name.map(|name| event(name, EventKind::Named, None));
            by_id.into_iter().chain(by_name).collect()
        }
        (_, action) => {
            let image = attributes.and_then(|attributes| attributes.image.clone());
            let what = match action {
                Some("start" | "restart" | "die") => EventKind::Ran,
                _ => EventKind::Used,
            };
            let used = image.map(|image| event(image, what, None));
            used.into_iter().collect()
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn images(json: &str) -> Vec<(String, EventKind)> {
        let message = serde_json::from_str(json).unwrap();
        wanted(&message)
            .into_iter()
            .map(|e| (e.image.raw().to_owned(), e.what))
            .collect()
    }

    #[test]
    fn a_container_event_shows_use_and_an_image_event_a_name() {
        let container = r#"{"Type":"container","Action":"die","Actor":{"ID":"c","Attributes":{"image":"app:1"}},"time":1800000000}"#;
        assert_eq!(images(container), [("app:1".to_owned(), EventKind::Ran)]);
        for (action, what) in [
            ("start", EventKind::Ran),
            ("create", EventKind::Used),
            ("destroy", EventKind::Used),
        ] {
            let container = container.replace("die", action);
            assert_eq!(images(&container), [("app:1".to_owned(), what)]);
        }
        let image = r#"{"Type":"image","Action":"tag","Actor":{"ID":"sha256:ab","Attributes":{"name":"app:2"}},"time":1800000000}"#;
        assert_eq!(
            images(image),
            [
                ("sha256:ab".to_owned(), EventKind::Named),
                ("app:2".to_owned(), EventKind::Named)
            ]
        );
    }

    #[test]
    fn who_was_given_a_tag_is_told_with_it() {
        let tags = |action: &str| {
            let text = format!(
                r#"{{"Type":"image","Action":"{action}","Actor":{{"ID":"sha256:ab","Attributes":{{"name":"app:2"}}}},"time":1800000000}}"#
            );
            let events = wanted(&serde_json::from_str(&text).unwrap()).into_iter();
            let tags = events.map(|event| event.tag.map(|tag| tag.raw().to_owned()));
            tags.collect::<Vec<_>>()
        };
        assert_eq!(tags("tag"), [Some("app:2".to_owned()), None]);
        assert_eq!(tags("untag"), [None, None]);
    }

    #[test]
    fn a_pull_of_all_tags_is_no_pull_of_latest() {
        let done = |name: &str| {
            let text = format!(
                r#"{{"Type":"image","Action":"pull","Actor":{{"ID":"{name}"}},"time":1800000000}}"#
            );
            meanwhile(&serde_json::from_str(&text).unwrap()).map(|done| done.what)
        };
        assert_eq!(done("r.example:5000/app"), None);
        assert_eq!(done("app"), None);
        for name in ["app:latest", "r.example:5000/app:1"] {
            assert_eq!(done(name), Some(ImageAction::Pull(name.parse().unwrap())));
        }
        let digest = format!("app@sha256:{:064}", 7);
        assert_eq!(
            done(&digest),
            Some(ImageAction::Pull(digest.parse().unwrap()))
        );
    }

    #[test]
    fn a_pull_tells_the_name_that_was_asked_for_and_a_load_the_image() {
        let kinds = |action: &str, id: &str, name: &str| {
            let text = format!(
                r#"{{"Type":"image","Action":"{action}","Actor":{{"ID":"{id}","Attributes":{{"name":"{name}"}}}},"time":1800000000}}"#
            );
            images(&text)
        };
        let named = |name: &str, what| (name.to_owned(), what);
        let digest = format!("r.example/app:1@sha256:{:064}", 7);
        for asked in ["r.example/app:1", &digest] {
            assert_eq!(
                kinds("pull", asked, "r.example/app"),
                [
                    named(asked, EventKind::Pulled),
                    named("r.example/app", EventKind::Named)
                ]
            );
        }
        for action in ["load", "import"] {
            let seen = kinds(action, "sha256:ab", "sha256:ab");
            assert_eq!(seen[0], named("sha256:ab", EventKind::Loaded), "{action}");
        }
        let dropped = kinds("untag", "sha256:ab", &digest);
        assert_eq!(dropped[1], named(&digest, EventKind::Named));
    }

    #[test]
    fn our_own_names_and_deletes_show_nothing() {
        for (action, name) in [
            ("tag", "secateur.invalid/remove:0123456789ab"),
            ("delete", "app:1"),
        ] {
            let text = format!(
                r#"{{"Type":"image","Action":"{action}","Actor":{{"ID":"sha256:ab","Attributes":{{"name":"{name}"}}}},"time":1800000000}}"#
            );
            assert_eq!(images(&text), []);
        }
    }

    #[test]
    fn an_untag_event_tells_the_name_where_it_is_no_id() {
        let id = format!("sha256:{:064}", 7);
        let told = |name: &str| {
            let text = format!(
                r#"{{"Type":"image","Action":"untag","Actor":{{"ID":"{id}","Attributes":{{"name":"{name}"}}}},"time":1800000000}}"#
            );
            meanwhile(&serde_json::from_str(&text).unwrap())
                .unwrap()
                .what
        };
        let image: ImageId = id.parse().unwrap();
        let name = "app:1".parse().unwrap();
        assert_eq!(told("app:1"), ImageAction::Untag(image.clone(), Some(name)));
        assert_eq!(told(&id), ImageAction::Untag(image, None));
    }

    #[test]
    fn a_claim_is_a_name_that_somebody_else_gave() {
        let id = format!("sha256:{:064}", 7);
        let claimed = |name: &str| {
            let text = format!(
                r#"{{"Type":"image","Action":"tag","Actor":{{"ID":"{id}","Attributes":{{"name":"{name}"}}}},"time":1800000000}}"#
            );
            claim(&serde_json::from_str(&text).unwrap())
        };
        let theirs = claimed("app:2").unwrap();
        assert_eq!(theirs.image, id.parse().unwrap());
        assert_eq!(theirs.name, "app:2".parse().unwrap());
        assert_eq!(claimed("secateur.invalid/remove:0123456789ab"), None);
    }
}
