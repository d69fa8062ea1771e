//! The command: reads policy, memory and baseline, asks the engine, the host
//! and the registries, and writes the report. It orders the looks and hands
//! each on; what an answer means is decided elsewhere.

use std::collections::BTreeMap;
use std::path::Path;

use chrono::{DateTime, Utc};

use crate::cli::{Format, Global, VerifyCacheArgs};
use crate::commands as program;
use crate::commands::Began;
use crate::commands::output::write_readable;
use crate::engine::{Info, Reader};
use crate::exit::{Exit, Fault};
use crate::guard::Refusal;
use crate::host::clock::read as clock;
use crate::host::files::{StateDir, read_named};
use crate::host::storage;
use crate::host::systemd::Priority;
use crate::memory::ledger::Ledger;
use crate::memory::state::state_fault;
use crate::model::text::escape;
use crate::model::{Image, ImageId, Store};
use crate::policy::Policy;
use crate::report::Context;
use crate::report::{journald, json, metrics, text};
use crate::survey;

use crate::cache::checks::ask::{Registries, not_asked};
use crate::cache::checks::gone::Past;
use crate::cache::checks::redeploy::{Redeploy, look_around};
use crate::cache::checks::{lasting, present, whole};
use crate::cache::outcome::{Findings, Line, NotAsked};
use crate::cache::promise::baseline::Baseline;
use crate::cache::promise::{Promise, Wanted, promises, with_all_digests};
use crate::cache::{Check, Kind, Status};
use crate::commands::progress::Progress;

/// A baseline of 100,000 images is some 40 MB.
const LONGEST_BASELINE: u64 = 64 << 20;

/// One run, and what it rests on.
struct Run<'a> {
    args: &'a VerifyCacheArgs,
    policy: &'a Policy,
    reader: &'a Reader,
    info: &'a Info,
    here: BTreeMap<ImageId, Image>,
    past: Past,
    progress: Progress,
    /// What was read of an image once: two names may lead to it.
    deep: BTreeMap<ImageId, Check>,
    /// How long each pull took, in milliseconds.
    pulls: BTreeMap<Wanted, u64>,
}

/// Runs `secateur verify-cache`.
pub async fn verify_cache(global: &Global, args: &VerifyCacheArgs) -> Result<Exit, Fault> {
    let began = Began::now();
    let done = match program::policy(global) {
        Ok((policy, source)) => {
            let mut context = Context::new(source, program::warnings(&policy));
            let work = Box::pin(look(global, args, &policy, &mut context));
            work.await.map(|findings| (findings, context))
        }
        Err(fault) => Err(fault),
    };
    let exit = match &done {
        Ok((findings, context)) => finish(global, findings, context),
        Err(fault) => Err(fault.clone()),
    };
    let findings = done.as_ref().ok().map(|(findings, _)| findings);
    let file = args.metrics.file.as_deref();
    program::write_metrics(global, file, metrics::cache::PREFIX, |before| {
        let result = findings.map_or(metrics::ERROR, Findings::result);
        let refusals = findings.map_or(&[][..], |findings| &findings.refusals);
        let ran = began.ended(&exit, result, refusals);
        metrics::cache::text(&ran, findings, before)
    });
    exit
}

async fn look(
    global: &Global,
    args: &VerifyCacheArgs,
    policy: &Policy,
    context: &mut Context,
) -> Result<Findings, Fault> {
    let reader = program::connect(global, policy).await?;
    let info = survey::engine(&reader, policy).await?;
    let here = program::patient(global, policy, images(&reader, &info)).await?;
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
    let promises = promises(&args.images, policy, baseline.as_ref(), &here)
        .map_err(|why| Fault::new(Exit::Usage, why))?;
    let mut findings = Findings::new(now.wall, info.facts.clone(), args.strict);
    if args.redeploy
        && let Err(refusals) = look_around(&reader, &info, policy, &past.ledger).await?
    {
        findings.refusals = refusals;
        return Ok(findings);
    }
    let mut run = Run {
        args,
        policy,
        reader: &reader,
        info: &info,
        here,
        past,
        progress: Progress::new(global),
        deep: BTreeMap::new(),
        pulls: BTreeMap::new(),
    };
    Box::pin(run.look(&promises, &mut findings)).await?;
    run.progress.clear();
    if let Some(path) = &args.record {
        context
            .notes
            .push(run.record(path, &promises, findings.at).await?);
    }
    Ok(findings)
}

