//! What a client has sent and what has come back: pure bookkeeping.
use std::{collections::HashMap, fmt, net::SocketAddr};

use super::super::wire::Segment;

/// Names one handshake of one client.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct HandshakeId(usize);

/// One handshake, as the client knows it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Handshake {
    /// The client's end.
    pub client: SocketAddr,
    /// The server's end.
    pub server: SocketAddr,
    /// The client's initial sequence number: its SYN's.
    pub sequence: u32,
    /// The server's, by the latest SYN-ACK; `None` until the first.
    pub server_sequence: Option<u32>,
    /// SYN-ACKs that came.
    pub synacks: u64,
    /// Segments with RST that came.
    pub resets: u64,
    /// Whether a FIN came: the server's side is closed.
    pub finished: bool,
    /// How much data its SYN carried.
    pub(super) syn_data: u32,
    /// How much of that the server took (TCP Fast Open), by the latest SYN-ACK.
    pub data_taken: u32,
    /// How long the first data segment was.
    pub(super) first_data: u32,
}

impl Handshake {
    pub(super) const fn new(client: SocketAddr, server: SocketAddr, sequence: u32) -> Self {
        Self {
            client,
            server,
            sequence,
            server_sequence: None,
            synacks: 0,
            resets: 0,
            finished: false,
            syn_data: 0,
            data_taken: 0,
            first_data: 0,
        }
    }

    /// How much data of the SYN a SYN-ACK acknowledges: all of it or none. `None`: not even the SYN.
    fn data_taken_by(&self, synack: &Segment) -> Option<u32> {
        let taken = synack.acknowledgement?.wrapping_sub(self.sequence.wrapping_add(1));
        (taken == 0 || taken == self.syn_data).then_some(taken)
    }
}

/// Totals over all handshakes of a client, and each of them.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Ledger {
    /// First SYNs: one per handshake.
    pub syns_sent: u64,
    /// SYNs sent again.
    pub syn_retransmits_sent: u64,
    /// First last ACKs.
    pub last_acks_sent: u64,
    /// Last ACKs sent again.
    pub last_acks_again: u64,
    /// Segments with data, each of which is a last ACK as well.
    pub data_segments_sent: u64,
    /// Segments with RST.
    pub resets_sent: u64,
    /// ACKs that answer no SYN-ACK.
    pub bad_cookie_acks_sent: u64,
    /// ICMP errors.
    pub errors_sent: u64,
    /// Handshakes with at least one SYN-ACK.
    pub handshakes_answered: u64,
    /// SYN-ACKs, all of them.
    pub synacks_received: u64,
    /// SYN-ACKs with the server's sequence number of the one before: sent again.
    pub synacks_again: u64,
    /// Segments with RST.
    pub resets_received: u64,
    handshakes: Vec<Handshake>,
    by_client: HashMap<SocketAddr, HandshakeId>,
}

impl Ledger {
    /// One of its client's handshakes; `None` for another client's.
    #[must_use]
    pub fn handshake(&self, id: HandshakeId) -> Option<&Handshake> {
        self.handshakes.get(id.0)
    }

    /// All of its client's handshakes, in the order in which they were begun.
    pub fn handshakes(&self) -> impl Iterator<Item = (HandshakeId, &Handshake)> {
        self.handshakes.iter().enumerate().map(|(place, handshake)| (HandshakeId(place), handshake))
    }

    pub(super) fn handshake_mut(&mut self, id: HandshakeId) -> Option<&mut Handshake> {
        self.handshakes.get_mut(id.0)
    }

    /// Opens the account of a handshake.
    pub(super) fn begin(&mut self, handshake: Handshake) -> HandshakeId {
        let id = HandshakeId(self.handshakes.len());
        self.by_client.insert(handshake.client, id);
        self.handshakes.push(handshake);
        id
    }

