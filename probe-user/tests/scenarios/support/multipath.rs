//! Connections of Multipath TCP that get a second subflow: the kernel's path manager is told to, by hand, because no crate
//! in use speaks its language.
use std::net::Ipv4Addr;

use netlink_sys::{Socket, protocols::NETLINK_GENERIC};

use super::namespace::Namespace;

/// `MPTCP_PM_NAME` of `linux/mptcp_pm.h`.
const PATH_MANAGER: &[u8] = b"mptcp_pm\0";
/// `GENL_ID_CTRL` of `linux/genetlink.h`.
const CONTROLLER: u16 = 0x10;
const NLM_F_REQUEST: u16 = 1;
const NLM_F_ACK: u16 = 4;

/// From now on each connection of Multipath TCP in the namespace gets one more subflow, from this address.
pub(crate) fn join_from(namespace: &Namespace, address: Ipv4Addr) {
    namespace.run(move || {
        let socket = Socket::new(NETLINK_GENERIC).expect("a generic netlink socket");
        let family = family_of_path_manager(&socket);
        // MPTCP_PM_CMD_SET_LIMITS with MPTCP_PM_ATTR_RCV_ADD_ADDRS and MPTCP_PM_ATTR_SUBFLOWS.
        let limits = [attribute(2, &1_u32.to_ne_bytes()), attribute(3, &1_u32.to_ne_bytes())].concat();
        command(&socket, family, 5, &limits);
        // MPTCP_PM_CMD_ADD_ADDR with the family AF_INET, the address and the flag MPTCP_PM_ADDR_FLAG_SUBFLOW.
        let endpoint = [
            attribute(1, &2_u16.to_ne_bytes()),
            attribute(3, &address.octets()),
            attribute(6, &2_u32.to_ne_bytes()),
        ];
        const NESTED: u16 = 1 << 15;
        command(&socket, family, 1, &attribute(NESTED | 1, &endpoint.concat()));
    });
}

/// `CTRL_CMD_GETFAMILY`, answered with a `CTRL_ATTR_FAMILY_ID`.
fn family_of_path_manager(socket: &Socket) -> u16 {
    const CTRL_ATTR_FAMILY_ID: u16 = 1;
    let request = message(CONTROLLER, NLM_F_REQUEST, 3, &attribute(2, PATH_MANAGER));
    socket.send(&request, 0).expect("CTRL_CMD_GETFAMILY");
    let (answer, _) = socket.recv_from_full().expect("the answer to CTRL_CMD_GETFAMILY");
    let mut attributes = answer.get(20..).expect("attributes");
    loop {
        let [length, kind] = [0, 2].map(|at| number(attributes, at));
        if kind == CTRL_ATTR_FAMILY_ID {
            return number(attributes, 4);
        }
        attributes = attributes.get(usize::from(length).next_multiple_of(4)..).expect("a family");
    }
}

fn number(bytes: &[u8], at: usize) -> u16 {
    let bytes = bytes.get(at..at + 2).expect("two bytes");
    u16::from_ne_bytes(bytes.try_into().expect("two bytes"))
}

/// Has the path manager do something.
fn command(socket: &Socket, family: u16, command: u8, attributes: &[u8]) {
    let request = message(family, NLM_F_REQUEST | NLM_F_ACK, command, attributes);
    socket.send(&request, 0).expect("a command to the path manager");
    let (answer, _) = socket.recv_from_full().expect("the path manager's answer");
    let error = answer.get(16..20).and_then(|bytes| Some(i32::from_ne_bytes(bytes.try_into().ok()?)));
    assert_eq!(error, Some(0), "the path manager refuses command {command}");
}

/// `struct nlmsghdr` and `struct genlmsghdr`.
fn message(kind: u16, flags: u16, command: u8, attributes: &[u8]) -> Vec<u8> {
    let length = u32::try_from(20 + attributes.len()).expect("a short message");
    let mut message = Vec::new();
    message.extend(length.to_ne_bytes());
    message.extend(kind.to_ne_bytes());
    message.extend(flags.to_ne_bytes());
    message.extend([0; 8]); // sequence number, sender
    message.extend([command, 1, 0, 0]); // the version is 1 for both families
    message.extend(attributes);
    message
}

/// `struct nlattr` and its value, up to a multiple of four bytes.
fn attribute(kind: u16, value: &[u8]) -> Vec<u8> {
    let length = u16::try_from(4 + value.len()).expect("a short attribute");
    let mut attribute = [length.to_ne_bytes(), kind.to_ne_bytes()].concat();
    attribute.extend(value);
    attribute.resize(attribute.len().next_multiple_of(4), 0);
    attribute
}