async fn images(reader: &Reader, info: &Info) -> Result<BTreeMap<ImageId, Image>, Fault> {
    let list = reader.images(info).await?;
    Ok(with_all_digests(list, info.facts.store))
}

impl Run<'_> {
    /// Looks at everything that is asked for, one promise after the other.
    async fn look(&mut self, promises: &[Promise], findings: &mut Findings) -> Result<(), Fault> {
        let lasting = lasting::judge(&store_folders(self.info));
        let user_config = self.args.user_config.as_deref();
        let store = self.info.facts.store;
        let mut registries = Registries::new(self.reader, store, user_config).await?;
        let digests = self.args.registry || self.args.redeploy;
        let progress = &mut self.progress;
        let mut on_answer =
            |done, of| progress.show(|| format!("asking registries: {done} of {of} images"));
        let answers = Box::pin(registries.ask(promises, &self.here, digests, &mut on_answer)).await;
        // Before layers are read, which takes long: what the registries said is
        // to be true still.
        let mut reused = Vec::new();
        for (number, promise) in (1..).zip(promises).filter(|_| self.args.redeploy) {
            let place = format!("{number} of {} images", promises.len());
            self.progress.show(|| format!("pulling {place}"));
            let redeploy = Redeploy {
                reader: self.reader,
                registries: &registries,
                answers: &answers,
                follow: self.args.follow,
            };
            reused.push(self.reused(&redeploy, promise).await?);
        }
        let mut reused = reused.into_iter();
        for (number, promise) in (1..).zip(promises) {
            let place = format!("{number} of {} images", promises.len());
            let mut checks = vec![present::judge(promise, &self.here, &self.past)];
            if self.args.deep {
                checks.push(self.whole(promise, &place).await?);
            }
            checks.push(lasting.clone());
            checks.extend(answers.of(promise));
            checks.extend(reused.next());
            findings.images.push(Line {
                image: promise.wanted.clone(),
                checks,
                not_asked: self.not_asked(promise),
            });
        }
        findings.store = Some(lasting);
        findings.asked = registries.asked();
        findings.not_looked = not_looked(self.args);
        findings.sort();
        Ok(())
    }

    /// The registry's part of what is wanted, where no registry is asked.
    fn not_asked(&self, promise: &Promise) -> Vec<NotAsked> {
        let Some(why) = not_asked(promise, &self.here) else {
            return Vec::new();
        };
        let digests = self.args.registry || self.args.redeploy;
        let kinds = std::iter::once(Kind::Authenticated).chain(digests.then_some(Kind::Current));
        kinds.map(|kind| NotAsked { kind, why }).collect()
    }

    async fn whole(&mut self, promise: &Promise, place: &str) -> Result<Check, Fault> {
        let Some(image) = promise.wanted.find(&self.here) else {
            let why = "it is not here to be read";
            return Ok(Check::new(Kind::Whole, Status::Unknown, why));
        };
        if let Some(check) = self.deep.get(&image.id) {
            return Ok(check.clone());
        }
        let progress = &mut self.progress;
        let mut on_bytes = |bytes: u64| {
            progress.show(|| format!("reading {place}: {}", crate::model::Bytes(bytes)));
        };
        let check = whole::look(self.reader, self.info, image, &mut on_bytes).await?;
        self.deep.insert(image.id.clone(), check.clone());
        Ok(check)
    }

    /// Looks around before each pull anew: a deploy may have begun meanwhile.
    async fn reused(&mut self, redeploy: &Redeploy<'_>, promise: &Promise) -> Result<Check, Fault> {
        let image = promise.wanted.find(&self.here);
        match look_around(self.reader, self.info, self.policy, &self.past.ledger).await? {
            Ok(undisturbed) => {
                let check = redeploy.one(&undisturbed, promise, image).await?;
                if let Some(time) = check.milliseconds {
                    self.pulls.insert(promise.wanted.clone(), time);
                }
                Ok(check)
            }
            Err(refusals) => {
                let why = refusals.first().map(Refusal::message).unwrap_or_default();
                let why = format!("not pulled: {why}");
                Ok(Check::new(Kind::Reused, Status::Unknown, why))
            }
        }
    }

    /// Writes down what is here now, after any pull; says so.
    async fn record(
        &self,
        path: &Path,
        promises: &[Promise],
        at: DateTime<Utc>,
    ) -> Result<String, Fault> {
        let here = images(self.reader, self.info).await?;
        let id = |wanted: &Wanted| wanted.find(&here).map(|image| image.id.clone());
        let named: Vec<ImageId> = promises
            .iter()
            .filter_map(|promise| id(&promise.wanted))
            .collect();
        let only = (!self.args.images.is_empty()).then_some(named.as_slice());
        let pulls = self.pulls.iter();
        let pulls = pulls
            .filter_map(|(wanted, time)| Some((id(wanted)?, *time)))
            .collect();
        let baseline = Baseline::of(&self.info.facts, &here, at, only, &pulls);
        write_readable(path, &baseline.to_json(), LONGEST_BASELINE)?;
        let (count, path) = (baseline.len(), escape(&path.to_string_lossy()));
        let s = if count == 1 { "" } else { "s" };
        Ok(format!("recorded {count} image{s} in {path}"))
    }
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
        let dir =
            StateDir::find(&program::state_dir(global)?).map_err(|error| state_fault(&error))?;
        let memory = crate::memory::state::read(dir.as_ref(), key)?;
        let history = |dir| crate::memory::state::history(dir, key);
        let journal = dir.as_ref().map(history).transpose()?;
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
    let fault = |why: String| Fault::new(Exit::Usage, format!("--against: {why}"));
    let bytes = read_named(path, LONGEST_BASELINE).map_err(|error| fault(error.to_string()))?;
    let shown = escape(&path.to_string_lossy());
    Baseline::from_json(&bytes).map_err(|why| fault(format!("{shown}: {why}")))
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
        .map(|path| storage::read(&path))
        .collect()
}

