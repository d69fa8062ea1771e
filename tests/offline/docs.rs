//! What the documents show is so: their commands run, their policies are read,
//! their lists are whole.

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};

use crate::lab::image::Archive;
use crate::lab::{Engine, Kind};
use crate::support::{Secateur, page, patient};
use clap::{CommandFactory, Parser};
use secateur::cli::Cli;
use secateur::guard::RefusalKind;
use secateur::policy::Policy;
use serde_json::Value;

fn root() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR"))
}

/// Every document of the project, by its name.
fn documents() -> BTreeMap<String, String> {
    let folder = fs::read_dir(root().join("docs")).expect("docs");
    let paths = folder.map(|entry| entry.expect("an entry").path());
    let named = |path: PathBuf| {
        let name = path.strip_prefix(root()).expect("below the root");
        let text = fs::read_to_string(&path).expect("a text");
        (name.display().to_string(), text)
    };
    let markdown = |path: &PathBuf| path.extension().is_some_and(|end| end == "md");
    let documents: BTreeMap<_, _> = paths
        .chain(["README.md", "DECISIONS.md"].map(|name| root().join(name)))
        .filter(markdown)
        .map(named)
        .collect();
    assert!(documents.len() > 5, "{:?}", documents.keys());
    documents
}

/// Who runs each block: page, the beginning of its section, language, how many, and the test
/// that takes it from the page. (`console` and `toml` are not listed: tests below take them from
/// every page.)
#[rustfmt::skip]
const BLOCKS: &[(&str, &str, &str, usize, Taken)] = &[
    ("README.md", "Install", "", 3, By("machine/package.rs", "an_operator_gets_by_with_the_commands_of_the_pages")),
    ("README.md", "Working on it", page::INDENTED, 1, Not("tests/run is what runs this")),
    ("docs/archive.md", "Archive", "sh", 3, Not("tests/engines/archive/others.rs gives these programs folders of its own")),
    ("docs/cache.md", "", "", 1, Not("each stands below with its own test")),
    ("docs/cache.md", "A CI machine that is made anew", "", 2, By("engines/verify_cache/restore.rs", "twelve_promised_images_come_back_in_their_order_and_the_next_run_fetches_no_blob")),
    ("docs/cache.md", "First boot, and after each prune", "", 1, By("machine/package.rs", "with_the_drop_ins_of_the_page_what_is_promised_comes_back_after_a_prune")),
    ("docs/cache.md", "A site without a network", "", 2, By("engines/archive/from_registry.rs", "what_a_registry_has_gets_into_an_archive_without_engine_or_root_and_an_engine_takes_it")),
    ("docs/ci-teardown.md", "", page::INDENTED, 1, By("engines/ci_teardown.rs", "what_the_page_tells_a_job_to_label_is_the_runs_own")),
    ("docs/ci-teardown.md", "What a job has to label", "sh", 1, By("engines/ci_teardown.rs", "what_the_page_tells_a_job_to_label_is_the_runs_own")),
    ("docs/ci-teardown.md", "What must stay", "yaml", 2, By("engines/ci_teardown.rs", "what_a_job_deploys_as_the_page_says_is_there_after_its_end")),
    ("docs/ci-teardown.md", "Who runs secateur", page::INDENTED, 1, By("machine/package.rs", "an_operator_gets_by_with_the_commands_of_the_pages")),
    ("docs/ci-teardown.md", "Checking it", page::INDENTED, 1, By("engines/ci_teardown.rs", "what_the_page_tells_a_job_to_label_is_the_runs_own")),
    ("docs/deploy-lock.md", "The shared lock", "sh", 2, By("engines/deploy_lock.rs", "each_command_of_the_page_holds_the_lock_for_as_long_as_it_deploys")),
    ("docs/deploy-lock.md", "Over ssh", "sh", 2, By("engines/deploy_lock.rs", "each_command_of_the_page_holds_the_lock_for_as_long_as_it_deploys")),
    ("docs/deploy-lock.md", "Ansible", "yaml", 2, By("engines/deploy_lock.rs", "each_play_of_the_page_keeps_prunes_out_for_as_long_as_it_deploys")),
    ("docs/deploy-lock.md", "Kamal", "", 1, By("machine/package.rs", "the_unit_sees_every_lock_that_a_policy_may_name")),
    ("docs/deploy-lock.md", "Builds on this host", "sh", 2, By("engines/buildkit.rs", "where_a_build_leaves_no_rollback_a_second_tag_before_it_is_one")),
    ("docs/engines.md", "", "sh", 1, Not("its engine is not in the lab")),
    ("docs/engines.md", "An engine that the lab", "sh", 2, Not("their engine is not in the lab")),
    ("docs/first-five-minutes.md", "While it works", "text", 1, By("offline/fake_engine/terminals.rs", "on_a_terminal_what_is_waited_for_is_told_until_it_comes_and_gone_before_the_report")),
    ("docs/first-five-minutes.md", "", "text", 1, By("engines/recording.rs", "the_recording_shows_what_the_program_says")),
    ("docs/fleet.md", "Same package", "yaml", 1, By("machine/package.rs", "the_play_of_the_page_installs_what_it_says")),
    ("docs/fleet.md", "Where nothing may be installed", "sh", 5, By("engines/fleet.rs", "a_job_of_the_whole_swarm_runs_on_each_host_and_each_tells_of_itself")),
    ("docs/fleet.md", "What the hosts say", "yaml", 1, By("engines/fleet.rs", "a_job_of_the_whole_swarm_runs_on_each_host_and_each_tells_of_itself")),
    ("docs/metrics.md", "Metrics", page::INDENTED, 1, By("engines/seen.rs", "each_command_of_the_page_does_what_the_page_says")),
    ("docs/metrics.md", "systemd's journal", page::INDENTED, 1, By("engines/seen.rs", "each_command_of_the_page_does_what_the_page_says")),
    ("docs/metrics.md", "JSON", page::INDENTED, 3, By("engines/seen.rs", "each_command_of_the_page_does_what_the_page_says")),
    ("docs/metrics.md", "What was removed", page::INDENTED, 3, By("engines/seen.rs", "each_command_of_the_page_does_what_the_page_says")),
    ("docs/operating.md", "Install", "", 3, By("machine/release.rs", "a_host_without_apt_gets_the_units_out_of_the_tarball")),
    ("docs/operating.md", "The first day", "", 1, By("machine/package.rs", "an_operator_gets_by_with_the_commands_of_the_pages")),
    ("docs/operating.md", "Next morning", "", 2, By("machine/package.rs", "an_operator_gets_by_with_the_commands_of_the_pages")),
    ("docs/operating.md", "Settings of the units", "", 3, By("machine/package.rs", "drop_in_of_the_page")),
    ("docs/operating.md", "When the disk is full", "", 1, By("machine/package.rs", "an_operator_gets_by_with_the_commands_of_the_pages")),
    ("docs/operating.md", "An image store that was left behind", "", 2, By("engines/left_behind.rs", "a_store_that_was_left_behind_is_named_untouched_and_removed_as_the_page_says")),
    ("docs/operating.md", "Undo", "", 1, Not("the names are the journal's")),
    ("docs/operating.md", "Upgrade", "", 1, By("machine/package.rs", "the_package_keeps_the_admins_policy_and_leaves_nothing_when_purged")),
    ("docs/other-engines.md", "Rootless Docker", "", 2, By("engines/other_engines.rs", "the_units_of_a_users_own_timer_are_sound")),
    ("docs/other-engines.md", "Rootless Docker", page::INDENTED, 1, By("engines/other_engines.rs", "a_users_own_docker_is_pruned_by_that_user")),
    ("docs/other-engines.md", "In a container", "sh", 1, By("machine/release.rs", "the_image_of_a_release_does_all_by_the_mounts_that_the_page_names")),
    ("docs/other-engines.md", "Podman", page::INDENTED, 1, By("engines/other_engines.rs", "podman_is_planned_for_and_never_pruned")),
    ("docs/refusals.md", "max-fraction", "", 1, By("machine/package.rs", "an_operator_gets_by_with_the_commands_of_the_pages")),
    ("docs/refusals.md", "signs-unreadable", "", 1, By("machine/package.rs", "the_unit_sees_every_lock_that_a_policy_may_name")),
    ("docs/simulation.md", "", page::INDENTED, 1, Not("tests/run has this line")),
    ("docs/verify-cache.md", "", "", 1, By("engines/verify_cache.rs", "each_command_of_the_page_runs")),
    ("docs/verify-cache.md", "A CI job", "sh", 2, By("engines/verify_cache.rs", "each_command_of_the_page_runs")),
    ("docs/verify-cache.md", "Reading your registry's log", "", 1, Not("lines of a log")),
];

