//! What verify-cache found, for people: 80 columns, worst first, then one line
//! that says how it stands, if there is anything to say.

use std::fmt::Write as _;

use anstyle::{AnsiColor, Style};

use crate::cache::outcome::{Asked, Findings, Line, NotAsked};
use crate::cache::{Check, Kind, Status};
use crate::report::Context;
use crate::report::text::layout::{headed, wrapped};
use crate::report::text::prune::{HEAD, LOUD, blank_after, head, refusals};

/// How many images that are fine are shown before they are only counted.
const SHOWN: usize = 20;

const WARN: Style = AnsiColor::Yellow.on_default();

/// What a run found.
pub fn report(findings: &Findings, context: &Context, verbose: bool) -> String {
    let mut out = String::new();
    refusals(&mut out, "refused:", &findings.refusals);
    blank_after(&mut out);
    head(&mut out, &findings.engine, context);
    match &findings.store {
        Some(check) if check.status == Status::Ok => wrapped(&mut out, "store   ", &check.message),
        Some(check) => {
            let word = format!("store   {}:", check.status.word());
            headed(&mut out, style(check.status), &word, &check.message);
        }
        None => {}
    }
    if !findings.refusals.is_empty() {
        return out;
    }
    out.push('\n');
    let (fine, others): (Vec<&Line>, Vec<&Line>) = findings
        .images
        .iter()
        .partition(|line| line.status() == Status::Ok);
    let limit = if verbose { usize::MAX } else { SHOWN };
    for line in others.into_iter().chain(fine.iter().copied().take(limit)) {
        one(&mut out, line, verbose);
    }
    if fine.len() > limit {
        let _ = writeln!(
            out,
            "ok       and {} more (--verbose shows all)",
            fine.len() - limit
        );
    }
    if findings.images.is_empty() {
        wrapped(
            &mut out,
            "nothing is promised: ",
            "name images, list them in the policy ([cache] images, exact names of [keep] images), or hold a baseline against the host (--against)",
        );
    } else {
        out.push('\n');
    }
    for asked in &findings.asked {
        wrapped(
            &mut out,
            "asked    ",
            &format!("{}: {}", asked.registry, cost(asked)),
        );
    }
    if !findings.not_looked.is_empty() {
        let list: Vec<String> = findings
            .not_looked
            .iter()
            .map(|(kind, option)| format!("{} ({option})", kind.word()))
            .collect();
        wrapped(&mut out, "not looked at: ", &list.join(", "));
    }
    out.push_str(&last(findings));
    out
}

/// The same for --quiet: what is not as it should be, the worst last, and the result.
pub fn brief(findings: &Findings) -> String {
    let mut out = String::new();
    let bad = findings.images.iter().rev();
    for line in bad.filter(|line| line.status() != Status::Ok) {
        one(&mut out, line, false);
    }
    if let Some(check) = findings.store.as_ref().filter(|it| it.status != Status::Ok) {
        let word = format!("store   {}:", check.status.word());
        headed(&mut out, style(check.status), &word, &check.message);
    }
    refusals(&mut out, "refused:", &findings.refusals);
    if findings.refusals.is_empty() {
        out.push_str(&last(findings));
    }
    crate::report::text::brief::fit(&out)
}

fn one(out: &mut String, line: &Line, verbose: bool) {
    let status = line.status();
    let style = style(status);
    headed(
        out,
        style,
        &format!("{:8}", status.word()),
        &line.image.to_string(),
    );
    let mut checks: Vec<&Check> = line.checks.iter().collect();
    checks.sort_by_key(|check| (check.status, check.kind));
    let mut fine = Vec::new();
    for check in checks {
        // What was measured is wanted even where it is fine.
        let told = matches!(check.kind, Kind::Whole | Kind::Reused);
        if check.status == Status::Ok && !verbose && !told {
            fine.push(check.kind.word());
            continue;
        }
        let differs = check.status != status && check.status != Status::Ok;
        let word = if differs {
            format!("({}) ", check.status.word())
        } else {
            String::new()
        };
        wrapped(
            out,
            &format!("         {:14} ", check.kind.word()),
            &format!("{word}{}", check.message),
        );
    }
    if !fine.is_empty() {
        wrapped(out, "         ok             ", &fine.join(", "));
    }
    for NotAsked { kind, why } in &line.not_asked {
        let what = format!("         {:14} ", kind.word());
        wrapped(out, &what, &format!("not asked: {why}"));
    }
}

fn style(status: Status) -> Style {
    match status {
        Status::Broken => LOUD,
        Status::Unknown | Status::Moved => WARN,
        Status::Ok => Style::new(),
    }
}

fn cost(asked: &Asked) -> String {
    let cost = &asked.cost;
    // Its limit counts requests by their kind; what another registry counts is its own.
    let [free, counted] = if asked.registry == "docker.io" {
        [" (not counted by Docker Hub)", " (counted)"]
    } else {
        [""; 2]
    };
    let left = cost
        .left
        .as_ref()
        .map(|left| format!("; {left} left of its limit"))
        .unwrap_or_default();
    let s = if cost.others == 1 { "" } else { "s" };
    format!(
        "{} HEAD{free}, {} GET{counted}, {} other{s}{left}",
        cost.heads, cost.gets, cost.others
    )
}

