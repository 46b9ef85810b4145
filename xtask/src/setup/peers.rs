//! Programs that trace handshakes, too: bpftrace and libbpf-tools, and bpftool, which knows the names of programs.

use super::servers::Server;

/// All of them, of the release that all unpacked programs are of; it works on every kernel of the lab.
pub(super) const PEERS: Server = Server {
    name: "peers",
    packages: &["bpftrace", "libbpf-tools", "bpftool"],
    needs: |_| true,
    proof: "usr/bin/bpftrace",
};
