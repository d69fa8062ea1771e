//! Which exit code a file of the state folder leads to.

use crate::exit::{Exit, Fault};
use crate::host::files::FileError;

pub(crate) fn state_fault(error: &FileError) -> Fault {
    Fault::new(error.exit(Exit::State), error.to_string())
}
