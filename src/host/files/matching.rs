//! Lists the files that match a path whose last part may hold `*`.

use std::fs;
use std::io;
use std::path::{Path, PathBuf};

use wildmatch::WildMatchPattern;

use crate::host::files::error::FileError;
use crate::host::files::trust::{Wanted, check};

/// The paths that match, in the order of their names; none if the folder is missing. As in a
/// shell, `*` does not match the dot that begins a name, as an editor's copies have.
///
/// # Errors
///
/// [`FileError::Untrusted`] where others could put files into the folder; [`FileError::Io`],
/// also for more than `most` matches.
pub fn matching(pattern: &Path, most: usize) -> Result<Vec<PathBuf>, FileError> {
    let (Some(folder), Some(last)) = (pattern.parent(), pattern.file_name()) else {
        return Err(FileError::unfit("read", pattern, "it names no file"));
    };
    let last = last.to_string_lossy();
    let folder = match check(folder, Wanted::Folder) {
        Ok(_) => folder,
        Err(error) if error.is_not_found() => return Ok(Vec::new()),
        Err(error) => return Err(error),
    };
    let shown = |name: &str| !name.starts_with('.') || last.starts_with('.');
    listed(folder, &last, most, shown).map_err(|unlisted| match unlisted {
        Unlisted::Io(error) => FileError::io("list", folder)(error),
        Unlisted::TooMany => {
            let why = format!("more than {most} files match");
            FileError::unfit("read", pattern, why)
        }
    })
}

/// Why the matching paths cannot be listed.
pub(in crate::host) enum Unlisted {
    Io(io::Error),
    TooMany,
}

/// The paths in a folder whose names match `last` and for which `may` is true, in order. Bytes
/// that are no UTF-8 become U+FFFD, which `*` matches: such a name may match too often, never
/// too seldom.
pub(in crate::host) fn listed(
    folder: &Path,
    last: &str,
    most: usize,
    may: impl Fn(&str) -> bool,
) -> Result<Vec<PathBuf>, Unlisted> {
    // No file name holds a NUL, so no character stands for "any one".
    let wanted = WildMatchPattern::<'*', '\0'>::new(last);
    let mut paths = Vec::new();
    for entry in fs::read_dir(folder).map_err(Unlisted::Io)? {
        let entry = entry.map_err(Unlisted::Io)?;
        let name = entry.file_name();
        let name = name.to_string_lossy();
        if !may(&name) || !wanted.matches(&name) {
            continue;
        }
        if paths.len() == most {
            return Err(Unlisted::TooMany);
        }
        paths.push(entry.path());
    }
    paths.sort();
    Ok(paths)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::testing::folder_of_ours;
    use std::os::unix::fs::PermissionsExt;

    fn names(found: &[PathBuf]) -> Vec<&str> {
        let names = found.iter().map(|path| path.file_name().unwrap());
        names.map(|name| name.to_str().unwrap()).collect()
    }

    #[test]
    fn the_files_that_match_come_by_name_without_hidden_ones() {
        let folder = folder_of_ours();
        for name in ["b.list", "a.list", ".#a.list", "a.list~", "c.txt"] {
            fs::write(folder.path().join(name), "").unwrap();
        }
        let found = matching(&folder.path().join("*.list"), 2).unwrap();
        assert_eq!(names(&found), ["a.list", "b.list"]);
        let found = matching(&folder.path().join(".*.list"), 2).unwrap();
        assert_eq!(names(&found), [".#a.list"]);
        let many = matching(&folder.path().join("*.list"), 1).unwrap_err();
        assert!(
            many.to_string().contains("more than 1 files match"),
            "{many}"
        );
        let none = matching(&folder.path().join("nowhere/*.list"), 2).unwrap();
        assert_eq!(names(&none), [""; 0]);
    }

    #[test]
    fn a_folder_that_others_may_write_to_is_refused() {
        let folder = folder_of_ours();
        let open = folder.path().join("open");
        fs::create_dir(&open).unwrap();
        fs::set_permissions(&open, fs::Permissions::from_mode(0o777)).unwrap();
        let said = matching(&open.join("*"), 2).unwrap_err();
        assert!(matches!(said, FileError::Untrusted { .. }), "{said}");
    }
}
