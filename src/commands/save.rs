//! Where `verify-cache --save` saves to, and how it ends where it saved nothing.

use std::path::Path;

use crate::cache::archive::Unsaved;
use crate::exit::{Exit, Fault};

pub(super) fn folder(archive: Option<&Path>) -> Result<&Path, Fault> {
    archive.ok_or_else(|| {
        let message = "--save: where to? Name the archive's folder with --archive, or in the policy ([archive] dir)";
        Fault::new(Exit::Usage, message)
    })
}

pub(super) fn unsaved(why: Unsaved) -> Fault {
    match why {
        Unsaved::Engine(error) => error.into(),
        Unsaved::Archive(error) => Fault::new(error.exit(), format!("--save: {error}")),
        Unsaved::Held(held) => {
            let message = format!("--save: {held}; what it saves is kept, run this again later");
            Fault::new(Exit::RefusedForNow, message)
        }
    }
}
