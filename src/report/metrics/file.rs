//! Writes a file of metrics.

use std::path::Path;

use crate::host::files::{read_untrusted, write_for_all};
use crate::model::text::{escape, escape_path};
use crate::report::metrics::page::PreviousFile;

/// No file of ours is longer, in bytes.
const LONGEST: u64 = 1 << 20;

/// Replaces the whole file: `text` makes it from its last content.
///
/// A file with other metrics, also those of another command of ours, is an error, or they would
/// be lost.
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
            escape_path(path),
            escape(other)
        ));
    }
    write_for_all(path, text(&previous).as_bytes()).map_err(|error| error.to_string())
}
