//! Reads long answers as they arrive, within an allowance for what is kept.

use serde::de::DeserializeOwned;

use crate::engine::allowance::{Allowance, Weighed};
use crate::engine::error::{EngineError, Failure};
use crate::engine::items::{Form, Items};
use crate::engine::reader::{self, Reader};
use crate::model::text::json_error;

/// How often a list is asked for that the engine does not find.
///
/// A list is at no path that could be absent. But an engine with the containerd store (seen on
/// 28.5) answers 404 where an image goes, or another takes its tag, while it lists: it has read
/// that there is such an image, and then finds its content no more.
const TRIES: u32 = 3;

/// Longest answer that is read in one piece, in bytes: 60,000 build records.
pub(super) const LONGEST_WHOLE: usize = 24 << 20;

impl Reader {
    /// GETs a list and keeps the results of `keep` for each item.
    pub(super) async fn list<T: DeserializeOwned, U: Weighed>(
        &self,
        doing: &str,
        path: &str,
        form: Form,
        allowance: &Allowance,
        mut keep: impl FnMut(T) -> Result<Vec<U>, String>,
    ) -> Result<Vec<U>, EngineError> {
        let (mut items, mut kept) = (Items::new(form), Vec::new());
        for tries in 1.. {
            let read = self.read(doing, path, allowance.longest, |data| {
                items.take(data, |item| {
                    for some in keep(object(item)?)? {
                        allowance.take(some.weight())?;
                        kept.push(some);
                    }
                    Ok(())
                })
            });
            // Futures that ask several things would become large.
            match Box::pin(read).await {
                // Its head says so: nothing of a list was read.
                Err(error) if error.kind == Failure::NotFound => {
                    if tries == TRIES {
                        let why = format!("asked {TRIES} times, {}", error.why);
                        return Err(EngineError { why, ..error });
                    }
                }
                Err(error) => return Err(error),
                Ok(()) => break,
            }
        }
        let ended = items.end().map(|()| kept);
        ended.map_err(|why| EngineError::nonsense(doing, why))
    }

    /// GETs an answer that is no list but may be long.
    pub(super) async fn whole(
        &self,
        doing: &str,
        path: &str,
        longest: usize,
    ) -> Result<Vec<u8>, EngineError> {
        let mut whole = Vec::new();
        self.read(doing, path, longest, |data| {
            whole.extend_from_slice(data);
            Ok(())
        })
        .await?;
        Ok(whole)
    }

    /// GETs an answer, and passes on each piece as it arrives.
    async fn read(
        &self,
        doing: &str,
        path: &str,
        longest: usize,
        mut piece: impl FnMut(&[u8]) -> Result<(), String>,
    ) -> Result<(), EngineError> {
        let read = async {
            let mut body = self.socket.stream(path).await?;
            let mut length = 0_usize;
            while let Some(data) = reader::piece(&mut body).await? {
                length = length.saturating_add(data.len());
                if length > longest {
                    let mib = longest >> 20;
                    return Ok(Err(format!("the answer is longer than {mib} MiB")));
                }
                if let Err(why) = piece(&data) {
                    return Ok(Err(why));
                }
            }
            Ok(Ok(()))
        };
        self.ask(doing, read)
            .await?
            .map_err(|why| EngineError::nonsense(doing, why))
    }
}

/// Reads a JSON object. All of it must be UTF-8, and it must be an object: serde also
/// takes a list for a struct, and does not check text that it skips.
pub(super) fn object<T: DeserializeOwned>(bytes: &[u8]) -> Result<T, String> {
    let text = std::str::from_utf8(bytes).map_err(|_| "it is no UTF-8".to_owned())?;
    if !text.trim_ascii_start().starts_with('{') {
        return Err("it is no JSON object".to_owned());
    }
    serde_json::from_str(text).map_err(|error| json_error(&error))
}
