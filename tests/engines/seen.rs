//! What monitoring sees of a run: metrics before promtool and node_exporter, entries in a real
//! journal of systemd, alerts and dashboard before promtool, and each command of docs/metrics.md.

// Texts here are short, and numbers are compared as they were written.
#![allow(clippy::format_push_string, clippy::float_cmp)]

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::io::{BufRead, BufReader, Read, Write};
use std::os::unix::fs::MetadataExt;
use std::path::Path;
use std::process::{Command, Stdio};

use crate::lab::{Engine, Kind, lab_dir, loopback};
use crate::support::scene::{Deploy, untagged};
use crate::support::{PROGRAM, Ran, Secateur, ids, page, patient, with_lock};
use serde_json::Value;

const PRUNE: &str = include_str!("../../src/report/metrics/testdata/prune.prom");
const CACHE: &str = include_str!("../../src/report/metrics/testdata/cache.prom");
const RULES: &str = include_str!("../../config/prometheus/secateur.rules.yml");
const DASHBOARD: &str = include_str!("../../config/grafana/secateur.json");
const DOCS: &str = include_str!("../../docs/metrics.md");

/// The names of all metrics that there are: unit tests hold the files against the program.
fn metrics() -> BTreeSet<String> {
    let help = |line: &str| Some(line.strip_prefix("# HELP ")?.split_once(' ')?.0.to_owned());
    let names: BTreeSet<String> = PRUNE
        .lines()
        .chain(CACHE.lines())
        .filter_map(help)
        .collect();
    // Only where a run was refused, or not, and each file shows one of them.
    let [since, success] = ["refused_since", "last_success"]
        .map(|name| ["prune", "cache"].map(|of| format!("secateur_{of}_{name}_timestamp_seconds")));
    names.into_iter().chain(since).chain(success).collect()
}

/// The words of a text that look like one of our metrics.
fn named(text: &str) -> BTreeSet<String> {
    let word = |c: char| c.is_ascii_alphanumeric() || c == '_';
    text.split(|c| !word(c))
        .filter(|word| word.starts_with("secateur_prune_") || word.starts_with("secateur_cache_"))
        .filter(|word| !word.ends_with('_'))
        .map(str::to_owned)
        .collect()
}

/// Every query of the dashboard.
fn queries() -> Vec<String> {
    fn walk(at: &Value, found: &mut Vec<String>) {
        if let Some(query) = at["expr"].as_str() {
            found.push(query.to_owned());
        }
        let inner = at.as_array().into_iter().flatten();
        let inner = inner.chain(
            at.as_object()
                .into_iter()
                .flat_map(|object| object.values()),
        );
        inner.for_each(|at| walk(at, found));
    }
    let mut found = Vec::new();
    walk(&serde_json::from_str(DASHBOARD).expect("JSON"), &mut found);
    assert!(found.len() > 10, "{found:?}");
    found
}

#[test]
fn alerts_dashboard_and_docs_name_metrics_that_there_are() {
    let known = metrics();
    for (what, text) in [("alerts", RULES), ("dashboard", DASHBOARD)] {
        let unknown: Vec<_> = named(text).difference(&known).cloned().collect();
        assert!(unknown.is_empty(), "{what}: {unknown:?}");
    }
    let shown: BTreeSet<String> = queries().iter().flat_map(|query| named(query)).collect();
    assert!(!shown.is_empty());
    for name in &known {
        let short = name
            .replace("secateur_prune_", "")
            .replace("secateur_cache_", "");
        assert!(
            DOCS.contains(&format!("`{short}`")),
            "docs/metrics.md: {name}"
        );
    }
}

