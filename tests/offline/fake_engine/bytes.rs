//! Every request that a command makes, with everything that can be wrong with
//! the bytes of its answer.

use std::collections::BTreeSet;
use std::sync::Mutex;
use std::time::Duration;

use serde_json::{Value, json};

use super::{Host, KIND, MOST_KIB};
use crate::fake::fault::Fault;
use crate::fake::weighed::Weighed;
use crate::support::EAGER;

/// One request of a command: the `number`th with this path, without its query.
#[derive(Debug, Clone, PartialEq)]
struct Asked {
    method: String,
    path: String,
    number: usize,
    /// Something may have been changed before it: the plan is being carried out.
    late: bool,
}

#[derive(Debug, Clone, Copy, PartialEq)]
enum Command {
    Plan,
    Prune,
    VerifyCache,
}

const COMMANDS: [Command; 3] = [Command::Plan, Command::Prune, Command::VerifyCache];

impl Command {
    fn run(self, host: &Host) -> Weighed {
        let record = host.secateur.dir().join("baseline.json");
        let record = record.to_string_lossy();
        let args: &[&str] = match self {
            Command::Plan => &["plan", "--format", "json"],
            Command::Prune => &["prune", "--format", "json"],
            Command::VerifyCache => &[
                "verify-cache",
                "--format",
                "json",
                "--record",
                &record,
                "app:latest",
            ],
        };
        host.run(args)
    }

    /// Whether it ended as with an engine that is well. To verify-cache, a data
    /// root below /tmp is a promise broken.
    fn is_well(self, ran: &Weighed) -> bool {
        ran.code == 0 || (self == Command::VerifyCache && ran.code == 1)
    }

    /// What it asks of an engine that is well.
    fn asks(self) -> Vec<Asked> {
        let host = Host::of(KIND);
        let ran = self.run(&host);
        assert!(self.is_well(&ran), "{ran:?}");
        let mut asked: Vec<Asked> = Vec::new();
        for line in host.fake.seen() {
            let (method, path) = line.split_once(' ').expect("a method and a path");
            let path = path.split('?').next().expect("a path");
            let same = |other: &&Asked| other.method == method && other.path == path;
            let number = asked.iter().filter(same).count() + 1;
            // Each removal begins with a look at what is being built.
            let begins = path == "/system/df" && number > 1;
            asked.push(Asked {
                method: method.to_owned(),
                path: path.to_owned(),
                number,
                late: begins || asked.last().is_some_and(|last| last.late),
            });
        }
        asked
    }
}

/// How the bytes of an answer can be wrong so that it is noticed at once.
fn quick() -> Vec<Fault> {
    let nested = |open: &[u8]| open.repeat(200_000);
    vec![
        Fault::ResetBefore,
        Fault::ResetAfter,
        Fault::CutChunk,
        Fault::NoLastChunk,
        Fault::BadChunkSize,
        Fault::LengthShort,
        Fault::LengthLong,
        Fault::LengthOdd,
        Fault::Half,
        Fault::Status(500, "something went wrong"),
        Fault::Status(503, "<html><body>Service Unavailable</body></html>"),
        Fault::Status(429, "toomanyrequests"),
        Fault::Status(404, "page not found"),
        Fault::Status(403, "not for you"),
        Fault::Status(301, ""),
        Fault::Status(204, ""),
        Fault::Status(206, "[]"),
        Fault::Body(b"<html><body>Welcome</body></html>".to_vec()),
        Fault::Body(Vec::new()),
        Fault::Body(b"[[]]".to_vec()),
        Fault::Body(b"\"\"".to_vec()),
        Fault::Body(b"[{\"Id\":\"\xff\xfe\"}]".to_vec()),
        Fault::Body(b"{\"Id\":\"\xff\xfe\"}".to_vec()),
        Fault::Body(nested(b"[")),
        Fault::Body(nested(b"{\"a\":")),
        Fault::Body([b"[{\"Id\":".to_vec(), nested(b"[")].concat()),
        Fault::Raw(b""),
        Fault::Raw(b"SSH-2.0-OpenSSH_9.2p1 Debian\r\n"),
        Fault::Raw(b"HTTP/1.1 200 OK\r\nContent-Length: 5\r\nContent-Length: 7\r\n\r\n[]   []"),
        Fault::EndlessHead,
        Fault::Endless(b"x"),
    ]
}