    /// Takes in what came, if it is from the server of a handshake to its client.
    pub(super) fn note(&mut self, segment: &Segment) {
        let id = self.by_client.get(&segment.destination);
        let Some(handshake) = id.and_then(|id| self.handshakes.get_mut(id.0)) else { return };
        if segment.source != handshake.server {
            return;
        }
        if segment.reset {
            handshake.resets += 1;
            self.resets_received += 1;
        }
        handshake.finished |= segment.fin;
        // Two sides that open at once would answer without ACK; a listener does not.
        if segment.syn
            && let Some(data_taken) = handshake.data_taken_by(segment)
        {
            self.handshakes_answered += u64::from(handshake.server_sequence.is_none());
            self.synacks_again += u64::from(handshake.server_sequence == Some(segment.sequence));
            self.synacks_received += 1;
            handshake.synacks += 1;
            handshake.data_taken = data_taken;
            handshake.server_sequence = Some(segment.sequence);
        }
    }
}

impl fmt::Display for Ledger {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(
            formatter,
            "sent {} SYNs and {} again, {} last ACKs and {} again, {} with data, {} RSTs, {} bad cookies, {} ICMP errors; \
             received {} SYN-ACKs ({} again) for {} handshakes, {} RSTs",
            self.syns_sent,
            self.syn_retransmits_sent,
            self.last_acks_sent,
            self.last_acks_again,
            self.data_segments_sent,
            self.resets_sent,
            self.bad_cookie_acks_sent,
            self.errors_sent,
            self.synacks_received,
            self.synacks_again,
            self.handshakes_answered,
            self.resets_received,
        )
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const CLIENT: &str = "192.0.2.1:1024";
    const SERVER: &str = "127.0.0.1:80";

    fn begun() -> (Ledger, HandshakeId) {
        let mut ledger = Ledger::default();
        let id = ledger.begin(Handshake::new(CLIENT.parse().unwrap(), SERVER.parse().unwrap(), 100));
        (ledger, id)
    }

    fn from_server(sequence: u32) -> Segment {
        Segment {
            sequence,
            acknowledgement: Some(101),
            ..Segment::between(SERVER.parse().unwrap(), CLIENT.parse().unwrap())
        }
    }

    fn synack(sequence: u32) -> Segment {
        Segment { syn: true, ..from_server(sequence) }
    }

    #[test]
    fn a_synack_is_an_answer_once_and_then_one_again() {
        let (mut ledger, id) = begun();
        ledger.note(&synack(7));
        ledger.note(&synack(7));
        // The server forgot the handshake and took a SYN sent again for a new one.
        ledger.note(&synack(8));
        assert_eq!((ledger.handshakes_answered, ledger.synacks_received, ledger.synacks_again), (1, 3, 1));
        let handshake = ledger.handshake(id).unwrap();
        assert_eq!((handshake.synacks, handshake.server_sequence), (3, Some(8)));
    }

    #[test]
    fn a_synack_takes_all_data_of_the_syn_or_none() {
        let (mut ledger, id) = begun();
        ledger.handshake_mut(id).unwrap().syn_data = 3;
        for (acknowledgement, taken) in [(104, 3), (101, 0)] {
            ledger.note(&Segment { acknowledgement: Some(acknowledgement), ..synack(7) });
            assert_eq!(ledger.handshake(id).unwrap().data_taken, taken);
        }
        ledger.note(&Segment { acknowledgement: Some(102), ..synack(7) });
        assert_eq!(ledger.synacks_received, 2);
    }

    #[test]
    fn resets_and_the_end_are_noted() {
        let (mut ledger, id) = begun();
        ledger.note(&Segment { reset: true, ..from_server(8) });
        ledger.note(&Segment { fin: true, ..from_server(8) });
        let handshake = ledger.handshake(id).unwrap();
        assert_eq!((handshake.resets, handshake.finished), (1, true));
        assert_eq!(ledger.resets_received, 1);
    }

    #[test]
    fn what_is_not_of_a_handshake_is_left_aside() {
        let (mut ledger, _) = begun();
        let before = ledger.clone();
        // The client's own packets come by the loopback interface too.
        ledger.note(&Segment {
            syn: true,
            ..Segment::between(CLIENT.parse().unwrap(), SERVER.parse().unwrap())
        });
        ledger.note(&Segment { source: "127.0.0.1:81".parse().unwrap(), ..synack(7) });
        ledger.note(&Segment { destination: "192.0.2.2:1024".parse().unwrap(), ..synack(7) });
        ledger.note(&Segment { acknowledgement: Some(100), ..synack(7) });
        ledger.note(&Segment { acknowledgement: None, ..synack(7) });
        ledger.note(&from_server(7));
        assert_eq!(ledger, before);
    }
}
