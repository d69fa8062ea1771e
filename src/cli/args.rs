//! The command line as types, with its help.

use std::path::PathBuf;
use std::sync::LazyLock;

use clap::builder::{OsStringValueParser, TypedValueParser};
use clap::{ArgAction, ArgGroup, Args, Parser, Subcommand, ValueEnum, ValueHint};

use crate::model::text::escape;

const EXAMPLES: &str = "\
Examples:
  secateur plan                     what would go, what stays, and why
  secateur plan --explain app:1.4   one image's whole story
  secateur prune                    remove what the plan says, no more
  secateur verify-cache             will the next deploy find its images?

Exit codes:
  0 done   1 not all is well   2 command line   65 a person must look
  69 engine   70 something unplanned went   74 state
  75 refused for now (no failure)   77 permission   78 policy";

/// With the commit, if the build was given one. A tarball has none, and a build script that
/// asks git would rebuild everything after each commit.
static VERSION: LazyLock<String> = LazyLock::new(|| version(option_env!("SECATEUR_COMMIT")));

fn version(commit: Option<&str>) -> String {
    let version = env!("CARGO_PKG_VERSION");
    match commit.filter(|commit| !commit.is_empty()) {
        Some(commit) => format!("{version} ({})", escape(commit)),
        None => version.to_owned(),
    }
}

/// Frees disk on a Docker host without taking what the host will want again
#[derive(Debug, Parser)]
#[command(name = "secateur", version = VERSION.as_str(), after_help = EXAMPLES, max_term_width = 80, disable_help_subcommand = true)]
pub struct Cli {
    #[command(flatten)]
    pub global: Global,
    #[command(subcommand)]
    pub command: Command,
}

#[derive(Debug, Args)]
#[command(next_help_heading = "For every command")]
pub struct Global {
    /// Policy [default: /etc/secateur/policy.toml]
    #[arg(long, global = true, value_name = "FILE")]
    pub policy: Option<PathBuf>,
    /// Engine [default: as docker finds it]
    #[arg(long, global = true, value_name = "unix://PATH")]
    pub host: Option<String>,
    /// State folder [default as root: /var/lib/secateur]
    #[arg(long, global = true, value_name = "DIR")]
    pub state_dir: Option<PathBuf>,
    /// How the report is written
    #[arg(long, global = true, value_enum, default_value_t = Format::Text, hide_possible_values = true, value_name = "text|json")]
    pub format: Format,
    /// Every image, with every reason
    #[arg(short, long, global = true, action = ArgAction::SetTrue, conflicts_with = "quiet")]
    pub verbose: bool,
    /// A report of a few lines; log only errors
    #[arg(short, long, global = true, action = ArgAction::SetTrue)]
    pub quiet: bool,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub enum Format {
    /// For people.
    Text,
    /// For programs.
    Json,
}

#[derive(Debug, Subcommand)]
pub enum Command {
    /// Show what would go, what stays, and why; changes nothing
    Plan(PlanArgs),
    /// Remove unneeded images, if the disk needs the space
    Prune(PruneArgs),
    /// Check that the next deploy will find its images here
    VerifyCache(VerifyCacheArgs),
}

impl Command {
    pub fn name(&self) -> &'static str {
        match self {
            Self::Plan(_) => "plan",
            Self::Prune(_) => "prune",
            Self::VerifyCache(_) => "verify-cache",
        }
    }
}

#[derive(Debug, Args)]
#[command(after_help = "\
Examples:
  secateur plan                                  what would go, and why
  secateur plan --explain ghcr.io/acme/app:1.4   why this image stays or goes
  secateur plan --out /root/reviewed.json        to read, then prune --plan it
  secateur plan --policy /root/stricter.toml     what another policy would do
  secateur plan --save-inventory host.json       this host as it is now, and
  secateur plan --inventory host.json            its plan later, or elsewhere

