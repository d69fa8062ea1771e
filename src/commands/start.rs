//! What a command starts from: the policy, the state folder, the engine. Decides
//! where each is looked for, in the order of the contract.

use std::path::{Path, PathBuf};

use crate::cli::Global;
use crate::commands::output::log;
use crate::commands::state_folder;
use crate::commands::state_folder::Sources;
use crate::decide::Trust;
use crate::engine::{Address, Environment, Reader};
use crate::exit::{Exit, Fault};
use crate::host::files::{StateDir, read_trusted_through_links};
use crate::host::journald::Priority;
use crate::host::user;
use crate::host::variables;
use crate::memory::state::{last_policy, state_fault};
use crate::model::text::escape;
use crate::policy::Policy;
use crate::report::PolicySource;

const POLICY_PATH: &str = "/etc/secateur/policy.toml";

/// In bytes.
const LONGEST_POLICY: u64 = 1 << 20;

pub(crate) async fn connect(global: &Global, policy: &Policy) -> Result<Reader, Fault> {
    let warn = |why: &str| {
        if !global.quiet {
            log(Priority::Warning, &format!("warning: {why}"));
        }
    };
    let environment = Environment::read().map_err(usage)?;
    let address = Address::resolve(global.host.as_deref(), &environment, warn)?;
    Ok(Reader::connect(&address, policy.limits.max_answer).await?)
}

/// The policy for this host. Where no file is named or there, the built-in one
/// counts, unless the last run here used a file: without it, all its keep rules
/// would be gone.
pub(crate) fn policy(global: &Global) -> Result<(Policy, PolicySource), Fault> {
    let (policy, source) = policy_of_any_host(global)?;
    if source.file.is_none() {
        let dir = StateDir::find(&state_dir(global)?).map_err(|error| state_fault(&error))?;
        if let Some(last) = last_policy(dir.as_ref())? {
            return Err(Fault::new(Exit::Policy, last.is_gone(POLICY_PATH)));
        }
    }
    Ok((policy, source))
}

/// The same for a saved host, of which no last run is known.
pub(crate) fn policy_of_any_host(global: &Global) -> Result<(Policy, PolicySource), Fault> {
    let named = global
        .policy
        .clone()
        .or_else(|| variables::path("SECATEUR_POLICY"));
    let asked = named.as_deref();
    let path = asked.unwrap_or(Path::new(POLICY_PATH));
    let bytes = read_trusted_through_links(path, LONGEST_POLICY)
        .map_err(|error| Fault::new(error.exit(Exit::Policy), format!("policy: {error}")))?;
    let name = escape(&path.to_string_lossy());
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

/// Warnings of every command.
pub(crate) fn warnings(policy: &Policy) -> Vec<String> {
    let short = policy.min_age < std::time::Duration::from_hours(1);
    let age = humantime::format_duration(policy.min_age);
    let warning = format!("age.min_age is {age}, which is very short (1m is a minute, 1M a month)");
    short.then_some(warning).into_iter().collect()
}

/// Warnings of the commands that plan or make removals.
pub(crate) fn removal_warnings(policy: &Policy) -> Vec<String> {
    warnings(policy)
        .into_iter()
        .chain(unguarded(policy))
        .collect()
}

/// A policy file that names no lock is easily written by mistake.
fn unguarded(policy: &Policy) -> Option<String> {
    let note = "the policy names no deploy lock (guard.lock): deploys are not guarded";
    policy.guard.locks.is_empty().then(|| note.to_owned())
}

/// A plan of another user than root rests on that user's own record, with other ages.
pub(crate) fn own_record(dir: &Path) -> Option<String> {
    let others = Path::new(state_folder::SYSTEM);
    let own = dir != others && !user::is_root() && others.is_dir();
    own.then(|| {
        let dir = escape(&dir.to_string_lossy());
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
