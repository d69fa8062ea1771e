//! The stream of a pull or load. Decides from the engine's messages which layers were fetched,
//! which were here already, and how the pull ended.

use std::collections::BTreeMap;

use serde::Deserialize;
use tokio_util::bytes::BytesMut;
use tokio_util::codec::{Decoder, LinesCodec, LinesCodecError};

use crate::model::text::json_error;

/// One message of POST /images/create or /images/load.
#[derive(Debug, Clone, Default, Deserialize)]
#[serde(default)]
pub struct Message {
    /// The layer, or the tag in the first message.
    pub id: Option<String>,
    pub status: Option<String>,
    /// A load's text for people.
    pub stream: Option<String>,
    /// An error after the first byte, old form.
    pub error: Option<String>,
    /// The same, new form.
    #[serde(rename = "errorDetail")]
    pub error_detail: Option<ErrorDetail>,
    #[serde(rename = "progressDetail")]
    pub progress: Option<Progress>,
}

/// How much of a layer is done.
#[derive(Debug, Clone, Default, Deserialize)]
#[serde(default)]
pub struct Progress {
    pub current: Option<i64>,
    pub total: Option<i64>,
    /// The unit; bytes where it is missing.
    pub units: Option<String>,
}

#[derive(Debug, Clone, Default, Deserialize)]
#[serde(default)]
pub struct ErrorDetail {
    /// Unescaped.
    pub message: Option<String>,
}

/// Longest message, in bytes.
const LONGEST_MESSAGE: usize = 64 << 10;

/// Cuts a stream into its messages, however its bytes arrive. An engine ends each with a line
/// feed, and a message is read only then: half of one may parse and be wrong (`1.`, of `1.5`).
#[derive(Debug)]
pub struct Lines {
    codec: LinesCodec,
    /// The beginning of a line.
    rest: BytesMut,
}

impl Default for Lines {
    fn default() -> Self {
        Self {
            codec: LinesCodec::new_with_max_length(LONGEST_MESSAGE),
            rest: BytesMut::new(),
        }
    }
}

impl Lines {
    /// Takes more bytes, and passes on each message that is complete now. The error is fit to
    /// print.
    pub fn feed(&mut self, bytes: &[u8], mut take: impl FnMut(Message)) -> Result<(), String> {
        self.rest.extend_from_slice(bytes);
        while let Some(line) = self
            .codec
            .decode(&mut self.rest)
            .map_err(|error| in_words(&error))?
        {
            messages(&line, &mut take)?;
        }
        Ok(())
    }

    /// The stream is over; its last message may lack a line feed.
    pub fn finish(mut self, mut take: impl FnMut(Message)) -> Result<(), String> {
        while let Some(line) = self
            .codec
            .decode_eof(&mut self.rest)
            .map_err(|error| in_words(&error))?
        {
            messages(&line, &mut take)?;
        }
        Ok(())
    }
}

fn in_words(error: &LinesCodecError) -> String {
    match error {
        LinesCodecError::MaxLineLengthExceeded => "a message does not end".to_owned(),
        // Its only error.
        LinesCodecError::Io(_) => "it is no UTF-8".to_owned(),
    }
}

/// Reads the messages of one line.
fn messages(line: &str, mut take: impl FnMut(Message)) -> Result<(), String> {
    for message in serde_json::Deserializer::from_str(line).into_iter() {
        take(message.map_err(|error| {
            if error.is_eof() {
                "its answer ends inside a message".to_owned()
            } else {
                json_error(&error)
            }
        })?);
    }
    Ok(())
}

/// How a pull ended.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum End {
    /// The stream ended without a result, as on Podman.
    Silent,
    /// "Image is up to date".
    UpToDate,
    /// "Downloaded newer image": also if only a tag moved, or only the name was missing here.
    Newer,
    /// An error, unescaped.
    Error(String),
}

/// Bytes over the network.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Amount {
    pub done: u64,
    /// At least `done`.
    pub total: u64,
    /// The part of `total` that is not unpacked yet, as far as the engine tells.
    pub packed: u64,
}

impl Amount {
    /// The least space that it will still take on the disk: unpacked, no layer is smaller.
    pub fn coming(&self) -> u64 {
        let rest = self.total.saturating_sub(self.done);
        rest.saturating_add(self.packed)
    }
}

/// The result of a pull's messages.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Pulled {
    layers: BTreeMap<String, bool>,
    amounts: BTreeMap<String, Amount>,
    pub end: End,
}

impl Default for Pulled {
    fn default() -> Self {
        Self {
            layers: BTreeMap::new(),
            amounts: BTreeMap::new(),
            end: End::Silent,
        }
    }
}