#[test]
fn the_page_has_each_kind_of_entry_and_each_field() {
    use secateur::report::journald::ids as e;
    let ids = [
        e::PRUNED,
        e::REMOVED,
        e::STAYED,
        e::LOST,
        e::REFUSED,
        e::VERIFIED,
        e::PROMISE,
        e::FAULT,
        e::NOTE,
    ];
    assert_eq!(
        BTreeSet::from(ids).len(),
        ids.len(),
        "each kind has its own"
    );
    for id in ids {
        assert_eq!(DOCS.matches(&format!("| {id} |")).count(), 1, "{id}");
    }
    let said = [
        include_str!("../../src/report/testdata/journal.txt"),
        include_str!("../../src/report/testdata/journal-bad.txt"),
        include_str!("../../src/report/testdata/journal-cache.txt"),
    ];
    let lines = said.iter().flat_map(|text| text.lines());
    let fields = lines.filter_map(|line| Some(line.strip_prefix("    ")?.split_once('=')?.0));
    let fields: BTreeSet<&str> = fields.collect();
    assert!(fields.len() > 20, "{fields:?}");
    let word = |c: char| c.is_ascii_alphanumeric() || c == '_';
    let words: BTreeSet<&str> = DOCS.split(|c| !word(c)).collect();
    let missing: Vec<_> = fields.difference(&words).collect();
    assert!(missing.is_empty(), "docs/metrics.md: {missing:?}");
}

fn promtool() -> Command {
    Command::new(lab_dir().join("debian/usr/bin/promtool"))
}

/// Runs promtool; it must find nothing to say.
#[track_caller]
fn promtool_takes(arguments: &[&str], stdin: &str) {
    let mut child = promtool()
        .args(arguments)
        .current_dir(env!("CARGO_MANIFEST_DIR"))
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .expect("promtool: run tests/support/lab/install");
    let mut input = child.stdin.take().expect("piped");
    input.write_all(stdin.as_bytes()).expect("it reads");
    drop(input);
    let output = child.wait_with_output().expect("its end");
    let said = [output.stdout, output.stderr].concat();
    let said = String::from_utf8_lossy(&said);
    assert!(output.status.success(), "{arguments:?}: {said}\n{stdin}");
}

/// As the linter of metrics wants them: it ends with 0 where it only warns.
#[track_caller]
fn linted(metrics: &str) {
    promtool_takes(&["check", "metrics"], metrics);
}

#[test]
#[ignore = "needs the lab: run tests/run"]
fn promtool_takes_metrics_alerts_their_tests_and_each_query_of_the_dashboard() {
    linted(PRUNE);
    linted(CACHE);
    promtool_takes(
        &["check", "rules", "config/prometheus/secateur.rules.yml"],
        "",
    );
    promtool_takes(&["test", "rules", "tests/engines/seen/alerts.yml"], "");
    // An expression is checked as a rule of its own.
    let mut rules = "groups:\n- name: dashboard\n  rules:\n".to_owned();
    for (number, query) in queries().iter().enumerate() {
        let query = query.replace("$instance", ".*");
        let query = serde_json::to_string(&query).expect("a string");
        rules.push_str(&format!("  - record: query{number}\n    expr: {query}\n"));
    }
    let dir = tempfile::tempdir().expect("a folder");
    let file = dir.path().join("rules.yml");
    fs::write(&file, rules).expect("the rules");
    promtool_takes(&["check", "rules", file.to_str().expect("UTF-8")], "");
}

/// node_exporter over a folder of .prom files: what it serves of them, and its complaints.
fn node_exporter(dir: &Path) -> (String, String) {
    let address = loopback();
    let mut child = Command::new(lab_dir().join("debian/usr/bin/prometheus-node-exporter"))
        .args(["--collector.disable-defaults", "--collector.textfile"])
        .arg(format!("--collector.textfile.directory={}", dir.display()))
        .arg(format!("--web.listen-address={address}:9100"))
        .arg("--log.level=info")
        .stdin(Stdio::null())
        .stdout(Stdio::null())
        .stderr(Stdio::piped())
        .spawn()
        .expect("node_exporter: run tests/support/lab/install");
    let mut log = BufReader::new(child.stderr.take().expect("piped"));
    let mut line = String::new();
    while !line.contains("Listening on") {
        line.clear();
        assert!(log.read_line(&mut line).expect("a log") > 0, "it ended");
    }
    let curl = Command::new("curl")
        .args(["-sSf", &format!("http://{address}:9100/metrics")])
        .output();
    child.kill().expect("it runs");
    child.wait().expect("its end");
    let mut complaints = String::new();
    log.read_to_string(&mut complaints).expect("UTF-8");
    let served = String::from_utf8(curl.expect("curl").stdout).expect("UTF-8");
    (served, complaints)
}

