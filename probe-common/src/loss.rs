//! What the kernel side could not count where it belongs, by reason.

/// A reason for a count that is missing or went to the `other` row; the index into the `LOSSES` map.
#[repr(u32)]
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Loss {
    /// The `HANDSHAKE` map has no room for another port: the event was counted in the `other` row.
    PortMapFull = 0,
    /// The end of a bracket without its beginning: what the kernel counted in between is in no row.
    BracketUnmatched = 1,
    /// The kernel's own counters could not be read: what it counted in between is in no row.
    CountersUnreadable = 2,
    /// The map of children that are not yet established is full: the child is counted nowhere.
    ChildMapFull = 3,
}

impl Loss {
    /// How many reasons there are.
    pub const COUNT: u32 = 4;

    /// Every reason, in the order of the map's index.
    pub const ALL: [Self; 4] =
        [Self::PortMapFull, Self::BracketUnmatched, Self::CountersUnreadable, Self::ChildMapFull];

    /// The reason as a label value.
    #[must_use]
    pub const fn label(self) -> &'static str {
        match self {
            Self::PortMapFull => "port_map_full",
            Self::BracketUnmatched => "bracket_unmatched",
            Self::CountersUnreadable => "counters_unreadable",
            Self::ChildMapFull => "child_map_full",
        }
    }
}