/// Statuses of a layer that the engine has to fetch. Any of them counts: a small layer shows
/// only some, and the containerd store reports every 100 ms.
const FETCHING: [&str; 8] = [
    "Pulling fs layer",
    "Waiting",
    "Downloading",
    "Verifying Checksum",
    "Download complete",
    "Extracting",
    "Pull complete",
    "Copying blob", // Podman
];

/// More layers than any image has (the engine's own limit is some 127). More are not kept, so
/// that no stream can fill our memory.
const LAYERS: usize = 4096;

impl Pulled {
    pub fn take(&mut self, message: &Message) {
        let detail = message
            .error_detail
            .as_ref()
            .and_then(|detail| detail.message.clone());
        if let Some(error) = detail.or_else(|| message.error.clone()) {
            self.end = End::Error(error);
            return;
        }
        let status = message.status.as_deref().unwrap_or_default();
        if matches!(self.end, End::Error(_)) {
            return;
        }
        if status.starts_with("Status: Image is up to date") {
            self.end = End::UpToDate;
        } else if status.starts_with("Status: Downloaded newer image") {
            self.end = End::Newer;
        }
        let Some(id) = message.id.as_deref().filter(|id| id.len() <= 128) else {
            return;
        };
        let fetching = FETCHING.iter().any(|word| status.starts_with(word));
        if (fetching || status == "Already exists")
            && (self.layers.len() < LAYERS || self.layers.contains_key(id))
        {
            *self.layers.entry(id.to_owned()).or_default() |= fetching;
            self.count(id, status, message.progress.as_ref());
        }
    }

    fn count(&mut self, id: &str, status: &str, progress: Option<&Progress>) {
        let bytes = |number: Option<i64>| number.and_then(|it| u64::try_from(it).ok());
        let current = bytes(progress.and_then(|it| it.current));
        if status == "Downloading" {
            let total = bytes(progress.and_then(|it| it.total)).unwrap_or(0);
            let known = self.amounts.entry(id.to_owned()).or_default();
            known.done = known.done.max(current.unwrap_or(0));
            known.total = known.total.max(total).max(known.done);
            known.packed = known.total;
            return;
        }
        let Some(known) = self.amounts.get_mut(id) else {
            return;
        };
        match status {
            "Download complete" => known.done = known.total,
            // A containerd store counts seconds here.
            "Extracting" => {
                let bytes = progress.is_some_and(|it| it.units.is_none());
                let unpacked = current.filter(|_| bytes).unwrap_or(known.total);
                known.packed = known.packed.min(known.total.saturating_sub(unpacked));
            }
            "Pull complete" => (known.done, known.packed) = (known.total, 0),
            _ => {}
        }
    }

    /// Of all layers whose download the engine reported; it may leave out small ones.
    pub fn amount(&self) -> Amount {
        let each = self.amounts.values();
        each.fold(Amount::default(), |sum, one| Amount {
            done: sum.done.saturating_add(one.done),
            total: sum.total.saturating_add(one.total),
            packed: sum.packed.saturating_add(one.packed),
        })
    }

    /// Layers that came over the network.
    pub fn fetched(&self) -> usize {
        self.layers.values().filter(|fetched| **fetched).count()
    }

