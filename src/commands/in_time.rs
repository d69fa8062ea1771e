//! Waiting for an engine, with a limit, and cut short where the run is asked to end.

use std::time::Duration;

use crate::exit::{Exit, Fault};
use crate::host::signals::AskedToEnd;

/// What this work gives; `None` where the run is asked to end before. Work that takes
/// longer than `limit` is a fault, in the words of `late`.
pub(crate) async fn in_time<T>(
    limit: Duration,
    asked: &AskedToEnd,
    work: impl Future<Output = Result<T, Fault>>,
    late: impl FnOnce() -> String,
) -> Result<Option<T>, Fault> {
    match tokio::time::timeout(limit, asked.unless(work)).await {
        Ok(done) => done.transpose(),
        Err(_) => Err(Fault::new(Exit::Engine, late())),
    }
}
