//! Writes a file of metrics.

use std::path::Path;

use crate::host::files::{read_untrusted, write_for_all};
use crate::model::text::escape;
use crate::report::metrics::page::PreviousFile;

/// No file of ours is longer, in bytes.
const LONGEST: u64 = 1 << 20;

/// Writes the whole file anew: `text` makes it from what was in it before.
///
/// A file with other metrics is an error, also with those of another command of ours.
/// Else they would be lost.
pub fn write(
    path: &Path,
    prefix: &'static str,
    text: impl FnOnce(&PreviousFile) -> String,
) -> Result<(), String> {
    let previous = read_untrusted(path, LONGEST).map_err(|error| error.to_string())?;
    let previous = PreviousFile::of(&previous.unwrap_or_default());
    if let Some(other) = previous.not_of(prefix) {
        return Err(format!(
            "{} holds {}, which is not of this command: give each a file of its own, or delete it",
            escape(&path.to_string_lossy()),
            escape(other)
        ));
    }
    write_for_all(path, text(&previous).as_bytes()).map_err(|error| error.to_string())
}