    /// Layers that were here already, by the stream.
    pub fn reused(&self) -> usize {
        self.layers.len() - self.fetched()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn pulled(stream: &str) -> Pulled {
        let (mut pulled, mut lines) = (Pulled::default(), Lines::default());
        // Cut where a message is incomplete.
        for bytes in stream.as_bytes().chunks(7) {
            lines.feed(bytes, |message| pulled.take(&message)).unwrap();
        }
        lines.finish(|message| pulled.take(&message)).unwrap();
        pulled
    }

    #[test]
    fn a_stream_that_ends_inside_a_message_or_never_ends_one_is_no_stream() {
        let fed = |bytes: &[u8]| {
            let mut lines = Lines::default();
            lines.feed(bytes, |_| ())?;
            lines.finish(|_| ())
        };
        assert!(fed(b"{\"status\":\"x\"}\r\n ").is_ok());
        assert!(fed(b"{\"status\":\"x\"}{").is_err());
        assert!(fed(b"<html>").is_err());
        let endless = format!("{{\"status\":\"{}", "x".repeat(LONGEST_MESSAGE));
        assert_eq!(
            fed(endless.as_bytes()),
            Err("a message does not end".into())
        );
    }

    #[test]
    fn a_message_that_is_cut_anywhere_reads_as_the_whole() {
        let stream = b"{\"id\":\"a\",\"status\":\"Pull complete\",\"x\":[-1.5e3,true]}\n{}";
        for cut in 0..stream.len() {
            let (mut pulled, mut lines) = (Pulled::default(), Lines::default());
            for part in [&stream[..cut], &stream[cut..]] {
                lines.feed(part, |message| pulled.take(&message)).unwrap();
            }
            lines.finish(|message| pulled.take(&message)).unwrap();
            assert_eq!(pulled.fetched(), 1, "cut at {cut}");
        }
    }

    // Recorded from 20.10.24 and 28.5.2; `Registry` and `Engine::pull` of
    // tests/support/lab record them again.
    const OVERLAY_FIRST: &str = r#"
        {"id":"v1","status":"Pulling from app"}
        {"id":"ae6e9281b8e6","progressDetail":{},"status":"Pulling fs layer"}
        {"id":"f84621d5eea0","progressDetail":{},"status":"Already exists"}
        {"id":"ae6e9281b8e6","progressDetail":{},"status":"Verifying Checksum"}
        {"id":"ae6e9281b8e6","progressDetail":{},"status":"Download complete"}
        {"id":"ae6e9281b8e6","progressDetail":{},"status":"Pull complete"}
        {"status":"Digest: sha256:b28be418f4eb1941013dc2bda0dff1c76dd792a9ba7f2f08943bc500fc0feaa7"}
        {"status":"Status: Downloaded newer image for r.example/app:v1"}"#;
    const CONTAINERD_SMALL: &str = r#"
        {"id":"v1","status":"Pulling from other"}
        {"id":"dcbdce315174","progressDetail":{},"status":"Pulling fs layer"}
        {"id":"dcbdce315174","progressDetail":{"hidecounts":true},"status":"Download complete"}
        {"id":"dcbdce315174","progressDetail":{"hidecounts":true},"status":"Pull complete"}
        {"status":"Status: Downloaded newer image for r.example/other:v1"}"#;
    const AGAIN: &str = r#"
        {"id":"v1","status":"Pulling from app"}
        {"status":"Digest: sha256:b28be418f4eb1941013dc2bda0dff1c76dd792a9ba7f2f08943bc500fc0feaa7"}
        {"status":"Status: Image is up to date for r.example/app:v1"}"#;

    #[test]
    fn fetched_and_reused_layers_are_told_apart() {
        let first = pulled(OVERLAY_FIRST);
        assert_eq!((first.fetched(), first.reused()), (1, 1));
        assert_eq!(first.end, End::Newer);
    }

    #[test]
    fn a_layer_too_small_to_be_seen_downloading_was_fetched_all_the_same() {
        assert_eq!(pulled(CONTAINERD_SMALL).fetched(), 1);
    }

    #[test]
    fn what_has_come_and_what_is_still_to_come_is_counted_until_it_is_unpacked() {
        let amount = |more: &str| {
            let begun = r#"{"id":"a","status":"Downloading","progressDetail":{"current":30,"total":100}}
                {"id":"b","status":"Downloading","progressDetail":{"current":5,"total":10}}"#;
            let amount = pulled(&format!("{begun}{more}")).amount();
            (amount.done, amount.total, amount.coming())
        };
        let said = |id: &str, status: &str, detail: &str| {
            format!(r#"{{"id":"{id}","status":"{status}","progressDetail":{detail}}}"#)
        };
        assert_eq!(amount(""), (35, 110, 75 + 110));
        let complete = said("a", "Download complete", r#"{"hidecounts":true}"#);
        assert_eq!(amount(&complete), (105, 110, 5 + 110));
        let half = complete.clone() + &said("a", "Extracting", r#"{"current":50,"total":100}"#);
        assert_eq!(amount(&half), (105, 110, 5 + 60));
        let seconds = complete + &said("a", "Extracting", r#"{"current":1,"units":"s"}"#);
        assert_eq!(amount(&seconds), (105, 110, 5 + 10));
        assert_eq!(
            amount(&said("a", "Pull complete", "{}")),
            (105, 110, 5 + 10)
        );
        let odd = said("c", "Downloading", r#"{"current":-1,"total":-1}"#);
        assert_eq!(amount(&odd), (35, 110, 75 + 110));
    }

    #[test]
    fn an_image_that_is_up_to_date_fetches_nothing() {
        let again = pulled(AGAIN);
        assert_eq!((again.fetched(), again.reused()), (0, 0));
        assert_eq!(again.end, End::UpToDate);
    }

    #[test]
    fn a_tag_that_only_moved_is_newer_and_fetches_nothing() {
        let moved = pulled(
            r#"{"id":"a","status":"Already exists"}{"status":"Status: Downloaded newer image for x"}"#,
        );
        assert_eq!((moved.fetched(), moved.reused()), (0, 1));
        assert_eq!(moved.end, End::Newer);
    }

    #[test]
    fn an_error_in_the_stream_is_how_it_ended_whatever_comes_after() {
        let failed = pulled(
            r#"{"errorDetail":{"message":"no space"},"error":"no space"}{"status":"Status: Image is up to date for x"}"#,
        );
        assert_eq!(failed.end, End::Error("no space".into()));
        assert_eq!(pulled(r#"{"error":"x"}"#).end, End::Error("x".into()));
        assert_eq!(pulled("").end, End::Silent);
    }
}
