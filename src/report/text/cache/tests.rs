use super::*;
use crate::cache::archive::{NotSaved, NotSavedKind, Saved, Written};
use crate::cache::findings::Asked;
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
        checks,
        ..crate::testing::line(image)
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
fn it_reads_in_80_columns_with_the_worst_first_and_ends_with_what_is_broken() {
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
    assert!(at("db:2") < at("x:3"), "{seen}");
    assert!(
        at("x:3") < at("\nok       1 image (-v shows each)\n"),
        "{seen}"
    );
    assert!(
        seen.ends_with("\nbroken: 1 of 3 images; 1 moved\n  db:2\n"),
        "{seen}"
    );
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
    let seen = anstream::adapter::strip_str(&brief(&findings, &context())).to_string();
    let lines: Vec<&str> = seen.lines().collect();
    assert_eq!(lines.len(), 23, "{seen}");
    assert!(!seen.contains("fine:1"), "{seen}");
    assert!(lines[19].starts_with("broken   db:2"), "{seen}");
    assert_eq!(lines[22], "broken: 1 of 32 images; 30 moved");
}

#[test]
fn what_is_held_is_what_is_known_to_be_here() {
    let mut images = vec![
        line("a:1", Status::Ok, ""),
        line("b:1", Status::Moved, "2"),
        line("c:1", Status::Unknown, "why"),
    ];
    (images[1].state, images[2].state) = (State::Stale, State::Unknown);
    let seen = text(images);
    let last = "held: 2 of 3 images; 1 answer unknown; 1 moved\n";
    assert!(seen.ends_with(last), "{seen}");
}

#[test]
fn many_that_are_fine_are_counted() {
    let images = (0..30)
        .map(|n| line(&format!("app:{n}"), Status::Ok, ""))
        .collect();
    let seen = text(images);
    assert!(
        seen.contains("\nok       30 images (-v shows each)\n"),
        "{seen}"
    );
    assert!(!seen.contains("app:"), "{seen}");
    assert!(seen.ends_with("held: 30 of 30 images\n"), "{seen}");
}

#[test]
fn what_is_ok_is_shown_where_it_is_all_that_was_asked_about_or_all_is_wanted() {
    let seen = text(vec![line("app:1", Status::Ok, "")]);
    assert!(seen.contains("\nok       app:1\n"), "{seen}");
    let images = ["a:1", "b:1"].map(|name| line(name, Status::Ok, "")).into();
    let findings = Findings {
        images,
        ..Findings::new(at(0), inventory([]).engine, false)
    };
    let seen = report(&findings, &context(), true);
    assert!(seen.contains(" a:1\n") && seen.contains(" b:1\n"), "{seen}");
}

#[test]
fn the_last_screen_names_what_is_broken_however_much_stands_before_it() {
    let lines = |count: usize, status| {
        let line = |n| line(&format!("app:{n:02}"), status, "why");
        (0..count).map(line).collect::<Vec<_>>()
    };
    let seen = text(lines(30, Status::Broken));
    let (_, named) = seen
        .split_once("\nbroken: 30 of 30 images\n  ")
        .expect("the result");
    assert!(named.starts_with("app:00, app:01, "), "{named}");
    assert!(named.ends_with("10 more\n"), "{named}");
    assert!(named.lines().count() < 5, "{named}");
    // With --strict, unknown counts as broken.
    let mut findings = Findings {
        images: lines(2, Status::Unknown),
        ..Findings::new(at(0), inventory([]).engine, true)
    };
    findings.sort();
    let seen = report(&findings, &context(), false);
    assert!(seen.ends_with("\n  app:00, app:01\n"), "{seen}");
}

#[test]
fn a_narrow_terminal_has_no_line_that_is_wider() {
    let context = Context {
        columns: 60,
        ..context()
    };
    let long = "a rather long message that has to be broken over several lines ".repeat(4);
    let findings = Findings {
        images: vec![
            line("db:2", Status::Broken, &long),
            line("a", Status::Ok, ""),
        ],
        ..Findings::new(at(0), inventory([]).engine, false)
    };
    let seen = report(&findings, &context, true);
    let seen = anstream::adapter::strip_str(&seen).to_string();
    assert!(seen.lines().all(|it| it.chars().count() <= 60), "{seen}");
}

#[test]
fn what_no_registry_was_asked_about_is_said_where_lines_are_folded_too() {
    let kind = Kind::Authenticated;
    let message = "it was built here";
    let line = |n| Line {
        not_asked: vec![NotAsked { kind, message }],
        ..line(&format!("app:{n}"), Status::Ok, "")
    };
    let seen = text((0..30).map(line).collect());
    let last = "held: 30 of 30 images; 30 asked of no registry";
    assert_eq!(seen.lines().last(), Some(last));
}

