//! Waiting for an engine, with a limit, and cut short where the run is asked to end.

use std::time::Duration;

use futures_util::future::{Either, select};

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
    match tokio::time::timeout(limit, unless(asked, work)).await {
        Ok(done) => done.transpose(),
        Err(_) => Err(Fault::new(Exit::Engine, late())),
    }
}

/// What this work gives; `None` where the run is asked to end before.
async fn unless<T>(asked: &AskedToEnd, work: impl Future<Output = T>) -> Option<T> {
    const TICK: Duration = Duration::from_millis(100);
    let ends = async {
        while !asked.is() {
            tokio::time::sleep(TICK).await;
        }
    };
    match select(std::pin::pin!(work), std::pin::pin!(ends)).await {
        Either::Left((done, _)) => Some(done),
        Either::Right(_) => None,
    }
}
