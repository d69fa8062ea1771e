//! secateur(1): commands and options as clap has them, and what clap does not
//! know: exit codes, environment, files.

use clap::{Arg, Command, CommandFactory};
use roff::{Inline, Roff, bold, italic, roman};

use crate::cli::Cli;
use crate::exit::Exit;

/// A page, part by part.
pub(super) struct Page {
    roff: Roff,
    /// A heading was the last part: it needs no paragraph of its own.
    headed: bool,
}

impl Page {
    /// Begins one. It has no date: the same sources give the same page.
    pub(super) fn new(title: &str, section: &str, about: &str) -> Self {
        let mut roff = Roff::new();
        let source = concat!("secateur ", env!("CARGO_PKG_VERSION"));
        roff.control("TH", [title, section, NO_DATE, source]);
        let mut page = Self {
            roff,
            headed: false,
        };
        page.section("NAME");
        page.roff.text([roman(format!("{title} - {about}"))]);
        page
    }

    pub(super) fn section(&mut self, name: &str) {
        self.roff.control("SH", [name]);
        self.headed = true;
    }

    pub(super) fn subsection(&mut self, name: &str) {
        self.roff.control("SS", [name]);
        self.headed = true;
    }

    pub(super) fn paragraph(&mut self, text: &str) {
        self.lines(spans(text));
    }

    fn lines(&mut self, text: Vec<Inline>) {
        if !std::mem::take(&mut self.headed) {
            self.roff.control("PP", []);
        }
        self.roff.text(text);
    }

    /// A term and what is said of it.
    pub(super) fn item(&mut self, term: Vec<Inline>, text: &str) {
        self.headed = false;
        self.roff.control("TP", []);
        self.roff.text(term);
        self.roff.text(spans(text));
    }

    /// Within an item: another paragraph.
    pub(super) fn further(&mut self, text: Vec<Inline>) {
        self.roff.control("IP", []);
        self.roff.text(text);
    }

    /// Lines that stand as they are.
    pub(super) fn literal<'a>(&mut self, lines: impl IntoIterator<Item = &'a str>) {
        self.roff.control("PP", []);
        self.roff.control("RS", ["4"]);
        self.roff.control("nf", []);
        for line in lines {
            self.roff.text([roman(line)]);
        }
        self.roff.control("fi", []);
        self.roff.control("RE", []);
    }

    pub(super) fn done(self) -> String {
        self.roff.render().replacen(NO_DATE, "\"\"", 1)
    }
}

/// roff leaves an empty argument out, and then the next one is the date.
const NO_DATE: &str = "NO-DATE";

/// Text in which `x` is bold.
pub(super) fn spans(text: &str) -> Vec<Inline> {
    let parts = text.split('`').enumerate();
    parts
        .filter(|(_, part)| !part.is_empty())
        .map(|(number, part)| match number % 2 {
            0 => roman(part),
            _ => bold(part),
        })
        .collect()
}

/// secateur(1).
pub(super) fn page() -> String {
    let mut command = Cli::command();
    command.build();
    let about = command.get_about().map(ToString::to_string);
    let about = about.expect("the command says what it does");
    let mut page = Page::new("secateur", "1", &about.replacen('F', "f", 1));
    page.section("SYNOPSIS");
    for sub in command.get_subcommands() {
        synopsis(&mut page, sub);
    }
    page.section("DESCRIPTION");
    for text in DESCRIPTION {
        page.paragraph(text);
    }
    page.section("COMMANDS");
    for sub in command.get_subcommands() {
        page.subsection(sub.get_name());
        page.paragraph(&format!("{}.", sub.get_about().expect("an about")));
        let own = |arg: &&Arg| !arg.is_global_set() && arg.get_id() != "help";
        for arg in sub.get_arguments().filter(own) {
            option(&mut page, sub, arg);
        }
    }
    page.section("OPTIONS FOR EVERY COMMAND");
    for arg in command.get_arguments() {
        option(&mut page, &command, arg);
    }
    page.section("EXIT STATUS");
    for exit in EXITS {
        page.item(vec![bold((exit as u8).to_string())], meaning(exit));
    }
    page.paragraph(
        "`75` is no failure of a unit or a CI job; the others but `0` are. \
         `plan` ends with `0` also where a prune would be refused: it says so.",
    );
    page.section("ENVIRONMENT");
    for (name, text) in ENVIRONMENT {
        page.item(vec![bold(*name)], text);
    }
    page.section("FILES");
    for (name, text) in FILES {
        page.item(vec![italic(*name)], text);
    }
    page.section("EXAMPLES");
    for (text, lines) in EXAMPLES {
        page.paragraph(text);
        page.literal(lines.lines());
    }
    page.section("SEE ALSO");
    page.paragraph("`secateur-policy`(5), `docker-image-prune`(1), `flock`(1)");
    page.done()
}

fn synopsis(page: &mut Page, sub: &Command) {
    let mut line = vec![
        bold(format!("secateur {}", sub.get_name())),
        roman(" ["),
        italic("option"),
        roman(" ...]"),
    ];
    for arg in sub.get_positionals() {
        let name = arg.get_value_names().unwrap_or_default().join(" ");
        line.extend([roman(" ["), italic(name), roman(" ...]")]);
    }
    page.lines(line);
}

fn option(page: &mut Page, of: &Command, arg: &Arg) {
    let mut term = Vec::new();
    if let Some(short) = arg.get_short() {
        term.push(bold(format!("-{short}")));
    }
    if let Some(long) = arg.get_long() {
        if !term.is_empty() {
            term.push(roman(", "));
        }
        term.push(bold(format!("--{long}")));
    }
    let takes_value = arg.get_num_args().is_some_and(|n| n.takes_values());
    if takes_value {
        let names = arg.get_value_names().unwrap_or_default().join(" ");
        let space = if term.is_empty() { "" } else { " " };
        term.extend([roman(space), italic(names)]);
    }
    let help = arg.get_help().map(ToString::to_string).unwrap_or_default();
    page.item(term, &help);
    let name = (of.get_name(), arg.get_id().as_str());
    for (_, _, text) in FURTHER.iter().filter(|(of, arg, _)| (*of, *arg) == name) {
        page.further(spans(text));
    }
    let defaults: Vec<_> = arg.get_default_values().iter().collect();
    if let ([default], true) = (defaults.as_slice(), takes_value) {
        let default = default.to_string_lossy();
        page.further(vec![roman("Default: "), bold(default), roman(".")]);
    }
    let by_environment = match arg.get_env() {
        Some(name) => Some(name.to_string_lossy()),
        // Read by hand: an empty argument is an error, an empty variable none.
        None => (arg.get_id() == "policy").then_some("SECATEUR_POLICY".into()),
    };
    if let Some(name) = by_environment {
        page.further(vec![roman("Environment: "), bold(name), roman(".")]);
    }
}

/// Every exit code, in the order of their numbers.
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

/// A match, so that a new code does not compile without its words.
fn meaning(exit: Exit) -> &'static str {
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

const DESCRIPTION: &[&str] = &[
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

/// What `--help` has no room for: command, argument, text.
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

const ENVIRONMENT: &[(&str, &str)] = &[
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

const FILES: &[(&str, &str)] = &[
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

const EXAMPLES: &[(&str, &str)] = &[
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
