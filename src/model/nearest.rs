//! Suggestions for mistyped words.

/// The known word nearest to a mistyped one, if any is near enough to be what was meant.
pub fn nearest<T: AsRef<str>>(seen: &str, known: impl IntoIterator<Item = T>) -> Option<T> {
    let near = |word: &T| strsim::normalized_damerau_levenshtein(seen, word.as_ref());
    let words = known.into_iter().filter(|word| near(word) >= 0.5);
    words.max_by(|a, b| near(a).total_cmp(&near(b)))
}
