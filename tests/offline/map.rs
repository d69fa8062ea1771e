//! The map of src/lib.rs is true: a room uses only rooms below its own line, and no file uses,
//! by whatever way round, a file that uses it. Read from the source: `use` items and paths
//! that begin with `crate`, `super`, `self` or a child. Test code may use anything.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::path::Path;

/// The non-test files of a crate: module path (`memory::ledger`) and code.
type Files = BTreeMap<String, String>;
/// Which file uses which.
type Uses = BTreeMap<String, BTreeSet<String>>;

/// Comments, strings and test code taken out.
fn code(source: &str) -> String {
    let mut code = String::new();
    let mut rest = source;
    while let Some(ch) = rest.chars().next() {
        let skipped = match ch {
            '/' if rest.starts_with("//") => rest.find('\n').unwrap_or(rest.len()),
            'r' if rest.starts_with("r#\"") => rest.find("\"#").map_or(rest.len(), |at| at + 2),
            '"' => string(rest),
            '\'' if rest.starts_with("'\"'") => 3,
            _ => {
                code.push(ch);
                ch.len_utf8()
            }
        };
        rest = &rest[skipped.max(1)..];
    }
    while let Some(begin) = code.find("#[cfg(test)]") {
        let end = item(&code[begin..]);
        code.replace_range(begin..begin + end, "");
    }
    code
}

/// The length of the string literal that this begins with.
fn string(text: &str) -> usize {
    let mut escaped = false;
    for (at, ch) in text.char_indices().skip(1) {
        match ch {
            _ if escaped => escaped = false,
            '\\' => escaped = true,
            '"' => return at + 1,
            _ => {}
        }
    }
    text.len()
}

/// The length of the item that this begins with: up to `;`, or to the end of its braces.
fn item(text: &str) -> usize {
    let mut depth = 0;
    for (at, ch) in text.char_indices() {
        match ch {
            '{' => depth += 1,
            '}' if depth == 1 => return at + 1,
            '}' => depth -= 1,
            ';' if depth == 0 => return at + 1,
            _ => {}
        }
    }
    text.len()
}

/// The leaves of a use tree, without `as`.
fn leaves(tree: &str, base: &str, found: &mut Vec<String>) {
    let Some((path, inner)) = tree.split_once('{') else {
        let leaf = tree.split_whitespace().next().unwrap_or_default();
        found.push(format!("{base}{leaf}"));
        return;
    };
    let inner = &inner[..inner.rfind('}').unwrap_or(inner.len())];
    let (mut depth, mut begin) = (0, 0);
    for (at, ch) in inner.char_indices().chain([(inner.len(), ',')]) {
        match ch {
            '{' => depth += 1,
            '}' => depth -= 1,
            ',' if depth == 0 => {
                let part = inner[begin..at].trim();
                if !part.is_empty() {
                    leaves(part, &format!("{base}{}", path.trim()), found);
                }
                begin = at + 1;
            }
            _ => {}
        }
    }
}

/// The use items of a file, and whether each only hands on (`pub use`).
fn use_items(code: &str) -> Vec<(String, bool)> {
    let mut found = Vec::new();
    for (at, _) in code.match_indices("use ") {
        let line = code[..at].rfind('\n').map_or(0, |end| end + 1);
        let before = code[line..at].trim();
        if before.is_empty() || before.starts_with("pub") {
            let end = code[at..].find(';').map_or(code.len(), |end| at + end);
            let mut paths = Vec::new();
            leaves(code[at + 4..end].trim(), "", &mut paths);
            found.extend(paths.into_iter().map(|path| (path, !before.is_empty())));
        }
    }
    found
}

