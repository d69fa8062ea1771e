//! The state folder without --state-dir. Decides from the environment alone; the folder never
//! depends on the working folder.

use std::ffi::OsStr;
use std::os::unix::ffi::OsStrExt;
use std::path::PathBuf;

use crate::host::user;
use crate::host::variables;
use crate::model::text::quoted;

/// The state folder of the timer's runs.
pub(crate) const SYSTEM: &str = "/var/lib/secateur";

#[derive(Debug, Default)]
pub(crate) struct Sources {
    pub root: bool,
    pub state_directory: Option<PathBuf>,
    pub xdg_state_home: Option<PathBuf>,
    pub home: Option<PathBuf>,
}

impl Sources {
    pub fn read() -> Self {
        Self {
            root: user::is_root(),
            state_directory: variables::path("STATE_DIRECTORY"),
            xdg_state_home: variables::path("XDG_STATE_HOME"),
            home: variables::path("HOME"),
        }
    }

    /// The error is fit to print.
    pub fn folder(self) -> Result<PathBuf, String> {
        if let Some(list) = self.state_directory {
            return of_systemd(list.as_os_str());
        }
        if self.root {
            return Ok(SYSTEM.into());
        }
        // "All paths must be absolute. If an implementation encounters a relative path
        // it should consider the path invalid and ignore it" (XDG Base Directory).
        if let Some(state) = self.xdg_state_home.filter(|path| path.is_absolute()) {
            return Ok(state.join("secateur"));
        }
        match self.home {
            None => Ok(SYSTEM.into()),
            Some(home) if home.is_absolute() => Ok(home.join(".local/state/secateur")),
            Some(home) => Err(format!(
                "HOME is {}, wanted an absolute path; or name the state folder with --state-dir",
                quoted(&home)
            )),
        }
    }
}

/// systemd gives a list if a unit has several; ours is the one named secateur.
fn of_systemd(list: &OsStr) -> Result<PathBuf, String> {
    let folders: Vec<PathBuf> = list
        .as_bytes()
        .split(|&byte| byte == b':')
        .filter(|part| !part.is_empty())
        .map(|part| OsStr::from_bytes(part).into())
        .collect();
    let named = |path: &&PathBuf| path.file_name() == Some(OsStr::new("secateur"));
    let found = match folders.as_slice() {
        [only] => Some(only),
        several => several.iter().find(named),
    };
    found
        .filter(|path| path.is_absolute())
        .cloned()
        .ok_or_else(|| {
            format!(
                "STATE_DIRECTORY is {}, wanted one absolute path, or one that ends in /secateur among several; \
                 name the state folder with --state-dir",
                quoted(list.as_ref())
            )
        })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn folder(sources: Sources) -> String {
        match sources.folder() {
            Ok(path) => path.to_str().unwrap().to_owned(),
            Err(why) => format!("error: {why}"),
        }
    }

    #[test]
    fn a_relative_path_makes_no_state_where_the_program_was_started() {
        let user = |xdg: &str, home: &str| {
            folder(Sources {
                xdg_state_home: Some(xdg.into()),
                home: Some(home.into()),
                ..Sources::default()
            })
        };
        assert_eq!(user("/x", "/h"), "/x/secateur");
        // The standard: such a one is ignored.
        assert_eq!(user("x", "/h"), "/h/.local/state/secateur");
        let why = user("x", "h");
        assert!(
            why.starts_with("error: HOME is \"h\", wanted an absolute path"),
            "{why}"
        );
        assert_eq!(folder(Sources::default()), SYSTEM);
    }

    #[test]
    fn of_systemds_list_our_folder_is_the_one_of_our_name() {
        let of = |list: &str| {
            folder(Sources {
                root: true,
                state_directory: Some(list.into()),
                ..Sources::default()
            })
        };
        assert_eq!(of("/var/lib/mine"), "/var/lib/mine");
        assert_eq!(of("/var/lib/other:/var/lib/secateur"), "/var/lib/secateur");
        for list in [
            "/var/lib/a:/var/lib/b",
            "secateur",
            "a:secateur",
            ":",
            "/a\u{202e}:/b",
        ] {
            let why = of(list);
            assert!(
                why.starts_with("error: STATE_DIRECTORY is \""),
                "{list}: {why}"
            );
            assert!(!why.contains('\u{202e}'), "{why}");
        }
    }

    #[test]
    fn of_a_path_that_is_no_utf8_every_byte_counts() {
        let bytes = b"/var/lib/\xff";
        let sources = Sources {
            state_directory: Some(OsStr::from_bytes(bytes).into()),
            ..Sources::default()
        };
        assert_eq!(sources.folder().unwrap().as_os_str().as_bytes(), bytes);
    }
}
