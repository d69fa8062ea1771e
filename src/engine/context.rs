//! The current docker context and its engine, read from docker's own files as docker reads
//! them.

use std::path::Path;

use serde_json::{Map, Value};
use sha2::{Digest as _, Sha256};

use crate::engine::environment::{AddressError, Environment};
use crate::host::files::read_named;
use crate::model::text::{escape_path, json_error};

/// Longest config.json or meta.json that is read, in bytes.
pub(super) const LONGEST: u64 = 1 << 20;

/// The current docker context and its host; `None` for the default one. As in docker, a
/// config.json that cannot be read is a warning, and the context is the default one; a context
/// that cannot be read is an error.
pub(super) fn context(
    environment: &Environment,
    warn: impl FnOnce(&str),
) -> Result<Option<(String, String)>, AddressError> {
    let Some(config) = &environment.docker_config else {
        let asked = environment.docker_context.as_deref();
        return match asked.filter(|name| *name != "default") {
            None => Ok(None),
            Some(name) => {
                let why = "there is no home and no DOCKER_CONFIG to look it up in";
                Err(AddressError::of_context(name, why))
            }
        };
    };
    let current = environment.docker_context.clone().or_else(|| {
        let path = config.join("config.json");
        current_context(&path).unwrap_or_else(|why| {
            warn(&format!(
                "{why}; the docker context is the default one, as docker has it"
            ));
            None
        })
    });
    let Some(name) = current.filter(|name| !name.is_empty() && name != "default") else {
        return Ok(None);
    };
    match host_of(&config.join("contexts/meta"), &name) {
        Ok(host) => Ok(host.map(|host| (name, host))),
        Err(why) => Err(AddressError::of_context(&name, &why)),
    }
}

/// The context in config.json; `None` for an empty or missing file. docker ignores anything
/// after the first value, and the case of keys.
fn current_context(path: &Path) -> Result<Option<String>, String> {
    let bytes = match read_named(path, LONGEST) {
        Ok(bytes) => bytes,
        Err(error) if error.is_not_found() => return Ok(None),
        Err(error) => return Err(error.to_string()),
    };
    let mut values = serde_json::Deserializer::from_slice(&bytes).into_iter::<Value>();
    let damaged = |why: &str| format!("{}: {why}", escape_path(path));
    let no_json = |error: serde_json::Error| damaged(&json_error(&error));
    match values.next().transpose().map_err(no_json)? {
        None => Ok(None),
        Some(Value::Object(keys)) => match field(&keys, "currentContext") {
            None | Some(Value::Null) => Ok(None),
            Some(Value::String(name)) => Ok(Some(name.clone())),
            Some(_) => Err(damaged("currentContext is no text")),
        },
        Some(_) => Err(damaged("it is no JSON object")),
    }
}

/// docker keeps each context in a folder named by the hash of its name.
fn host_of(folder: &Path, name: &str) -> Result<Option<String>, String> {
    let hash = format!("{:x}", Sha256::digest(name));
    let path = folder.join(hash).join("meta.json");
    let bytes = read_named(&path, LONGEST).map_err(|error| error.to_string())?;
    let damaged = |why: &str| {
        let path = escape_path(&path);
        format!("{path}: {why}; make it anew with `docker context create`")
    };
    let meta: Value =
        serde_json::from_slice(&bytes).map_err(|error| damaged(&json_error(&error)))?;
    let endpoints = meta.as_object().and_then(|meta| field(meta, "Endpoints"));
    let endpoint = endpoints.and_then(|endpoints| endpoints.get("docker"));
    let Some(endpoint) = endpoint.and_then(Value::as_object) else {
        return Err(damaged(
            "it has no Endpoints.docker, wanted one with a Host",
        ));
    };
    match field(endpoint, "Host") {
        None | Some(Value::Null) => Ok(None),
        Some(Value::String(host)) => Ok(Some(host.clone()).filter(|host| !host.is_empty())),
        Some(_) => Err(damaged("its Endpoints.docker.Host is no text")),
    }
}

/// A field of an object, whatever the case of its name.
fn field<'a>(object: &'a Map<String, Value>, name: &str) -> Option<&'a Value> {
    let is_it = |(key, _): &(&String, &Value)| key.eq_ignore_ascii_case(name);
    object.iter().find(is_it).map(|(_, value)| value)
}
