//! CPU pressure: how long tasks wait for a processor (Documentation/accounting/psi.rst).

use std::fs;
use std::io::ErrorKind;
use std::path::Path;

use crate::model::Observed;

/// Percent of the last minute in which at least one task waited for a processor.
pub fn cpu() -> Observed<f64> {
    read(Path::new("/proc/pressure/cpu"))
}

fn read(path: &Path) -> Observed<f64> {
    let text = match fs::read_to_string(path) {
        Ok(text) => text,
        // EOPNOTSUPP: the kernel was built with it and started without (psi=0).
        Err(error) if error.kind() == ErrorKind::NotFound || error.raw_os_error() == Some(95) => {
            return Observed::Unknown("this kernel does not measure it".to_owned());
        }
        Err(error) => return Observed::Unknown(error.to_string()),
    };
    average(&text).map_or_else(
        || Observed::Unknown("it does not read as the kernel writes it".to_owned()),
        Observed::Known,
    )
}

/// `some avg10=1.53 avg60=0.87 avg300=0.73 total=1`, and a line for `full`.
fn average(text: &str) -> Option<f64> {
    let some = text.lines().find_map(|line| line.strip_prefix("some "))?;
    let minute = some
        .split(' ')
        .find_map(|field| field.strip_prefix("avg60="))?;
    let percent: f64 = minute.parse().ok()?;
    (0.0..=100.0).contains(&percent).then_some(percent)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_minute_of_some_counts_and_what_cannot_be_read_is_unknown() {
        let text = "some avg10=1.53 avg60=0.87 avg300=0.73 total=1\nfull avg10=9 avg60=9.00\n";
        assert_eq!(average(text), Some(0.87));
        for odd in [
            "",
            "full avg60=1.00",
            "some avg60=x",
            "some avg60=-1",
            "some avg60=101",
            "some avg60=NaN",
        ] {
            assert_eq!(average(odd), None, "{odd}");
        }
        let folder = tempfile::tempdir().unwrap();
        let file = folder.path().join("cpu");
        let Observed::Unknown(why) = read(&file) else {
            panic!("nothing is there");
        };
        assert_eq!(why, "this kernel does not measure it");
        fs::write(&file, text).unwrap();
        assert_eq!(read(&file), Observed::Known(0.87));
    }
}
