//! What the engine still remembers to have happened: it keeps 256 events, in
//! memory. They fill the gap between two looks, and can only show that an
//! image was wanted later than we saw; that they are few or gone does no harm.

use std::collections::HashMap;

use bollard::models::EventMessage;
use bollard::query_parameters::EventsOptions;
use chrono::{DateTime, TimeDelta, Utc};
use futures_util::TryStreamExt;

use super::{ASK, EngineError, Reader, call};
use crate::model::{Event, EventKind};
use crate::reference::Reference;
use crate::text::Untrusted;

/// More than any engine keeps; what is over is not read.
const MOST: usize = 10_000;

impl Reader {
    /// What happened from a moment on, up to another that has passed. `None`
    /// where nothing is remembered: no events are asked for.
    pub async fn events(
        &self,
        since: Option<DateTime<Utc>>,
        until: DateTime<Utc>,
    ) -> Result<Vec<Event>, EngineError> {
        let Some(since) = since else {
            return Ok(Vec::new());
        };
        // From a second before, so that no gap is left; an end in the past ends
        // the stream at once. To the nanosecond: what happened a moment ago is
        // what most shows an image to be wanted.
        let since = since
            .checked_sub_signed(TimeDelta::seconds(1))
            .unwrap_or(since)
            .min(until);
        let filters = HashMap::from([(
            "type".to_owned(),
            vec!["image".to_owned(), "container".to_owned()],
        )]);
        let options = EventsOptions {
            since: Some(since.timestamp().to_string()),
            until: Some(format!(
                "{}.{:09}",
                until.timestamp(),
                until.timestamp_subsec_nanos()
            )),
            filters: Some(filters),
        };
        let stream = self.docker.events(Some(options));
        let read = async {
            let mut stream = std::pin::pin!(stream);
            let mut events = Vec::new();
            while events.len() < MOST {
                let Some(message) = stream.try_next().await? else {
                    break;
                };
                events.extend(wanted(&message));
            }
            Ok(events)
        };
        call(
            "read what happened since the last look (GET /events)",
            ASK,
            read,
        )
        .await
    }
}

/// Which images a message shows to have been wanted.
fn wanted(message: &EventMessage) -> Vec<Event> {
    let actor = message.actor.as_ref();
    let attribute = |key: &str| actor?.attributes.as_ref()?.get(key).cloned();
    let nanos = message.time_nano.map(DateTime::from_timestamp_nanos);
    let Some(at) = nanos.or_else(|| DateTime::from_timestamp(message.time?, 0)) else {
        return Vec::new();
    };
    let typ = message
        .typ
        .as_ref()
        .map(ToString::to_string)
        .unwrap_or_default();
    let (names, what) = match (typ.as_str(), message.action.as_deref()) {
        // What is deleted was not wanted by that.
        ("image", Some("delete" | "prune")) => return Vec::new(),
        ("image", _) => {
            let name = attribute("name");
            if name
                .as_ref()
                .and_then(|name| name.parse::<Reference>().ok())
                .is_some_and(|name| name.is_ours())
            {
                return Vec::new();
            }
            (
                vec![actor.and_then(|actor| actor.id.clone()), name],
                EventKind::Named,
            )
        }
        _ => (vec![attribute("image")], EventKind::Used),
    };
    names
        .into_iter()
        .flatten()
        .map(|image| Event {
            at,
            image: Untrusted::new(image),
            what,
        })
        .collect()
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
        assert_eq!(images(container), [("app:1".to_owned(), EventKind::Used)]);
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
}
