//! The command: reads policy, memory and baseline, asks the engine, the host
//! and the registries, and writes the report. It orders the looks and hands
//! each on; what an answer means is decided elsewhere.

use std::collections::BTreeMap;
use std::io::{IsTerminal, Write};
use std::path::Path;
use std::sync::Arc;
use std::time::{Duration, Instant};

use crate::cli::{Format, Global, VerifyCacheArgs};
use crate::engine::{Failure, Info, Reader};
use crate::exit::{Exit, Fault};
use crate::guards::{Undisturbed, undisturbed};
use crate::host::clock::{monotonic, read as clock};
use crate::host::files::{StateDir, write_atomic};
use crate::host::storage;
use crate::ledger::Ledger;
use crate::model::{Image, ImageId, Store};
use crate::policy::Policy;
use crate::report::{Context, cache_json, cache_text};
use crate::run as program;
use crate::survey;
use crate::text::escape;
use crate::watch::Watch;

use super::ask::{Answers, Registries};
use super::baseline::Baseline;
use super::gone::Past;
use super::outcome::{Findings, Line};
use super::promise::{Promise, Wanted, promises};
use super::reused::{self, Before};
use super::{Check, Kind, Status, lasting, present, whole};

/// A baseline of 100,000 images is some 40 MB.
const LONGEST_BASELINE: u64 = 64 << 20;

/// Runs `secateur verify-cache`.
pub async fn verify_cache(global: &Global, args: &VerifyCacheArgs) -> Result<Exit, Fault> {
    let (policy, source) = program::policy(global)?;
    let mut context = Context {
        policy: source,
        refusals: Vec::new(),
        notes: program::warnings(&policy),
    };
    let reader = program::connect(global).await?;
    let info = survey::engine(&reader, &policy).await?;
    let engine_fault = |error| survey::engine_fault(&error);
    let here = reader.images(&info).await.map_err(engine_fault)?;
    let now = clock().map_err(|error| Fault::new(Exit::State, format!("{error:#}")))?;
    let past = past(global, &info.facts.key(), &mut context.notes);
    let baseline = match &args.against {
        Some(path) => {
            let (baseline, note) = read_baseline(path)?.for_engine(&info.facts);
            context.notes.extend(note);
            Some(baseline)
        }
        None => None,
    };
    let promises = promises(&args.images, &policy, baseline.as_ref(), &here)
        .map_err(|why| Fault::new(Exit::Usage, why))?;

    let mut findings = Findings::new(now.wall, info.facts.clone(), args.strict);
    let mut progress = Progress::new(global);
    if args.redeploy
        && let Err(refusals) = look_around(&reader, &info, &policy, &past.ledger).await?
    {
        findings.refusals = refusals;
        return finish(global, &findings, &context);
    }

    let store = lasting::judge(&store_folders(&info));
    let mut registries = Registries::new(&reader, args.user_config.as_deref())
        .await
        .map_err(engine_fault)?;
    let mut on_answer =
        |done, of| progress.show(|| format!("asking registries: {done} of {of} images"));
    let digests = args.registry || args.redeploy;
    let answers = registries
        .ask(&promises, &here, digests, &mut on_answer)
        .await;
    let mut deep: BTreeMap<ImageId, Check> = BTreeMap::new();
    let mut pulls: BTreeMap<ImageId, u64> = BTreeMap::new();
    for (number, promise) in (1..).zip(&promises) {
        let image = promise.wanted.find(&here);
        let mut checks = vec![present::judge(promise, &here, &past)];
        if args.deep {
            checks.push(match image {
                None => Check::new(Kind::Whole, Status::Unknown, "it is not here to be read"),
                Some(image) => match deep.get(&image.id) {
                    Some(check) => check.clone(),
                    None => {
                        let shown = format!("{number} of {}", promises.len());
                        let mut on_bytes = |bytes: u64| {
                            progress.show(|| {
                                format!("reading image {shown}: {}", crate::model::Bytes(bytes))
                            });
                        };
                        let check = whole::look(&reader, &info.facts, image, &mut on_bytes);
                        let check = check.await.map_err(engine_fault)?;
                        deep.insert(image.id.clone(), check.clone());
                        check
                    }
                },
            });
        }
        checks.push(store.clone());
        checks.extend(answers.of(promise));
        if args.redeploy {
            progress.show(|| format!("pulling {number} of {} images", promises.len()));
            match look_around(&reader, &info, &policy, &past.ledger).await? {
                Ok(undisturbed) => {
                    let pull = Pull {
                        reader: &reader,
                        registries: &registries,
                        answers: &answers,
                        args,
                    };
                    let check = pull.one(&undisturbed, promise, image).await?;
                    if let (Some(image), Some(time)) = (image, check.milliseconds) {
                        pulls.insert(image.id.clone(), time);
                    }
                    checks.push(check);
                }
                Err(refusals) => {
                    let why = refusals
                        .first()
                        .map(crate::guards::Refusal::message)
                        .unwrap_or_default();
                    let why = format!("not pulled: {why}");
                    checks.push(Check::new(Kind::Reused, Status::Unknown, why));
                }
            }
        }
        findings.images.push(Line {
            image: escape(&promise.wanted.to_string()),
            checks,
        });
    }
    progress.clear();
    findings.store = Some(store);
    findings.asked = registries.asked();
    findings.not_looked = not_looked(args);
    findings.sort();
    if let Some(path) = &args.record {
        record(
            path,
            &reader,
            &info,
            &promises,
            args,
            &pulls,
            findings.at,
            &mut context.notes,
        )
        .await?;
    }
    finish(global, &findings, &context)
}

