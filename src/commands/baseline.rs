//! The file of `--record` and `--against`.

use std::collections::BTreeMap;
use std::path::Path;

use chrono::{DateTime, Utc};

use crate::cache::promise::baseline::Baseline;
use crate::cache::promise::{Promise, Wanted};
use crate::cache::run::baseline;
use crate::commands::output::write_readable;
use crate::engine::{Info, Reader};
use crate::exit::{Exit, Fault};
use crate::host::files::read_named;
use crate::model::text::escape_path;

/// A baseline of 100,000 images has some 40 MB.
const LONGEST: u64 = 64 << 20;

/// For a comparison with this engine.
pub(super) fn read(path: &Path, info: &Info, notes: &mut Vec<String>) -> Result<Baseline, Fault> {
    let (baseline, note) = read_any(path)?.for_engine(&info.facts);
    notes.extend(note);
    Ok(baseline)
}

/// For comparing only names and digests.
pub(super) fn read_any(path: &Path) -> Result<Baseline, Fault> {
    let fault = |why: String| Fault::new(Exit::Usage, format!("--against: {why}"));
    let bytes = read_named(path, LONGEST).map_err(|error| fault(error.to_string()))?;
    let shown = escape_path(path);
    Baseline::from_json(&bytes).map_err(|why| fault(format!("{shown}: {why}")))
}

/// Writes what is here now, and returns a note for the report.
pub(super) async fn write(
    path: &Path,
    reader: &Reader,
    info: &Info,
    at: DateTime<Utc>,
    only: Option<&[Promise]>,
    pulls: &BTreeMap<Wanted, u64>,
) -> Result<String, Fault> {
    let baseline = baseline(reader, info, at, only, pulls).await?;
    write_readable(path, &baseline.to_json(), LONGEST)?;
    let (count, path) = (baseline.len(), escape_path(path));
    let s = if count == 1 { "" } else { "s" };
    Ok(format!("recorded {count} image{s} in {path}"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_baseline_is_a_plain_file_of_a_size_that_is_read() {
        let folder = tempfile::tempdir().unwrap();
        let said = |name: &str| {
            let path = folder.path().join(name);
            read_any(&path).map(|_| ()).unwrap_err()
        };
        let long = std::fs::File::create(folder.path().join("long")).unwrap();
        long.set_len(LONGEST + 1).unwrap();
        std::os::unix::fs::symlink("long", folder.path().join("link")).unwrap();
        for name in ["long", "link"] {
            let fault = said(name);
            assert_eq!(fault.exit, Exit::Usage);
            assert!(
                fault.message.contains("longer than 67108864 bytes"),
                "{}",
                fault.message
            );
        }
        assert!(said("absent").message.contains("No such file"));
        assert!(said(".").message.contains("a folder"));
        // Nobody writes into it: a read would wait for ever.
        let fifo = folder.path().join("fifo");
        nix::unistd::mkfifo(&fifo, nix::sys::stat::Mode::S_IRUSR).unwrap();
        assert!(said("fifo").message.contains("FIFO"));
    }
}
