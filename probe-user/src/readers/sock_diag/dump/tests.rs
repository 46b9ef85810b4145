//! Dumps made by hand, in the layout of `linux/inet_diag.h`.
use std::net::IpAddr;

use netlink_packet_sock_diag::constants::TCP_LISTEN;
use proptest::prelude::*;

use super::*;

const SEQUENCE: u32 = 7;
const SOCK_DIAG_BY_FAMILY: u16 = 20;
const NLMSG_ERROR: u16 = 2;
const NLMSG_DONE: u16 = 3;
const NLMSG_OVERRUN: u16 = 4;
const INET_DIAG_SKMEMINFO: u16 = 7;
const LISTEN: u8 = 10;

/// Listeners in words, with their drops.
#[derive(Debug, Default)]
struct Words(Vec<String>);

impl Collector for Words {
    const WHAT: &'static str = "listeners";
    const STATE: u8 = TCP_LISTEN;
    const EXTENSIONS: ExtensionFlags = ExtensionFlags::SKMEMINFO;
    const INNUMERABLE: bool = false;

    fn add(&mut self, socket: &InetResponse) -> Result<(), DumpError> {
        let header = &socket.header;
        let (address, port) = (header.socket_id.source_address, header.socket_id.source_port);
        let drops = drops(socket)?;
        let (length, limit) = (header.recv_queue, header.send_queue);
        let fields = (length, limit, header.inode);
        // Where a test damages a dump they are others.
        let fields = if fields == (3, 128, 99) { String::new() } else { format!(" {fields:?}") };
        self.0.push(format!("{address} {port}: {drops}{fields}"));
        Ok(())
    }
}

/// The same, of sockets that are many.
#[derive(Debug, Default)]
struct ManyWords(Words);

impl Collector for ManyWords {
    const WHAT: &'static str = "requests";
    const STATE: u8 = TCP_LISTEN;
    const EXTENSIONS: ExtensionFlags = ExtensionFlags::empty();
    const INNUMERABLE: bool = true;

    fn add(&mut self, socket: &InetResponse) -> Result<(), DumpError> {
        self.0.add(socket)
    }
}

/// One netlink message, padded.
fn message(kind: u16, flags: u16, sequence: u32, payload: &[u8]) -> Vec<u8> {
    let length = u32::try_from(payload.len() + 16).unwrap();
    let mut bytes = Vec::new();
    bytes.extend(length.to_ne_bytes());
    bytes.extend(kind.to_ne_bytes());
    bytes.extend(flags.to_ne_bytes());
    bytes.extend(sequence.to_ne_bytes());
    bytes.extend(0_u32.to_ne_bytes());
    bytes.extend(payload);
    bytes.resize(bytes.len().next_multiple_of(MESSAGE_ALIGNMENT), 0);
    bytes
}

/// A listener on `address` and `port`: queue 3 of 128, inode 99; with its drops if there are any.
fn socket(address: &str, port: u16, state: u8, cookie: u8, drops: Option<u32>) -> Vec<u8> {
    let address: IpAddr = address.parse().unwrap();
    let (family, mut octets) = match address {
        IpAddr::V4(address) => (AF_INET, address.octets().to_vec()),
        IpAddr::V6(address) => (AF_INET6, address.octets().to_vec()),
    };
    octets.resize(16, 0);
    let mut bytes = vec![family, state, 0, 0];
    bytes.extend(port.to_be_bytes());
    bytes.extend([0; 2]);
    bytes.extend(octets);
    bytes.extend([0; 20]);
    bytes.extend([cookie; 8]);
    for field in [0_u32, 3, 128, 0, 99] {
        bytes.extend(field.to_ne_bytes());
    }
    if let Some(drops) = drops {
        bytes.extend(40_u16.to_ne_bytes());
        bytes.extend(INET_DIAG_SKMEMINFO.to_ne_bytes());
        for field in [0, 0, 0, 0, 0, 0, 0, 0, drops] {
            bytes.extend(field.to_ne_bytes());
        }
    }
    bytes
}

fn listener(address: &str, port: u16, cookie: u8, drops: u32) -> Vec<u8> {
    message(SOCK_DIAG_BY_FAMILY, 2, SEQUENCE, &socket(address, port, LISTEN, cookie, Some(drops)))
}

