//! The command line, as types. Decides what may be typed; its help is what a
//! person reads at three in the morning. It does nothing.

use std::path::PathBuf;

use clap::builder::{OsStringValueParser, TypedValueParser};
use clap::{ArgAction, Args, Parser, Subcommand, ValueEnum, ValueHint};

const EXAMPLES: &str = "\
Examples:
  secateur plan                     what would go, what stays, and why
  secateur plan --explain app:1.4   one image's whole story
  secateur prune                    remove what the plan says, no more
  secateur verify-cache             will the next deploy find its images?

Exit codes:
  0 done   1 not all is well   2 command line   65 a person must look
  69 engine   70 collateral   74 state   75 refused for now (no failure)
  77 permission   78 policy";

/// Frees disk on a Docker host without taking what the host will want again
#[derive(Debug, Parser)]
#[command(name = "secateur", version, after_help = EXAMPLES, max_term_width = 80, disable_help_subcommand = true)]
pub struct Cli {
    /// What holds for every command.
    #[command(flatten)]
    pub global: Global,
    /// The command.
    #[command(subcommand)]
    pub command: Command,
}

/// What holds for every command.
#[derive(Debug, Args)]
#[command(next_help_heading = "For every command")]
pub struct Global {
    /// Retention policy [default: /etc/secateur/policy.toml, else built in]
    #[arg(
        long,
        global = true,
        value_name = "FILE",
        env = "SECATEUR_POLICY",
        hide_env = true
    )]
    pub policy: Option<PathBuf>,
    /// Engine [default: $DOCKER_HOST, the docker context, the usual socket]
    #[arg(long, global = true, value_name = "unix://PATH")]
    pub host: Option<String>,
    /// Where ledger and journal are kept [default: /var/lib/secateur]
    #[arg(long, global = true, value_name = "DIR")]
    pub state_dir: Option<PathBuf>,
    /// How the report is written
    #[arg(long, global = true, value_enum, default_value_t = Format::Text, hide_possible_values = true, value_name = "text|json")]
    pub format: Format,
    /// Every image, with every reason
    #[arg(short, long, global = true, action = ArgAction::SetTrue, conflicts_with = "quiet")]
    pub verbose: bool,
    /// Nothing on stderr but errors
    #[arg(short, long, global = true, action = ArgAction::SetTrue)]
    pub quiet: bool,
}

/// How the report is written.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub enum Format {
    /// For people.
    Text,
    /// For programs.
    Json,
}

/// The commands.
#[derive(Debug, Subcommand)]
pub enum Command {
    /// Show what would go, what stays, and why; changes nothing
    Plan(PlanArgs),
    /// Remove unneeded images, if the disk asks for it
    Prune(PruneArgs),
    /// Prove that promised images are here, whole, and used
    VerifyCache(VerifyCacheArgs),
}

impl Command {
    /// As it is typed.
    pub fn name(&self) -> &'static str {
        match self {
            Self::Plan(_) => "plan",
            Self::Prune(_) => "prune",
            Self::VerifyCache(_) => "verify-cache",
        }
    }
}

/// Arguments of plan.
#[derive(Debug, Args)]
#[command(after_help = "\
Examples:
  secateur plan
  secateur plan --explain ghcr.io/acme/app:1.4
  secateur plan --out reviewed.json && secateur prune --plan reviewed.json
  secateur plan --save-inventory host.json
  secateur plan --inventory host.json --policy stricter.toml")]
pub struct PlanArgs {
    /// Write the plan as JSON too, for `prune --plan`
    #[arg(long, value_name = "FILE")]
    pub out: Option<PathBuf>,
    /// Decide over a saved host instead of an engine
    #[arg(long, value_name = "FILE", conflicts_with = "save_inventory")]
    pub inventory: Option<PathBuf>,
    /// Save this host, with what is remembered of it
    #[arg(long, value_name = "FILE")]
    pub save_inventory: Option<PathBuf>,
    /// One image's whole story: a name, an id, or the beginning of an id
    #[arg(long, value_name = "IMAGE")]
    pub explain: Option<String>,
    /// As for prune: what it would remove
    #[arg(long)]
    pub trust_engine_dates: bool,
}

