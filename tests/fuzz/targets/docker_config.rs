//! docker's config.json of any bytes: what is found is a helper with a name
//! that is one, or credentials; no error quotes the file.
#![no_main]

use libfuzzer_sys::fuzz_target;
use secateur::cache::credentials::{Configured, look_up};

fuzz_target!(|bytes: &[u8]| {
    for registry in ["docker.io", "ghcr.io", "127.0.0.1:5000"] {
        match look_up(bytes, registry) {
            Ok(Configured::Helper(name, _)) => {
                assert!(!name.is_empty() && !name.contains('/'), "{name:?}");
            }
            Ok(Configured::Nothing | Configured::Credentials(_)) => {}
            Err(why) => assert!(!why.contains(char::is_control), "{why:?}"),
        }
    }
});
