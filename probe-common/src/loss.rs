//! What the kernel side could not count where it belongs, by reason.

/// A reason for a count that is missing or went to the `other` row; the index into the `LOSSES` map.
#[repr(u32)]
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Loss {
    /// There is no row left for another listener: the event was counted in the `other` row.
    ListenerMapFull = 0,
    /// The end of a bracket without its beginning: what the kernel counted in between is in no row.
    BracketUnmatched = 1,
    /// The kernel's own counters could not be read: what it counted in between is in no row.
    CountersUnreadable = 2,
    /// The map of children that are not yet established is full: the child is counted nowhere.
    ChildMapFull = 3,
    /// The kernel's memory of a listener could not be read: the event was counted in the `other` row.
    ListenerUnreadable = 4,
    /// A row that two CPUs wanted at once could not be given back: it is not used again.
    RowLost = 5,
    /// The map of connections in accept queues is full: how long this one waits is not measured.
    AcceptWaitMapFull = 6,
}

impl Loss {
    /// How many reasons there are.
    pub const COUNT: u32 = 7;

    /// Every reason, in the order of the map's index.
    pub const ALL: [Self; 7] = [
        Self::ListenerMapFull,
        Self::BracketUnmatched,
        Self::CountersUnreadable,
        Self::ChildMapFull,
        Self::ListenerUnreadable,
        Self::RowLost,
        Self::AcceptWaitMapFull,
    ];

    /// The reason as a label value.
    #[must_use]
    pub const fn label(self) -> &'static str {
        match self {
            Self::ListenerMapFull => "listener_map_full",
            Self::BracketUnmatched => "bracket_unmatched",
            Self::CountersUnreadable => "counters_unreadable",
            Self::ChildMapFull => "child_map_full",
            Self::ListenerUnreadable => "listener_unreadable",
            Self::RowLost => "row_lost",
            Self::AcceptWaitMapFull => "accept_wait_map_full",
        }
    }
}
