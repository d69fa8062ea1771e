use super::*;
use crate::memory::state::State;
use crate::memory::state::folder::tests::{folder, put};
use crate::testing::{at, clock, id, inventory, json_of, tagged};
use chrono::TimeDelta;
use std::fs;

/// What this engine's ledger holds after one survey at an image with this number.
fn of(engine: &str, image: u64, seconds: i64) -> Ledger {
    let mut host = inventory([tagged(image, "app:1")]);
    host.taken_at = at(seconds);
    host.engine.id = crate::model::text::Untrusted::new(engine);
    Ledger::empty(&host.engine.key()).observe(&host, &clock(seconds, 0, "a"), TimeDelta::zero())
}

/// As a secateur of format 1 wrote it.
fn as_format_1(ledger: &Ledger) -> Vec<u8> {
    let mut value: serde_json::Value = serde_json::from_slice(&json_of(ledger)).unwrap();
    value["format"] = 1.into();
    value.as_object_mut().unwrap().remove("sum");
    value.to_string().into_bytes()
}

/// One run of a secateur whose engine has this ledger after its survey; returns what it
/// remembered before, and its notes.
fn run(dir: &StateDir, after: &Ledger) -> (Ledger, Vec<String>) {
    let state = State::open(dir.path()).unwrap().unwrap();
    let memory = state.memory(after.engine()).unwrap();
    state.save(&memory, after).unwrap();
    (memory.ledger, memory.notes)
}

fn set_aside(dir: &StateDir) -> Vec<String> {
    let names = dir.names().unwrap();
    names
        .into_iter()
        .filter(|name| name.contains("corrupt"))
        .collect()
}

const NONE: [String; 0] = [];

#[test]
fn each_of_two_engines_in_turn_finds_its_own_memory_again() {
    let (_folder, dir) = folder();
    let (one, two) = (of("ONE", 1, 0), of("TWO", 2, 10));
    assert_eq!(run(&dir, &one), (Ledger::empty(one.engine()), vec![]));
    let (before, notes) = run(&dir, &two);
    assert_eq!(before, Ledger::empty(two.engine()));
    assert!(notes[0].contains("of 1 other it is"), "{notes:?}");
    for _ in 0..2 {
        assert_eq!(run(&dir, &one), (one.clone(), vec![]));
        assert_eq!(run(&dir, &two), (two.clone(), vec![]));
    }
    assert_eq!(set_aside(&dir), NONE);
}

#[test]
fn a_ledger_of_format_1_is_taken_over_by_its_engine_alone() {
    let (one, two) = (of("ONE", 1, 0), of("TWO", 2, 10));
    let was = Ledger::of_any_engine(&as_format_1(&one)).unwrap();
    // Whichever runs first.
    for others in [0, 1, 2] {
        let (_folder, dir) = folder();
        put(&dir, SHARED, &as_format_1(&one));
        for _ in 0..others {
            run(&dir, &two);
        }
        let read = read(&dir, one.engine()).unwrap();
        assert_eq!((read.ledger, read.notes), (was.clone(), vec![]));
        assert_eq!(run(&dir, &one), (was.clone(), vec![]));
        assert_eq!(run(&dir, &one), (one.clone(), vec![]));
        assert_eq!(set_aside(&dir), NONE);
        // What an older secateur finds.
        let head: serde_json::Value =
            serde_json::from_slice(&fs::read(dir.file(SHARED)).unwrap()).unwrap();
        assert_eq!(head["format"], FORMAT);
        assert!(head.get("images").is_none(), "{head}");
    }
}

