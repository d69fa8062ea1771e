//! The files of `[cache] lists`: one name a line, `#` begins a comment. A list decides what is
//! promised, so it must be as trusted as the policy, and a wrong line is an error.

use std::collections::BTreeMap;
use std::ffi::OsString;
use std::path::{Path, PathBuf};

use crate::exit::{Exit, Fault};
use crate::host::files::{FileError, matching, read_trusted_through_links};
use crate::model::reference::Reference;
use crate::model::text::{escape_path, escape_up_to};
use crate::policy::Promised;

/// Bytes of one list: some 60,000 names with their digests.
const LONGEST: u64 = 8 << 20;

/// In all lists together.
const MOST_NAMES: usize = 100_000;

/// Files that one pattern may match.
const MOST_FILES: usize = 256;

const LONGEST_LINE: usize = 1000;

#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Listed {
    pub name: Reference,
    pub file: PathBuf,
    /// From 1.
    pub line: usize,
}

/// All lists: files sorted by name, lines in order. The notes name each pattern that matches no
/// file.
pub fn read(policy: &Promised) -> Result<(Vec<Listed>, Vec<String>), Fault> {
    // The key is file name and path; the value, whether the file must exist.
    let mut files: BTreeMap<(Option<OsString>, PathBuf), bool> = BTreeMap::new();
    let mut notes = Vec::new();
    for path in &policy.lists {
        let last = path.file_name().map(ToOwned::to_owned);
        let pattern = last
            .as_ref()
            .is_some_and(|last| last.as_encoded_bytes().contains(&b'*'));
        if !pattern {
            files.insert((last, path.clone()), true);
            continue;
        }
        let found = matching(path, MOST_FILES).map_err(|error| fault(&error))?;
        if found.is_empty() {
            let path = escape_path(path);
            notes.push(format!("cache.lists: no file is there for {path}"));
        }
        for path in found {
            let last = path.file_name().map(ToOwned::to_owned);
            files.entry((last, path)).or_insert(false);
        }
    }
    let mut listed = Vec::new();
    for ((_, file), must_be) in &files {
        let bytes = read_trusted_through_links(file, LONGEST).map_err(|error| fault(&error))?;
        let shown = escape_path(file);
        let Some(bytes) = bytes else {
            // It matched a pattern, and was deleted since.
            if !must_be {
                continue;
            }
            let why = format!("list {shown}: it is not there (cache.lists of the policy)");
            return Err(Fault::new(Exit::Policy, why));
        };
        let wrong = |why| Fault::new(Exit::Policy, format!("list {shown}, {why}"));
        listed.extend(names(&bytes, file, policy).map_err(wrong)?);
        if listed.len() > MOST_NAMES {
            let why = format!("list {shown}: the lists have more than {MOST_NAMES} names");
            return Err(Fault::new(Exit::Policy, why));
        }
    }
    Ok((listed, notes))
}

fn fault(error: &FileError) -> Fault {
    Fault::new(error.exit(Exit::Policy), format!("cache.lists: {error}"))
}

