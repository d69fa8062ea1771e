//! The text of secateur(1) that clap does not have.

use crate::exit::Exit;

/// In the order of their numbers.
pub(super) const EXITS: [Exit; 10] = [
    Exit::Done,
    Exit::NotAllWell,
    Exit::Usage,
    Exit::NeedsAPerson,
    Exit::Engine,
    Exit::Collateral,
    Exit::State,
    Exit::RefusedForNow,
    Exit::Permission,
    Exit::Policy,
];

/// A match, so that a new exit code does not compile without its words.
pub(super) fn meaning(exit: Exit) -> &'static str {
    match exit {
        Exit::Done => "Done, also when there was nothing to do.",
        Exit::NotAllWell => {
            "Finished, but not all is well: a removal failed, or `verify-cache` \
             found a promise broken."
        }
        Exit::Usage => "The command line is wrong.",
        Exit::NeedsAPerson => {
            "Refused, and it will not mend itself: the plan exceeds \
             `limits.max_fraction`, something has refused every run for longer than \
             `guard.alert_after`, or a reviewed plan is too old, or for another \
             engine or policy. A person must look."
        }
        Exit::Engine => {
            "The engine cannot be reached, the docker context leads to none, or its \
             answers contradict each other."
        }
        Exit::Collateral => {
            "Something went that the plan did not name, or a removal could not be \
             confirmed."
        }
        Exit::State => "State or journal cannot be read or written.",
        Exit::RefusedForNow => {
            "Refused for now: a lock is held, a pull, build or deploy is under way, \
             the signs of a pull cannot be read, another run is at work, the clock is \
             in doubt, or the run was stopped by a signal. The next run looks again."
        }
        Exit::Permission => {
            "A file that commands trust is writable by others, or a permission is \
             missing."
        }
        Exit::Policy => "The policy is wrong. The message names line and column.",
    }
}

pub(super) const DESCRIPTION: &[&str] = &[
    "secateur removes only images that nobody can want back: without a tag, not in \
     use by a container in any state, not wanted by a Swarm service or its rollback, \
     not pulled by digest, not protected by the policy, and unneeded for a minimum \
     age by secateur's own records. It removes them only when the disk needs the \
     space, and never during a deploy, a pull or a build.",
    "The first run removes nothing: it starts the record. `plan` shows what the \
     next `prune` would do, and changes nothing; there is no `--dry-run`. \
     `verify-cache` tells whether the next deploy will find its images.",
    "Images are removed by name, never forced, each looked at again just before. \
     Containers, volumes, networks, secrets, services and build cache are not \
     touched.",
    "The report is written to standard output, all else to standard error. Where \
     systemd's journal reads both, each fact is one entry with fields instead of \
     the report: see /usr/share/doc/secateur/docs/metrics.md.",
];

const METRICS: &str = "For node_exporter's textfile collector: the numbers of this run, in a file \
     that is written whole.";

/// Command, argument, and what `--help` has no room for.
pub(super) const FURTHER: &[(&str, &str, &str)] = &[
    (
        "secateur",
        "policy",
        "Without that file, the built-in default holds. Keep a policy where only root \
         can write, such as /root: one that anybody else could change is refused (77).",
    ),
    (
        "secateur",
        "host",
        "As docker(1): `DOCKER_HOST`, else the current docker context, else \
         unix:///var/run/docker.sock. Where docker's config.json cannot be read, \
         the context is the default one, and standard error says so. Only a local socket will do: locks, pulls and the \
         disk can be judged on the engine's own host alone.",
    ),
    (
        "secateur",
        "state_dir",
        "It holds ledger and journal. For other users, the default is \
         ~/.local/state/secateur.",
    ),
    (
        "plan",
        "out",
        "`-` writes it to standard output, instead of the report.",
    ),
    (
        "plan",
        "explain",
        "As text alone: with `--format json`, every image of the host is in the document.",
    ),
    (
        "prune",
        "plan",
        "It is refused if anybody but root or you could change it (77), and if it is too \
         old, or for another engine or policy (65).",
    ),
    (
        "prune",
        "trust_engine_dates",
        "For the day when the disk is full and secateur was just installed. The risk: \
         those dates say when an image was built or stored, not since when nobody needs \
         it. A build that was replaced a minute ago, and that you may want to go back to, \
         counts as old if it was built long ago. Images that were pulled are not touched by \
         this, except on the containerd store: there one whose tag has moved on looks like \
         a build, and goes, a rollback too.",
    ),
    (
        "verify-cache",
        "record",
        "All images that have a name, or only each `IMAGE` that is given.",
    ),
    (
        "verify-cache",
        "redeploy",
        "The engine pulls each promised image by its name. An image whose tag moved \
         upstream is left alone: see `--follow`. Refused while a deploy, pull or build is \
         under way (75).",
    ),
    (
        "verify-cache",
        "user_config",
        "The folder that holds docker's config.json with the credentials. Default: \
         `DOCKER_CONFIG`, else ~/.docker.",
    ),
    ("prune", "metrics", METRICS),
    ("verify-cache", "metrics", METRICS),
];

