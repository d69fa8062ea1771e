//! The report of verify-cache: the worst first, images that are ok in one line, and at the end
//! the result with the names of broken images.

use std::fmt::Write as _;

use anstyle::Style;

use crate::cache::checks::room::{Level, Room};
use crate::cache::findings::{Findings, Line, NotAsked};
use crate::cache::promise::By;
use crate::cache::{Check, Kind, State, Status};
use crate::model::time::second;
use crate::report::context::Context;
use crate::report::text::asked::asked;
use crate::report::text::header::{engine_and_policy, of_policy, refusals};
use crate::report::text::layout::{HEAD, LOUD, WARN, blank_after, headed, wrapped};
use crate::report::text::restored::{counts, repair, restored};
use crate::report::text::screen::Screen;
use crate::report::wording::images;

/// Broken images that are named at the end.
const SHOWN: usize = 20;

/// The whole report.
pub fn report(findings: &Findings, context: &Context, verbose: bool) -> String {
    let mut out = Screen::new(context.columns);
    refusals(&mut out, "refused:", &findings.refusals);
    blank_after(&mut out);
    match &findings.engine {
        Some(engine) => engine_and_policy(&mut out, engine, context),
        None => of_policy(&mut out, context),
    }
    match &findings.store {
        Some(check) if check.status == Status::Ok => wrapped(&mut out, "store   ", &check.message),
        Some(check) => bad_store(&mut out, check),
        None => {}
    }
    if let Some(it) = &findings.room {
        room(&mut out, it);
    }
    if !findings.refusals.is_empty() && !findings.is_checked() {
        return out.whole();
    }
    out.blank_line();
    let (fine, others): (Vec<&Line>, Vec<&Line>) =
        findings.images.iter().partition(|line| line.is_fine());
    for line in others {
        one(&mut out, line, verbose);
    }
    // A single promise is shown in full.
    if verbose || findings.images.len() == 1 {
        for line in fine {
            one(&mut out, line, verbose);
        }
    } else if !fine.is_empty() {
        let count = images(fine.len());
        wrapped(&mut out, "ok       ", &format!("{count} (-v shows each)"));
    }
    if findings.images.is_empty() {
        wrapped(
            &mut out,
            "nothing is promised: ",
            "name images, list them in the policy ([cache] images, exact names of [keep] images), or hold a baseline against the host (--against)",
        );
    } else {
        out.blank_line();
    }
    asked(&mut out, findings);
    out.push_str(&result(findings));
    names_of_broken(&mut out, findings);
    out.whole()
}

/// The report of --quiet: what is not ok, the worst last, and the result.
pub fn brief(findings: &Findings, context: &Context) -> String {
    let mut out = Screen::new(context.columns);
    let bad = findings.images.iter().rev();
    for line in bad.filter(|line| !line.is_fine()) {
        head(&mut out, line);
        restored(&mut out, line);
        checks(&mut out, line, false);
    }
    if let Some(check) = findings.store.as_ref().filter(|it| it.status != Status::Ok) {
        bad_store(&mut out, check);
    }
    if let Some(it) = findings
        .room
        .as_ref()
        .filter(|it| it.level != Level::Enough)
    {
        room(&mut out, it);
    }
    refusals(&mut out, "refused:", &findings.refusals);
    if findings.refusals.is_empty() || findings.is_checked() {
        out.push_str(&result(findings));
    }
    out.last_screen()
}

fn room(out: &mut Screen, room: &Room) {
    let message = &room.check.message;
    match room.level {
        Level::Enough => wrapped(out, "room    ", message),
        Level::Warn => headed(out, WARN, "room    little:", message),
        Level::Crit | Level::Unknown => {
            let word = format!("room    {}:", room.check.status.name());
            headed(out, style(room.check.status), &word, message);
        }
    }
}

fn bad_store(out: &mut Screen, check: &Check) {
    let word = format!("store   {}:", check.status.name());
    headed(out, style(check.status), &word, &check.message);
}

fn one(out: &mut Screen, line: &Line, verbose: bool) {
    head(out, line);
    let word = format!("         {:14} ", line.state.name());
    wrapped(out, &word, &state(line));
    restored(out, line);
    checks(out, line, verbose);
}

fn head(out: &mut Screen, line: &Line) {
    let status = line.status();
    let word = format!("{:8}", status.name());
    headed(out, style(status), &word, &line.image.to_string());
}