#[test]
#[ignore = "needs the lab: run tests/run"]
fn node_exporter_serves_both_files_side_by_side() {
    let dir = tempfile::tempdir().expect("a folder");
    // One by a link, as docs/metrics.md has it for what the units write.
    let elsewhere = tempfile::tempdir().expect("a folder");
    fs::write(elsewhere.path().join("prune.prom"), PRUNE).expect("a file");
    let spans = page::spans(DOCS);
    let links = spans.iter().find(|span| span.starts_with("ln -s "));
    let links = links
        .expect("a command that links")
        .replace("/run/secateur/metrics", &elsewhere.path().to_string_lossy())
        .replace(
            "/var/lib/prometheus/node-exporter",
            &dir.path().to_string_lossy(),
        );
    let linked = Command::new("sh").args(["-c", &links]).status();
    assert!(linked.expect("sh").success());
    fs::write(dir.path().join("secateur-cache.prom"), CACHE).expect("a file");
    let (served, complaints) = node_exporter(dir.path());
    assert!(!complaints.contains("level=error"), "{complaints}");
    assert!(served.contains("node_textfile_scrape_error 0"), "{served}");
    for line in PRUNE.lines().chain(CACHE.lines()) {
        // It writes large numbers in its own way.
        let series = line.rsplit_once(' ').expect("a value").0;
        assert!(served.contains(series), "{line} is not served");
    }
}

/// A file of metrics, series by series.
fn series(path: &Path) -> BTreeMap<String, f64> {
    let text = fs::read_to_string(path).unwrap_or_else(|e| panic!("{}: {e}", path.display()));
    linted(&text);
    let lines = text.lines().filter(|line| !line.starts_with('#'));
    lines
        .map(|line| {
            let (series, value) = line.rsplit_once(' ').expect("a value");
            (series.to_owned(), value.parse().expect("a number"))
        })
        .collect()
}