#[test]
fn a_crash_between_taking_over_and_writing_loses_nothing() {
    let one = of("ONE", 1, 0);
    let old = as_format_1(&one);
    let was = Ledger::of_any_engine(&old).unwrap();
    let own = file_of(one.engine());
    let shared = String::from_utf8(where_they_are()).unwrap();
    // The ledger in both places, and in its own with the shared file settled already.
    for after in [old.as_slice(), shared.as_bytes()] {
        let (_folder, dir) = folder();
        put(&dir, SHARED, after);
        put(&dir, &own, &old);
        assert_eq!(
            run(&dir, &of("TWO", 2, 10)).0,
            Ledger::empty(of("TWO", 2, 10).engine())
        );
        assert_eq!(run(&dir, &one), (was.clone(), vec![]));
        assert_eq!(fs::read(dir.file(SHARED)).unwrap(), where_they_are());
        assert_eq!(set_aside(&dir), NONE);
    }
}

#[test]
fn what_an_older_secateur_went_on_with_is_joined_with_what_was_known() {
    let (_folder, dir) = folder();
    let (before, since) = (of("ONE", 1, 0), of("ONE", 1, 50));
    run(&dir, &before);
    // Somebody removed it, and an older secateur began anew.
    put(&dir, SHARED, &as_format_1(&since));
    // Another engine leaves it alone.
    run(&dir, &of("TWO", 2, 60));
    let (known, _) = run(&dir, &since);
    let seen = known.sighting(&id(1)).unwrap();
    assert_eq!(seen.first_seen, at(50), "the younger");
    assert_eq!(fs::read(dir.file(SHARED)).unwrap(), where_they_are());
    assert_eq!(set_aside(&dir), NONE);
}

#[test]
fn a_damaged_ledger_is_set_aside_and_no_other_engine_loses_by_it() {
    let (one, two) = (of("ONE", 1, 0), of("TWO", 2, 10));
    let whole = json_of(&one);
    let wrong = json_of(&two);
    let broken: [&[u8]; 4] = [&whole[..whole.len() / 2], b"", b"\xff\x00nonsense", &wrong];
    for bytes in broken {
        let (_folder, dir) = folder();
        run(&dir, &two);
        run(&dir, &one);
        let own = file_of(one.engine());
        put(&dir, &own, bytes);
        assert_eq!(run(&dir, &two), (two.clone(), vec![]));
        assert_eq!(fs::read(dir.file(&own)).unwrap(), bytes, "not its to judge");
        let read = read(&dir, one.engine()).unwrap();
        assert_eq!(read.ledger, Ledger::empty(one.engine()));
        let (_, notes) = run(&dir, &one);
        assert!(notes[0].contains("ages start anew"), "{notes:?}");
        assert_eq!(set_aside(&dir), [format!("{own}.corrupt-1")]);
        assert_eq!(run(&dir, &one), (one.clone(), vec![]));
    }
}

#[test]
fn a_damaged_ledger_of_format_1_is_set_aside() {
    let (_folder, dir) = folder();
    let one = of("ONE", 1, 0);
    put(&dir, SHARED, b"{\"format\":1,");
    let (before, notes) = run(&dir, &one);
    assert_eq!(before, Ledger::empty(one.engine()));
    assert!(notes[0].contains("ages start anew"), "{notes:?}");
    assert_eq!(set_aside(&dir), ["ledger.json.corrupt-1"]);
    assert_eq!(run(&dir, &one), (one.clone(), vec![]));
}

#[test]
fn what_a_newer_secateur_wrote_is_left_as_it_is() {
    let one = of("ONE", 1, 0);
    let newer = b"{\"format\":3}";
    for name in [SHARED.to_owned(), file_of(one.engine())] {
        let (_folder, dir) = folder();
        put(&dir, &name, newer);
        let fault = read(&dir, one.engine()).unwrap_err();
        assert_eq!(fault.exit, Exit::State);
        assert!(fault.message.contains("newer secateur"), "{fault:?}");
        assert_eq!(fs::read(dir.file(&name)).unwrap(), newer);
    }
}