/// Every path with `::` in it that is not part of a use item.
fn inline_paths(code: &str) -> Vec<String> {
    let mut rest = code.to_owned();
    while let Some(at) = rest.find("\nuse ").or_else(|| rest.find("\npub use ")) {
        let end = rest[at + 1..]
            .find(';')
            .map_or(rest.len(), |end| at + 2 + end);
        rest.replace_range(at..end, "\n");
    }
    let part = |ch: char| ch.is_alphanumeric() || ch == '_' || ch == ':';
    rest.split(|ch| !part(ch))
        .filter(|path| path.contains("::"))
        .map(|path| path.trim_end_matches(':').to_owned())
        .collect()
}

struct Crate {
    files: Files,
    /// Door and name: the path that the door hands it on from.
    handed_on: BTreeMap<(String, String), String>,
}

impl Crate {
    fn of(sources: &Files) -> Self {
        let files: Files = sources
            .iter()
            .map(|(module, source)| (module.clone(), code(source)))
            .collect();
        let mut it = Self {
            files,
            handed_on: BTreeMap::new(),
        };
        for (module, code) in &it.files {
            for (path, only_hands_on) in use_items(code) {
                let name = path.rsplit("::").next().unwrap_or_default().to_owned();
                if let (true, Some(path)) = (only_hands_on, it.absolute(module, &path)) {
                    it.handed_on.insert((module.clone(), name), path);
                }
            }
        }
        it
    }

    /// The path from the crate's root; `None` for other crates and for names of the file itself.
    fn absolute(&self, module: &str, path: &str) -> Option<String> {
        let mut at: Vec<&str> = module.split("::").filter(|part| !part.is_empty()).collect();
        let mut rest = path.split("::").peekable();
        match rest.peek().copied()? {
            "crate" => {
                rest.next();
                at.clear();
            }
            "self" => {
                rest.next();
            }
            "super" => {
                while rest.peek() == Some(&"super") {
                    rest.next();
                    at.pop();
                }
            }
            first => {
                let child = at.iter().copied().chain([first]).collect::<Vec<_>>();
                if !self.files.contains_key(&child.join("::")) {
                    return None;
                }
            }
        }
        at.extend(rest);
        Some(at.join("::"))
    }

    /// The file in which this is defined.
    fn file_of(&self, path: &str) -> Option<String> {
        let parts: Vec<&str> = path.split("::").collect();
        let (module, next) = (1..=parts.len()).rev().find_map(|length| {
            let module = parts[..length].join("::");
            let next = parts.get(length).copied().unwrap_or_default();
            self.files.contains_key(&module).then_some((module, next))
        })?;
        match self.handed_on.get(&(module.clone(), next.to_owned())) {
            Some(from) if from != path => self.file_of(from),
            _ => Some(module),
        }
    }

    fn uses(&self) -> Uses {
        let mut uses = Uses::new();
        for (module, code) in &self.files {
            let own = use_items(code)
                .into_iter()
                .filter(|(_, only_hands_on)| !only_hands_on);
            let paths = own.map(|(path, _)| path).chain(inline_paths(code));
            let named = paths.filter_map(|path| self.file_of(&self.absolute(module, &path)?));
            let others = named.filter(|file| file != module).collect();
            uses.insert(module.clone(), others);
        }
        uses
    }
}

/// Files that can be reached from themselves, with what each uses on the way.
fn circles(uses: &Uses) -> Vec<String> {
    let reach = |from: &String| {
        let mut seen = BTreeSet::new();
        let mut open = vec![from];
        while let Some(file) = open.pop() {
            for next in uses.get(file).into_iter().flatten() {
                if seen.insert(next) {
                    open.push(next);
                }
            }
        }
        seen
    };
    let reached: BTreeMap<&String, BTreeSet<&String>> =
        uses.keys().map(|f| (f, reach(f))).collect();
    let back = |file: &String, other: &String| reached.get(other).is_some_and(|r| r.contains(file));
    let in_circle = uses.keys().filter(|file| back(file, file));
    in_circle
        .map(|file| {
            let next: Vec<&String> = uses[file].iter().filter(|next| back(file, next)).collect();
            format!("{file} uses {next:?}, which uses it")
        })
        .collect()
}

