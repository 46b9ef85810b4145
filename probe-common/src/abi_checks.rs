//! Compile-time checks that the shared types have no padding: every byte that the
//! kernel hashes or copies to the user side is one that was written.
use core::mem::{align_of, size_of};

use crate::{
    accept_queue::{
        AcceptQueueCounters, AcceptedCounters, FILL_BUCKETS, ListenCall, QueuedChild, WAIT_BUCKETS,
    },
    handshake::{HandshakeCounters, PortKey},
    kernel_offsets::KernelOffsets,
    listener::{ListenerIdentity, ListenerSlot},
    loss::Loss,
    queue_peaks::QueuePeaks,
    settings::{AddressRange, DISCARD_SITES, Settings},
};

const _: () = {
    assert!(size_of::<PortKey>() == 16 + 4 + 2 + 2);
    assert!(align_of::<PortKey>() == 4);
    assert!(size_of::<HandshakeCounters>() == HandshakeCounters::FIELDS * 8);
    assert!(size_of::<ListenerSlot>() == 4 + 2 + 2);
    assert!(size_of::<ListenerIdentity>() == 6 * 8 + size_of::<PortKey>());
    assert!(size_of::<QueuePeaks>() == 3 * 8 + 2 * 4 * 4 + 2 * 4);
    assert!(size_of::<AcceptQueueCounters>() == 2 * size_of::<QueuePeaks>() + (FILL_BUCKETS + 1) * 8);
    assert!(size_of::<AcceptedCounters>() == (WAIT_BUCKETS + 6) * 8);
    assert!(size_of::<QueuedChild>() == 3 * 8);
    assert!(size_of::<ListenCall>() == 8 + 2 * 4);
    assert!(size_of::<AddressRange>() == 2 * 8);
    assert!(size_of::<Settings>() == DISCARD_SITES * size_of::<AddressRange>() + 10 * 4);
    assert!(size_of::<KernelOffsets>() == KernelOffsets::FIELDS * 4);
    assert!(Loss::ALL.len() == Loss::COUNT as usize);
};
