//! Cuts a long answer into its items as it arrives, so that a list is never in memory as text.
//! It knows nothing of the content of the items.

use memchr::memchr2;

use crate::engine::allowance::LONGEST_ITEM;
use crate::model::text::escape;

/// How the items of an answer are written.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Form {
    /// A JSON array.
    Array,
    /// JSON objects one after the other.
    Stream,
}

/// Finds where items begin and end. `serde_json` checks that an item is JSON: text that is none
/// may be cut anywhere, and its pieces are no JSON either.
pub(super) struct Items {
    form: Form,
    place: Position,
    /// The beginning of an item whose end has not arrived.
    part: Vec<u8>,
    depth: usize,
    string: Option<Escape>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Position {
    /// Before the `[`.
    Start,
    /// Where an item may begin; `true`: where one must begin, after a comma.
    Between(bool),
    Inside,
    /// After the `]`.
    End,
}

/// Inside a string: whether the next byte is escaped.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Escape {
    Yes,
    No,
}

impl Items {
    pub(super) fn new(form: Form) -> Self {
        let place = match form {
            Form::Array => Position::Start,
            Form::Stream => Position::Between(false),
        };
        Self {
            form,
            place,
            part: Vec::new(),
            depth: 0,
            string: None,
        }
    }

    /// Takes the next piece of the answer, and passes on each item that ends in it.
    pub(super) fn take(
        &mut self,
        piece: &[u8],
        mut each: impl FnMut(&[u8]) -> Result<(), String>,
    ) -> Result<(), String> {
        let (mut from, mut next) = (0, 0);
        while let Some(byte) = piece.get(next) {
            let at = next;
            next += 1;
            if self.place != Position::Inside {
                if byte.is_ascii_whitespace() {
                    continue;
                }
                from = at;
                self.begin(*byte)?;
                if self.place != Position::Inside {
                    continue;
                }
            }
            let Some(over) = self.step(*byte) else {
                if self.string == Some(Escape::No) {
                    // Most of a list is text.
                    let rest = &piece[next..];
                    next += memchr2(b'"', b'\\', rest).unwrap_or(rest.len());
                }
                continue;
            };
            let (end, place) = match over {
                Over::With => (at + 1, Position::Between(false)),
                Over::Before(b',') => (at, Position::Between(true)),
                Over::Before(_) => (at, Position::End),
            };
            let item = &piece[from..end];
            if self.part.is_empty() {
                fits(item.len())?;
                each(item)?;
            } else {
                self.more(item)?;
                let part = std::mem::take(&mut self.part);
                each(&part)?;
            }
            self.place = place;
        }
        if self.place == Position::Inside {
            self.more(&piece[from..])?;
        }
        Ok(())
    }

    fn more(&mut self, bytes: &[u8]) -> Result<(), String> {
        fits(self.part.len() + bytes.len())?;
        self.part.extend_from_slice(bytes);
        Ok(())
    }

    /// Takes a byte outside of any item, except white space.
    fn begin(&mut self, byte: u8) -> Result<(), String> {
        self.place = match (self.place, byte) {
            (Position::Start, b'[') => Position::Between(false),
            (Position::Between(false), b']') if self.form == Form::Array => Position::End,
            (Position::Between(_), b'{') => Position::Inside,
            _ => {
                let seen = escape(&String::from_utf8_lossy(&[byte]));
                return Err(format!("it is no list of objects: found {seen}"));
            }
        };
        Ok(())
    }

    /// Takes a byte inside an item; `Some` where the item is over.
    fn step(&mut self, byte: u8) -> Option<Over> {
        match (self.string, byte) {
            (Some(Escape::Yes), _) => self.string = Some(Escape::No),
            (Some(Escape::No), b'\\') => self.string = Some(Escape::Yes),
            (Some(Escape::No), b'"') => self.string = None,
            (Some(Escape::No), _) => {}
            (None, b'"') => self.string = Some(Escape::No),
            (None, b'{' | b'[') => self.depth += 1,
            (None, b'}' | b']') if self.depth > 0 => {
                self.depth -= 1;
                if self.depth == 0 && self.form == Form::Stream {
                    return Some(Over::With);
                }
            }
            (None, b',' | b']') if self.depth == 0 => return Some(Over::Before(byte)),
            (None, _) => {}
        }
        None
    }

    /// The answer is over.
    pub(super) fn end(self) -> Result<(), String> {
        match self.place {
            Position::End => Ok(()),
            Position::Between(false) if self.form == Form::Stream => Ok(()),
            Position::Start | Position::Between(_) | Position::Inside => {
                Err("it ends before the list does".to_owned())
            }
        }
    }
}

fn fits(length: usize) -> Result<(), String> {
    if length > LONGEST_ITEM {
        return Err(format!("an item is longer than {} MiB", LONGEST_ITEM >> 20));
    }
    Ok(())
}

/// How an item ends.
enum Over {
    /// With this byte.
    With,
    /// Before this byte.
    Before(u8),
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use serde_json::Value;