fn done(code: i32) -> Vec<u8> {
    message(NLMSG_DONE, 2, SEQUENCE, &code.to_ne_bytes())
}

/// What the parts give: the ports with their drops, or what became of the dump.
fn outcome(family: Family, parts: &[Vec<u8>]) -> String {
    outcome_of(Dump::<Words>::new(family, SEQUENCE), parts, |Words(words)| words)
}

fn outcome_of<C: Collector>(
    mut dump: Dump<C>,
    parts: &[Vec<u8>],
    words: impl FnOnce(C) -> Vec<String>,
) -> String {
    for part in parts {
        match dump.add_part(part) {
            Ok(Progress::More) => {}
            Ok(Progress::Complete) => return words(dump.into_collector()).join(", "),
            Ok(Progress::Interrupted) => return "interrupted".to_owned(),
            Err(error) => return error.to_string(),
        }
    }
    "incomplete".to_owned()
}

#[test]
fn every_listener_of_every_part_is_taken_once() {
    let check = |parts: &[Vec<u8>], expected: &str| assert_eq!(outcome(Family::Inet, parts), expected);
    check(&[done(0)], "");
    check(&[[listener("10.0.0.1", 80, 1, 5), done(0)].concat()], "10.0.0.1 80: 5");
    check(
        &[[listener("0.0.0.0", 80, 1, 5), listener("0.0.0.0", 80, 2, 6)].concat(), done(0)],
        "0.0.0.0 80: 5, 0.0.0.0 80: 6",
    );
    check(&[listener("0.0.0.0", 80, 1, 5), listener("0.0.0.0", 80, 1, 6), done(0)], "0.0.0.0 80: 5");
    check(
        &[listener("0.0.0.0", 80, 1, u32::MAX), message(NLMSG_DONE, 2, SEQUENCE, &[])],
        "0.0.0.0 80: 4294967295",
    );
    check(&[listener("0.0.0.0", 80, 1, 5)], "incomplete");
}

#[test]
fn a_v4_mapped_address_stays_what_the_kernel_calls_it() {
    let check = |address: &str, expected: &str| {
        assert_eq!(outcome(Family::Inet6, &[listener(address, 80, 1, 0), done(0)]), expected);
    };
    check("::", ":: 80: 0");
    check("::ffff:10.0.0.1", "::ffff:10.0.0.1 80: 0");
    check("2001:db8::1", "2001:db8::1 80: 0");
}

#[test]
fn of_many_sockets_those_of_the_part_before_are_remembered() {
    let check = |parts: &[Vec<u8>], expected: &str| {
        let dump = Dump::<ManyWords>::new(Family::Inet, SEQUENCE);
        assert_eq!(outcome_of(dump, parts, |ManyWords(Words(words))| words), expected);
        let dump = Dump::<Words>::new(Family::Inet, SEQUENCE);
        let all = outcome_of(dump, parts, |Words(words)| words);
        assert_eq!(all, "0.0.0.0 1: 5, 0.0.0.0 2: 5");
    };
    let [first, second] = [1, 2].map(|cookie| listener("0.0.0.0", u16::from(cookie), cookie, 5));
    let once = "0.0.0.0 1: 5, 0.0.0.0 2: 5";
    check(&[[first.clone(), first.clone(), second.clone()].concat(), done(0)], once);
    check(&[first.clone(), [first.clone(), second.clone()].concat(), done(0)], once);
    check(&[first.clone(), second, first, done(0)], "0.0.0.0 1: 5, 0.0.0.0 2: 5, 0.0.0.0 1: 5");
}

#[test]
fn what_was_not_asked_for_is_left_out() {
    let established = message(SOCK_DIAG_BY_FAMILY, 2, SEQUENCE, &socket("10.0.0.1", 80, 1, 1, Some(5)));
    let stale = message(SOCK_DIAG_BY_FAMILY, 2, SEQUENCE + 1, &socket("10.0.0.1", 80, LISTEN, 1, Some(5)));
    let check = |part: Vec<u8>| assert_eq!(outcome(Family::Inet, &[part, done(0)]), "");
    check(established);
    check(stale);
    check(listener("::1", 80, 1, 5));
    check(message(1, 0, SEQUENCE, &[]));
}