fn finish(global: &Global, findings: &Findings, context: &Context) -> Result<Exit, Fault> {
    let report = || match global.format {
        Format::Text if global.quiet => text::cache::brief(findings),
        Format::Text => text::cache::report(findings, context, global.verbose),
        Format::Json => json::cache::report(findings, context),
    };
    let in_journal = program::tell(global, report, || {
        journald::cache::findings(findings, context)
    })?;
    let unknown = findings.answers(Status::Unknown);
    let warned = in_journal || global.quiet || findings.strict;
    if unknown > 0 && !warned && findings.refusals.is_empty() {
        let are = if unknown == 1 {
            "answer is"
        } else {
            "answers are"
        };
        program::log(
            Priority::Warning,
            &format!(
                "warning: {unknown} {are} unknown, which is no pass (--strict makes it a fault)"
            ),
        );
    }
    Ok(findings.exit())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_baseline_is_a_plain_file_of_a_size_that_is_read() {
        let folder = tempfile::tempdir().unwrap();
        let said = |name: &str| {
            let path = folder.path().join(name);
            read_baseline(&path).map(|_| ()).unwrap_err()
        };
        let long = std::fs::File::create(folder.path().join("long")).unwrap();
        long.set_len(LONGEST_BASELINE + 1).unwrap();
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
        // Nobody writes into it: who waited for that would wait for ever.
        let fifo = folder.path().join("fifo");
        nix::unistd::mkfifo(&fifo, nix::sys::stat::Mode::S_IRUSR).unwrap();
        assert!(said("fifo").message.contains("FIFO"));
    }
}
