//! A pull's stream reads the same however its bytes arrive.
#![no_main]

use libfuzzer_sys::fuzz_target;
use secateur::engine::{PullLines, Pulled};

fn read(chunks: impl Iterator<Item = impl AsRef<[u8]>>) -> Option<Pulled> {
    let (mut lines, mut pulled) = (PullLines::default(), Pulled::default());
    for chunk in chunks {
        lines
            .feed(chunk.as_ref(), |message| pulled.take(&message))
            .ok()?;
    }
    lines.finish(|message| pulled.take(&message)).ok()?;
    Some(pulled)
}

fuzz_target!(|bytes: &[u8]| {
    let whole = read([bytes].iter());
    let mut size = 0;
    let mut rest = bytes;
    let cut = std::iter::from_fn(|| {
        // 1, 2, 3 ... 1, 2, 3 ... bytes.
        size = size % 9 + 1;
        let (chunk, more) = rest.split_at(size.min(rest.len()));
        rest = more;
        (!chunk.is_empty()).then_some(chunk)
    });
    assert_eq!(whole, read(cut));
});