/// The error begins with the line number, and is fit to print.
fn names(bytes: &[u8], file: &Path, policy: &Promised) -> Result<Vec<Listed>, String> {
    let mut listed = Vec::new();
    for (line, bytes) in (1..).zip(bytes.split(|byte| *byte == b'\n')) {
        let wrong = |why: String| format!("line {line}: {why}");
        let text = std::str::from_utf8(bytes).map_err(|_| wrong("it is not UTF-8".to_owned()))?;
        // A name cannot contain `#`.
        let text = text.split('#').next().unwrap_or_default().trim();
        if text.is_empty() {
            continue;
        }
        if text.len() > LONGEST_LINE {
            let begin = escape_up_to(text, 40);
            return Err(wrong(format!("`{begin}` is no image name: it is too long")));
        }
        let name = Reference::typed(text).map_err(|error| wrong(error.to_string()))?;
        if let Some(never) = policy.never(&name) {
            return Err(wrong(format!(
                "it has {text:?}, and {never}; wanted it in one of them alone"
            )));
        }
        let file = file.to_owned();
        listed.push(Listed { name, file, line });
    }
    Ok(listed)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::policy::Policy;
    use crate::testing::folder_of_ours;
    use std::fs;
    use std::os::unix::fs::PermissionsExt;

    fn promised(lists: &str) -> Promised {
        let text =
            format!("[age]\nmin_age = \"1d\"\n[cache]\nlists = [{lists}]\nnever = [\"*:pr-*\"]\n");
        Policy::parse(&text, "test").unwrap().promised
    }

    /// The result of reading these files with the pattern `*.list`.
    fn read_of(files: &[(&str, &[u8])]) -> Result<Vec<(String, String, usize)>, Fault> {
        let folder = folder_of_ours();
        for (name, content) in files {
            fs::write(folder.path().join(name), content).unwrap();
        }
        let pattern = format!("\"{}/*.list\"", folder.path().display());
        let (listed, _) = read(&promised(&pattern))?;
        let shown = |it: Listed| {
            let file = it.file.file_name().unwrap().to_string_lossy().into_owned();
            (it.name.familiar(), file, it.line)
        };
        Ok(listed.into_iter().map(shown).collect())
    }

    #[test]
    fn files_come_by_name_and_their_lines_in_order() {
        let seen = read_of(&[
            ("20-web.list", b"web:1\n"),
            (
                "10-base.list",
                b"# base\n\npostgres:16  # the database\r\n  app  \ndb:1",
            ),
            ("x.txt", b"not/read:1"),
        ]);
        let line = |name: &str, file: &str, line| (name.to_owned(), file.to_owned(), line);
        assert_eq!(
            seen.unwrap(),
            [
                line("postgres:16", "10-base.list", 3),
                line("app:latest", "10-base.list", 4),
                line("db:1", "10-base.list", 5),
                line("web:1", "20-web.list", 1),
            ]
        );
    }

    #[test]
    fn a_wrong_line_is_78_and_named_with_what_was_seen() {
        for (content, said) in [
            (
                &b"a:1\nb:1\nghcr.io/Acme/app:1\n"[..],
                "line 3: `ghcr.io/Acme/app:1` is no image name",
            ),
            (b"a:1\nredis:*\n", "line 2: `redis:*` is no image name"),
            (
                b"sha256:abc",
                "line 1: `sha256:abc` is no image name: it is an id",
            ),
            (b"a:1 b:1", "line 1: `a:1 b:1` is no image name"),
            (b"a:1\n\xff\n", "line 2: it is not UTF-8"),
            (
                b"a:1\n\napp:pr-7",
                "line 3: it has \"app:pr-7\", and cache.never has \"*:pr-*\"",
            ),
            (&[b'a'; 2000], "line 1: `aaaaaaaa"),
            (b"\x1b[31mapp", "line 1: `\\u{1b}[31mapp`"),
        ] {
            let fault = read_of(&[("a.list", content)]).unwrap_err();
            assert_eq!(fault.exit, Exit::Policy, "{}", fault.message);
            assert!(
                fault.message.contains(&format!("/a.list, {said}")),
                "{}",
                fault.message
            );
            assert!(fault.message.len() < 500, "{}", fault.message);
        }
    }

    #[test]
    fn what_is_missing_is_78_and_a_pattern_without_a_file_is_noted() {
        let folder = folder_of_ours();
        let at = |name: &str| format!("\"{}/{name}\"", folder.path().display());
        let (listed, notes) = read(&promised(&at("*.list"))).unwrap();
        assert_eq!(listed, []);
        assert!(notes[0].contains("no file is there for"), "{notes:?}");
        let fault = read(&promised(&at("base.list"))).unwrap_err();
        assert_eq!(fault.exit, Exit::Policy);
        assert!(
            fault.message.contains("base.list: it is not there"),
            "{}",
            fault.message
        );
    }

    #[test]
    fn what_others_could_have_written_is_77_and_a_fifo_is_waited_for_by_nobody() {
        let both = |make: &dyn Fn(&Path), exit| {
            let folder = folder_of_ours();
            make(&folder.path().join("a.list"));
            for name in ["a.list", "*.list"] {
                let list = format!("\"{}/{name}\"", folder.path().display());
                let fault = read(&promised(&list)).unwrap_err();
                assert_eq!(fault.exit, exit, "{}", fault.message);
                assert!(fault.message.contains("a.list"), "{}", fault.message);
            }
        };
        let mode = |path: &Path, mode| {
            fs::set_permissions(path, fs::Permissions::from_mode(mode)).unwrap();
        };
        let open = |path: &Path| {
            fs::write(path, "a:1").unwrap();
            mode(path, 0o666);
        };
        both(&open, Exit::Permission);
        let fifo = |path: &Path| {
            nix::unistd::mkfifo(path, nix::sys::stat::Mode::S_IRUSR).unwrap();
        };
        both(&fifo, Exit::Permission);
        let long = |path: &Path| {
            let file = fs::File::create(path).unwrap();
            mode(path, 0o600);
            file.set_len(LONGEST + 1).unwrap();
        };
        both(&long, Exit::Policy);
    }

    #[test]
    fn a_list_that_two_patterns_stand_for_is_read_once() {
        let folder = folder_of_ours();
        fs::write(folder.path().join("a.list"), "a:1").unwrap();
        let at = |name: &str| format!("\"{}/{name}\"", folder.path().display());
        let all = ["*.list", "a*", "a.list"].map(at).join(", ");
        let (listed, _) = read(&promised(&all)).unwrap();
        assert_eq!(listed.len(), 1);
    }
}
