//! Wiring: reads the command line, policy and state, runs the command, writes
//! the report, ends with the exit code. Every line here hands something on; the
//! deciding is done elsewhere.

use std::io::{IsTerminal, Write};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use clap::Parser;

use crate::cli::{Cli, Command, Format, Global, PlanArgs, PruneArgs};
use crate::decide::Trust;
use crate::engine::{Address, Environment, Reader, Remover};
use crate::exit::{Exit, Fault};
use crate::guards::{Refusal, against, clear};
use crate::host;
use crate::host::files::{FileError, StateDir, read_trusted_through_links, write_atomic};
use crate::model::{Container, ImageId, Observed, Swarm};
use crate::outcome::{Ending, Outcome};
use crate::plan::{Entry, Plan};
use crate::policy::Policy;
use crate::report::{Context, PolicySource, explain, json, text};
use crate::state::{self, Memory, State};
use crate::survey::{self, NoSurvey, SavedHost, Survey};
use crate::users::Names;
use crate::watch::Armed;

const POLICY_PATH: &str = "/etc/secateur/policy.toml";

/// No policy is longer than this.
const LONGEST_POLICY: u64 = 1 << 20;

/// Runs the program.
pub fn main() -> Exit {
    let cli = Cli::parse();
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build();
    let done = match runtime {
        Ok(runtime) => runtime.block_on(dispatch(&cli)),
        Err(error) => Err(Fault::new(Exit::State, format!("cannot start: {error}"))),
    };
    done.unwrap_or_else(|fault| {
        log(&format!("error: {}", fault.message));
        fault.exit
    })
}

async fn dispatch(cli: &Cli) -> Result<Exit, Fault> {
    match &cli.command {
        Command::Plan(args) => plan(&cli.global, args).await,
        Command::Prune(args) => Box::pin(prune(&cli.global, args)).await,
        Command::VerifyCache(args) => {
            Box::pin(crate::verify_cache::run::verify_cache(&cli.global, args)).await
        }
    }
}

fn trust(engine_dates: bool) -> Trust {
    if engine_dates {
        Trust::EngineDates
    } else {
        Trust::OwnMemory
    }
}

async fn plan(global: &Global, args: &PlanArgs) -> Result<Exit, Fault> {
    let (policy, source) = policy(global)?;
    let mut context = Context {
        policy: source,
        refusals: Vec::new(),
        notes: warnings(&policy),
    };
    let (plan, ledger) = if let Some(path) = &args.inventory {
        let (inventory, ledger) = SavedHost::read(path)?;
        let plan = survey::replay(&policy, &inventory, &ledger, trust(args.trust_engine_dates));
        context.refusals = against(&policy, &[], &plan);
        (plan, ledger)
    } else {
        let reader = connect(global).await?;
        let info = survey::engine(&reader, &policy).await?;
        let dir = StateDir::find(&state_dir(global)).map_err(|error| state_fault(&error))?;
        let memory = state::read(dir.as_ref(), &info.facts.key())?;
        let survey = survey::survey(
            &reader,
            info,
            &policy,
            &memory,
            trust(args.trust_engine_dates),
            Arc::default(),
        )
        .await?;
        context.notes.extend(survey::notes(&memory, &survey.looks));
        context.refusals = against(&policy, &survey.looks, &survey.plan);
        if let Some(path) = &args.save_inventory {
            write_out(path, &SavedHost::of(&survey).to_json())?;
        }
        (survey.plan, survey.ledger)
    };
    if let Some(path) = &args.out {
        write_out(path, json::plan(&plan, &context).as_bytes())?;
    }
    let report = match (&args.explain, global.format) {
        (Some(image), Format::Text) => explain::explain(&plan, &ledger, &meant(&plan, image)?),
        (Some(image), Format::Json) => {
            let ids = meant(&plan, image)?
                .into_iter()
                .map(|entry| entry.image().id.clone())
                .collect();
            json::plan(&plan.clone().only(&ids), &context)
        }
        (None, Format::Text) => text::plan(&plan, &context, global.verbose),
        (None, Format::Json) => json::plan(&plan, &context),
    };
    say(&report, global.format)?;
    Ok(Exit::Done)
}