/// Arguments of prune.
#[derive(Debug, Args)]
#[command(after_help = "\
Examples:
  secateur prune
  secateur prune --plan reviewed.json
  secateur prune --trust-engine-dates    on the day when the disk is full

Nothing goes on the first run: it begins to remember. To look first: secateur plan.")]
pub struct PruneArgs {
    /// Remove at most what this reviewed plan names
    #[arg(long, value_name = "FILE")]
    pub plan: Option<PathBuf>,
    /// How old a reviewed plan may be
    #[arg(long, value_name = "AGE", default_value = "1h", value_parser = humantime::parse_duration, requires = "plan")]
    pub max_plan_age: std::time::Duration,
    /// Believe the engine's dates for untagged images, without our own memory
    ///
    /// For the day when the disk is full and secateur was just installed. The
    /// risk: those dates say when an image was built or stored, not since when
    /// nobody needs it. A build that was replaced a minute ago, and that you may
    /// want to go back to, counts as old if it was built long ago. Superseded
    /// and digest-pinned images are not touched by this.
    #[arg(long)]
    pub trust_engine_dates: bool,
    /// Write numbers for node_exporter's textfile collector: a .prom file
    // A name that is empty is none: a variable of a unit must not end a run.
    #[arg(
        long,
        value_name = "FILE",
        env = "SECATEUR_METRICS",
        hide_env = true,
        value_hint = ValueHint::FilePath,
        value_parser = OsStringValueParser::new().map(PathBuf::from)
    )]
    pub metrics: Option<PathBuf>,
}

/// Arguments of verify-cache.
#[derive(Debug, Args)]
#[command(after_help = "\
Examples:
  secateur verify-cache                          all that the policy promises
  secateur verify-cache --record before.json     a CI job, before its run
  secateur verify-cache --against before.json    and after its teardown
  secateur verify-cache --deep postgres:16       every layer, byte for byte
  secateur verify-cache --registry --user-config /home/deploy/.docker
  secateur verify-cache --redeploy               as the next deploy will pull

Each check is ok, broken, moved (something newer is upstream) or unknown.
Exit codes: 0 held   1 broken   69 engine   75 a deploy or pull is under way")]
#[expect(
    clippy::struct_excessive_bools,
    reason = "each is an option of its own"
)]
pub struct VerifyCacheArgs {
    /// Promised beside the policy's [cache] images and exact [keep] names
    #[arg(value_name = "IMAGE")]
    pub images: Vec<String>,
    /// Write down what is here now: all named images, or those IMAGEs
    #[arg(long, value_name = "FILE")]
    pub record: Option<PathBuf>,
    /// Hold today against what was written down
    #[arg(long, value_name = "FILE")]
    pub against: Option<PathBuf>,
    /// Compare with the registry's digests, by uncounted requests (HEAD)
    #[arg(long)]
    pub registry: bool,
    /// Have the engine pull each image as a deploy does; none may be fetched
    #[arg(long)]
    pub redeploy: bool,
    /// With --redeploy: pull a tag that went on upstream, too
    #[arg(long, requires = "redeploy")]
    pub follow: bool,
    /// Read every layer out of the engine and hash it
    #[arg(long)]
    pub deep: bool,
    /// What could not be looked at is a fault, too
    #[arg(long)]
    pub strict: bool,
    /// The docker folder of the user who deploys [default: as docker]
    #[arg(long, value_name = "DIR")]
    pub user_config: Option<PathBuf>,
    /// Write numbers for node_exporter's textfile collector: a .prom file
    // A name that is empty is none: a variable of a unit must not end a run.
    #[arg(
        long,
        value_name = "FILE",
        env = "SECATEUR_METRICS",
        hide_env = true,
        value_hint = ValueHint::FilePath,
        value_parser = OsStringValueParser::new().map(PathBuf::from)
    )]
    pub metrics: Option<PathBuf>,
}
