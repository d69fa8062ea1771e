//! `[restore]` as it is typed: what restoring images may cost the host.

use std::time::Duration;

use toml::Spanned;

use crate::policy::file::RestoreFile;
use crate::policy::valid::{LabelRule, RestoreLimits, Share};
use crate::policy::value::{age_or, each, percent, size};
use crate::policy::wording::Unplaced;

pub(super) fn read(file: &RestoreFile) -> Result<RestoreLimits, Unplaced> {
    let busy_labels = match &file.busy_labels {
        Some(labels) => each("restore.busy_labels", labels, LabelRule::parse)?,
        None => vec![LabelRule {
            key: "ci.run".to_owned(),
            value: None,
        }],
    };
    let pressure = file.max_cpu_pressure.as_ref();
    let time = Duration::from_mins(30);
    Ok(RestoreLimits {
        max_share: file
            .max_share
            .as_ref()
            .map_or(Ok(Share::Percent(10.0)), share)?,
        max_cpu_pressure: percent("restore.max_cpu_pressure", pressure, 20.0)?,
        busy_labels,
        min_pulls_left: file.min_pulls_left.as_ref().map_or(20, |n| *n.get_ref()),
        max_run: age_or("restore.max_run", file.max_run.as_ref(), time)?,
    })
}

/// `10%`, or a size.
fn share(text: &Spanned<String>) -> Result<Share, Unplaced> {
    let Some(number) = text.get_ref().trim().strip_suffix('%') else {
        return size("restore.max_share", text)
            .map(Share::Size)
            .map_err(|fault| Unplaced {
                message: fault.message + ", or \"10%\"",
                ..fault
            });
    };
    let number = number.trim();
    let plain = number.bytes().all(|b| b.is_ascii_digit() || b == b'.');
    match number.parse::<f64>() {
        Ok(percent) if plain && percent <= 100.0 => Ok(Share::Percent(percent)),
        _ => {
            let seen = text.get_ref();
            let message = format!("restore.max_share is {seen:?}; wanted 0% to 100%, or a size");
            Err(Unplaced::at(text, message))
        }
    }
}
