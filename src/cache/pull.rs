//! Lets the engine pull one image, with the credentials that its registry needs.

use std::cell::Cell;

use crate::engine::{Amount, EngineError, Pulled, Reader};
use crate::guard::Undisturbed;
use crate::model::reference::Reference;
use crate::model::secret::Credentials;

use crate::cache::questions::Registries;
use crate::cache::step::watched;

/// `on_amount` is called several times a second with the progress; its error aborts the pull. The
/// inner error, fit to print, is a failed pull while the engine is still there.
pub async fn pull<E: From<EngineError>>(
    (reader, registries): (&Reader, &Registries),
    undisturbed: &Undisturbed,
    name: &Reference,
    on_amount: impl FnMut(Amount) -> Result<(), E>,
) -> Result<Result<Pulled, String>, E> {
    let credentials = registries.credentials(name);
    let auth = credentials.map(|found| found.for_engine(Registries::server(name)));
    let clear = |text: &str| Credentials::cleared(credentials, text);
    let amount = Cell::new(Amount::default());
    let puller = reader.puller(undisturbed);
    let pull = puller.pull(name, auth.as_ref(), clear, |now| amount.set(now));
    match watched(Box::pin(pull), &amount, on_amount).await? {
        Ok(done) => Ok(Ok(done)),
        Err(error) => {
            let error = reader.still_there(error).await?;
            Ok(Err(error.to_string()))
        }
    }
}