fn not_looked(args: &VerifyCacheArgs) -> Vec<(Kind, &'static str)> {
    let mut list = Vec::new();
    if !args.deep {
        list.push((Kind::Whole, "--deep"));
    }
    if !args.registry && !args.redeploy {
        list.push((Kind::Current, "--registry"));
    }
    if !args.redeploy {
        list.push((Kind::Reused, "--redeploy"));
    }
    list
}

/// Our memory. What it cannot tell is a note, not a fault: the images are
/// looked at all the same.
fn past(global: &Global, key: &str, notes: &mut Vec<String>) -> Past {
    let read = || -> Result<Past, Fault> {
        let dir = StateDir::find(&program::state_dir(global))
            .map_err(|error| program::state_fault(&error))?;
        let memory = crate::state::read(dir.as_ref(), key)?;
        let journal = dir.as_ref().map(crate::state::history).transpose()?;
        Ok(Past {
            ledger: memory.ledger,
            journal: journal.unwrap_or_default(),
        })
    };
    read().unwrap_or_else(|fault| {
        notes.push(format!(
            "what was here before is not known: {}",
            fault.message
        ));
        Past {
            ledger: Ledger::empty(key),
            journal: Vec::new(),
        }
    })
}

fn read_baseline(path: &Path) -> Result<Baseline, Fault> {
    use std::io::Read as _;
    let shown = escape(&path.to_string_lossy());
    let fault = |why: String| Fault::new(Exit::Usage, format!("--against {shown}: {why}"));
    let file = std::fs::File::open(path).map_err(|error| fault(error.to_string()))?;
    let mut bytes = Vec::new();
    file.take(LONGEST_BASELINE)
        .read_to_end(&mut bytes)
        .map_err(|error| fault(error.to_string()))?;
    Baseline::from_json(&bytes).map_err(fault)
}

/// Everything that is at work on the images now, or the proof that nothing is.
async fn look_around(
    reader: &Reader,
    info: &Info,
    policy: &Policy,
    ledger: &Ledger,
) -> Result<Result<Undisturbed, Vec<crate::guards::Refusal>>, Fault> {
    let at_work = reader
        .at_work(info)
        .await
        .map_err(|error| survey::engine_fault(&error))?;
    let now = clock().map_err(|error| Fault::new(Exit::State, format!("{error:#}")))?;
    let watch = Watch::new(policy, &info.facts, Arc::default());
    Ok(undisturbed(policy, &watch.look(&now, ledger, at_work)))
}

/// The folders that an image of this store needs after a restart.
fn store_folders(info: &Info) -> Vec<storage::Storage> {
    let facts = &info.facts;
    let layers = match facts.store {
        Store::Graphdriver => {
            Some(facts.data_root.join(facts.driver.raw())).filter(|folder| folder.is_dir())
        }
        Store::Containerd | Store::Podman => facts.containerd_root.clone(),
    };
    std::iter::once(facts.data_root.clone())
        .chain(layers)
        .map(|path| storage::look(&path))
        .collect()
}

/// One deploy's pull.
struct Pull<'a> {
    reader: &'a Reader,
    registries: &'a Registries,
    answers: &'a Answers,
    args: &'a VerifyCacheArgs,
}