async fn prune(global: &Global, args: &PruneArgs) -> Result<Exit, Fault> {
    let (policy, source) = policy(global)?;
    let mut context = Context {
        policy: source,
        refusals: Vec::new(),
        notes: warnings(&policy),
    };
    let started =
        host::clock::read().map_err(|error| Fault::new(Exit::State, format!("{error:#}")))?;
    let run = format!(
        "{}-{}",
        started.wall.format("%Y%m%dT%H%M%S%3fZ"),
        std::process::id()
    );
    let state = State::open(&state_dir(global))?;
    let ended = |ending, refusals| Outcome {
        ending,
        refusals,
        ..Outcome::new(
            run.clone(),
            started.wall,
            Observed::Unknown("not measured".into()),
        )
    };
    let mut state = match state {
        Ok(state) => state,
        Err(held) => {
            let refused = ended(Ending::Refused, vec![Refusal::OtherRun(held.to_string())]);
            return finish(global, &refused, None, &context);
        }
    };
    let interrupted = on_signals()?;
    let trust = trust(args.trust_engine_dates);
    let seen = look_around(global, &policy, &state, trust, &interrupted).await?;
    let Some((reader, memory, survey)) = seen else {
        let interrupted = ended(Ending::Interrupted, Vec::new());
        return finish(global, &interrupted, None, &context);
    };
    let survey = match survey {
        Ok(survey) => survey,
        Err(NoSurvey::Contradiction(why)) => {
            let refused = ended(Ending::Refused, vec![Refusal::EngineInconsistent(why)]);
            return finish(global, &refused, None, &context);
        }
        Err(NoSurvey::Fault(fault)) => return Err(fault),
    };
    context.notes.extend(survey::notes(&memory, &survey.looks));
    // What was seen is remembered whatever comes of the rest.
    state.save(&memory, &survey.ledger)?;
    state.record(&survey::resolved(&memory.pending, &survey.inventory), true)?;
    let Survey {
        mut plan,
        looks,
        watch,
        info,
        inventory,
        ledger,
    } = survey;
    if let Some(path) = &args.plan {
        let reviewed = crate::reviewed::read(
            path,
            &info.facts,
            &context.policy,
            inventory.taken_at,
            args.max_plan_age,
        )?;
        plan = plan.restricted_to(&reviewed.images);
    }
    let shown = plan.clone();
    let outcome = match clear(&policy, &looks, plan) {
        Err(refusals) => ended(Ending::Refused, refusals),
        Ok(cleared) => {
            let (remover, cleared) = reader.into_remover(cleared);
            let engine = Live {
                remover: &remover,
                info: &info,
            };
            let mut progress = Progress::new(global);
            let mut on_progress = |done, of| progress.show(done, of);
            let mut host = Armed {
                watch,
                state,
                ledger: &ledger,
                on_progress: &mut on_progress,
            };
            let run = run.clone();
            let work = crate::prune::prune(cleared, &policy, run, &engine, &mut host);
            let outcome = Box::pin(work).await;
            progress.clear();
            outcome
        }
    };
    finish(global, &outcome, Some(&shown), &context)
}

/// Reads the engine and all around it; `None` where the run is asked to end
/// before. Nothing is changed by it, so it can be given up at any moment.
async fn look_around<'a>(
    global: &Global,
    policy: &'a Policy,
    state: &State,
    trust: Trust,
    interrupted: &Arc<AtomicBool>,
) -> Result<Option<(Reader, Memory, Result<Survey<'a>, NoSurvey>)>, Fault> {
    let read = Box::pin(async {
        let reader = connect(global).await?;
        let info = survey::engine(&reader, policy).await?;
        let memory = state.memory(&info.facts.key())?;
        let asked = Arc::clone(interrupted);
        let survey = survey::survey(&reader, info, policy, &memory, trust, asked).await;
        Ok((reader, memory, survey))
    });
    let limit = policy.limits.max_run;
    match tokio::time::timeout(limit, unless(interrupted, read)).await {
        Ok(read) => read.transpose(),
        Err(_) => {
            let limit = humantime::format_duration(limit);
            let why = format!("the engine could not be read within {limit} (limits.max_run)");
            Err(Fault::new(Exit::Engine, why))
        }
    }
}

