//! A ledger of any bytes either reads, and then is written and read again as
//! the same, or is refused in words that may be printed.
#![no_main]

use libfuzzer_sys::fuzz_target;
use secateur::memory::ledger::{Ledger, Unusable};

fuzz_target!(|bytes: &[u8]| {
    match Ledger::from_json(bytes, "engine") {
        Ok(ledger) => {
            let written = ledger.to_json().expect("what was read can be written");
            let again = Ledger::from_json(&written, "engine").expect("and read");
            assert_eq!(again.to_json().expect("and written"), written);
        }
        Err(Unusable::Corrupt(why) | Unusable::OtherEngine(why)) => {
            assert!(!why.contains(char::is_control), "{why:?}");
        }
        Err(Unusable::Newer(_)) => {}
    }
});