/// Faults that only time shows: a call ends after half a minute.
fn slow() -> Vec<Fault> {
    vec![
        Fault::Hang,
        Fault::HangAfterHead,
        Fault::HangInBody,
        Fault::Drip,
    ]
}

/// Nobody is harmed by these: the answer is right.
fn harmless() -> Vec<Fault> {
    vec![
        Fault::ThenClose,
        Fault::Unasked(
            b"HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nContent-Length: 3\r\n\r\n[]\n",
        ),
        Fault::Unasked(b"HTTP/1.1 404 Not Found\r\nContent-Length: 2\r\n\r\n{}"),
        Fault::Unasked(b"\r\n\r\nand more"),
    ]
}

struct Case {
    command: Command,
    asked: Asked,
    fault: Fault,
}

impl Case {
    /// Where a proxy refuses GET /_ping, GET /version tells the same.
    fn is_a_refused_ping(&self) -> bool {
        matches!(self.fault, Fault::Status(403 | 404, _)) && self.asked.path == "/_ping"
    }

    fn is_an_unfound_list(&self) -> bool {
        let lists = [
            "/images/json",
            "/containers/json",
            "/services",
            "/tasks",
            "/events",
        ];
        matches!(self.fault, Fault::Status(404, _)) && lists.contains(&&*self.asked.path)
    }

    fn tried(&self) -> Tried<'_> {
        let host = Host::of(KIND);
        let litter = host.litter();
        let asked = &self.asked;
        host.fake
            .fault_at(&asked.method, &asked.path, asked.number, self.fault.clone());
        let ran = self.command.run(&host);
        let gone = host.gone(&litter);
        Tried {
            case: self,
            host,
            litter,
            ran,
            gone,
        }
    }
}

/// A host after a run with a fault in it.
struct Tried<'a> {
    case: &'a Case,
    host: Host,
    /// What a run without faults takes, and what of it this one took.
    litter: Vec<String>,
    gone: Vec<String>,
    ran: Weighed,
}

impl Tried<'_> {
    fn must(&self, holds: bool, what: &str) -> Result<(), String> {
        if holds {
            return Ok(());
        }
        let Case {
            command,
            asked,
            fault,
        } = self.case;
        let Weighed {
            code,
            stdout,
            stderr,
            peak,
        } = &self.ran;
        Err(format!(
            "{what}: {command:?} {asked:?} {fault:?}\n  ended {code} with {peak} KiB: {stderr}\n  {stdout:.600}"
        ))
    }

    fn document(&self) -> Result<Value, String> {
        serde_json::from_str(&self.ran.stdout).map_err(|error| error.to_string())
    }

    /// The fault came when images went already: whatever became of the run, its
    /// outcome tells, and the next run finishes the work.
    fn is_finished_by_the_next(&self) -> Result<(), String> {
        let (host, litter, gone) = (&self.host, &self.litter, &self.gone);
        self.must([0, 1, 69, 70].contains(&self.ran.code), "how it ended")?;
        let intended = gone.iter().all(|id| host.secateur.intended(id));
        self.must(intended, "no intent for what is gone")?;
        let outcome = self.document()?;
        let all_well = outcome["failed"] == json!([]) && outcome["skipped"] == json!([]);
        self.must(
            self.ran.code != 0 || !all_well || gone == litter,
            "all was not well, and it did not say so",
        )?;
        // (On a machine that has much else to do it may find the engine too slow.)
        let mut next = self.case.command.run(host);
        for _ in 0..20 {
            self.must(next.code == 0, &format!("the next run: {next:?}"))?;
            if host.gone(litter) == *litter {
                break;
            }
            next = self.case.command.run(host);
        }
        let whole = host.whole_but_for(litter);
        let what = format!("after the next run: {whole:?} {next:?}");
        self.must(whole.is_ok(), &what)?;
        let names = host.fake.names_of_ours();
        self.must(names.is_empty(), "a name of ours is left")?;
        let open = host.secateur.open_intents();
        self.must(open.is_empty(), "an intent is left open")
    }

    /// One image could not be looked at.
    fn left_alone(&self, id: &str) -> Result<(), String> {
        let touched = self.host.fake.changes();
        let touched = touched.iter().any(|line| line.contains(id));
        self.must(!self.gone.iter().any(|gone| gone == id), "it went unseen")?;
        self.must(!touched, "it was touched unseen")?;
        self.must([0, 1].contains(&self.ran.code), "how it ended")
    }

    /// What a run rests on could not be read.
    fn changed_nothing(&self) -> Result<(), String> {
        let (asked, ran) = (&self.case.asked, &self.ran);
        self.must(ran.code == 69, "it must end with 69")?;
        // What happened since the plan is asked for when the run has begun, so its outcome tells.
        let begun = self.case.command == Command::Prune
            && asked.path.starts_with("/events")
            && asked.number > 1;
        if begun {
            let outcome = self.document()?;
            self.must(outcome["result"] == "stopped", "it stopped")?;
            self.must(outcome["ended_because"].is_string(), "it says why")?;
        } else {
            self.must(ran.stdout.is_empty(), "no partial report")?;
            // Before it, that it takes long.
            let last = ran.stderr.trim_end().lines().last().unwrap_or_default();
            let says_why = last.starts_with("secateur: error: ");
            self.must(says_why, "it says why")?;
        }
        let unchanged = self.host.fake.changes().is_empty() && self.gone.is_empty();
        self.must(unchanged, "nothing is changed")?;
        let partial = self.host.secateur.dir().join("baseline.json");
        self.must(!partial.exists(), "no partial baseline")
    }
}