/// The rooms of the map with the number of their line, from the roof down.
fn rooms(lib: &str) -> BTreeMap<String, usize> {
    let rows = lib.lines().filter(|line| line.starts_with("//! | [`"));
    let room = |(number, row): (usize, &str)| {
        let first = row.split('|').nth(1).unwrap_or_default();
        let names = first.split('`').skip(1).step_by(2);
        names
            .map(|name| (name.to_owned(), number))
            .collect::<Vec<_>>()
    };
    rows.enumerate().flat_map(room).collect()
}

/// What uses a room that is not below its own line.
fn untrue(uses: &Uses, rooms: &BTreeMap<String, usize>) -> Vec<String> {
    let room = |file: &str| file.split("::").next().unwrap_or_default().to_owned();
    let mut found = Vec::new();
    for (file, used) in uses {
        for other in used {
            let (from, to) = (room(file), room(other));
            if from != to
                && rooms
                    .get(&from)
                    .is_none_or(|own| rooms.get(&to) <= Some(own))
            {
                found.push(format!("{file} uses {other}"));
            }
        }
    }
    found
}

fn read(folder: &Path, module: &str, files: &mut Files) {
    for entry in fs::read_dir(folder).unwrap() {
        let path = entry.unwrap().path();
        let name = path.file_stem().unwrap().to_str().unwrap().to_owned();
        let inner = [module, &name]
            .join("::")
            .trim_start_matches(':')
            .to_owned();
        if path.is_dir() {
            if name != "testdata" {
                read(&path, &inner, files);
            }
        } else if path.extension().is_some_and(|it| it == "rs") && name != "tests" {
            let inner = if name == "mod" {
                module.to_owned()
            } else {
                inner
            };
            files.insert(inner, fs::read_to_string(&path).unwrap());
        }
    }
}

/// The crate, without what only tests have.
fn sources() -> (Files, String) {
    let mut files = Files::new();
    read(
        &Path::new(env!("CARGO_MANIFEST_DIR")).join("src"),
        "",
        &mut files,
    );
    let lib = files.remove("lib").unwrap();
    files.remove("main");
    let only_tests = |module: &String, parent: &String| {
        let own = module.rsplit("::").next().unwrap_or_default();
        let declared = parent.find(&format!("mod {own};"));
        declared.is_some_and(|at| {
            let before = parent[..at]
                .trim_end_matches(|ch: char| ch != '\n')
                .trim_end();
            before
                .lines()
                .next_back()
                .is_some_and(|line| line.contains("cfg(test)"))
        })
    };
    let is_test = |module: &String| {
        let parent = module
            .rsplit_once("::")
            .map_or(Some(&lib), |(up, _)| files.get(up));
        parent.is_some_and(|parent| only_tests(module, parent))
    };
    let tests: Vec<String> = files
        .keys()
        .filter(|module| is_test(module))
        .cloned()
        .collect();
    let below = |module: &String| {
        tests
            .iter()
            .any(|test| module == test || module.starts_with(&format!("{test}::")))
    };
    let kept = files.iter().filter(|(module, _)| !below(module));
    (kept.map(|(m, s)| (m.clone(), s.clone())).collect(), lib)
}

#[test]
fn a_room_uses_only_rooms_below_its_own_line() {
    let (files, lib) = sources();
    let rooms = rooms(&lib);
    let there: BTreeSet<&str> = files
        .keys()
        .filter_map(|file| file.split("::").next())
        .collect();
    assert_eq!(
        rooms.keys().map(String::as_str).collect::<BTreeSet<_>>(),
        there
    );
    assert!(there.len() <= 18, "{} rooms", there.len());
    let untrue = untrue(&Crate::of(&files).uses(), &rooms);
    assert!(untrue.is_empty(), "{untrue:#?}");
}

