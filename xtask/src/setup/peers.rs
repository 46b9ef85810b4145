//! Programs that trace handshakes, too: bpftrace and libbpf-tools, and bpftool, which knows the names of programs.

use super::servers::{SUITE, Server};

/// All of them, of the release that all unpacked programs are of; it works on every kernel of the lab.
pub(super) const PEERS: Server = Server {
    name: "peers",
    suite: SUITE,
    packages: &["bpftrace", "libbpf-tools", "bpftool"],
    needs: |_| true,
    proof: "usr/bin/bpftrace",
};

/// The bpftrace of Debian 12, which counts in other ways than later ones.
pub(super) const PEERS_OF_DEBIAN_12: Server =
    Server { name: "peers", suite: "bookworm", packages: &["bpftrace"], ..PEERS };