#[test]
#[ignore = "needs the lab: run tests/run"]
fn metrics_tell_of_a_prune_of_a_refusal_and_of_an_engine_that_is_gone() {
    let engine = Engine::start(Kind::Overlay28);
    let (litter, _) = untagged(&engine, 2);
    let secateur = Secateur::on(&engine);
    secateur.remember();
    let file = secateur.dir().join("secateur.prom");
    let lock = secateur.dir().join("deploy.lock");
    fs::write(&lock, "").expect("the lock");
    secateur.policy(&with_lock(&lock, "flock"));
    let prune = |code: i32| {
        let args = [
            "prune",
            "--format",
            "json",
            "--metrics",
            file.to_str().unwrap(),
        ];
        let ran = secateur.run(&args).ended(code);
        assert!(!ran.stderr.contains("metrics"), "{ran:?}");
        (ran, series(&file))
    };

    let (ran, seen) = prune(0);
    let mut removed = ids(&ran.json(), "removed");
    removed.sort();
    assert_eq!(removed, litter);
    let of = |seen: &BTreeMap<String, f64>, name: &str| -> f64 {
        let name = format!("secateur_prune_{name}");
        *seen
            .get(&name)
            .unwrap_or_else(|| panic!("no {name}: {seen:#?}"))
    };
    assert_eq!(fs::metadata(&file).unwrap().mode() & 0o777, 0o644);
    assert_eq!(of(&seen, "last_run_exit_code"), 0.0);
    assert_eq!(of(&seen, "last_run_result{result=\"pruned\"}"), 1.0);
    assert_eq!(of(&seen, "outcome_images{outcome=\"removed\"}"), 2.0);
    assert_eq!(of(&seen, "images{verdict=\"remove\"}"), 2.0);
    assert_eq!(of(&seen, "kept_images{reason=\"tagged\"}"), 1.0);
    assert!(of(&seen, "disk_used_bytes") > 0.0);
    assert!(!seen.keys().any(|series| series.contains("refused_since")));
    let success = of(&seen, "last_success_timestamp_seconds");

    let deploy = Deploy::start(&lock, &["-s"]);
    deploy.gets_the_lock();
    let since = "refused_since_timestamp_seconds{kind=\"deploy-lock\"}";
    let (_, first) = prune(75);
    let (_, second) = prune(75);
    assert_eq!(of(&first, "refused{kind=\"deploy-lock\"}"), 1.0);
    assert_eq!(of(&first, "last_run_result{result=\"refused\"}"), 1.0);
    assert_eq!(of(&second, since), of(&first, since));
    assert_eq!(of(&second, "last_success_timestamp_seconds"), success);
    deploy.end();
    let (_, after) = prune(0);
    assert_eq!(of(&after, "refused{kind=\"deploy-lock\"}"), 0.0);
    assert!(!after.keys().any(|series| series.contains("refused_since")));
    assert!(of(&after, "last_success_timestamp_seconds") >= success);

    let mut gone = secateur.command(&["prune"]);
    gone.env("SECATEUR_METRICS", &file);
    drop(engine);
    let output = gone.output().expect("the program runs");
    assert_eq!(output.status.code(), Some(69));
    let seen = series(&file);
    assert_eq!(of(&seen, "last_run_exit_code"), 69.0);
    assert_eq!(of(&seen, "last_run_result{result=\"error\"}"), 1.0);
    assert!(of(&seen, "last_success_timestamp_seconds") >= success);
    let unseen = ["images", "disk", "kept", "refused"].map(|name| format!("secateur_prune_{name}"));
    let stale = |series: &&String| unseen.iter().any(|name| series.starts_with(name.as_str()));
    assert_eq!(seen.keys().find(stale), None, "nobody looked at it");
}

#[test]
#[ignore = "needs the lab: run tests/run"]
fn metrics_never_change_how_a_run_ends_nor_take_another_files_place() {
    let engine = Engine::start(Kind::Overlay28);
    let secateur = Secateur::on(&engine);
    let path = |name: &str| {
        secateur
            .dir()
            .join(name)
            .to_str()
            .expect("UTF-8")
            .to_owned()
    };
    let (prune, cache) = (path("prune.prom"), path("cache.prom"));
    secateur.run(&["prune", "--metrics", &prune]).ended(0);
    secateur
        .run(&["verify-cache", "--metrics", &cache])
        .ended(0);
    let seen = series(Path::new(&cache));
    assert_eq!(seen["secateur_cache_last_run_result{result=\"held\"}"], 1.0);
    let warned = |ran: Ran, why: &str| {
        assert!(ran.stderr.contains("warning: metrics: "), "{ran:?}");
        assert!(ran.stderr.contains(why), "{ran:?}");
        assert!(!ran.stdout.is_empty(), "{ran:?}");
    };
    let before = fs::read_to_string(&prune).expect("metrics");
    let other = secateur
        .run(&["verify-cache", "--metrics", &prune])
        .ended(0);
    warned(other, "not of this command");
    assert_eq!(fs::read_to_string(&prune).expect("metrics"), before);
    let nowhere = path("no/such/folder.prom");
    warned(
        secateur.run(&["prune", "--metrics", &nowhere]).ended(0),
        &format!("{:?}", path("no")),
    );
    // An empty variable is none.
    let output = secateur
        .command(&["prune"])
        .env("SECATEUR_METRICS", "")
        .output();
    assert_eq!(output.expect("the program runs").status.code(), Some(0));
    // And a promise that is broken is one in the file, too.
    let args = [
        "verify-cache",
        "--metrics",
        &cache,
        "registry.invalid/not/here:1",
    ];
    secateur.run(&args).ended(1);
    let seen = series(Path::new(&cache));
    assert_eq!(
        seen["secateur_cache_last_run_result{result=\"broken\"}"],
        1.0
    );
    assert_eq!(seen["secateur_cache_images{status=\"broken\"}"], 1.0);
    assert_eq!(
        seen["secateur_cache_checks{check=\"present\",status=\"broken\"}"],
        1.0
    );
}

