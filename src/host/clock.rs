//! The only place that reads the host's clocks. Everything else gets the time as a value, so
//! that a decision can be repeated and tested. Whether a clock can be believed is for
//! `memory::clock`.

use std::fs;
use std::time::{Duration, Instant};

use anyhow::{Context, ensure};
use chrono::{DateTime, Utc};
use nix::time::{ClockId, clock_gettime};

use crate::exit::{Exit, Fault};
use crate::model::conditions::ClockReading;

const BOOT_ID: &str = "/proc/sys/kernel/random/boot_id";

#[must_use]
#[expect(
    clippy::disallowed_methods,
    reason = "the one place where the wall clock is read"
)]
pub fn now() -> DateTime<Utc> {
    Utc::now()
}

/// Reads the wall clock, the time since boot and the boot's id, in this order and
/// within microseconds.
///
/// # Errors
///
/// When the kernel does not give one of them. Without the id, time since this boot
/// cannot be told from time since another.
pub fn read() -> Result<ClockReading, Fault> {
    reading().map_err(|error| Fault::new(Exit::State, format!("{error:#}")))
}

fn reading() -> anyhow::Result<ClockReading> {
    let wall = now();
    let since_boot = since_boot()?;
    let boot_id = fs::read_to_string(BOOT_ID)
        .with_context(|| format!("cannot read the name of this boot from {BOOT_ID}"))?;
    let boot_id = boot_id.trim();
    ensure!(
        looks_like_boot_id(boot_id),
        "cannot read the name of this boot from {BOOT_ID}: found {boot_id:?}, wanted a UUID"
    );
    Ok(ClockReading {
        wall,
        since_boot_secs: since_boot.as_secs(),
        boot_id: boot_id.to_owned(),
        latest: None,
        set_back_from: None,
    })
}

/// Includes the time asleep. CLOCK_MONOTONIC stands still while the host sleeps, so a wall
/// clock that rightly moved on would seem to have jumped.
pub(super) fn since_boot() -> anyhow::Result<Duration> {
    let time = clock_gettime(ClockId::CLOCK_BOOTTIME).context("cannot read the time since boot")?;
    Ok(time.into())
}

/// The clock for deadlines: it never goes back. Its value means nothing to another
/// process or another boot.
#[must_use]
#[expect(
    clippy::disallowed_methods,
    reason = "the one place where the monotonic clock is read"
)]
pub fn monotonic() -> Instant {
    Instant::now()
}

/// An id that is empty or cut off would make two boots seem one.
fn looks_like_boot_id(text: &str) -> bool {
    text.len() == 36 && text.bytes().all(|b| b.is_ascii_hexdigit() || b == b'-')
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn two_readings_are_of_one_boot_and_in_order() {
        let first = read().unwrap();
        let second = read().unwrap();
        assert_eq!(first.boot_id, second.boot_id);
        assert!(first.since_boot_secs <= second.since_boot_secs);
        assert!(first.since_boot_secs > 0);
    }

    #[test]
    fn a_cut_off_or_empty_boot_id_is_none() {
        let whole = "0f2e7d3c-93a6-4f0e-9f0b-1d2c3b4a5968";
        assert!(looks_like_boot_id(whole));
        assert!(!looks_like_boot_id(&whole[..35]));
        assert!(!looks_like_boot_id(""));
        assert!(!looks_like_boot_id(&whole.replace('f', "\u{1b}")));
    }

    #[test]
    fn the_clock_for_deadlines_never_runs_back() {
        let first = monotonic();
        assert!(monotonic() >= first);
    }
}