/// Everything that must hold, however wrong an answer is.
fn survives(case: &Case) -> Result<(), String> {
    let tried = case.tried();
    let ran = &tried.ran;
    tried.must(tried.host.fake.faults_met() > 0, "the fault was not met")?;
    tried.must(ran.peak < MOST_KIB, "too much memory")?;
    tried.must(!ran.stderr.contains("panicked"), "it panicked")?;
    let whole = tried.host.whole_but_for(&tried.gone);
    tried.must(whole.is_ok(), &format!("something else went: {whole:?}"))?;
    if case.asked.late {
        return tried.is_finished_by_the_next();
    }
    // One image that cannot be looked at is kept; all else that cannot be read
    // ends the run.
    match case.asked.path.strip_prefix("/images/sha256:") {
        Some(rest) if ran.code != 69 => {
            let digits = rest.split('/').next().expect("an id");
            tried.left_alone(&format!("sha256:{digits}"))
        }
        _ => tried.changed_nothing(),
    }
}

/// A right answer, whatever comes after it, leads to the right end.
fn is_unimpressed(case: &Case) -> Result<(), String> {
    let tried = case.tried();
    let well = case.command.is_well(&tried.ran);
    if well {
        let gone = match case.command {
            Command::Prune => &*tried.litter,
            _ => &[],
        };
        tried.host.whole_but_for(gone)?;
    }
    // To notice bytes that nobody asked for, and to trust the engine no more,
    // is as good as not to see them. And a request that is on its way when the
    // engine hangs up may be lost: who sent it cannot know.
    let crossed = [
        "Connection reset by peer",
        "connection closed before",
        "Broken pipe",
    ];
    // Once a removal has begun, the report has it.
    let said = format!("{}{}", tried.ran.stderr, tried.ran.stdout);
    let crossed = crossed.iter().any(|words| said.contains(words));
    let wary = (matches!(case.fault, Fault::Unasked(_)) || crossed) && tried.ran.code == 69;
    if wary {
        tried.host.whole_but_for(&tried.gone)?;
    }
    tried.must(well || wary, "how it ended")
}

/// The requests that are tried: all of the reading, and those of one removal.
fn tried(command: Command) -> Vec<Asked> {
    let asks = command.asks();
    let mut deletes = 0;
    let wanted = |asked: &Asked| {
        let before = deletes;
        deletes += usize::from(asked.method == "DELETE");
        // The look after the first removal counts as part of it.
        before == 0 || (before == 1 && asked.path.starts_with("/images/"))
    };
    let mut wanted = wanted;
    asks.into_iter().filter(|asked| wanted(asked)).collect()
}

fn cases(faults: &[Fault]) -> Vec<Case> {
    let mut all = Vec::new();
    for command in COMMANDS {
        for asked in tried(command) {
            for fault in faults {
                all.push(Case {
                    command,
                    asked: asked.clone(),
                    fault: fault.clone(),
                });
            }
        }
    }
    all
}

