//! `[cache]` as it is typed: what verify-cache promises.

use std::path::PathBuf;
use std::time::Duration;

use toml::Spanned;

use crate::model::reference::Reference;
use crate::policy::file::Cache;
use crate::policy::pattern::NamePattern;
use crate::policy::valid::Promised;
use crate::policy::value::{absolute_pattern, age, each};
use crate::policy::wording::Unplaced;

/// The ledger remembers days of use for somewhat longer.
const LONGEST: Duration = Duration::from_hours(24 * 120);

pub(super) fn read(file: &Cache) -> Result<Promised, Unplaced> {
    let images = each("cache.images", &file.images, |text| {
        Reference::typed(text).map_err(|error| error.to_string())
    })?;
    let never = each("cache.never", &file.never, NamePattern::parse)?;
    for (name, text) in images.iter().zip(&file.images) {
        if let Some(pattern) = never.iter().find(|pattern| pattern.covers(name)) {
            let message = format!(
                "cache.images has {:?}, and cache.never has {:?}; wanted it in one of them alone",
                text.get_ref(),
                pattern.text
            );
            return Err(Unplaced::at(text, message));
        }
    }
    let lists = file.lists.iter().map(list);
    Ok(Promised {
        images,
        lists: lists.collect::<Result<_, _>>()?,
        recent: file.recent.as_ref().map(recent).transpose()?,
        never,
    })
}

fn list(text: &Spanned<String>) -> Result<PathBuf, Unplaced> {
    let path = absolute_pattern("cache.lists", text)?;
    if path.file_name().is_none() {
        let message = format!("cache.lists: {:?} is no file", text.get_ref());
        return Err(Unplaced::at(text, message));
    }
    Ok(path)
}

fn recent(text: &Spanned<String>) -> Result<Duration, Unplaced> {
    let time = age("cache.recent", text)?;
    if time > LONGEST {
        let message = format!(
            "cache.recent is {:?}; wanted at most \"120d\": no more days of use are remembered",
            text.get_ref()
        );
        return Err(Unplaced::at(text, message));
    }
    Ok(time)
}
