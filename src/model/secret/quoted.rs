//! Finds a secret in foreign text, however it is quoted there: plain, percent-encoded, escaped
//! as in JSON or by our own escape, or all of these at once. It also finds the beginning of a
//! secret at the end of a text that was cut.

/// The end of a text that was cut by [`crate::model::text::escape`].
const CUT: char = '…';

/// Backslashes in a row that are read as one: quoted six times, one becomes 64. There must be a
/// limit: the text is foreign, and reading to its end at each place would take minutes.
const MOST_SLASHES: usize = 64;

/// The digits of `\u{10ffff}`, with room for leading zeros.
const MOST_DIGITS: usize = 8;

/// The text with each of these secrets replaced.
pub fn clear(text: &str, secrets: &[String]) -> String {
    // Where the text was cut.
    let end = text.strip_suffix(CUT).map(str::len);
    let mut out = String::with_capacity(text.len());
    let mut rest = text;
    while let Some(first) = rest.chars().next() {
        let from = text.len() - rest.len();
        let until = end.unwrap_or(text.len());
        let within = text.get(from..until).unwrap_or_default();
        // The secret may itself contain what reads as percent-encoded.
        let ways = secrets
            .iter()
            .flat_map(|secret| [(secret, true), (secret, false)]);
        let found = ways.filter_map(|(secret, encoded)| {
            let length = matched(within, secret, end.is_some(), encoded)?;
            (length > 0).then_some(length)
        });
        match found.max() {
            Some(length) => {
                out.push_str("[secret]");
                rest = &rest[length..];
            }
            None => {
                out.push(first);
                rest = &rest[first.len_utf8()..];
            }
        }
    }
    out
}

/// How many bytes at the beginning of the text are the secret. `cut`: the text may end
/// inside the secret. `encoded`: `%25` means `%`.
fn matched(text: &str, secret: &str, cut: bool, encoded: bool) -> Option<usize> {
    let (mut text, all) = (text.as_bytes(), text.len());
    let mut wanted = secret.as_bytes();
    while let Some(first) = wanted.first() {
        if text.is_empty() {
            return cut.then_some(all);
        }
        let slashes = leading_slashes(text);
        if *first == b'\\' && slashes > 0 {
            // Each quoting doubles the backslashes.
            text = &text[slashes..];
            wanted = &wanted[leading_slashes(wanted)..];
            continue;
        }
        let (read, meant) = next(text, *first, encoded)?;
        wanted = wanted.strip_prefix(meant.as_slice())?;
        text = &text[read..];
    }
    Some(all - text.len())
}

/// How many bytes of the text stand for the next bytes of the secret, and for which.
fn next(text: &[u8], wanted: u8, encoded: bool) -> Option<(usize, Vec<u8>)> {
    let hex = |digits: &[u8]| {
        let digits = std::str::from_utf8(digits).ok()?;
        u32::from_str_radix(digits, 16).ok()
    };
    let character = |code: u32| {
        let mut buffer = [0; 4];
        let bytes = char::from_u32(code)?.encode_utf8(&mut buffer).as_bytes();
        Some(bytes.to_vec())
    };
    let slashes = leading_slashes(text);
    let rest = &text[slashes..];
    if slashes > 0 {
        let escaped = match rest {
            [b'u', b'{', rest @ ..] => {
                let mut digits = rest.iter().take(MOST_DIGITS + 1);
                let length = digits.position(|b| *b == b'}')?;
                hex(&rest[..length]).map(|code| (3 + length, code))
            }
            [b'u', rest @ ..] => rest.get(..4).and_then(hex).map(|code| (5, code)),
            [b'x', rest @ ..] => rest.get(..2).and_then(hex).map(|code| (3, code)),
            [b'n', ..] => Some((1, 10)),
            [b'r', ..] => Some((1, 13)),
            [b't', ..] => Some((1, 9)),
            _ => None,
        };
        let meant = escaped.and_then(|(read, code)| Some((slashes + read, character(code)?)));
        if let Some((read, meant)) = meant
            && meant.first() == Some(&wanted)
        {
            return Some((read, meant));
        }
    }
    let read = match rest {
        [b'%', digits @ ..]
            if encoded && digits.get(..2).and_then(hex) == Some(u32::from(wanted)) =>
        {
            3
        }
        [b'+', ..] if wanted == b' ' => 1,
        [byte, ..] if *byte == wanted => 1,
        _ => return None,
    };
    Some((slashes + read, vec![wanted]))
}

fn leading_slashes(text: &[u8]) -> usize {
    let slashes = text.iter().take(MOST_SLASHES);
    slashes.take_while(|b| **b == b'\\').count()
}
