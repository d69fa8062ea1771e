//! Which engines there are.

/// Engine versions and stores. The number is the major version that Debian's suites have.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Kind {
    Overlay20,
    Overlay26,
    Containerd26,
    Overlay28,
    Containerd28,
}

impl Kind {
    pub const ALL: [Kind; 5] = [
        Kind::Overlay20,
        Kind::Overlay26,
        Kind::Containerd26,
        Kind::Overlay28,
        Kind::Containerd28,
    ];
    /// The oldest, the newest, and the newest with the other store.
    pub const MAIN: [Kind; 3] = [Kind::Overlay20, Kind::Overlay28, Kind::Containerd28];

    pub fn name(self) -> &'static str {
        match self {
            Kind::Overlay20 => "20.10 overlay2",
            Kind::Overlay26 => "26.1 overlay2",
            Kind::Containerd26 => "26.1 containerd",
            Kind::Overlay28 => "28.5 overlay2",
            Kind::Containerd28 => "28.5 containerd",
        }
    }

    pub fn major(self) -> &'static str {
        &self.name()[..2]
    }

    /// Has it the containerd image store?
    pub fn containerd(self) -> bool {
        matches!(self, Kind::Containerd26 | Kind::Containerd28)
    }

    /// The Debian suite whose packages it is.
    pub fn suite(self) -> &'static str {
        match self {
            Kind::Overlay20 => "bookworm",
            Kind::Overlay26 | Kind::Containerd26 => "trixie",
            Kind::Overlay28 | Kind::Containerd28 => "sid",
        }
    }
}
