//! A policy of any text either reads, and then says what it may say, or is
//! refused in words that may be printed.
#![no_main]

use libfuzzer_sys::fuzz_target;
use secateur::policy::Policy;

fuzz_target!(|text: &str| {
    match Policy::parse(text, "policy.toml") {
        Ok(policy) => {
            assert!(!policy.min_age.is_zero());
            assert!(policy.disk.stop_below_percent <= policy.disk.start_above_percent);
            assert!(policy.limits.max_images > 0);
            assert!(!policy.limits.max_run.is_zero());
        }
        Err(error) => {
            let said = error.to_string();
            assert!(said.starts_with("policy policy.toml"));
            let odd = said.chars().find(|c| c.is_control() && *c != '\n');
            assert_eq!(odd, None, "{said:?}");
        }
    }
});
