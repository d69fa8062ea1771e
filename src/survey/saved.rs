//! A host in a file: `--save-inventory` writes it, `--inventory` reads it.

use std::path::Path;

use crate::exit::{Exit, Fault};
use crate::host::files::read_named;
use crate::memory::ledger::Ledger;
use crate::model::Inventory;
use crate::model::text::{EscapedJson, escape_path, json_error};
use crate::survey::live::Survey;

/// A host as `--save-inventory` writes it: inventory and ledger, so that a policy can be tried
/// without engine and state folder.
#[derive(serde::Serialize, serde::Deserialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
pub struct SavedHost {
    schema: String,
    inventory: Inventory,
    /// Its form may change with the version.
    #[cfg_attr(
        test,
        schemars(with = "std::collections::BTreeMap<String, serde_json::Value>")
    )]
    ledger: Ledger,
}

pub(crate) const SAVED: &str = "secateur/inventory/1";

/// The ledger alone may have 64 MiB.
pub const LONGEST_SAVED: u64 = 256 << 20;

impl SavedHost {
    pub fn of(survey: &Survey<'_>) -> Self {
        Self {
            schema: SAVED.into(),
            inventory: survey.inventory.clone(),
            ledger: survey.ledger.clone(),
        }
    }

    /// One line of JSON, fit for a terminal.
    pub fn to_json(&self) -> Vec<u8> {
        EscapedJson::line(self).into_bytes()
    }

    pub fn read(path: &Path) -> Result<(Inventory, Ledger), Fault> {
        let fault = |why: String| {
            Fault::new(
                Exit::Usage,
                format!("--inventory {}: {why}", escape_path(path)),
            )
        };
        let bytes = read_named(path, LONGEST_SAVED)
            .map_err(|error| Fault::new(Exit::Usage, format!("--inventory: {error}")))?;
        Self::from_json(&bytes).map_err(fault)
    }

    /// The error is fit to print.
    pub fn from_json(bytes: &[u8]) -> Result<(Inventory, Ledger), String> {
        let saved: Self = serde_json::from_slice(bytes).map_err(|error| json_error(&error))?;
        if saved.schema != SAVED {
            return Err(format!(
                "its schema is {:?}, wanted {SAVED:?}",
                saved.schema
            ));
        }
        Ok((saved.inventory, saved.ledger))
    }
}