Keep plans and policies where only root can write: others are refused (77).")]
pub struct PlanArgs {
    /// Write the plan as JSON too, for `prune --plan`
    #[arg(long, value_name = "FILE")]
    pub out: Option<PathBuf>,
    /// Plan for a saved host instead of a live engine
    #[arg(long, value_name = "FILE", value_parser = file(), value_hint = ValueHint::AnyPath, conflicts_with = "save_inventory")]
    pub inventory: Option<PathBuf>,
    /// Save this host and its ledger, for --inventory
    #[arg(long, value_name = "FILE", value_parser = file(), value_hint = ValueHint::AnyPath)]
    pub save_inventory: Option<PathBuf>,
    /// One image's story, by name, id or container
    #[arg(long, value_name = "IMAGE")]
    pub explain: Option<String>,
    /// List the N largest images that stay
    #[arg(long, value_name = "N")]
    pub top: Option<usize>,
    /// Show what prune --trust-engine-dates would remove
    #[arg(long)]
    pub trust_engine_dates: bool,
}

#[derive(Debug, Args)]
#[command(after_help = "\
Examples:
  secateur prune
  secateur prune --plan /root/reviewed.json   no more than what was reviewed
  secateur prune --trust-engine-dates         disk full, secateur just installed

There is no --dry-run: secateur plan shows what would be removed.
The first run removes nothing, it starts the record. --trust-engine-dates does
not wait for that. Risk: what was built long ago may go a minute after it was
replaced; on the containerd store pulled images, too, rollbacks included.")]
pub struct PruneArgs {
    /// Remove at most what this reviewed plan names
    #[arg(long, value_name = "FILE", value_parser = file(), value_hint = ValueHint::AnyPath)]
    pub plan: Option<PathBuf>,
    /// How old a reviewed plan may be
    #[arg(long, value_name = "AGE", default_value = "1h", value_parser = humantime::parse_duration, requires = "plan")]
    pub max_plan_age: std::time::Duration,
    /// Take untagged images' age from the engine's dates
    #[arg(long)]
    pub trust_engine_dates: bool,
    #[command(flatten)]
    pub metrics: MetricsFile,
}

#[derive(Debug, Args)]
#[command(group(ArgGroup::new("archives").args(["save", "restore"]).multiple(true)))]
#[command(after_help = "\
Examples:
  secateur verify-cache                          all that the policy promises
  secateur verify-cache --record before.json     before a CI job
  secateur verify-cache --against before.json    and after its teardown
  secateur verify-cache --deep postgres:16       every layer, byte for byte
  secateur verify-cache --redeploy               as the next deploy will pull
  secateur verify-cache --restore                bring back what is missing
  secateur verify-cache --save --archive /mnt/x  keep what is promised there
  secateur verify-cache --registry --user-config /home/deploy/.docker

Each check is ok, broken, moved (something newer is upstream) or unknown.
A registry is given up after 4 silences of 20 s in a row, all after 10 minutes.
Exit codes: 0 held   1 broken   75 refused for now   others: secateur --help")]
#[expect(
    clippy::struct_excessive_bools,
    reason = "each is an option of its own"
)]
pub struct VerifyCacheArgs {
    /// Check these, too, besides what the policy promises
    #[arg(value_name = "IMAGE")]
    pub images: Vec<String>,
    /// Write what is here now to FILE, for --against
    #[arg(long, value_name = "FILE", value_parser = file(), value_hint = ValueHint::AnyPath)]
    pub record: Option<PathBuf>,
    /// Check that what FILE recorded is still here
    #[arg(long, value_name = "FILE", value_parser = file(), value_hint = ValueHint::AnyPath)]
    pub against: Option<PathBuf>,
    /// Compare with registry digests (HEAD, not counted)
    #[arg(long)]
    pub registry: bool,
    /// Pull as a deploy does; broken if anything is fetched
    #[arg(long, group = "pulls")]
    pub redeploy: bool,
    /// Bring back what is promised and not here
    #[arg(long, group = "pulls")]
    pub restore: bool,
    /// With a pull of any kind: tags as they are upstream
    #[arg(long, requires = "pulls")]
    pub follow: bool,
    /// Hash every layer; with --save all of the archive, too
    #[arg(long)]
    pub deep: bool,
    /// Write what is promised and here into the archive
    #[arg(long)]
    pub save: bool,
    /// Save from registries; asks no engine, needs no root
    #[arg(long, group = "pulls", requires = "save", conflicts_with_all = ["record", "registry"])]
    pub from_registry: bool,
    /// The archive of this run [default: archive.dir]
    #[arg(long, value_name = "DIR", value_hint = ValueHint::DirPath, requires = "archives")]
    pub archive: Option<PathBuf>,
    /// Treat "unknown" as broken
    #[arg(long)]
    pub strict: bool,
    /// The deploying user's ~/.docker [default: yours]
    #[arg(long, value_name = "DIR")]
    pub user_config: Option<PathBuf>,
    #[command(flatten)]
    pub metrics: MetricsFile,
}