fn last(findings: &Findings) -> String {
    let all = findings.images.len();
    if all == 0 {
        // "held: 0 of 0" would be read as an answer; the store is one.
        return if findings.is_broken() {
            format!("{LOUD}broken{LOUD:#}: the store\n")
        } else {
            String::new()
        };
    }
    let s = if all == 1 { "" } else { "s" };
    let mut line = if findings.is_broken() {
        let bad = findings.images.iter().filter(|line| {
            line.status() == Status::Broken || (findings.strict && line.status() == Status::Unknown)
        });
        format!("{LOUD}broken{LOUD:#}: {} of {all} image{s}", bad.count())
    } else {
        format!("{HEAD}held{HEAD:#}: {all} of {all} image{s}")
    };
    let unknown = findings.answers(Status::Unknown);
    if unknown > 0 {
        let s = if unknown == 1 { "" } else { "s" };
        let _ = write!(line, "; {unknown} answer{s} unknown");
    }
    let moved = findings.count(Status::Moved);
    if moved > 0 {
        let _ = write!(line, "; {moved} moved");
    }
    let not_asked = findings.not_asked();
    if not_asked > 0 {
        let _ = write!(line, "; {not_asked} asked of no registry");
    }
    line.push('\n');
    line
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::report::PolicySource;
    use crate::testing::{at, inventory};

    fn context() -> Context {
        let policy = PolicySource {
            file: None,
            fingerprint: String::new(),
        };
        Context::new(policy, Vec::new())
    }

    fn line(image: &str, status: Status, message: &str) -> Line {
        let checks = vec![
            Check::new(Kind::Present, Status::Ok, "image 1"),
            Check::new(Kind::Current, status, message),
        ];
        Line {
            image: crate::testing::wanted(image),
            checks,
            not_asked: Vec::new(),
        }
    }

    fn text(images: Vec<Line>) -> String {
        let mut findings = Findings {
            images,
            ..Findings::new(at(0), inventory([]).engine, false)
        };
        findings.sort();
        anstream::adapter::strip_str(&report(&findings, &context(), false)).to_string()
    }

    #[test]
    fn it_reads_in_80_columns_with_the_worst_first_and_ends_in_one_line() {
        let long = "a rather long message that has to be broken over several lines ".repeat(4);
        let seen = text(vec![
            line("app:1", Status::Ok, ""),
            line("db:2", Status::Broken, &long),
            line("x:3", Status::Moved, "on"),
        ]);
        assert!(
            seen.lines().all(|line| line.chars().count() <= 80),
            "{seen}"
        );
        let at = |needle: &str| seen.find(needle).unwrap();
        assert!(at("db:2") < at("x:3") && at("x:3") < at("app:1"), "{seen}");
        assert_eq!(seen.lines().last(), Some("broken: 1 of 3 images; 1 moved"));
    }

    #[test]
    fn of_docker_hub_alone_it_is_said_what_it_counts() {
        let asked = |registry: &str| {
            let cost = crate::cache::registry::Cost {
                heads: 2,
                gets: 1,
                others: 1,
                left: None,
            };
            Asked {
                registry: registry.into(),
                cost,
            }
        };
        let findings = Findings {
            asked: vec![asked("docker.io"), asked("r.example:5000")],
            ..Findings::new(at(0), inventory([]).engine, false)
        };
        let seen = report(&findings, &context(), false);
        let seen: Vec<_> = seen
            .lines()
            .filter(|line| line.starts_with("asked"))
            .collect();
        assert_eq!(
            seen,
            [
                "asked    docker.io: 2 HEAD (not counted by Docker Hub), 1 GET (counted), 1 other",
                "asked    r.example:5000: 2 HEAD, 1 GET, 1 other",
            ]
        );
    }

    #[test]
    fn what_quiet_leaves_ends_with_the_worst_and_the_result() {
        let mut images: Vec<Line> = (0..30)
            .map(|n| line(&format!("moved:{n}"), Status::Moved, "on"))
            .collect();
        images.push(line("fine:1", Status::Ok, ""));
        images.push(line("db:2", Status::Broken, "gone"));
        let mut findings = Findings {
            images,
            ..Findings::new(at(0), inventory([]).engine, false)
        };
        findings.sort();
        let seen = anstream::adapter::strip_str(&brief(&findings)).to_string();
        let lines: Vec<&str> = seen.lines().collect();
        assert_eq!(lines.len(), 23, "{seen}");
        assert!(!seen.contains("fine:1"), "{seen}");
        assert!(lines[19].starts_with("broken   db:2"), "{seen}");
        assert_eq!(lines[22], "broken: 1 of 32 images; 30 moved");
    }

    #[test]
    fn many_that_are_fine_are_counted() {
        let images = (0..30)
            .map(|n| line(&format!("app:{n}"), Status::Ok, ""))
            .collect();
        let seen = text(images);
        assert!(seen.contains("and 10 more"), "{seen}");
        assert!(seen.ends_with("held: 30 of 30 images\n"), "{seen}");
    }

    #[test]
    fn what_no_registry_was_asked_about_is_said_where_lines_are_folded_too() {
        let kind = Kind::Authenticated;
        let why = "it was built here";
        let line = |n| Line {
            not_asked: vec![NotAsked { kind, why }],
            ..line(&format!("app:{n}"), Status::Ok, "")
        };
        let seen = text((0..30).map(line).collect());
        let told = "         authenticated  not asked: it was built here\n";
        assert_eq!(seen.matches(told).count(), SHOWN, "{seen}");
        let last = "held: 30 of 30 images; 30 asked of no registry";
        assert_eq!(seen.lines().last(), Some(last));
    }

    #[test]
    fn nothing_promised_is_said() {
        let seen = text(vec![]);
        assert!(seen.contains("nothing is promised"), "{seen}");
        assert!(!seen.contains("held"), "{seen}");

        let store = Check::new(Kind::Lasting, Status::Broken, "it is a tmpfs");
        let findings = Findings {
            store: Some(store),
            ..Findings::new(at(0), inventory([]).engine, false)
        };
        let seen = report(&findings, &context(), false);
        let seen = anstream::adapter::strip_str(&seen).to_string();
        assert_eq!(seen.lines().last(), Some("broken: the store"), "{seen}");
    }
}
