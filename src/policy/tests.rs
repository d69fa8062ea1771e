use crate::model::Bytes;
use crate::model::conditions::LockKind;
use crate::policy::{DEFAULT, Policy, Share};

fn error(text: &str) -> String {
    Policy::parse(text, "p.toml").map_or_else(|e| e.to_string(), |_| "accepted".into())
}

fn with_age(rest: &str) -> String {
    error(&format!("[age]\nmin_age = \"14d\"\n{rest}"))
}

#[test]
fn the_shipped_policy_says_just_the_defaults() {
    let shipped = Policy::parse(crate::policy::DEFAULT, "default").unwrap();
    let bare = Policy::parse("[age]\nmin_age = \"14d\"", "bare").unwrap();
    assert_eq!(shipped, bare);
    let text = "[age]\nmin_age = \"14d\"\n[guard]\nlock = []";
    assert_eq!(Policy::parse(text, "none").unwrap().guard.locks, []);
}

#[test]
fn the_minimum_age_has_no_default() {
    assert!(
        error("").contains("age.min_age is missing"),
        "{}",
        error("")
    );
    assert!(error("[age]").contains("age.min_age is missing"));
}

#[test]
fn an_unknown_key_is_named_with_its_place_and_the_nearest_known() {
    assert_eq!(
        with_age("[disk]\n  start_abov_percent = 3"),
        "policy p.toml, line 4, column 3: unknown key `start_abov_percent`; did you mean `start_above_percent`? \
         known here: start_above_percent, stop_below_percent, min_free"
    );
    assert!(with_age("[dsk]\n").contains("did you mean `disk`"));
    assert!(error("[aeg]\n").contains("did you mean `age`"));
    let far = error("min_age = \"1d\"\n");
    assert!(!far.contains("did you mean") && far.contains("known here: age, "));
}

#[test]
fn each_wrong_value_says_what_was_seen_and_what_is_wanted() {
    for (text, wanted) in [
        ("[disk]\nstart_above_percent = 75", "accepted"),
        (
            "[disk]\nstart_above_percent = 60",
            "policy p.toml, line 4, column 23: disk.stop_below_percent is not given, and its default, 75, \
             is above disk.start_above_percent, which is 60: give it, at most 60",
        ),
        ("[disk]\nstart_above_percent = 0", "at most 0"),
        (
            "[disk]\nstart_above_percent = 70\nstop_below_percent = 71",
            "line 5, column 22: disk.stop_below_percent is 71, above",
        ),
        (
            "[disk]\nstart_above_percent = 101",
            "line 4, column 23: disk.start_above_percent is 101; wanted 0 to 100",
        ),
        ("[disk]\nstart_above_percent = nan", "wanted 0 to 100"),
        (
            "[disk]\nmin_free = \"10 bananas\"",
            "\"10 bananas\" is no size",
        ),
        (
            "[disk]\nmin_free = \"10\"",
            "line 4, column 12: disk.min_free: \"10\" has no unit; wanted one such as \"10GiB\"",
        ),
        ("[limits]\nmax_images = 0", "limits.max_images is 0"),
        (
            "[limits]\nmax_images = -1",
            "line 4, column 14: max_images: -1; wanted a whole number, 0 or more",
        ),
        (
            "[disk]\nstart_above_percent = \"85%\"",
            "start_above_percent: \"85%\"; wanted a number",
        ),
        (
            "[guard.lock]\npath = \"/run/x\"",
            "[guard.lock]: a table; wanted [[guard.lock]], once for each",
        ),
        (
            "[[guard.lock]]\nkind = \"flock\"",
            "guard.lock.path is missing",
        ),
        (
            "[keep]\nimages = \"ok\"",
            "images: \"ok\"; wanted a list, such as [",
        ),
        ("[keep]\nimages = [3]", "images: 3; wanted text in quotes"),
        (
            "[keep]\nimages = [\n  3\n]",
            "in this list: 3; wanted text in quotes",
        ),
        (
            "[limits]\nmax_images = \"`1`, expected 2\"",
            "max_images: \"`1`, expected 2\"; wanted a whole number",
        ),
        ("[limits]\nmax_fraction = 0.0", "above 0, at most 1"),
        ("[limits]\nmax_run = \"0s\"", "nothing at all"),
        ("[limits]\nmax_answer = \"0s\"", "nothing at all"),
        ("[limits]\nmax_answer = \"10ms\"", "wanted at least"),
        (
            "[limits]\nmax_answer = \"6m\"",
            "more than limits.max_run, which is 5m",
        ),
        (
            "[guard]\npulls = \"maybe\"",
            "wanted \"require\" or \"best-effort\"",
        ),
        (
            "[[guard.lock]]\npath = \"run/x\"\nkind = \"flock\"",
            "begins with /",
        ),
        (
            "[[guard.lock]]\npath = \"/run/*/x\"",
            "before its last part",
        ),
        (
            "[[guard.lock]]\npath = \"/run/x\"\nkind = \"lockf\"",
            "wanted \"flock\" or \"exists\"",
        ),
        (
            "[keep]\nimages = [\"ok\", \"NOT ok\"]",
            "line 4, column 17: keep.images: `NOT ok` is no image name",
        ),
        ("[keep]\nlabels = [\"=x\"]", "the key is missing"),
        (
            "[keep]\nprevious = 1.5",
            "line 4, column 12: previous: 1.5; wanted a whole number",
        ),
    ] {
        let seen = with_age(text);
        assert!(seen.contains(wanted), "{text:?}: {seen}");
    }
}

