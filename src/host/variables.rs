//! Environment variables. An empty one counts as not set, as for docker. One that cannot be
//! read is an error and never "not set", because that would mean another engine or another
//! folder.

use std::ffi::OsString;
use std::path::PathBuf;

/// The error names the variable, and does not quote its value, which may be a secret.
pub fn text(name: &str) -> Result<Option<String>, String> {
    of_text(name, std::env::var_os(name))
}

fn of_text(name: &str, value: Option<OsString>) -> Result<Option<String>, String> {
    match value.map(OsString::into_string) {
        Some(Ok(value)) => Ok(Some(value).filter(|value| !value.is_empty())),
        Some(Err(_)) => Err(format!(
            "{name} is not UTF-8, wanted a text: set it anew, or unset it"
        )),
        None => Ok(None),
    }
}

/// A path may be of any bytes.
pub fn path(name: &str) -> Option<PathBuf> {
    let value = std::env::var_os(name).filter(|value| !value.is_empty());
    value.map(PathBuf::from)
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::os::unix::ffi::OsStringExt;

    #[test]
    fn a_text_that_does_not_read_is_an_error_that_names_its_variable() {
        let text = |bytes: &[u8]| of_text("DOCKER_HOST", Some(OsString::from_vec(bytes.into())));
        assert_eq!(of_text("DOCKER_HOST", None), Ok(None));
        assert_eq!(text(b""), Ok(None));
        assert_eq!(text(b"unix:///x"), Ok(Some("unix:///x".into())));
        let why = text(b"unix:///hunter2\xff").unwrap_err();
        assert!(why.starts_with("DOCKER_HOST is not UTF-8"), "{why}");
        assert!(!why.contains("hunter2"), "{why}");
    }
}