/// The kind of entry that is worth knowing, and no more: docs/metrics.md.
const NOTE: &str = "58be57eaecc647509ddfaeadf02626b9";

/// Runs commands in a mount namespace with a journald of its own, which reads both their outputs
/// as systemd has it read a unit's; its files stay in `$JOURNAL`.
const UNDER_JOURNALD: &str = r#"
    mount -t tmpfs tmpfs /run
    mkdir -p /run/systemd/journal /run/log/journal
    mount --bind "$JOURNAL" /run/log/journal
    /lib/systemd/systemd-journald &
    journald=$!
    until [ -S /run/systemd/journal/socket ] && [ -S /run/systemd/journal/stdout ]; do
        sleep 0.05
    done
    systemd-cat sh -c '
        JOURNAL_STREAM=$(stat -Lc %d:%i /proc/self/fd/2)
        export JOURNAL_STREAM
        "$@"' sh "$@"
    code=$?
    kill "$journald"
    wait "$journald"
    exit "$code"
"#;

/// A host whose journal a test may read.
struct Journal {
    dir: tempfile::TempDir,
}

impl Journal {
    fn new() -> Journal {
        let dir = tempfile::tempdir().expect("a folder");
        Journal { dir }
    }

    /// Runs the program; the journal has both its outputs.
    #[track_caller]
    fn run(&self, command: &Command, code: i32) {
        let output = Command::new("unshare")
            .args(["--mount", "sh", "-c", UNDER_JOURNALD, "sh"])
            .arg(command.get_program())
            .args(command.get_args())
            .env("JOURNAL", self.dir.path())
            .stdin(Stdio::null())
            .output()
            .expect("unshare");
        let said = String::from_utf8_lossy(&output.stderr);
        assert_eq!(output.status.code(), Some(code), "{said}{:?}", self.lines());
    }

    fn journalctl(&self) -> Command {
        let mut command = Command::new("journalctl");
        command.arg("-q").arg("--directory").arg(self.dir.path());
        command
    }

    /// Its entries: of the program, but for what the journal says of itself.
    fn entries(&self) -> Vec<Value> {
        // That a minimum age of a second is short is a note in each run.
        self.all()
            .into_iter()
            .filter(|entry| entry["MESSAGE_ID"] != NOTE)
            .collect()
    }

    fn all(&self) -> Vec<Value> {
        let output = self
            .journalctl()
            .args(["-o", "json", "-a", "--no-pager"])
            .output();
        let text = String::from_utf8(output.expect("journalctl").stdout).expect("UTF-8");
        let entries = text
            .lines()
            .map(|line| serde_json::from_str(line).expect("JSON"));
        let ours = |entry: &Value| {
            let transport = entry["_TRANSPORT"].as_str().unwrap_or_default();
            ["journal", "stdout"].contains(&transport)
        };
        entries
            .filter(ours)
            .filter(|entry| entry["SYSLOG_IDENTIFIER"] != "systemd-journald")
            .collect()
    }

    fn lines(&self) -> Vec<String> {
        let message = |entry: &Value| entry["MESSAGE"].as_str().unwrap_or("?").to_owned();
        self.all().iter().map(message).collect()
    }
}