#[test]
fn a_rule_that_no_name_can_match_is_an_error_that_says_what_was_probably_meant() {
    for (rule, meant) in [
        ("redis:.*", "\"redis:*\""),
        ("^redis:7.*$", "\"redis:7*\""),
        ("redis:[0-9]+", "\"redis:*\""),
        ("redis:7-[a-z]*", "\"redis:7-*\""),
        ("ghcr\\\\.io/acme/.*", "\"ghcr.io/acme/*\""),
        ("ghcr.io/(app|web):*", "\"ghcr.io/*:*\""),
        ("https://ghcr.io/acme/*", "\"ghcr.io/acme/*\""),
        ("docker://ghcr.io/acme/app:1", "\"ghcr.io/acme/app:1\""),
        ("https://hub.docker.com/_/redis", "\"redis\""),
        ("https://hub.docker.com/r/acme/app", "\"acme/app\""),
        ("ghcr.io/Acme/*", "\"ghcr.io/acme/*\""),
        ("ghcr.io/acme/App:Rc1", "\"ghcr.io/acme/app:Rc1\""),
        ("Redis:*", "\"redis:*\""),
        ("ghcr.io/acme/", "\"ghcr.io/acme/*\""),
        ("redis:7.?", "\"redis:7.*\""),
        (" redis:7", "\"redis:7\""),
        ("sha256:abc", "keep.labels"),
        ("sha256:abc*", "keep.labels"),
        ("0123456789ab", "keep.labels"),
        ("app@sha256:abc", "64 hex digits"),
        ("app@sha256:ab*", "accepted"),
        ("redis.*", "accepted"),
        ("Acme/app:*", "accepted"),
        ("[::1]:5000/*", "accepted"),
        ("localhost:5000*", "accepted"),
        ("**/app__x:*", "accepted"),
        ("cafe", "accepted"),
        ("docker.io/library/0123456789ab:*", "accepted"),
    ] {
        let seen = with_age(&format!("[keep]\nimages = [\"{rule}\"]"));
        assert!(seen.contains(meant), "{rule}: {seen}");
        let placed = "policy p.toml, line 4, column 11: keep.images: ";
        assert!(seen == "accepted" || seen.starts_with(placed), "{seen}");
    }
    for name in ["redis:*", "sha256:abc", "0123456789ab"] {
        let seen = with_age(&format!("[cache]\nimages = [\"{name}\"]"));
        assert!(seen.contains("cache.images: "), "{name}: {seen}");
    }
}

#[test]
fn a_value_where_a_table_belongs_is_named() {
    let seen = error("age = \"1d\"");
    assert!(
        seen.contains("age: \"1d\"; wanted a table, [age]"),
        "{seen}"
    );
}

#[test]
fn what_is_missing_in_a_line_has_its_place_there() {
    for (text, place) in [
        ("[age\nmin_age = \"1d\"", "line 1, column 5: "),
        ("[age]\nmin_age", "line 2, column 8: "),
        ("[age]\nmin_age =", "line 2, column 10: "),
    ] {
        let seen = error(text);
        assert!(seen.contains(place), "{text:?}: {seen}");
    }
    assert!(!error("").contains("line"), "{}", error(""));
}