#[test]
fn no_engine_is_forgotten_to_make_room_for_another() {
    let (_folder, dir) = folder();
    for number in 0..MOST_ENGINES {
        run(&dir, &of(&format!("ENGINE {number}"), 1, 0));
    }
    let more = of("ONE MORE", 1, 0);
    let state = State::open(dir.path()).unwrap().unwrap();
    let memory = state.memory(more.engine()).unwrap();
    let fault = state.save(&memory, &more).unwrap_err();
    assert_eq!(fault.exit, Exit::State);
    drop(state);
    let first = of("ENGINE 0", 1, 0);
    assert_eq!(run(&dir, &first), (first, vec![]));
    // The way out in the message: ledgers that nobody has written for a year.
    let (_, way_out) = fault.message.split_once("for a year (").unwrap();
    let (way_out, _) = way_out.split_once(')').unwrap();
    let seventh = dir.file(&file_of(of("ENGINE 7", 1, 0).engine()));
    let old = std::fs::File::options().write(true).open(&seventh).unwrap();
    let year = std::time::Duration::from_hours(24 * 367);
    let written = old.metadata().unwrap().modified().unwrap();
    old.set_modified(written - year).unwrap();
    let found = std::process::Command::new("sh")
        .args(["-c", way_out])
        .status();
    assert!(found.unwrap().success());
    assert!(!seventh.exists());
    assert_eq!(engines(&dir).unwrap().len(), MOST_ENGINES - 1);
    run(&dir, &more);
}

#[test]
fn the_name_of_a_ledgers_file_is_safe_and_short_whatever_an_engine_calls_itself() {
    let long = "x".repeat(1 << 20);
    for key in ["", "../../etc/passwd", "a\0b/graphdriver", &long] {
        let name = file_of(key);
        assert!(is_file_of_one(&name) && name.len() == 28, "{name}");
    }
    assert!(
        !is_file_of_one("ledger.json") && !is_file_of_one("ledger-0123456789abcdef.json.corrupt-1")
    );
}

#[test]
fn a_ledger_that_is_too_long_is_an_error_and_is_left_as_it_is() {
    let (_folder, dir) = folder();
    let one = of("ONE", 1, 0);
    let path = dir.file(&file_of(one.engine()));
    put(&dir, &file_of(one.engine()), b"");
    let file = fs::OpenOptions::new().write(true).open(&path).unwrap();
    file.set_len(LONGEST + 1).unwrap();
    let fault = read(&dir, one.engine()).unwrap_err();
    assert_eq!(fault.exit, Exit::State, "{fault:?}");
    assert!(fault.message.contains("longer than"), "{fault:?}");
    assert_eq!(fs::metadata(&path).unwrap().len(), LONGEST + 1);
}

#[test]
fn a_ledger_that_would_not_be_read_again_is_written_without_names_or_not_at_all() {
    let mut host = inventory([]);
    for n in 0..10 {
        let mut image = tagged(n, "app:1");
        let name = |m| format!("{}/app:{n}-{m}", "x".repeat(60) + &"/y".repeat(90));
        image.tags = (0..20).map(|m| name(m).parse().unwrap()).collect();
        host.images.insert(image.id.clone(), image);
    }
    let whole = Ledger::empty("e").observe(&host, &clock(0, 0, "a"), TimeDelta::zero());
    let length = json_of(&whole).len() as u64;
    assert_eq!(*fitting(&whole, length).unwrap(), whole);
    let bytes = json_of(&fitting(&whole, length - 1).unwrap());
    assert!((bytes.len() as u64) < length / 5);
    let read = Ledger::of_any_engine(&bytes).unwrap();
    for (id, image) in &host.images {
        let seen = read.sighting(id).unwrap();
        assert!(image.tags.iter().all(|tag| seen.had(tag)));
        assert_eq!(seen.last_tagged(), Some(at(0)));
    }
    let fault = fitting(&whole, bytes.len() as u64 - 1).unwrap_err();
    assert_eq!(fault.exit, Exit::State);
    assert!(fault.message.contains("nothing is removed"), "{fault:?}");
}