#[test]
fn no_file_uses_a_file_that_uses_it() {
    let circles = circles(&Crate::of(&sources().0).uses());
    assert!(circles.is_empty(), "{circles:#?}");
}

#[test]
fn one_room_alone_names_bollard_and_one_alone_names_nix() {
    let files = Crate::of(&sources().0).files;
    for (name, room) in [("bollard::", "engine"), ("nix::", "host")] {
        let names = |code: &&String| {
            let before = code
                .match_indices(name)
                .map(|(at, _)| code[..at].chars().next_back());
            before
                .into_iter()
                .any(|ch| ch.is_none_or(|ch| !ch.is_alphanumeric() && ch != '_'))
        };
        let others: Vec<_> = files
            .iter()
            .filter(|(_, code)| names(code))
            .map(|(file, _)| file)
            .collect();
        let others: Vec<_> = others
            .into_iter()
            .filter(|file| file.split("::").next() != Some(room))
            .collect();
        assert!(others.is_empty(), "{name} {others:#?}");
    }
}

#[test]
fn no_file_is_longer_than_300_lines_without_its_tests() {
    // Inline tests may have an attribute of their own.
    let is_tests = |rest: &&str| rest.lines().take(8).any(|line| line == "mod tests {");
    let length = |source: &String| {
        let mut ends = source.match_indices("\n#[cfg(test)]\n");
        let end = ends.find(|(at, mark)| is_tests(&&source[at + mark.len()..]));
        let end = end.map_or(source.len(), |(at, _)| at);
        source[..end].lines().count()
    };
    let mut files = Files::new();
    read(
        &Path::new(env!("CARGO_MANIFEST_DIR")).join("src"),
        "",
        &mut files,
    );
    let long = files
        .iter()
        .map(|(module, source)| (module, length(source)));
    let long: Vec<_> = long.filter(|(_, lines)| *lines > 300).collect();
    assert!(long.is_empty(), "{long:#?}");
}

/// A small crate, whose every fault is known.
fn small(files: &[(&str, &str)]) -> Uses {
    let files = files
        .iter()
        .map(|(m, s)| ((*m).to_owned(), (*s).to_owned()));
    Crate::of(&files.collect()).uses()
}

#[test]
fn a_planted_circle_is_found_through_the_door_of_a_room() {
    let door = ("a", "mod x;\nmod y;\npub use x::{One, Two as Also};\n");
    let x = ("a::x", "use crate::a::y::Y;\npub struct One;\n");
    let straight = ("a::y", "// use crate::a::One;\npub struct Y;\n");
    let round = ("a::y", "fn f() -> super::One { todo!() }\n");
    let test = (
        "a::y",
        "#[cfg(test)]\nmod tests {\n    use crate::a::One;\n}\n",
    );
    assert_eq!(circles(&small(&[door, x, straight])), Vec::<String>::new());
    assert_eq!(circles(&small(&[door, x, test])), Vec::<String>::new());
    assert_eq!(circles(&small(&[door, x, round])).len(), 2);
}

#[test]
fn a_planted_use_of_a_higher_room_is_found() {
    let rooms =
        rooms("//! | [`roof`] | x |\n//! | [`left`], [`right`] | y |\n//! | [`base`] | z |\n");
    let uses = |from, code| {
        untrue(
            &small(&[
                ("roof", ""),
                ("left", ""),
                ("right", ""),
                ("base", ""),
                (from, code),
            ]),
            &rooms,
        )
    };
    assert!(uses("left", "use crate::base::A;\n").is_empty());
    assert_eq!(
        uses("base", "use crate::{\n    left::B,\n};\n"),
        ["base uses left"]
    );
    assert_eq!(
        uses("left", "fn f(_: crate::right::C) {}\n"),
        ["left uses right"]
    );
    assert_eq!(uses("base", "use crate::roof;\n"), ["base uses roof"]);
}
