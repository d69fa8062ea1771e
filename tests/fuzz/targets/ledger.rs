//! A ledger of any bytes either reads, and then is written and read again as
//! the same, or is refused in words that may be printed.
#![no_main]

use libfuzzer_sys::fuzz_target;
use secateur::memory::ledger::{Ledger, Unusable};

fn written(ledger: &Ledger) -> Vec<u8> {
    let mut bytes = Vec::new();
    ledger.write_to(&mut bytes).expect("what was read can be written");
    bytes
}

fuzz_target!(|bytes: &[u8]| {
    match Ledger::from_json(bytes, "engine") {
        Ok(ledger) => {
            let text = written(&ledger);
            let again = Ledger::from_json(&text, "engine").expect("and read");
            assert_eq!(written(&again), text);
        }
        Err(Unusable::Corrupt(why) | Unusable::OtherEngine(why)) => {
            assert!(!why.contains(char::is_control), "{why:?}");
        }
        Err(Unusable::Newer(_)) => {}
    }
});