pub(super) const ENVIRONMENT: &[(&str, &str)] = &[
    (
        "SECATEUR_POLICY",
        "The policy, where `--policy` is not given.",
    ),
    (
        "SECATEUR_METRICS",
        "The file for metrics, where `--metrics` is not given.",
    ),
    (
        "DOCKER_HOST",
        "The engine's socket, where `--host` is not given. A local one \
         (`unix://`) only.",
    ),
    (
        "DOCKER_CONFIG, DOCKER_CONTEXT, DOCKER_AUTH_CONFIG",
        "As docker(1) uses them: which context names the engine, and, for \
         `verify-cache`, where credentials are.",
    ),
    (
        "STATE_DIRECTORY",
        "The state folder, where `--state-dir` is not given. systemd sets it for \
         units with `StateDirectory=`; of several, the one named secateur.",
    ),
    (
        "JOURNAL_STREAM",
        "Set by systemd where its journal reads standard error: what was done is told \
         there in entries with fields.",
    ),
    (
        "XDG_STATE_HOME",
        "Where state is kept when not run as root, if it is absolute; else \
         ~/.local/state.",
    ),
    (
        "NO_COLOR, CLICOLOR, CLICOLOR_FORCE",
        "Whether the report has colours.",
    ),
    (
        "SSL_CERT_FILE",
        "Certificates to believe registries by, instead of the system's.",
    ),
];

pub(super) const FILES: &[(&str, &str)] = &[
    (
        "/etc/secateur/policy.toml",
        "The policy: `secateur-policy`(5). Without it, the built-in default holds, \
         unless the last prune used a policy file (78).",
    ),
    (
        "/var/lib/secateur/ledger-*.json",
        "What was seen here, tagged and in use, and when, for each engine and store. \
         Without it ages start anew, and rollbacks without a tag are forgotten.",
    ),
    (
        "/var/lib/secateur/policy",
        "Which policy file the last prune used.",
    ),
    (
        "/var/lib/secateur/journal.jsonl",
        "Every removal: the intent before it, the outcome after it, one JSON object \
         a line. Past 4 MiB it becomes journal.jsonl.1.",
    ),
    (
        "/run/secateur/deploy.lock",
        "The deploy lock that the default policy names. A deploy holds it with \
         `flock`(1); while it is held, nothing is removed.",
    ),
];

pub(super) const EXAMPLES: &[(&str, &str)] = &[
    ("See what would go, what stays, and why:", "secateur plan"),
    (
        "One image's whole story:",
        "secateur plan --explain ghcr.io/acme/app:1.4",
    ),
    (
        "Remove no more than what was reviewed. Keep such files where only root can \
         write: a plan or policy that anybody else could change is refused (77).",
        "secateur plan --out /root/reviewed.json\nsecateur prune --plan /root/reviewed.json",
    ),
    (
        "A deploy that no prune comes into:",
        "flock -s /run/secateur/deploy.lock docker stack deploy -c stack.yml app",
    ),
    (
        "A CI job: what was here before it must be here after it:",
        "secateur verify-cache --record before.json\n\
         secateur verify-cache --against before.json",
    ),
    (
        "Metrics for node_exporter's textfile collector:",
        "secateur prune --metrics /var/lib/prometheus/node-exporter/secateur.prom",
    ),
];