fn checks(out: &mut Screen, line: &Line, verbose: bool) {
    let status = line.status();
    let mut checks: Vec<&Check> = line.checks.iter().collect();
    checks.sort_by_key(|check| (check.status, check.kind));
    let mut fine = Vec::new();
    for check in checks {
        // Measurements are worth reading even if they are ok.
        let told = matches!(check.kind, Kind::Whole | Kind::Reused);
        if check.status == Status::Ok && !verbose && !told {
            fine.push(check.kind.name());
            continue;
        }
        let differs = check.status != status && check.status != Status::Ok;
        let word = if differs {
            format!("({}) ", check.status.name())
        } else {
            String::new()
        };
        wrapped(
            out,
            &format!("         {:14} ", check.kind.name()),
            &format!("{word}{}", check.message),
        );
    }
    if !fine.is_empty() {
        wrapped(out, "         ok             ", &fine.join(", "));
    }
    for NotAsked { kind, message } in &line.not_asked {
        let what = format!("         {:14} ", kind.name());
        wrapped(out, &what, &format!("not asked: {message}"));
    }
    repair(out, line);
    if let Some(saved) = &line.saved {
        wrapped(out, "         saved          ", &saved.to_string());
    }
}

/// Sources of a promise that are named.
const NAMED: usize = 3;

/// Since when the state lasts, and who promised the image.
fn state(line: &Line) -> String {
    let since = line.since.map(second);
    let since = since.map_or_else(String::new, |at| match line.state {
        State::Ready => format!("here since {at}; "),
        State::Stale => format!("was as promised at {at}; "),
        State::Missing | State::Damaged | State::Unknown => format!("was here at {at}; "),
    });
    let mut by: Vec<String> = line.by.iter().take(NAMED).map(By::words).collect();
    if let Some(more @ 1..) = line.by.len().checked_sub(NAMED) {
        by.push(format!("{more} more"));
    }
    format!("{since}promised by {}", by.join(", "))
}

fn style(status: Status) -> Style {
    match status {
        Status::Broken => LOUD,
        Status::Unknown | Status::Moved => WARN,
        Status::Ok => Style::new(),
    }
}

/// What is wrong apart from single images, in words. Each image has the store's check, too, so it
/// is left out if there are images.
fn bad_of_host(findings: &Findings) -> Vec<&'static str> {
    let bad = |check: &&Check| {
        check.status == Status::Broken || (findings.strict && check.status == Status::Unknown)
    };
    let told = !findings.images.is_empty();
    let words = findings.of_store().filter(bad).map(|check| check.kind);
    let words = words.filter(|kind| *kind == Kind::Room || !told);
    let words = words.map(|kind| match kind {
        Kind::Room => "no room",
        _ => "the store",
    });
    let ended = findings.ended_early().then_some("ended early");
    words.chain(ended).collect()
}

fn broken(findings: &Findings) -> impl Iterator<Item = &Line> {
    let lines = findings.images.iter();
    lines.filter(|line| {
        line.status() == Status::Broken || (findings.strict && line.status() == Status::Unknown)
    })
}

/// The last screen may show nothing else of them.
fn names_of_broken(out: &mut Screen, findings: &Findings) {
    let count = broken(findings).count();
    if count == 0 || findings.images.len() == 1 {
        return;
    }
    let names = broken(findings).take(SHOWN);
    let mut names: Vec<String> = names.map(|line| line.image.to_string()).collect();
    if let Some(more @ 1..) = count.checked_sub(SHOWN) {
        names.push(format!("{more} more"));
    }
    wrapped(out, "  ", &names.join(", "));
}

fn result(findings: &Findings) -> String {
    let all = findings.images.len();
    if all == 0 {
        // "held: 0 of 0" would be read as an answer. Only the store is one.
        return if findings.is_broken() {
            format!(
                "{LOUD}broken{LOUD:#}: {}\n",
                bad_of_host(findings).join(", ")
            )
        } else {
            String::new()
        };
    }
    let promised = images(all);
    let mut line = if findings.is_broken() {
        let bad = broken(findings).count();
        let unsaved = findings.unsaved();
        let of_images = (bad > 0 || unsaved == 0 && !findings.ended_early())
            .then(|| format!("{bad} of {promised}"));
        // Without an engine these are the broken ones.
        let told = findings.engine.is_none();
        let not_saved =
            (unsaved > 0 && !told).then(|| format!("{unsaved} of {promised} not saved"));
        let of_host = bad_of_host(findings).into_iter().map(str::to_owned);
        let all: Vec<String> = of_images
            .into_iter()
            .chain(not_saved)
            .chain(of_host)
            .collect();
        let all = all.join(", ");
        let refused = !findings.refusals.is_empty();
        let word = if refused { "refused" } else { "broken" };
        format!("{LOUD}{word}{LOUD:#}: {all}")
    } else {
        let held = findings.in_state(State::Ready) + findings.in_state(State::Stale);
        format!("{HEAD}held{HEAD:#}: {held} of {promised}")
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
    line += &counts(findings);
    if let Some(written) = findings.written() {
        let _ = write!(line, "; {} saved", written.bytes);
    }
    line.push('\n');
    line
}

#[cfg(test)]
mod tests;