/// A path, but not `-`, which means a stream.
fn file() -> impl TypedValueParser<Value = PathBuf> {
    OsStringValueParser::new().try_map(|text| {
        if text == "-" {
            return Err("wanted a file; ./- is one of that name, and --format json writes to standard output");
        }
        Ok(PathBuf::from(text))
    })
}

#[derive(Debug, Args)]
pub struct MetricsFile {
    /// Write metrics for node_exporter to this .prom file
    // An empty name means none: an empty variable of a unit must not end a run.
    #[arg(
        id = "metrics",
        long = "metrics",
        value_name = "FILE",
        env = "SECATEUR_METRICS",
        hide_env = true,
        value_hint = ValueHint::FilePath,
        value_parser = OsStringValueParser::new().map(PathBuf::from)
    )]
    pub file: Option<PathBuf>,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_version_names_the_commit_where_the_build_was_told_it() {
        let plain = env!("CARGO_PKG_VERSION");
        assert_eq!(
            version(Some("0123456789ab")),
            format!("{plain} (0123456789ab)")
        );
        for none in [None, Some("")] {
            assert_eq!(version(none), plain);
        }
    }

    #[test]
    fn follow_goes_with_redeploy_or_with_restore_and_these_two_not_together() {
        let typed = |options: &str| {
            let line = format!("secateur verify-cache {options}");
            Cli::try_parse_from(line.split(' ')).map(|_| ())
        };
        typed("--redeploy --follow").unwrap();
        typed("--restore --follow").unwrap();
        typed("--save --from-registry --follow").unwrap();
        assert!(typed("--follow").is_err());
        let error = typed("--restore --redeploy").unwrap_err().to_string();
        assert!(error.contains("cannot be used with"), "{error}");
    }

    #[test]
    fn from_registry_goes_with_save_and_with_nothing_that_needs_an_engine() {
        let typed = |options: &str| {
            let line = format!("secateur verify-cache --from-registry {options}");
            Cli::try_parse_from(line.split(' ')).map(|_| ())
        };
        typed("--save --against x --strict --deep app:1").unwrap();
        assert!(typed("app:1").is_err());
        for other in ["--restore", "--redeploy", "--registry", "--record x"] {
            assert!(typed(&format!("--save {other}")).is_err(), "{other}");
        }
    }

    #[test]
    fn a_dash_is_no_file_but_for_the_plan() {
        let typed = |line: &str| Cli::try_parse_from(line.split(' '));
        for line in [
            "secateur plan --inventory -",
            "secateur plan --save-inventory -",
            "secateur prune --plan -",
            "secateur verify-cache --record -",
            "secateur verify-cache --against -",
        ] {
            let error = typed(line).unwrap_err().to_string();
            assert!(error.contains("wanted a file"), "{line}: {error}");
        }
        typed("secateur plan --out -").unwrap();
    }
}