impl Pull<'_> {
    async fn one(
        &self,
        undisturbed: &Undisturbed,
        promise: &Promise,
        image: Option<&Image>,
    ) -> Result<Check, Fault> {
        let not = |why: &str| Ok(Check::new(Kind::Reused, Status::Unknown, why));
        let Wanted::Name(name) = &promise.wanted else {
            return not("promised by id: a deploy pulls by name");
        };
        if self.answers.is_local(promise) {
            return not("it was never pulled: built or loaded here");
        }
        let moved = self.answers.status(promise, Kind::Current) == Some(Status::Moved);
        if moved && !self.args.follow {
            let why = "not pulled: the tag went on, and a pull would move it here, too (--follow pulls it)";
            return Ok(Check::new(Kind::Reused, Status::Moved, why));
        }
        if image.is_some()
            && !moved
            && self.answers.status(promise, Kind::Current) == Some(Status::Unknown)
        {
            return not(
                "not pulled: whether the tag went on is not known, and a pull would move it here, too",
            );
        }
        let credentials = self.registries.credentials(name);
        let auth = credentials.map(|found| found.for_engine(Registries::server(name)));
        let started = monotonic();
        let puller = self.reader.puller(undisturbed);
        let before = if moved { Before::Moved } else { Before::Same };
        let first = promise
            .recorded
            .as_ref()
            .and_then(|recorded| recorded.pull_milliseconds);
        match puller.pull(name, auth.as_ref()).await {
            Ok(mut pulled) => {
                if let (crate::engine::End::Error(why), Some(secret)) = (&pulled.end, credentials) {
                    pulled.end = crate::engine::End::Error(secret.redact(why));
                }
                Ok(reused::judge(&pulled, before, started.elapsed(), first))
            }
            Err(error) => {
                if error.kind == Failure::Lost {
                    self.reader
                        .info()
                        .await
                        .map_err(|error| survey::engine_fault(&error))?;
                }
                let why = error.to_string();
                let why = credentials.map_or(why.clone(), |secret| secret.redact(&why));
                Ok(Check::new(Kind::Reused, Status::Broken, why))
            }
        }
    }
}

#[expect(clippy::too_many_arguments, reason = "one call, each is needed once")]
async fn record(
    path: &Path,
    reader: &Reader,
    info: &Info,
    promises: &[Promise],
    args: &VerifyCacheArgs,
    pulls: &BTreeMap<ImageId, u64>,
    at: chrono::DateTime<chrono::Utc>,
    notes: &mut Vec<String>,
) -> Result<(), Fault> {
    // Anew: a pull may have brought something.
    let here = reader
        .images(info)
        .await
        .map_err(|error| survey::engine_fault(&error))?;
    let named: Vec<ImageId> = promises
        .iter()
        .filter_map(|promise| promise.wanted.find(&here))
        .map(|image| image.id.clone())
        .collect();
    let only = (!args.images.is_empty()).then_some(named.as_slice());
    let baseline = Baseline::of(&info.facts, &here, at, only, pulls);
    write_atomic(path, &baseline.to_json()).map_err(|error| program::state_fault(&error))?;
    notes.push(format!(
        "recorded {} images in {}",
        baseline.len(),
        escape(&path.to_string_lossy())
    ));
    Ok(())
}

fn finish(global: &Global, findings: &Findings, context: &Context) -> Result<Exit, Fault> {
    let report = match global.format {
        Format::Text => cache_text::report(findings, context, global.verbose),
        Format::Json => cache_json::report(findings, context),
    };
    program::say(&report, global.format)?;
    let unknown = findings.answers(Status::Unknown);
    if unknown > 0 && !findings.strict && !global.quiet && findings.refusals.is_empty() {
        program::log(&format!(
            "warning: {unknown} answers are unknown, which is no pass (--strict makes it a fault)"
        ));
    }
    Ok(findings.exit())
}

/// How far a run is, on a terminal, from the second second on.
struct Progress {
    wanted: bool,
    shown: bool,
    since: Instant,
    last: Option<Instant>,
}

impl Progress {
    fn new(global: &Global) -> Self {
        let wanted = !global.quiet && std::io::stderr().is_terminal();
        Self {
            wanted,
            shown: false,
            since: monotonic(),
            last: None,
        }
    }

    fn show(&mut self, line: impl FnOnce() -> String) {
        let now = monotonic();
        let recent = self
            .last
            .is_some_and(|last| now - last < Duration::from_millis(200));
        if self.wanted && !recent && now - self.since > Duration::from_secs(1) {
            self.shown = true;
            self.last = Some(now);
            let _ = write!(std::io::stderr(), "\r{:70}", line());
        }
    }

    fn clear(&mut self) {
        if self.shown {
            let _ = write!(std::io::stderr(), "\r{:70}\r", "");
        }
    }
}