fn finish(
    global: &Global,
    outcome: &Outcome,
    plan: Option<&Plan>,
    context: &Context,
) -> Result<Exit, Fault> {
    let report = match global.format {
        Format::Text => text::outcome(outcome, plan, context, global.verbose),
        Format::Json => json::outcome(outcome, plan.map(Plan::engine), context),
    };
    // What happened to the images counts for more than what to the report.
    match (say(&report, global.format), outcome.exit()) {
        (Err(fault), Exit::Done) => Err(fault),
        (Err(fault), exit) => {
            log(&format!("error: {}", fault.message));
            Ok(exit)
        }
        (Ok(()), exit) => Ok(exit),
    }
}

/// A live engine, as `prune` wants one.
struct Live<'a> {
    remover: &'a Remover,
    info: &'a crate::engine::Info,
}

impl crate::prune::Engine for Live<'_> {
    async fn look(
        &self,
        id: &ImageId,
    ) -> Result<Option<crate::engine::Seen>, crate::engine::EngineError> {
        self.remover.reader().look(id).await
    }
    async fn name_ours(
        &self,
        id: &ImageId,
    ) -> Result<crate::reference::Reference, crate::engine::EngineError> {
        self.remover.name_ours(id).await
    }
    async fn drop_name(
        &self,
        name: &crate::reference::Reference,
    ) -> Result<crate::engine::Dropped, crate::engine::EngineError> {
        self.remover.drop_name(name).await
    }
    async fn builds(&self) -> Result<Observed<Vec<String>>, crate::engine::EngineError> {
        self.remover.reader().builds().await
    }
    async fn swarm(&self) -> Result<Swarm, crate::engine::EngineError> {
        self.remover.reader().swarm(self.info).await
    }
    async fn containers(&self) -> Result<Vec<Container>, crate::engine::EngineError> {
        self.remover.reader().containers(self.info).await
    }
}

pub(crate) async fn connect(global: &Global) -> Result<Reader, Fault> {
    let address = Address::resolve(global.host.as_deref(), &Environment::read())
        .map_err(|error| Fault::new(Exit::Usage, error.to_string()))?;
    Reader::connect(&address)
        .await
        .map_err(|error| survey::engine_fault(&error))
}

/// The images that a text means: any name or id, as for a container.
fn meant<'a>(plan: &'a Plan, text: &str) -> Result<Vec<&'a Entry>, Fault> {
    let images = plan
        .entries()
        .iter()
        .map(|entry| (entry.image().id.clone(), entry.image().clone()))
        .collect();
    let ids: Vec<ImageId> = Names::of(&images)
        .resolve(text)
        .into_iter()
        .cloned()
        .collect();
    if ids.is_empty() {
        let text = crate::text::escape(text);
        return Err(Fault::new(
            Exit::Usage,
            format!("--explain {text}: no image here has that name or id"),
        ));
    }
    Ok(ids.iter().filter_map(|id| plan.entry(id)).collect())
}

pub(crate) fn policy(global: &Global) -> Result<(Policy, PolicySource), Fault> {
    let asked = global.policy.as_deref();
    let path = asked.unwrap_or(Path::new(POLICY_PATH));
    let bytes = read_trusted_through_links(path, LONGEST_POLICY).map_err(|error| {
        let exit = match error {
            FileError::Untrusted { .. } => Exit::Permission,
            FileError::Io { .. } if error.is_permission_denied() => Exit::Permission,
            FileError::Io { .. } => Exit::Policy,
        };
        Fault::new(exit, format!("policy: {error}"))
    })?;
    let name = crate::text::escape(&path.to_string_lossy());
    let (text, file) = match bytes {
        Some(bytes) => {
            let text = String::from_utf8(bytes).map_err(|error| {
                Fault::new(Exit::Policy, format!("policy {name}: not UTF-8: {error}"))
            })?;
            (text, Some(path.to_owned()))
        }
        None if asked.is_some() => {
            return Err(Fault::new(
                Exit::Policy,
                format!("policy {name}: it is not there"),
            ));
        }
        None => (crate::policy::DEFAULT.to_owned(), None),
    };
    let policy =
        Policy::parse(&text, &name).map_err(|error| Fault::new(Exit::Policy, error.to_string()))?;
    Ok((
        policy,
        PolicySource {
            file,
            fingerprint: Policy::fingerprint(&text),
        },
    ))
}

pub(crate) fn warnings(policy: &Policy) -> Vec<String> {
    let short = policy.min_age < std::time::Duration::from_hours(1);
    let age = humantime::format_duration(policy.min_age);
    let warning = format!("age.min_age is {age}, which is very short (1m is a minute, 1M a month)");
    short.then_some(warning).into_iter().collect()
}

