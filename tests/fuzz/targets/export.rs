//! An engine's export of an image of any bytes is compared without a fault, the
//! same however its bytes arrive, and never as whole where it broke off.
#![no_main]

use libfuzzer_sys::fuzz_target;
use secateur::cache::checks::whole::compare::compare;
use secateur::cache::checks::whole::export::Export;
use secateur::cache::checks::whole::tar::Reader;
use secateur::cache::checks::whole::verdict::StoreFacts;
use secateur::model::{ImageId, Store};

fn read(bytes: &[u8], size: usize) -> Option<(Export, Option<Vec<u8>>)> {
    let mut reader = Reader::new(Export::default());
    for chunk in bytes.chunks(size) {
        reader.feed(chunk).ok()?;
    }
    Some(reader.finish())
}

fuzz_target!(|bytes: &[u8]| {
    let id: ImageId = format!("sha256:{:064}", 0).parse().expect("an id");
    let (whole, cut) = (read(bytes, usize::MAX), read(bytes, 7));
    assert_eq!(whole.is_some(), cut.is_some());
    let (Some((whole, end)), Some((cut, cut_end))) = (whole, cut) else {
        return;
    };
    assert_eq!(end, cut_end);
    for store in [Store::Graphdriver, Store::Containerd] {
        let compare = |export| compare(export, &id, store, &StoreFacts::default());
        assert_eq!(compare(&whole), compare(&cut));
    }
});
