//! The policy, the state folder and the engine of a command. Decides where each is looked for.

use std::path::{Path, PathBuf};

use crate::cli::Global;
use crate::commands::output::log;
use crate::commands::state_folder;
use crate::commands::state_folder::Sources;
use crate::decide::Trust;
use crate::engine::{Address, Environment, Info, Reader};
use crate::exit::{Exit, Fault};
use crate::host::files::{StateDir, read_trusted_through_links};
use crate::host::journald::Priority;
use crate::host::user;
use crate::host::variables;
use crate::memory::state::last_policy;
use crate::model::text::escape_path;
use crate::policy::Policy;
use crate::report::PolicySource;
use crate::survey;

const POLICY_PATH: &str = "/etc/secateur/policy.toml";

/// In bytes.
const LONGEST_POLICY: u64 = 1 << 20;

/// For what plan and prune ask.
pub(crate) async fn reach(global: &Global, policy: &Policy) -> Result<Reader, Fault> {
    Ok(Reader::reach(&address(global)?, policy.limits.max_answer).await?)
}

/// The engine's description of itself.
pub(crate) async fn described(reader: &Reader, policy: &Policy) -> Result<Info, Fault> {
    Ok(survey::on_this_host(reader.info().await?, policy))
}

/// For questions about the engine's platform, too.
pub(crate) async fn connect_for_platform(
    global: &Global,
    policy: &Policy,
) -> Result<(Reader, Info), Fault> {
    let (reader, info) = Reader::connect(&address(global)?, policy.limits.max_answer).await?;
    Ok((reader, survey::on_this_host(info, policy)))
}

fn address(global: &Global) -> Result<Address, Fault> {
    let warn = |why: &str| {
        if !global.quiet {
            log(Priority::Warning, &format!("warning: {why}"));
        }
    };
    let environment = Environment::read().map_err(usage)?;
    Ok(Address::resolve(
        global.host.as_deref(),
        &environment,
        warn,
    )?)
}

/// The policy for this host. Without a policy file the built-in one counts, unless the last run
/// here used a file: without it, all its keep rules would be gone.
pub(crate) fn policy(global: &Global) -> Result<(Policy, PolicySource), Fault> {
    let (policy, source) = policy_of_any_host(global)?;
    if source.file.is_none() {
        let dir = StateDir::find(&state_dir(global)?)?;
        if let Some(last) = last_policy(dir.as_ref())? {
            return Err(Fault::new(Exit::Policy, last.is_gone(POLICY_PATH)));
        }
    }
    Ok((policy, source))
}

/// As [`policy`] for a saved host, which has no last run.
pub(crate) fn policy_of_any_host(global: &Global) -> Result<(Policy, PolicySource), Fault> {
    let named = global
        .policy
        .clone()
        .or_else(|| variables::path("SECATEUR_POLICY"));
    let asked = named.as_deref();
    let path = asked.unwrap_or(Path::new(POLICY_PATH));
    let bytes = read_trusted_through_links(path, LONGEST_POLICY)
        .map_err(|error| Fault::new(error.exit(Exit::Policy), format!("policy: {error}")))?;
    let name = escape_path(path);
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
                format!("policy {name}: it is not there; see --policy and $SECATEUR_POLICY"),
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

pub(crate) fn removal_warnings(policy: &Policy) -> Vec<String> {
    warnings(policy)
        .into_iter()
        .chain(unguarded(policy))
        .collect()
}

/// `lock = []` is easily written by mistake.
fn unguarded(policy: &Policy) -> Option<String> {
    let note = "the policy names no deploy lock (guard.lock): deploys are not guarded";
    policy.guard.locks.is_empty().then(|| note.to_owned())
}

/// A user other than root has a ledger of its own, with other ages.
pub(crate) fn own_record(dir: &Path) -> Option<String> {
    let others = Path::new(state_folder::SYSTEM);
    let own = dir != others && !user::is_root() && others.is_dir();
    own.then(|| {
        let dir = escape_path(dir);
        format!("these ages are of {dir}; those of the timer: sudo secateur plan")
    })
}

pub(crate) fn state_dir(global: &Global) -> Result<PathBuf, Fault> {
    match &global.state_dir {
        Some(dir) => Ok(dir.clone()),
        None => Sources::read().folder().map_err(usage),
    }
}

pub(crate) fn trust(engine_dates: bool) -> Trust {
    if engine_dates {
        Trust::EngineDates
    } else {
        Trust::OwnMemory
    }
}

fn usage(why: String) -> Fault {
    Fault::new(Exit::Usage, why)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_policy_without_a_deploy_lock_is_noted_in_one_line_of_the_report() {
        let policy = |more: &str| {
            let text = format!("[age]\nmin_age = \"14d\"\n{more}");
            Policy::parse(&text, "test").unwrap()
        };
        let note = unguarded(&policy("[guard]\nlock = []")).unwrap();
        assert_eq!(unguarded(&policy("")), None);
        assert!(note.contains("deploys are not guarded"), "{note}");
        assert!("note    ".len() + note.len() <= 80, "{note}");
        let lock = "[[guard.lock]]\npath = \"/run/deploy.lock\"";
        assert_eq!(unguarded(&policy(lock)), None);
        let shipped = Policy::parse(crate::policy::DEFAULT, "test").unwrap();
        assert_eq!(unguarded(&shipped), None);
    }
}