/// Whether a block is run.
#[derive(Debug)]
enum Taken {
    By(&'static str, &'static str),
    Not(&'static str),
}
use Taken::{By, Not};

#[test]
fn every_block_of_the_documents_is_run_by_a_test_that_is_named_here() {
    let mut found: BTreeMap<(String, String, String), usize> = BTreeMap::new();
    for (name, text) in documents() {
        for block in page::blocks_of(&text) {
            if !["console", "toml"].contains(&block.language.as_str()) {
                let key = (name.clone(), block.section, block.language);
                *found.entry(key).or_default() += 1;
            }
        }
    }
    for (page, section, language, count, taken) in BLOCKS {
        let listed_key = |key: &&(String, String, String)| {
            key.0 == *page
                && key.1.starts_with(section)
                && section.is_empty() == key.1.is_empty()
                && key.2 == *language
        };
        let key = found.keys().find(listed_key).cloned();
        let listed = format!("{page}, {section}, {language:?}");
        let key = key.unwrap_or_else(|| panic!("no block {listed}"));
        assert_eq!(found.remove(&key), Some(*count), "{listed}");
        match taken {
            By(file, test) => {
                let all = fs::read_to_string(root().join("tests").join(file)).expect(file);
                let its = format!("fn {test}(");
                assert!(all.contains(&its), "{file} has no {test}");
            }
            Not(why) => assert!(!why.is_empty(), "{listed}"),
        }
    }
    assert!(found.is_empty(), "blocks that nobody runs: {found:#?}");
}

/// Command lines that stand where nothing runs them: between words of the documents, in the
/// manual pages, at the end of the help.
fn other_command_lines() -> Vec<(String, String)> {
    let mut found = Vec::new();
    for (name, text) in documents() {
        found.extend(
            page::spans(&text)
                .into_iter()
                .map(|span| (name.clone(), span)),
        );
    }
    for name in ["secateur.1", "secateur-policy.5"] {
        let manual = page::text(&format!("man/{name}")).replace("\\-", "-");
        let (_, examples) = manual.split_once(".SH EXAMPLES").expect("examples");
        found.extend(
            examples
                .lines()
                .map(|line| (name.to_owned(), line.to_owned())),
        );
    }
    let program = Cli::command();
    for command in program.get_subcommands().chain([&program]) {
        let help = command.get_after_help().expect("examples").to_string();
        let name = format!("{} --help", command.get_name());
        found.extend(
            help.lines()
                .map(|line| (name.clone(), line.trim().to_owned())),
        );
    }
    found.retain(|(_, line)| line.starts_with("secateur ") && !line.contains("COMMAND"));
    found
}

#[test]
fn every_command_line_that_nothing_runs_is_one_that_the_program_takes() {
    let lines = other_command_lines();
    for (name, line) in &lines {
        // Words about an example stand two spaces after it.
        let command = line.split("  ").next().expect("a command");
        if let Err(error) = Cli::try_parse_from(command.split(' ')) {
            panic!("{name}: {line}: {error}");
        }
    }
    assert!(lines.len() > 39, "only {} found", lines.len());
}

#[test]
fn every_block_of_shell_is_sound() {
    for (name, text) in documents() {
        for block in blocks(&text, "sh") {
            page::shellchecked(&name, &block);
        }
    }
}

/// The fenced blocks of this kind.
fn blocks(text: &str, kind: &str) -> Vec<String> {
    let all = page::blocks_of(text).into_iter();
    all.filter(|block| block.language == kind)
        .map(|block| block.text)
        .collect()
}

/// The commands of a session: what follows `$ `, with the lines that go on: after
/// a backslash, or within single quotes.
fn commands(session: &str) -> Vec<String> {
    let mut found: Vec<String> = Vec::new();
    let mut goes_on = false;
    for line in session.lines() {
        if let Some(command) = line.trim_start().strip_prefix("$ ") {
            found.push(command.to_owned());
        } else if goes_on {
            let last = found.last_mut().expect("a command that goes on");
            *last = format!("{last}\n{line}");
        } else {
            continue;
        }
        let quoted = |command: &String| command.matches('\'').count() % 2 == 1;
        goes_on = line.ends_with('\\') || found.last().is_some_and(quoted);
    }
    found
}

#[test]
#[ignore = "needs the lab: run tests/run"]
fn every_command_of_a_session_in_the_documents_runs() {
    let engine = Engine::start(Kind::Overlay28);
    for name in ["shop:latest", "app:1", "app:latest"] {
        engine.load(&Archive::new().noise(64).tag(name));
    }
    let mut count = 0;
    for (name, text) in documents() {
        let secateur = Secateur::on(&engine);
        fs::write(secateur.dir().join("stricter.toml"), patient()).expect("a policy");
        let sessions = blocks(&text, "console");
        for command in sessions.iter().flat_map(|session| commands(session)) {
            // The reader's files and the state folder are this test's own.
            let typed = command
                .replace("/root/", &format!("{}/", secateur.dir().display()))
                .replace("/var/lib/secateur", &secateur.state().to_string_lossy());
            let ran = secateur.typed(&typed).output().expect("bash runs");
            let said = String::from_utf8_lossy(&ran.stderr);
            assert!(ran.status.success(), "{name}: {command}: {said}");
            count += 1;
        }
    }
    assert!(count >= 12, "only {count} commands: are they still found?");
}

#[test]
fn every_policy_in_the_documents_is_read() {
    let mut count = 0;
    for (name, text) in documents() {
        for snippet in blocks(&text, "toml") {
            // A part stands for a whole: only the one key that must be there is
            // missing.
            let whole = if snippet.contains("[age]") {
                snippet.clone()
            } else {
                format!("[age]\nmin_age = \"14d\"\n{snippet}")
            };
            if let Err(error) = Policy::parse(&whole, &name) {
                panic!("{error}\n{snippet}");
            }
            count += 1;
        }
    }
    assert!(count > 0, "no policy found");
}

/// How a default stands in docs/policy.md.
fn shown_default(default: &Value) -> String {
    match default {
        Value::Null => "(not set)".into(),
        Value::Array(list) if list.is_empty() => "(none)".into(),
        default => format!("(`{default}`)"),
    }
}

#[test]
fn every_key_of_a_policy_has_its_words_and_its_default() {
    let schema = fs::read_to_string(root().join("config/policy.schema.json")).expect("a schema");
    let schema: Value = serde_json::from_str(&schema).expect("JSON");
    let page = page::text("policy.md");
    let mut keys = 0;
    for (section, of) in schema["properties"].as_object().expect("sections") {
        let text = page::section("policy.md", section);
        // A rule that may stand there many times has no defaults.
        if of["type"] == "array" {
            for key in of["items"]["properties"].as_object().expect("keys").keys() {
                assert!(text.contains(&format!("**`{key}`**")), "{section}.{key}");
                keys += 1;
            }
            continue;
        }
        for (key, its) in of["properties"].as_object().expect("keys") {
            let told = match (section.as_str(), key.as_str()) {
                // What they mean where they are not given is said in words.
                ("guard", "lock") => {
                    for key in its["items"]["properties"].as_object().expect("keys").keys() {
                        assert!(text.contains(&format!("**`{key}`**")), "guard.lock.{key}");
                    }
                    "**`[[guard.lock]]`**".into()
                }
                ("engine", "data_root") => "**`data_root`** (what the engine reports)".into(),
                ("age", "min_age") => "**`min_age`** (must be given".into(),
                _ => format!("**`{key}`** {}", shown_default(&its["default"])),
            };
            assert!(text.contains(&told), "{section}.{key}: {told}");
            keys += 1;
        }
    }
    assert!(keys > 14, "only {keys}");
    let units = ["s", "m", "h", "d", "w", "M", "y"];
    for unit in units {
        assert!(page.contains(&format!("`{unit}` ")), "the unit {unit}");
    }
}

#[test]
fn every_refusal_has_its_section() {
    let text = &documents()["docs/refusals.md"];
    // Its code is compared in src/guard, where all of them are made.
    for kind in RefusalKind::ALL.map(RefusalKind::name) {
        assert!(text.contains(&format!("\n## {kind}\n")), "{kind}");
        assert!(text.contains(&format!("| [{kind}](#{kind}) |")), "{kind}");
    }
    for code in [1, 2, 65, 69, 70, 74, 77, 78] {
        assert!(text.contains(&format!("\n| {code} |")), "exit code {code}");
    }
}

/// The sources of the program and its tests, by path.
fn sources() -> BTreeMap<String, String> {
    let mut found = BTreeMap::new();
    let mut folders = vec![root().join("tests"), root().join("src")];
    while let Some(folder) = folders.pop() {
        for entry in fs::read_dir(folder).expect("a folder") {
            let path = entry.expect("an entry").path();
            if path.is_dir() {
                folders.push(path);
            } else if path.extension().is_some_and(|end| end == "rs") {
                let name = path.strip_prefix(root()).expect("below the root");
                let text = fs::read_to_string(&path).expect("a text");
                found.insert(name.display().to_string(), text);
            }
        }
    }
    found
}

#[test]
fn every_test_that_the_documents_name_is_there() {
    let sources = sources();
    let is_there = |name: &String| {
        let its = format!("fn {name}(");
        sources.values().any(|text| text.contains(&its))
    };
    let named = |page: &str| {
        let names = names_of_tests(&documents()[page]);
        let missing: Vec<_> = names.iter().filter(|name| !is_there(name)).collect();
        assert!(missing.is_empty(), "{page}: no {missing:?}");
        names.len()
    };
    for (page, at_least) in [
        ("docs/reliability.md", 40),
        ("docs/engines.md", 40),
        ("docs/threat-model.md", 60),
    ] {
        assert!(named(page) >= at_least, "{page}: only {}", named(page));
    }
    for page in documents().keys() {
        named(page);
    }
}

#[test]
fn every_test_in_a_table_is_in_the_part_that_the_word_before_it_names() {
    let sources = sources();
    for page in ["docs/reliability.md", "docs/threat-model.md"] {
        let text = documents()[page].clone();
        for row in text.lines().filter(|line| line.starts_with("| ")) {
            let mut part = "";
            for (n, piece) in row.split('`').enumerate() {
                if n % 2 == 0 {
                    let word = piece.trim_end().strip_suffix(':');
                    part = word.map_or(part, |word| word.rsplit(' ').next().unwrap_or(word));
                    continue;
                }
                let its = format!("fn {piece}(");
                let folders = format!("/{}", part.replace("::", "/"));
                let is_in = |path: &&String| match part {
                    "src" => path.starts_with("src/"),
                    _ => {
                        path.starts_with("tests/")
                            && path.replace(".rs", "/").contains(&format!("{folders}/"))
                    }
                };
                let holding = sources.iter().filter(|(_, text)| text.contains(&its));
                let holding: Vec<&String> = holding.map(|(path, _)| path).collect();
                if names_of_tests(&format!("`{piece}`")).len() == 1 {
                    assert!(
                        holding.iter().any(is_in),
                        "{page}: {part}: {piece} is in {holding:?}"
                    );
                }
            }
        }
    }
}

/// What a text names as tests: long names in lower case, alone between backticks.
fn names_of_tests(text: &str) -> Vec<String> {
    let letters = |c: char| c.is_ascii_lowercase() || c.is_ascii_digit() || c == '_';
    let found = text.split('`').skip(1).step_by(2);
    found
        .filter(|name| name.matches('_').count() > 3 && name.chars().all(letters))
        .map(str::to_owned)
        .collect()
}

/// An entry of DECISIONS.md: its question, and the text below it.
fn decisions(page: &str) -> Vec<(&str, &str)> {
    let entries = page.split("\n### ").skip(1);
    let entries = entries.map(|entry| entry.split_once("\n\n").expect("a text"));
    entries
        .map(|(question, text)| (question, text.split("\n## ").next().expect("a text")))
        .collect()
}

#[test]
fn every_decision_has_all_its_parts_and_is_in_the_index() {
    let page = &documents()["DECISIONS.md"];
    assert!(page.len() <= 28 * 1024, "{} bytes: shorten one", page.len());
    let (index, below) = page.split_once("\n## ").expect("headings");
    let headings = below.split("\n## ").count();
    assert!(headings <= 7, "{headings} headings");
    let indexed: Vec<&str> = index
        .lines()
        .filter_map(|line| line.strip_prefix("- "))
        .collect();
    let entries = decisions(page);
    let questions: Vec<&str> = entries.iter().map(|(question, _)| *question).collect();
    assert_eq!(indexed, questions, "the index and the questions");
    for (question, text) in entries {
        assert!(question.ends_with('?'), "{question}");
        assert!(!text.starts_with('-'), "{question}: no decision");
        let parts = text.lines().filter_map(|line| line.strip_prefix("- "));
        let parts: Vec<&str> = parts.filter_map(|line| line.split(':').next()).collect();
        let wanted = ["Because", "Rejected", "Until", "Test"];
        assert_eq!(parts, wanted, "{question}");
        let (_, test) = text.split_once("- Test:").expect("a test");
        assert!(!names_of_tests(test).is_empty(), "{question}: no test");
    }
}

#[test]
fn every_path_of_the_tests_that_the_documents_name_is_there() {
    let mut count = 0;
    for (name, text) in documents() {
        let inside = |c: char| c.is_ascii_alphanumeric() || "_-./".contains(c);
        for word in text.split(|c| !inside(c)) {
            let path = word.trim_end_matches('.');
            if path.starts_with("tests/") {
                assert!(root().join(path).exists(), "{name}: {path}");
                count += 1;
            }
        }
    }
    assert!(count > 20, "only {count} paths named");
}

#[test]
fn every_file_that_the_architecture_names_is_there() {
    let spans = page::spans(&documents()["docs/architecture.md"]);
    let path = |span: &&String| {
        let letters = |c: char| c.is_ascii_lowercase() || "_/.".contains(c);
        let rust = Path::new(span.as_str())
            .extension()
            .is_some_and(|end| end == "rs");
        span.chars().all(letters) && (rust || span.ends_with('/'))
    };
    let paths: Vec<&String> = spans.iter().filter(path).collect();
    for path in &paths {
        // A file that grew may be a folder by now.
        let (file, folder) = (
            root().join("src").join(path),
            path.replace(".rs", "/mod.rs"),
        );
        let there = file.exists() || root().join("src").join(folder).exists();
        assert!(there, "src/{path}");
    }
    assert!(paths.len() > 50, "only {} paths", paths.len());
}

#[test]
fn every_page_is_named_in_the_readme() {
    let documents = documents();
    for page in documents.keys().filter(|page| *page != "README.md") {
        let linked = documents["README.md"].contains(&format!("]({page}"));
        assert!(linked, "README.md does not say for whom {page} is");
    }
}

#[test]
fn every_link_between_the_documents_leads_somewhere() {
    let documents = documents();
    let heading = |line: &str| -> Option<String> {
        let title = line.trim_start_matches('#').strip_prefix(' ')?;
        let kept = |c: &char| c.is_alphanumeric() || matches!(c, ' ' | '-' | '_');
        let title: String = title.to_lowercase().chars().filter(kept).collect();
        line.starts_with('#').then(|| title.replace(' ', "-"))
    };
    for (name, text) in &documents {
        let folder = Path::new(name).parent().expect("a folder");
        for target in text.split("](").skip(1) {
            let target = target.split(')').next().expect("a target");
            if target.starts_with("http") {
                continue;
            }
            let (file, place) = target.split_once('#').unwrap_or((target, ""));
            let path = if file.is_empty() {
                root().join(name)
            } else {
                root().join(folder).join(file)
            };
            assert!(path.exists(), "{name}: {target}");
            let there = fs::read_to_string(&path).unwrap_or_default();
            let found = place.is_empty()
                || there
                    .lines()
                    .filter_map(heading)
                    .any(|title| title == place);
            assert!(found, "{name}: no section {target}");
        }
    }
}
