//! Extensions that precede an entry: GNU long names and PAX records.

/// What extensions set for the next entry.
#[derive(Default)]
pub struct Overrides {
    pub name: Option<String>,
    pub link: Option<String>,
    pub size: Option<u64>,
}

impl Overrides {
    pub fn take(&mut self, kind: u8, bytes: &[u8]) -> Result<(), String> {
        match kind {
            b'L' => self.name = Some(text(bytes)),
            b'K' => self.link = Some(text(bytes)),
            b'x' => self
                .pax(bytes)
                .ok_or("the export is no tar file: a PAX record does not read")?,
            // Global records contain nothing that matters here.
            _ => {}
        }
        Ok(())
    }

    /// `<length> <key>=<value>\n`; the length includes itself.
    fn pax(&mut self, mut bytes: &[u8]) -> Option<()> {
        while !bytes.is_empty() {
            let space = bytes.iter().position(|b| *b == b' ')?;
            let length: usize = std::str::from_utf8(&bytes[..space]).ok()?.parse().ok()?;
            let record = bytes.get(space + 1..length)?;
            let record = std::str::from_utf8(record).ok()?.strip_suffix('\n')?;
            let (key, value) = record.split_once('=')?;
            match key {
                "path" => self.name = Some(value.to_owned()),
                "linkpath" => self.link = Some(value.to_owned()),
                "size" => self.size = Some(value.parse().ok()?),
                _ => {}
            }
            bytes = &bytes[length..];
        }
        Some(())
    }
}

/// Up to the first zero byte.
pub fn text(field: &[u8]) -> String {
    let end = field.iter().position(|b| *b == 0).unwrap_or(field.len());
    String::from_utf8_lossy(&field[..end]).into_owned()
}