    use super::*;

    fn split(form: Form, text: &[u8], piece: usize) -> Result<Vec<Value>, String> {
        let (mut items, mut found) = (Items::new(form), Vec::new());
        for piece in text.chunks(piece) {
            items.take(piece, |item| {
                found.push(serde_json::from_slice(item).map_err(|error| error.to_string())?);
                Ok(())
            })?;
        }
        items.end().map(|()| found)
    }

    fn value() -> impl Strategy<Value = Value> {
        let leaf = prop_oneof![
            Just(Value::Null),
            any::<bool>().prop_map(Value::from),
            any::<i64>().prop_map(Value::from),
            "[a-z\\[\\]{},\"\\\\: \u{e4}]{0,8}".prop_map(Value::from),
        ];
        leaf.prop_recursive(3, 12, 4, |inner| {
            prop_oneof![
                proptest::collection::vec(inner.clone(), 0..4).prop_map(Value::from),
                proptest::collection::btree_map("[a-z\"\\]}]{0,3}", inner, 0..4)
                    .prop_map(|map| Value::Object(map.into_iter().collect())),
            ]
        })
    }

    fn object() -> impl Strategy<Value = Value> {
        proptest::collection::btree_map("[a-z\"\\]}]{0,3}", value(), 0..4)
            .prop_map(|map| Value::Object(map.into_iter().collect()))
    }

    proptest! {
        #[test]
        fn a_list_in_pieces_is_the_list(
            list in proptest::collection::vec(object(), 0..5), piece in 1_usize..40, pretty: bool,
        ) {
            let text = if pretty { serde_json::to_vec_pretty(&list) } else { serde_json::to_vec(&list) };
            prop_assert_eq!(split(Form::Array, &text.unwrap(), piece), Ok(list));
        }

        #[test]
        fn a_stream_in_pieces_is_the_stream(
            list in proptest::collection::vec(object(), 0..5), piece in 1_usize..40, gap in "[ \r\n]{0,2}",
        ) {
            let text: Vec<String> = list.iter().map(|item| format!("{item}{gap}")).collect();
            let text = text.concat();
            prop_assert_eq!(split(Form::Stream, text.as_bytes(), piece), Ok(list));
        }

        #[test]
        fn what_reads_as_a_list_is_json(text in "[\\[\\]{}\",:\\\\an1 ]{0,12}", piece in 1_usize..12) {
            if let Ok(found) = split(Form::Array, text.as_bytes(), piece) {
                let whole: Vec<Value> = serde_json::from_str(&text).expect("JSON");
                prop_assert_eq!(found, whole);
            }
        }

        #[test]
        fn a_list_that_is_cut_off_is_no_list(
            list in proptest::collection::vec(object(), 0..4), cut in any::<prop::sample::Index>(),
        ) {
            let text = serde_json::to_vec(&list).unwrap();
            let short = &text[..cut.index(text.len())];
            prop_assert!(split(Form::Array, short, 7).is_err(), "{}", String::from_utf8_lossy(short));
        }
    }

    #[test]
    fn an_empty_list_is_one_and_what_is_no_list_of_objects_is_none() {
        for empty in ["[]", " [ ] \n"] {
            assert_eq!(
                split(Form::Array, empty.as_bytes(), 2),
                Ok(vec![]),
                "{empty}"
            );
        }
        for bad in [
            "", " ", "null", "{}", "[] []", "[]x", "[,]", "[{},]", "[null]", "[{} {}]", "[{}",
            "\"\"", "0", "<html>", "[[]]",
        ] {
            assert!(split(Form::Array, bad.as_bytes(), 2).is_err(), "{bad}");
        }
        assert_eq!(split(Form::Stream, b"", 2), Ok(vec![]));
        assert!(split(Form::Stream, b"null", 2).is_err());
        assert!(split(Form::Stream, b"{\"a\":1", 2).is_err());
    }

    #[test]
    fn an_item_that_does_not_end_is_no_item() {
        let endless = format!("[{{\"a\":\"{}", "x".repeat(LONGEST_ITEM));
        let seen = split(Form::Array, endless.as_bytes(), 4096).unwrap_err();
        assert!(seen.contains("4 MiB"), "{seen}");
    }

    #[test]
    fn an_item_may_be_so_long_and_no_longer_however_it_comes() {
        let list = |length: usize| format!("[{{\"a\":\"{}\"}}]", "x".repeat(length - 8));
        for piece in [4096, 3 << 20, 8 << 20] {
            let (most, more) = (list(LONGEST_ITEM), list(LONGEST_ITEM + 1));
            assert_eq!(
                split(Form::Array, most.as_bytes(), piece).map(|found| found.len()),
                Ok(1)
            );
            let seen = split(Form::Array, more.as_bytes(), piece).unwrap_err();
            assert!(seen.contains("4 MiB"), "{piece}: {seen}");
        }
    }
}