#[test]
fn what_could_not_be_saved_is_shown_before_what_is_fine_and_in_the_last_line() {
    let saved = |n, saved| Line {
        saved: Some(saved),
        ..line(&format!("app:{n}"), Status::Ok, "")
    };
    let mut images: Vec<Line> = (0..30)
        .map(|n| saved(n, Saved::Kept(Written::default())))
        .collect();
    let missing = NotSaved::new(NotSavedKind::Missing, "it is not here");
    images.push(saved(30, Saved::Not(missing)));
    let seen = text(images.clone());
    let last = "held: 31 of 31 images; 0 B saved";
    assert_eq!(seen.lines().last(), Some(last), "{seen}");
    let full = NotSaved::new(NotSavedKind::TooLarge, "it has 9 GiB");
    images.push(saved(31, Saved::Not(full)));
    let seen = text(images);
    let told = "         saved          not saved: it has 9 GiB\n";
    assert!(seen.contains(told), "{seen}");
    let last = "broken: 1 of 32 images not saved; 0 B saved";
    assert_eq!(seen.lines().last(), Some(last), "{seen}");
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

#[test]
fn room_is_told_in_numbers_and_a_store_without_any_breaks_the_promise() {
    let largest = crate::cache::checks::room::Largest {
        image: crate::testing::wanted("app:1"),
        size: crate::model::Bytes(5),
    };
    let seen = |used, images| {
        let findings = Findings {
            images,
            room: Some(crate::testing::room(used, Some(largest.clone()))),
            ..Findings::new(at(0), inventory([]).engine, false)
        };
        let context = context();
        let all = anstream::adapter::strip_str(&report(&findings, &context, false)).to_string();
        let brief = anstream::adapter::strip_str(&brief(&findings, &context)).to_string();
        (all, brief)
    };
    let fine = || vec![line("app:1", Status::Ok, "")];
    let (all, brief) = seen(80, fine());
    assert!(
        all.contains("\nroom    /var/lib/docker: 80.0 % used, 20 B free; room for 4 more"),
        "{all}"
    );
    assert!(all.ends_with("held: 1 of 1 image\n"), "{all}");
    assert_eq!(brief, "held: 1 of 1 image\n");
    let (all, brief) = seen(85, fine());
    for seen in [&all, &brief] {
        assert!(
            seen.contains("room    little: /var/lib/docker: 85.0 % used"),
            "{seen}"
        );
        assert!(seen.ends_with("held: 1 of 1 image\n"), "{seen}");
    }
    let (all, brief) = seen(95, fine());
    for seen in [&all, &brief] {
        assert!(
            seen.contains("room    broken: /var/lib/docker: 95.0 % used"),
            "{seen}"
        );
        assert!(seen.ends_with("broken: 0 of 1 image, no room\n"), "{seen}");
    }
    let broken = vec![line("app:1", Status::Broken, "gone")];
    assert!(
        seen(95, broken)
            .0
            .ends_with("broken: 1 of 1 image, no room\n")
    );
    assert!(seen(95, vec![]).0.ends_with("broken: no room\n"));
}

#[test]
fn the_state_of_an_image_is_told_with_its_moment_and_who_promised_it() {
    let promised = |state, since: Option<i64>, by: &[By]| {
        let line = Line {
            state,
            since: since.map(at),
            by: by.to_vec(),
            ..line("app:1", Status::Ok, "")
        };
        let seen = text(vec![line]);
        let lines: Vec<&str> = seen
            .lines()
            .skip_while(|it| !it.starts_with("ok "))
            .collect();
        let words = lines[1..].iter().take_while(|it| !it.contains(" ok "));
        let words: Vec<_> = words.flat_map(|it| it.split_whitespace()).collect();
        words.join(" ")
    };
    let list = |line| By::List {
        file: "/etc/secateur/cache.d/base.list".into(),
        line,
    };
    assert_eq!(
        promised(State::Ready, None, &[By::Policy]),
        "ready promised by cache.images"
    );
    let moment = second(at(0));
    assert_eq!(
        promised(State::Ready, Some(0), &[By::Argument, list(7)]),
        format!(
            "ready here since {moment}; promised by the command line, /etc/secateur/cache.d/base.list line 7"
        )
    );
    assert_eq!(
        promised(State::Missing, Some(0), &[By::Keep]),
        format!("missing was here at {moment}; promised by keep.images")
    );
    assert_eq!(
        promised(State::Stale, Some(0), &[By::Baseline]),
        format!("stale was as promised at {moment}; promised by the baseline")
    );
    let many = [By::Argument, By::Policy, By::Keep, list(1), list(2)];
    let said = promised(State::Ready, None, &many);
    assert!(
        said.ends_with("cache.images, keep.images, 2 more"),
        "{said}"
    );
}