pub(crate) fn state_dir(global: &Global) -> PathBuf {
    if let Some(dir) = &global.state_dir {
        return dir.clone();
    }
    let variable = |name| {
        std::env::var_os(name)
            .filter(|value| !value.is_empty())
            .map(PathBuf::from)
    };
    // systemd gives a list where a unit has several.
    let systemd = variable("STATE_DIRECTORY").map(|list| {
        let first = list
            .to_string_lossy()
            .split(':')
            .next()
            .unwrap_or_default()
            .to_owned();
        PathBuf::from(first)
    });
    systemd.unwrap_or_else(|| {
        if nix::unistd::geteuid().is_root() {
            return "/var/lib/secateur".into();
        }
        let home = || variable("HOME").unwrap_or_default().join(".local/state");
        variable("XDG_STATE_HOME")
            .unwrap_or_else(home)
            .join("secateur")
    })
}

pub(crate) fn state_fault(error: &FileError) -> Fault {
    let exit = match error {
        FileError::Untrusted { .. } => Exit::Permission,
        FileError::Io { .. } if error.is_permission_denied() => Exit::Permission,
        FileError::Io { .. } => Exit::State,
    };
    Fault::new(exit, error.to_string())
}

fn write_out(path: &Path, bytes: &[u8]) -> Result<(), Fault> {
    write_atomic(path, bytes).map_err(|error| state_fault(&error))
}

/// Set on SIGTERM and SIGINT: the run ends after the call that it is in.
fn on_signals() -> Result<Arc<AtomicBool>, Fault> {
    use tokio::signal::unix::{SignalKind, signal};
    let asked = Arc::new(AtomicBool::new(false));
    let fault = |error: std::io::Error| {
        Fault::new(Exit::State, format!("cannot watch for signals: {error}"))
    };
    for kind in [SignalKind::terminate(), SignalKind::interrupt()] {
        let (mut signals, asked) = (signal(kind).map_err(fault)?, Arc::clone(&asked));
        tokio::spawn(async move {
            if signals.recv().await.is_some() {
                asked.store(true, Ordering::Relaxed);
            }
        });
    }
    Ok(asked)
}

/// What this gives, unless the run is asked to end before: then `None`.
async fn unless<T>(asked: &AtomicBool, work: impl Future<Output = T>) -> Option<T> {
    const TICK: std::time::Duration = std::time::Duration::from_millis(100);
    let ends = async {
        while !asked.load(Ordering::Relaxed) {
            tokio::time::sleep(TICK).await;
        }
    };
    match futures_util::future::select(std::pin::pin!(work), std::pin::pin!(ends)).await {
        futures_util::future::Either::Left((done, _)) => Some(done),
        futures_util::future::Either::Right(_) => None,
    }
}

/// The report. A reader that went away (`| head`) is no error.
pub(crate) fn say(report: &str, format: Format) -> Result<(), Fault> {
    let written = match format {
        Format::Text => anstream::stdout().write_all(report.as_bytes()),
        Format::Json => std::io::stdout().write_all(report.as_bytes()),
    };
    match written {
        Err(error) if error.kind() != std::io::ErrorKind::BrokenPipe => Err(Fault::new(
            Exit::State,
            format!("cannot write the report: {error}"),
        )),
        _ => Ok(()),
    }
}

pub(crate) fn log(line: &str) {
    // Nobody is left to tell if stderr is gone.
    let _ = writeln!(anstream::stderr(), "secateur: {line}");
}

/// How far a prune is, on a terminal, from the second second on.
struct Progress {
    shown: bool,
    wanted: bool,
    since: std::time::Instant,
}

impl Progress {
    fn new(global: &Global) -> Self {
        let wanted = !global.quiet && std::io::stderr().is_terminal();
        Self {
            shown: false,
            wanted,
            since: host::clock::monotonic(),
        }
    }

    fn show(&mut self, done: usize, of: usize) {
        if self.wanted && self.since.elapsed() > std::time::Duration::from_secs(1) {
            self.shown = true;
            let _ = write!(std::io::stderr(), "\rremoving: {done} of {of} images");
        }
    }

    fn clear(&mut self) {
        if self.shown {
            let _ = write!(std::io::stderr(), "\r{:40}\r", "");
        }
    }
}
