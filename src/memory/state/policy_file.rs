//! Which policy file the last prune used, so that a run without one knows that there was one.

use std::ffi::OsStr;
use std::os::unix::ffi::OsStrExt;
use std::path::{Path, PathBuf};

use crate::exit::{Exit, Fault};
use crate::host::files::{StateDir, read_trusted, write_atomic};
use crate::model::text::{escape_path, for_shell};

const FILE: &str = "policy";

/// In bytes. A longer path is not read.
const LONGEST: u64 = 1 << 16;

#[derive(Debug, Clone, PartialEq, Eq)]
pub struct LastPolicy {
    file: PathBuf,
    remembered: PathBuf,
}

impl LastPolicy {
    /// Why it is a fault that no policy is named and the usual one is missing. Fit to print.
    pub fn is_gone(&self, usual: &str) -> String {
        let (last, remembered) = (escape_path(&self.file), for_shell(&self.remembered));
        let named = if last == usual {
            String::new()
        } else {
            format!(", and {usual} is not there either")
        };
        let gone = if self.file.exists() {
            "is not named now"
        } else {
            "is not there"
        };
        format!(
            "policy: {last} was used by the last prune and {gone}{named}: without it nothing that it \
             keeps would be kept; put it back, or name one with --policy FILE; \
             if the built-in policy is meant: rm {remembered}"
        )
    }
}

/// The policy file of the last prune with this state folder; `None` where no prune used
/// one.
pub fn last_policy(dir: Option<&StateDir>) -> Result<Option<LastPolicy>, Fault> {
    let Some(dir) = dir else { return Ok(None) };
    let remembered = dir.file(FILE);
    let bytes = read_trusted(&remembered, LONGEST)?;
    Ok(bytes.map(|bytes| LastPolicy {
        file: OsStr::from_bytes(bytes.trim_ascii_end()).into(),
        remembered,
    }))
}

pub(super) fn used(dir: &StateDir, file: &Path) -> Result<(), Fault> {
    let fault = |error: std::io::Error| {
        let shown = escape_path(file);
        Fault::new(
            Exit::State,
            format!("cannot tell where {shown} is: {error}"),
        )
    };
    let file = std::path::absolute(file).map_err(fault)?;
    if last_policy(Some(dir))?.is_some_and(|last| last.file == file) {
        return Ok(());
    }
    let mut line = file.into_os_string().into_encoded_bytes();
    line.push(b'\n');
    write_atomic(&dir.file(FILE), &line).map_err(Fault::from)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_policy_file_of_the_last_run_is_remembered_whatever_its_name() {
        let folder = crate::testing::folder_of_ours();
        let dir = StateDir::open(folder.path()).unwrap();
        assert_eq!(last_policy(Some(&dir)), Ok(None));
        for name in [&b"/etc/one.toml"[..], b"/etc/\xff\n.toml"] {
            let file = Path::new(OsStr::from_bytes(name));
            used(&dir, file).unwrap();
            let last = last_policy(Some(&dir)).unwrap().unwrap();
            assert_eq!(last.file, file);
            let said = last.is_gone("/etc/usual.toml");
            assert!(
                !said.contains('\n') && said.contains("is not there, and /etc/usual"),
                "{said}"
            );
        }
        used(&dir, Path::new("once.toml")).unwrap();
        assert!(last_policy(Some(&dir)).unwrap().unwrap().file.is_absolute());
    }
}