/// The entries that carry this field with this value.
fn having<'a>(entries: &'a [Value], field: &str, value: &str) -> Vec<&'a Value> {
    let field = format!("SECATEUR_{field}");
    entries
        .iter()
        .filter(|entry| entry[&field] == value)
        .collect()
}

#[test]
#[ignore = "needs the lab: run tests/run"]
fn systemds_journal_has_each_fact_once_with_its_fields() {
    let engine = Engine::start(Kind::Overlay28);
    let (litter, _) = untagged(&engine, 2);
    let secateur = Secateur::on(&engine);
    secateur.remember();
    let journal = Journal::new();
    journal.run(&secateur.command(&["prune"]), 0);
    let entries = journal.entries();
    let removed = having(&entries, "OUTCOME", "removed");
    let mut gone: Vec<&str> = removed
        .iter()
        .map(|entry| entry["SECATEUR_IMAGE"].as_str().expect("an id"))
        .collect();
    gone.sort_unstable();
    assert_eq!(gone, litter);
    assert!(
        removed
            .iter()
            .all(|entry| entry["SECATEUR_CLASS"] == "untagged")
    );
    let result = having(&entries, "RESULT", "pruned");
    assert_eq!(result.len(), 1, "{entries:#?}");
    assert_eq!(result[0]["SECATEUR_REMOVED"], "2");
    assert_eq!(result[0]["PRIORITY"], "6");
    // The run is that of the journal in the state folder.
    let run = &secateur.journal()[0]["run"];
    assert!(
        removed
            .iter()
            .chain(&result)
            .all(|entry| entry["SECATEUR_RUN"] == *run)
    );
    // Nothing is said twice: no report beside the entries, each entry one line.
    assert_eq!(entries.len(), 3, "{:#?}", journal.lines());
    assert!(entries.iter().all(|entry| entry["_TRANSPORT"] == "journal"));

    let lock = secateur.dir().join("deploy.lock");
    fs::write(&lock, "").expect("the lock");
    secateur.policy(&with_lock(&lock, "flock"));
    let deploy = Deploy::start(&lock, &["-s"]);
    deploy.gets_the_lock();
    let journal = Journal::new();
    journal.run(&secateur.command(&["prune"]), 75);
    let entries = journal.entries();
    let refused = having(&entries, "REFUSAL", "deploy-lock");
    assert_eq!(refused.len(), 1, "{entries:#?}");
    assert_eq!(refused[0]["PRIORITY"], "5");
    assert_eq!(
        having(&entries, "RESULT", "refused").len(),
        1,
        "{entries:#?}"
    );
    assert_eq!(entries.len(), 2, "{:#?}", journal.lines());
    deploy.end();

    let journal = Journal::new();
    let missing = "registry.invalid/not/here:1";
    journal.run(&secateur.command(&["verify-cache", missing]), 1);
    let entries = journal.entries();
    let broken = having(&entries, "STATUS", "broken");
    assert_eq!(broken.len(), 1, "{entries:#?}");
    assert_eq!(broken[0]["SECATEUR_NAMES"], missing);
    assert_eq!(
        having(&entries, "RESULT", "broken").len(),
        1,
        "{entries:#?}"
    );
    assert_eq!(entries.len(), 2, "{:#?}", journal.lines());

    // JSON on stdout was asked for: both, then.
    let journal = Journal::new();
    journal.run(&secateur.command(&["prune", "--format", "json"]), 0);
    let entries = journal.entries();
    assert_eq!(having(&entries, "RESULT", "nothing").len(), 1);
    assert!(
        journal
            .lines()
            .iter()
            .any(|line| line.contains("secateur/outcome/2"))
    );

    // Elsewhere than under systemd there is the report alone, whatever the variable says.
    let journal = Journal::new();
    let mut plain = Command::new("env");
    plain.arg("JOURNAL_STREAM=1:1").arg(&*PROGRAM);
    plain.args(secateur.command(&["prune"]).get_args());
    journal.run(&plain, 0);
    assert!(
        journal
            .lines()
            .iter()
            .any(|line| line.starts_with("engine"))
    );
    assert!(
        journal
            .entries()
            .iter()
            .all(|entry| entry["_TRANSPORT"] == "stdout")
    );
}

