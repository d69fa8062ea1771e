//! The requests to registries, and the checks that were left out.

use crate::cache::findings::{Asked, Findings};
use crate::report::text::layout::wrapped;
use crate::report::text::screen::Screen;

pub(crate) fn asked(out: &mut Screen, findings: &Findings) {
    for asked in &findings.asked {
        wrapped(
            out,
            "asked    ",
            &format!("{}: {}", asked.registry, cost(asked)),
        );
    }
    if !findings.not_made.is_empty() {
        let list: Vec<String> = findings
            .not_made
            .iter()
            .map(|(kind, option)| match *option {
                "" => kind.name().to_owned(),
                option => format!("{} ({option})", kind.name()),
            })
            .collect();
        wrapped(out, "not checked: ", &list.join(", "));
    }
}

fn cost(asked: &Asked) -> String {
    let cost = &asked.cost;
    // Docker Hub documents which requests its limit counts; others do not.
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