#[test]
fn ages_are_checked() {
    let with = |age: &str| error(&format!("[age]\nmin_age = {age}"));
    assert!(
        with("\"14 dyas\"").contains("line 2, column 11: age.min_age: \"14 dyas\" is no duration")
    );
    assert!(with("\"0d\"").contains("nothing at all"));
    assert!(with("\"-1d\"").contains("is no duration"));
    assert!(with("\"99999999999999999y\"").contains("age.min_age"));
    assert!(with("14").contains("line 2, column 11"));
    assert!(error("[age]\nmin_age = \"1d\"\ndigest_pinned = \"kep\"").contains("or \"keep\""));
    let sooner = error("[age]\nmin_age = \"14d\"\ndigest_pinned = \"90h\"");
    assert!(
        sooner.contains("line 3, column 17: age.digest_pinned is \"90h\", less than age.min_age"),
        "{sooner}"
    );
}

#[test]
fn a_lock_without_a_kind_is_of_the_kind_that_refuses_more() {
    let policy = Policy::parse(
        "[age]\nmin_age = \"1d\"\n[[guard.lock]]\npath = \"/x\"",
        "p",
    )
    .unwrap();
    assert_eq!(policy.guard.locks[0].kind, LockKind::Exists);
}

#[test]
fn no_error_shows_a_control_character_of_the_text() {
    for text in [
        "[ \"``\t``max'-'\"]",
        "[age]\nmin_age = \"1d\"\n\"a\tb\" = 1\n[\"x\ty\"]\n",
    ] {
        let said = Policy::parse(text, "p").unwrap_err().to_string();
        assert_eq!(said.chars().find(|ch| ch.is_control()), None, "{said:?}");
    }
}

#[test]
fn a_rule_for_some_names_is_never_shorter_than_what_holds_for_all() {
    let general = "[age]\nmin_age = \"14d\"\ndigest_pinned = \"30d\"\n[keep]\nprevious = 2\n";
    let said = |rule: &str| error(&format!("{general}[[retain]]\n{rule}"));
    let named = "images = [\"acme/*\"]";
    for (rule, wanted) in [
        (
            "min_age = \"14d\"\nprevious = 2\ndigest_pinned = \"30d\"",
            "accepted",
        ),
        ("digest_pinned = \"keep\"", "accepted"),
        (
            "min_age = \"13d\"",
            "policy p.toml, line 8, column 11: retain.min_age is \"13d\", less than age.min_age, which is 14days; wanted at least that",
        ),
        (
            "previous = 1",
            "line 8, column 12: retain.previous is 1, less than keep.previous, which is 2",
        ),
        (
            "digest_pinned = \"29d\"",
            "line 8, column 17: retain.digest_pinned is \"29d\", less than age.digest_pinned, which is 30days",
        ),
        ("digest_pinned = \"kep\"", "or \"keep\""),
        (
            "",
            "line 7, column 10: this [[retain]] keeps nothing for longer",
        ),
        ("min_agee = \"1d\"", "did you mean `min_age`?"),
    ] {
        let seen = said(&format!("{named}\n{rule}"));
        assert!(seen.contains(wanted), "{rule}: {seen}");
    }
    for (rule, wanted) in [
        ("min_age = \"15d\"", "retain.images is missing"),
        (
            "images = []\nmin_age = \"15d\"",
            "line 7, column 10: retain.images is empty",
        ),
        (
            "images = [\"ghcr.io/Acme/*\"]\nmin_age = \"15d\"",
            "line 7, column 11: retain.images: ",
        ),
    ] {
        let seen = said(rule);
        assert!(seen.contains(wanted), "{rule}: {seen}");
    }
    let keeps = "[age]\nmin_age = \"14d\"\n[[retain]]\nimages = [\"a:1\"]\ndigest_pinned = \"99y\"";
    assert!(error(keeps).contains("less than age.digest_pinned, which is \"keep\""));
    assert!(
        error("[age]\nmin_age = \"14d\"\n[retain]\nimages = [\"a:1\"]")
            .contains("[retain]: a table; wanted [[retain]], once for each")
    );
}

#[test]
fn the_thresholds_of_room_are_in_order_and_one_alone_takes_the_other_along() {
    let room = |text: &str| {
        let policy = Policy::parse(&format!("[age]\nmin_age = \"1d\"\n[room]\n{text}"), "p");
        policy.map(|it| (it.room.warn_percent, it.room.crit_percent))
    };
    assert_eq!(room("").unwrap(), (85.0, 95.0));
    assert_eq!(room("crit_percent = 80").unwrap(), (80.0, 80.0));
    assert_eq!(room("warn_percent = 98").unwrap(), (98.0, 98.0));
    assert_eq!(
        room("warn_percent = 50\ncrit_percent = 60").unwrap(),
        (50.0, 60.0)
    );
    let said = |text: &str| room(text).unwrap_err().to_string();
    let above = said("warn_percent = 61\ncrit_percent = 60");
    assert!(
        above.contains(
            "line 4, column 16: room.warn_percent is 61, above room.crit_percent, which is 60"
        ),
        "{above}"
    );
    assert!(said("crit_percent = 101").contains("wanted 0 to 100"));
}