#[test]
fn a_disturbed_dump_is_begun_again() {
    let interrupted =
        message(SOCK_DIAG_BY_FAMILY, 2 | NLM_F_DUMP_INTR, SEQUENCE, &socket("::", 1, LISTEN, 1, Some(0)));
    let check = |part: Vec<u8>| assert_eq!(outcome(Family::Inet6, &[part, done(0)]), "interrupted");
    check(interrupted);
    check(message(NLMSG_DONE, NLM_F_DUMP_INTR, SEQUENCE, &0_i32.to_ne_bytes()));
    check(message(NLMSG_OVERRUN, 0, SEQUENCE, &[]));
    check(done(-Errno::INTR.raw_os_error()));
}

#[test]
fn what_the_kernel_refuses_is_said_with_its_reason() {
    let check = |part: Vec<u8>, expected: &str| {
        let outcome = outcome(Family::Inet, &[part]);
        assert!(outcome.contains(expected), "{outcome:?} does not contain {expected:?}");
    };
    let error = |code: Errno| message(NLMSG_ERROR, 0, SEQUENCE, &(-code.raw_os_error()).to_ne_bytes());
    check(error(Errno::NOENT), "no tcp_diag");
    check(error(Errno::PERM), "refused: Operation not permitted");
    check(done(-Errno::NOMEM.raw_os_error()), "refused: Cannot allocate memory");
    check(done(i32::MIN), "refused");
    check(vec![1, 2, 3], "cannot be decoded");
    check(message(SOCK_DIAG_BY_FAMILY, 0, SEQUENCE, &[AF_INET, LISTEN]), "cannot be decoded");
    let no_drops = message(SOCK_DIAG_BY_FAMILY, 0, SEQUENCE, &socket("0.0.0.0", 80, LISTEN, 1, None));
    check(no_drops, "port 80 comes without INET_DIAG_SKMEMINFO");
}

#[test]
fn the_request_asks_for_tcp_sockets_of_one_state_and_what_is_wanted_of_them() {
    let check = |family: Family, code: u8| {
        let request = encode_request::<Words>(family, SEQUENCE);
        assert_eq!(request.len(), 72);
        assert_eq!(request[..4], 72_u32.to_ne_bytes());
        assert_eq!(request[4..6], SOCK_DIAG_BY_FAMILY.to_ne_bytes());
        assert_eq!(request[6..8], (NLM_F_REQUEST | NLM_F_DUMP).to_ne_bytes());
        assert_eq!(request[8..12], SEQUENCE.to_ne_bytes());
        assert_eq!(request[16..20], [code, IPPROTO_TCP, 1 << (INET_DIAG_SKMEMINFO - 1), 0]);
        assert_eq!(request[20..24], (1_u32 << LISTEN).to_ne_bytes());
    };
    check(Family::Inet, AF_INET);
    check(Family::Inet6, AF_INET6);
    let request = encode_request::<ManyWords>(Family::Inet, SEQUENCE);
    assert_eq!(request[16..20], [AF_INET, IPPROTO_TCP, 0, 0]);
}

proptest! {
    #[test]
    fn no_bytes_make_the_decoder_panic(bytes: Vec<u8>) {
        let _ = Dump::<Words>::new(Family::Inet, SEQUENCE).add_part(&bytes);
    }

    #[test]
    fn no_damaged_dump_makes_the_decoder_panic(place in 0_usize..400, byte: u8, cut in 0_usize..400) {
        let mut part = [listener("10.0.0.1", 80, 1, 5), listener("10.0.0.2", 80, 2, 5), done(0)].concat();
        let place = place % part.len();
        part[place] = byte;
        part.truncate(cut);
        let _ = Dump::<Words>::new(Family::Inet, SEQUENCE).add_part(&part);
    }

    #[test]
    fn no_payload_of_a_well_formed_message_makes_the_decoder_panic(
        kind in prop_oneof![Just(SOCK_DIAG_BY_FAMILY), 0_u16..6],
        payload: Vec<u8>,
        family in prop_oneof![Just(AF_INET), Just(AF_INET6), any::<u8>()],
    ) {
        let payload = [vec![family], payload].concat();
        let _ = Dump::<Words>::new(Family::Inet, SEQUENCE).add_part(&message(kind, 0, SEQUENCE, &payload));
    }
}
