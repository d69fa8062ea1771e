//! What can be wrong with an answer, byte by byte.

use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use serde_json::Value;

/// How an answer goes wrong. Where nothing else is said, the engine does first
/// what it was asked to do.
#[derive(Clone)]
pub enum Fault {
    /// Hangs up instead of answering, having done nothing.
    ResetBefore,
    /// Hangs up instead of answering, having done it.
    ResetAfter,
    /// Does not answer, and does nothing.
    Hang,
    /// Does not answer, having done it.
    HangAfter,
    /// Sends the head of the answer, and no more.
    HangAfterHead,
    /// Sends half of the answer, and no more.
    HangInBody,
    /// Sends this of another body, and no more.
    HangAfterBytes(&'static [u8]),
    /// Sends the answer after so long.
    Late(Duration),
    /// Sends the answer one byte a second.
    Drip,
    /// A chunked body that breaks off in the middle of a chunk.
    CutChunk,
    /// A chunked body, whole, but for its last chunk.
    NoLastChunk,
    /// A chunk's size that is no number.
    BadChunkSize,
    /// A Content-Length that says two bytes less than there are: the last is
    /// white space.
    LengthShort,
    /// A Content-Length that says more than there is; then hangs up.
    LengthLong,
    /// A Content-Length that is no number.
    LengthOdd,
    /// The first half of the body as if it were all of it.
    Half,
    /// Another status and text, having done nothing.
    Status(u16, &'static str),
    /// Another body, with the status 200.
    Body(Vec<u8>),
    /// The answer's JSON, changed.
    Json(Arc<dyn Fn(&mut Value) + Send + Sync>),
    /// Bytes that are no HTTP at all.
    Raw(&'static [u8]),
    /// A body that does not end: this over and over again.
    Endless(&'static [u8]),
    /// A gibibyte: this, that so often, and the other.
    Gibibyte(&'static [u8], &'static [u8], &'static [u8]),
    /// Headers that do not end.
    EndlessHead,
    /// The right answer, and these bytes after its end, which nobody asked for.
    Unasked(&'static [u8]),
    /// The right answer; then hangs up without having said so.
    ThenClose,
}

impl Fault {
    /// The answer's JSON, changed.
    pub fn json(change: impl Fn(&mut Value) + Send + Sync + 'static) -> Fault {
        Fault::Json(Arc::new(change))
    }

    /// Whether the engine does what it was asked to do.
    pub fn does_it(&self) -> bool {
        !matches!(
            self,
            Fault::ResetBefore | Fault::Hang | Fault::Status(..) | Fault::Raw(_)
        )
    }
}

impl fmt::Debug for Fault {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let start =
            |bytes: &[u8]| String::from_utf8_lossy(&bytes[..bytes.len().min(24)]).into_owned();
        match self {
            Fault::ResetBefore => f.write_str("ResetBefore"),
            Fault::ResetAfter => f.write_str("ResetAfter"),
            Fault::Hang => f.write_str("Hang"),
            Fault::HangAfter => f.write_str("HangAfter"),
            Fault::HangAfterHead => f.write_str("HangAfterHead"),
            Fault::HangInBody => f.write_str("HangInBody"),
            Fault::HangAfterBytes(bytes) => write!(f, "HangAfterBytes({:?})", start(bytes)),
            Fault::Late(time) => write!(f, "Late({time:?})"),
            Fault::Drip => f.write_str("Drip"),
            Fault::CutChunk => f.write_str("CutChunk"),
            Fault::NoLastChunk => f.write_str("NoLastChunk"),
            Fault::BadChunkSize => f.write_str("BadChunkSize"),
            Fault::LengthShort => f.write_str("LengthShort"),
            Fault::LengthLong => f.write_str("LengthLong"),
            Fault::LengthOdd => f.write_str("LengthOdd"),
            Fault::Half => f.write_str("Half"),
            Fault::Status(status, text) => write!(f, "Status({status}, {text:?})"),
            Fault::Body(body) => write!(f, "Body({:?})", start(body)),
            Fault::Json(_) => f.write_str("Json"),
            Fault::Raw(bytes) => write!(f, "Raw({:?})", start(bytes)),
            Fault::Endless(bytes) => write!(f, "Endless({:?})", start(bytes)),
            Fault::Gibibyte(bytes, again, _) => {
                write!(f, "Gibibyte({:?}, {:?})", start(bytes), start(again))
            }
            Fault::EndlessHead => f.write_str("EndlessHead"),
            Fault::Unasked(bytes) => write!(f, "Unasked({:?})", start(bytes)),
            Fault::ThenClose => f.write_str("ThenClose"),
        }
    }
}