#[test]
#[ignore = "needs the lab: run tests/run"]
fn an_entry_of_a_run_that_ended_at_once_is_still_known_as_the_programs() {
    // A policy that is wrong ends a run before anything else.
    let secateur = Secateur::at("unix:///nowhere", "[age]\nmin_age = \"0d\"\n");
    let journal = Journal::new();
    let mut many = Command::new("sh");
    many.args(["-c", "for i in $(seq 100); do \"$@\"; done", "sh"]);
    let prune = secateur.command(&["prune"]);
    many.arg(prune.get_program()).args(prune.get_args());
    journal.run(&many, 78);
    let entries = journal.entries();
    assert_eq!(entries.len(), 100);
    for entry in entries {
        assert_eq!(entry["SECATEUR_EXIT"], "78", "{entry:#}");
        assert_eq!(entry["PRIORITY"], "3", "{entry:#}");
        // As with `_SYSTEMD_UNIT`, the kernel is asked for it while the sender lives.
        assert_eq!(entry["_COMM"], "secateur", "{entry:#}");
    }
}

/// Each command of the page, as a reader would type it.
fn commands() -> Vec<&'static str> {
    DOCS.lines()
        .filter_map(|line| line.strip_prefix("    $ "))
        .collect()
}

#[test]
#[ignore = "needs the lab: run tests/run"]
fn each_command_of_the_page_does_what_the_page_says() {
    let engine = Engine::start(Kind::Overlay28);
    untagged(&engine, 2);
    let secateur = Secateur::on(&engine);
    secateur.remember();
    let journal = Journal::new();
    journal.run(&secateur.command(&["prune"]), 0);
    let lock = secateur.dir().join("deploy.lock");
    fs::write(&lock, "").expect("the lock");
    let deploy = Deploy::start(&lock, &["-s"]);
    deploy.gets_the_lock();
    secateur.policy(&with_lock(&lock, "flock"));
    journal.run(&secateur.command(&["prune"]), 75);
    deploy.end();
    // From here on something is too young, and no rollback any more.
    for _ in 0..2 {
        untagged(&engine, 1);
        secateur.look();
    }
    secateur.policy(&patient());

    let bin = tempfile::tempdir().expect("a folder");
    let journalctl = bin.path().join("journalctl");
    let real = journal.journalctl();
    let real: Vec<&str> = real.get_args().filter_map(|arg| arg.to_str()).collect();
    let script = format!(
        "#!/bin/sh\nexec /usr/bin/journalctl {} \"$@\"\n",
        real.join(" ")
    );
    fs::write(&journalctl, script).expect("a script");
    let mode = std::os::unix::fs::PermissionsExt::from_mode(0o755);
    fs::set_permissions(&journalctl, mode).expect("its mode");

    let commands = commands();
    assert!(commands.len() > 10, "{commands:?}");
    for command in commands {
        let typed = command
            .replace("/var/lib/secateur", &secateur.state().to_string_lossy())
            .replace(
                "/var/lib/prometheus/node-exporter",
                &secateur.dir().to_string_lossy(),
            );
        let output = secateur
            .typed(&format!("PATH={}:$PATH; {typed}", bin.path().display()))
            .output()
            .expect("bash");
        let (stdout, stderr) = (&output.stdout, String::from_utf8_lossy(&output.stderr));
        assert!(output.status.success(), "{command}: {stderr}");
        assert!(
            !stdout.trim_ascii().is_empty(),
            "{command} says nothing: {stderr}"
        );
    }
}