/// Tries all, so many at a time, and fails with everything that went wrong.
fn all(cases: Vec<Case>, at_once: usize, test: fn(&Case) -> Result<(), String>) {
    let count = cases.len();
    let (cases, wrong) = (Mutex::new(cases), Mutex::new(Vec::new()));
    let next = || cases.lock().expect("cases").pop();
    std::thread::scope(|scope| {
        for _ in 0..at_once.min(count) {
            scope.spawn(|| {
                while let Some(case) = next() {
                    if let Err(why) = test(&case) {
                        wrong.lock().expect("wrong").push(why);
                    }
                }
            });
        }
    });
    let wrong = wrong.into_inner().expect("wrong");
    let first: Vec<&str> = wrong.iter().take(20).map(String::as_str).collect();
    assert!(
        wrong.is_empty(),
        "{} of {count} went wrong:\n{}",
        wrong.len(),
        first.join("\n")
    );
}

fn processors() -> usize {
    std::thread::available_parallelism().map_or(2, usize::from)
}

#[test]
fn each_request_with_each_fault_ends_the_run_and_changes_nothing() {
    Host::of(KIND); // remembered before all ask for it at once
    let mut cases = cases(&quick());
    // That nothing happened is an answer, too.
    let nothing = |fault: &Fault| matches!(fault, Fault::Body(body) if body.is_empty());
    cases.retain(|case| case.asked.path != "/events" || !nothing(&case.fault));
    cases.retain(|case| !case.is_a_refused_ping());
    cases.retain(|case| case.asked.late || !case.is_an_unfound_list());
    all(cases, 2 * processors(), survives);
}

#[test]
fn a_list_that_is_not_found_once_or_a_ping_that_is_refused_does_no_harm() {
    Host::of(KIND);
    let mut cases = cases(&quick());
    let is_harmless =
        |case: &Case| case.is_a_refused_ping() || !case.asked.late && case.is_an_unfound_list();
    cases.retain(is_harmless);
    all(cases, 2 * processors(), is_unimpressed);
}

#[test]
fn each_request_that_hangs_ends_the_run_after_half_a_minute() {
    let mut cases = cases(&slow());
    // Two minutes: in src/engine/remove.rs, without waiting for them.
    cases.retain(|case| case.asked.method != "DELETE");
    let count = cases.len();
    all(cases, count, survives);
}

#[test]
fn a_connection_that_ends_or_goes_on_talking_after_its_answer_does_no_harm() {
    Host::of(KIND);
    all(cases(&harmless()), 2 * processors(), is_unimpressed);
}

#[test]
fn a_connection_that_is_closed_while_we_send_ends_the_run_or_does_no_harm() {
    for command in COMMANDS {
        let asks: BTreeSet<usize> = (1..=tried(command).len()).collect();
        for number in asks {
            let host = Host::of(KIND);
            let litter = host.litter();
            host.fake.close_unread(number);
            let ran = command.run(&host);
            assert!(
                command.is_well(&ran) || ran.code == 69,
                "{command:?} {number}: {ran:?}"
            );
            let gone = host.gone(&litter);
            host.is_whole_but_for(&gone);
            assert!(gone.is_empty() || command == Command::Prune);
        }
    }
}

#[test]
fn an_engine_that_takes_longer_for_its_lists_is_read_where_max_answer_gives_it_that_long() {
    for (limit, read) in [("1s", false), ("1m", true)] {
        let host = Host::of(KIND);
        let litter = host.litter();
        let limit = format!("max_answer = \"{limit}\"\nmax_fraction");
        host.secateur.policy(&EAGER.replace("max_fraction", &limit));
        let late = Fault::Late(Duration::from_secs(4));
        host.fake.fault("GET", "/images/json", late);
        for command in ["plan", "verify-cache", "prune"] {
            let ran = host.run(&[command]);
            assert_eq!(ran.code != 69, read, "{command} {limit}: {ran:?}");
        }
        host.is_whole_but_for(if read { &litter } else { &[] });
    }
}

#[test]
fn an_engine_that_is_too_slow_ends_the_run_and_the_error_names_the_key_that_gives_it_longer() {
    let host = Host::of(KIND);
    let limit = "max_answer = \"1s\"\nmax_fraction";
    host.secateur.policy(&EAGER.replace("max_fraction", limit));
    host.fake.fault("GET", "/images/json", Fault::Hang);
    for command in ["plan", "prune", "verify-cache"] {
        let ran = host.run(&[command]);
        assert_eq!(ran.code, 69, "{command}: {ran:?}");
        let words = "no answer within 1s (limits.max_answer)";
        assert!(ran.stderr.contains(words), "{command}: {}", ran.stderr);
    }
    assert_eq!(host.fake.changes(), [""; 0]);
}
