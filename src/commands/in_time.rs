//! Waits for an engine, with a time limit, until the run is asked to end.

use std::time::Duration;

use crate::exit::{Exit, Fault};
use crate::host::signals::EndRequest;

/// The result of `work`; `None` if the run is asked to end before. Longer than `limit` is a
/// fault with the message `late`.
pub(crate) async fn in_time<T>(
    limit: Duration,
    asked: &EndRequest,
    work: impl Future<Output = Result<T, Fault>>,
    late: impl FnOnce() -> String,
) -> Result<Option<T>, Fault> {
    match tokio::time::timeout(limit, asked.unless(work)).await {
        Ok(done) => done.transpose(),
        Err(_) => Err(Fault::new(Exit::Engine, late())),
    }
}
