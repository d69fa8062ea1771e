//! `verify-cache --save`: where it saves to, and how it ends where it saved nothing.

use std::collections::BTreeMap;
use std::path::Path;

use crate::cache::archive::{Save, Saved, Unsaved};
use crate::cache::promise::{Promise, Wanted};
use crate::cache::run::images;
use crate::commands::progress::Progress;
use crate::engine::{Info, Reader};
use crate::exit::{Exit, Fault};
use crate::host::clock;
use crate::policy::Policy;

pub(super) fn folder(archive: Option<&Path>) -> Result<&Path, Fault> {
    archive.ok_or_else(|| {
        let message = "--save: where to? Name the archive's folder with --archive, or in the policy ([archive] dir)";
        Fault::new(Exit::Usage, message)
    })
}

/// Saves what is promised and here now: a restore or a pull may just have brought it.
pub(super) async fn promised(
    folder: &Path,
    (reader, info, policy): (&Reader, &Info, &Policy),
    promises: &[Promise],
    clock_is_sound: bool,
    progress: &mut Progress,
) -> Result<BTreeMap<Wanted, Saved>, Fault> {
    let save = Save {
        reader,
        info,
        policy,
        here: &images(reader, info).await?,
        at: clock::now(),
        clock_is_sound,
        on_step: &mut |step| progress.step(step),
    };
    Box::pin(save.all(folder, promises)).await.map_err(unsaved)
}

fn unsaved(why: Unsaved) -> Fault {
    match why {
        Unsaved::Engine(error) => error.into(),
        Unsaved::Archive(error) => Fault::new(error.exit(), format!("--save: {error}")),
        Unsaved::Held(held) => {
            let message = format!("--save: {held}; what it saves is kept, run this again later");
            Fault::new(Exit::RefusedForNow, message)
        }
    }
}