#[test]
fn what_is_promised_and_never_promised_does_not_meet() {
    let said = |text: &str| with_age(&format!("[cache]\n{text}"));
    assert_eq!(
        said("images = [\"app:1\"]\nnever = [\"*:pr-*\"]"),
        "accepted"
    );
    let both = said("images = [\"app:1\", \"app:pr-7\"]\nnever = [\"db\", \"*:pr-*\"]");
    assert!(
        both.contains(
            "line 4, column 20: cache.images has \"app:pr-7\", and cache.never has \"*:pr-*\""
        ),
        "{both}"
    );
    for (text, wanted) in [
        (
            "never = [\"redis:.*\"]",
            "line 4, column 10: cache.never: `redis:.*` is no image name",
        ),
        (
            "lists = [\"a.list\"]",
            "cache.lists: \"a.list\"; wanted a path that begins with /",
        ),
        (
            "lists = [\"/a*/b\"]",
            "cache.lists: \"/a*/b\" holds * before its last part",
        ),
        ("lists = [\"/\"]", "cache.lists: \"/\" is no file"),
        (
            "recent = \"0d\"",
            "line 4, column 10: cache.recent is \"0d\", nothing at all",
        ),
        ("recent = \"121d\"", "wanted at most \"120d\""),
        ("recent = \"120d\"", "accepted"),
        ("list = []", "did you mean `lists`?"),
    ] {
        let seen = said(text);
        assert!(seen.contains(wanted), "{text}: {seen}");
    }
}

#[test]
fn what_restore_may_cost_has_defaults_and_bounds() {
    let restore = |text: &str| {
        let policy = Policy::parse(&format!("[age]\nmin_age = \"1d\"\n[restore]\n{text}"), "p");
        policy.map(|it| it.restore).map_err(|it| it.to_string())
    };
    let usual = restore("").unwrap();
    assert_eq!(usual.max_share, Share::Percent(10.0));
    assert_eq!((usual.max_cpu_pressure, usual.min_pulls_left), (20.0, 20));
    assert_eq!(usual.busy_labels[0].text(), "ci.run");
    assert_eq!(usual.max_run, std::time::Duration::from_mins(30));
    let shipped = Policy::parse(DEFAULT, "p").unwrap().restore;
    assert_eq!(shipped, usual);
    let share = |text: &str| restore(&format!("max_share = {text:?}")).map(|it| it.max_share);
    assert_eq!(share(" 12.5 %"), Ok(Share::Percent(12.5)));
    assert_eq!(share("20GiB"), Ok(Share::Size(Bytes(20 << 30))));
    for odd in ["101%", "-1%", "1e1%", "%", "much", "NaN%"] {
        let why = share(odd).unwrap_err();
        assert!(why.contains("restore.max_share"), "{odd}: {why}");
    }
    assert!(restore("busy_labels = []").unwrap().busy_labels.is_empty());
    assert!(restore("max_cpu_pressure = 101").is_err());
    assert!(restore("max_run = \"0s\"").is_err());
}

#[test]
fn an_archive_is_a_folder_with_a_size_and_a_way_to_compress() {
    let said = |text: &str| with_age(&format!("[archive]\n{text}"));
    for (text, wanted) in [
        (
            "dir = \"/srv/x\"\nmax_size = \"1GiB\"\ncompress = \"gzip\"",
            "accepted",
        ),
        (
            "dir = \"x\"",
            "archive.dir: \"x\"; wanted a path that begins with /",
        ),
        (
            "max_size = \"0\"",
            "archive.max_size is \"0\"; wanted more than that",
        ),
        ("max_size = \"x\"", "archive.max_size: \"x\" is no size"),
        (
            "compress = \"zstd\"",
            "archive.compress: \"zstd\"; wanted \"none\" or \"gzip\"",
        ),
        ("folder = \"/x\"", "unknown"),
    ] {
        let seen = said(text);
        assert!(seen.contains(wanted), "{text}: {seen}");
    }
}
