//! Small kernels for tests: BTF written by hand, parsed by the real parser.
#![expect(clippy::cast_possible_truncation, reason = "these kernels are a few hundred bytes")]
use super::kernel_types::KernelTypes;

const PTR: u32 = 2;
const STRUCT: u32 = 4;
const UNION: u32 = 5;
const ENUM: u32 = 6;
const TYPEDEF: u32 = 8;
const CONST: u32 = 10;
const FUNC: u32 = 12;
const FUNC_PROTO: u32 = 13;

/// Writes types one by one; each gets the next number, as in a kernel.
#[derive(Default)]
pub(super) struct BtfWriter {
    types: Vec<u8>,
    strings: Vec<u8>,
    count: u32,
}

impl BtfWriter {
    pub(super) fn new() -> Self {
        // The first string is the empty one; type 1 is an int that stands for anything.
        let mut writer = Self { strings: vec![0], ..Self::default() };
        let name = writer.string("int");
        writer.words(&[name, 1 << 24, 4, 32]);
        writer.count = 1;
        writer
    }

    /// The int.
    pub(super) const ANYTHING: u32 = 1;

    fn string(&mut self, text: &str) -> u32 {
        if text.is_empty() {
            return 0;
        }
        let offset = self.strings.len() as u32;
        self.strings.extend(text.as_bytes());
        self.strings.push(0);
        offset
    }

    fn words(&mut self, words: &[u32]) {
        self.types.extend(words.iter().flat_map(|word| word.to_le_bytes()));
    }

    fn begin(&mut self, name: &str, kind: u32, length: usize, size_or_type: u32) -> u32 {
        let name = self.string(name);
        self.words(&[name, kind << 24 | length as u32, size_or_type]);
        self.count += 1;
        self.count
    }

    /// A structure with members (name, type, offset in bytes).
    pub(super) fn structure(&mut self, name: &str, members: &[(&str, u32, u32)]) -> u32 {
        self.aggregate(name, STRUCT, members)
    }

    pub(super) fn union(&mut self, name: &str, members: &[(&str, u32, u32)]) -> u32 {
        self.aggregate(name, UNION, members)
    }

    fn aggregate(&mut self, name: &str, kind: u32, members: &[(&str, u32, u32)]) -> u32 {
        let id = self.begin(name, kind, members.len(), 64);
        for (name, member_type, offset) in members {
            let name = self.string(name);
            self.words(&[name, *member_type, offset * 8]);
        }
        id
    }

    pub(super) fn enumeration(&mut self, name: &str, members: &[(&str, u32)]) -> u32 {
        let id = self.begin(name, ENUM, members.len(), 4);
        for (name, value) in members {
            let name = self.string(name);
            self.words(&[name, *value]);
        }
        id
    }

    pub(super) fn pointer_to(&mut self, pointee: u32) -> u32 {
        self.begin("", PTR, 0, pointee)
    }

    pub(super) fn constant(&mut self, of: u32) -> u32 {
        self.begin("", CONST, 0, of)
    }

    fn prototype(&mut self, parameters: &[u32], returned: u32) -> u32 {
        let id = self.begin("", FUNC_PROTO, parameters.len(), returned);
        for parameter in parameters {
            self.words(&[0, *parameter]);
        }
        id
    }

    /// A function; `returned` 0 is void.
    pub(super) fn function(&mut self, name: &str, parameters: &[u32], returned: u32) -> u32 {
        let prototype = self.prototype(parameters, returned);
        self.begin(name, FUNC, 0, prototype)
    }

    /// A tracepoint, with its leading `void *__data`.
    pub(super) fn tracepoint(&mut self, name: &str, parameters: &[u32]) -> u32 {
        let data = self.pointer_to(0);
        let parameters: Vec<u32> = [data].into_iter().chain(parameters.iter().copied()).collect();
        let prototype = self.prototype(&parameters, 0);
        let pointer = self.pointer_to(prototype);
        self.begin(&format!("btf_trace_{name}"), TYPEDEF, 0, pointer)
    }

    pub(super) fn bytes(&self) -> Vec<u8> {
        let (types, strings) = (self.types.len() as u32, self.strings.len() as u32);
        let mut bytes = vec![0x9f, 0xeb, 1, 0];
        let header: [u32; 5] = [24, 0, types, types, strings];
        bytes.extend(header.iter().flat_map(|word| word.to_le_bytes()));
        bytes.extend(&self.types);
        bytes.extend(&self.strings);
        bytes
    }

    pub(super) fn parse(&self) -> KernelTypes {
        KernelTypes::parse(&self.bytes()).expect("the test's BTF must be valid")
    }
}

/// How a test's kernel differs from one that has everything.
#[derive(Clone, Copy, Default)]
pub(super) struct Kernel {
    /// Functions and tracepoints that it lacks.
    pub(super) lacks: &'static [&'static str],
    /// It is as old as 5.10: `void inet_csk_reqsk_queue_hash_add()`, no `rx_sk`, six arguments of
    /// `tcp_v4_syn_recv_sock()`, no `bpf_map_lookup_percpu_elem()`.
    pub(super) old: bool,
}

impl Kernel {
    pub(super) fn types(self) -> KernelTypes {
        let mut btf = BtfWriter::new();
        let any = BtfWriter::ANYTHING;
        let structures = Structures::write(&mut btf);
        let Structures { sock, request, skb, .. } = structures;
        let functions = structures.functions(self.old);
        for (name, parameters, returned) in &functions {
            if !self.lacks.contains(name) {
                btf.function(name, parameters, *returned);
            }
        }
        if !self.old {
            btf.enumeration("bpf_func_id", &[("BPF_FUNC_map_lookup_percpu_elem", 195)]);
        }
        let freed = if self.old { vec![skb, any] } else { vec![skb, any, any, sock] };
        let tracepoints: &[(&str, Vec<u32>)] = &[
            ("sk_data_ready", vec![sock]),
            ("inet_sock_set_state", vec![sock, any, any]),
            ("tcp_retransmit_synack", vec![sock, request]),
            ("kfree_skb", freed),
        ];
        for (name, parameters) in tracepoints {
            if !self.lacks.contains(name) {
                btf.tracepoint(name, parameters);
            }
        }
        btf.parse()
    }
}

fn syn_recv_sock(old: bool, sock: u32, skb: u32, request: u32) -> Vec<u32> {
    let any = BtfWriter::ANYTHING;
    let mut parameters = vec![sock, skb, request, any, any, any];
    parameters.extend((!old).then_some(any));
    parameters
}

/// The kernel's counters, as 6.12 numbers them.
const MIBS: [(&str, u32); 7] = [
    ("LINUX_MIB_SYNCOOKIESSENT", 1),
    ("LINUX_MIB_SYNCOOKIESRECV", 2),
    ("LINUX_MIB_SYNCOOKIESFAILED", 3),
    ("LINUX_MIB_LISTENOVERFLOWS", 19),
    ("LINUX_MIB_LISTENDROPS", 20),
    ("LINUX_MIB_TCPREQQFULLDOCOOKIES", 76),
    ("LINUX_MIB_TCPREQQFULLDROP", 77),
];

/// Pointers to the structures that every kernel has.
struct Structures {
    sock: u32,
    request: u32,
    skb: u32,
    timer: u32,
    socket: u32,
}

impl Structures {
    /// The functions that a hook may be attached to: name, parameters, what is returned.
    fn functions(&self, old: bool) -> Vec<(&'static str, Vec<u32>, u32)> {
        let any = BtfWriter::ANYTHING;
        let Self { sock, request, skb, timer, socket } = *self;
        let result = sock;
        vec![
            ("tcp_v4_conn_request", vec![sock, skb], any),
            ("tcp_v6_conn_request", vec![sock, skb], any),
            ("subflow_v4_conn_request", vec![sock, skb], any),
            ("subflow_v6_conn_request", vec![sock, skb], any),
            ("tcp_conn_request", vec![any, any, sock, skb], any),
            ("tcp_peer_is_proven", vec![request, any], any),
            ("tcp_check_req", vec![sock, skb, request, any, any], result),
            ("cookie_v4_check", vec![sock, skb], result),
            ("cookie_v6_check", vec![sock, skb], result),
            ("reqsk_timer_handler", vec![timer], 0),
            ("__sys_listen", vec![any, any], any),
            ("__sys_listen_socket", vec![socket, any], any),
            ("inet_listen", vec![socket, any], any),
            ("__inet_listen_sk", vec![sock, any], any),
            ("inet_csk_accept", if old { vec![sock, any, any, any] } else { vec![sock, any] }, result),
            ("security_sock_graft", vec![sock, socket], 0),
            ("inet_csk_listen_start", vec![sock], any),
            ("inet_csk_listen_stop", vec![sock], 0),
            ("inet_child_forget", vec![sock, request, sock], 0),
            ("tcp_req_err", vec![sock, any, any], 0),
            ("tcp_v4_syn_recv_sock", syn_recv_sock(old, sock, skb, request), result),
            ("tcp_v6_syn_recv_sock", syn_recv_sock(old, sock, skb, request), result),
            ("inet_csk_reqsk_queue_hash_add", vec![sock, request, any], if old { 0 } else { any }),
            ("inet_csk_complete_hashdance", vec![sock, sock, request, any], result),
            ("inet_csk_reqsk_queue_add", vec![sock, request, sock], result),
            ("mptcp_finish_join", vec![sock], any),
            ("bpf_rdonly_cast", vec![any, any], any),
            ("cookie_v4_init_sequence", vec![skb, any], any),
            ("cookie_v6_init_sequence", vec![skb, any], any),
        ]
    }

    /// The structures around a listener's queues; the timer's is returned.
    fn write_queue(btf: &mut BtfWriter) -> u32 {
        let any = BtfWriter::ANYTHING;
        let inode = btf.structure("inode", &[("i_ino", any, 64)]);
        btf.structure("socket_alloc", &[("vfs_inode", inode, 128)]);
        let atomic = btf.structure("", &[("counter", any, 0)]);
        let queue = btf.structure("request_sock_queue", &[("qlen", atomic, 12)]);
        btf.structure("inet_connection_sock", &[("icsk_accept_queue", queue, 900)]);
        let space = btf.structure("", &[("time", any, 8)]);
        btf.structure("tcp_sock", &[("rcvq_space", space, 1_600)]);
        let entry = btf.structure("hlist_node", &[("pprev", any, 8)]);
        btf.structure("timer_list", &[("entry", entry, 0)])
    }

    /// What a listener's file leads through, and what came with the care for threads that sleep.
    fn write_socket(btf: &mut BtfWriter, sock: u32) -> u32 {
        btf.structure("bpf_tramp_image", &[("image", BtfWriter::ANYTHING, 0)]);
        let socket = btf.structure("socket", &[("sk", sock, 24)]);
        btf.pointer_to(socket)
    }

    /// A network namespace.
    fn write_net(btf: &mut BtfWriter) {
        let any = BtfWriter::ANYTHING;
        let mib = btf.structure("netns_mib", &[("net_statistics", any, 24)]);
        let common = btf.structure("ns_common", &[("inum", any, 16)]);
        let ipv4 = btf.structure(
            "netns_ipv4",
            &[
                ("sysctl_tcp_syncookies", any, 4),
                ("sysctl_tcp_abort_on_overflow", any, 5),
                ("sysctl_tcp_fastopen", any, 8),
            ],
        );
        btf.structure(
            "net",
            &[("hash_mix", any, 40), ("ns", common, 128), ("mib", mib, 512), ("ipv4", ipv4, 640)],
        );
    }

    fn write(btf: &mut BtfWriter) -> Self {
        let any = BtfWriter::ANYTHING;
        Self::write_net(btf);
        let possible_net = btf.structure("", &[("net", any, 0)]);
        let fields = ["skc_family", "skc_state", "skc_num", "skc_rcv_saddr", "skc_v6_rcv_saddr", "skc_hash"];
        let mut members: Vec<(&str, u32, u32)> =
            fields.iter().zip((0..).step_by(16)).map(|(name, offset)| (*name, any, offset)).collect();
        members.push(("skc_net", possible_net, 96));
        let listener = btf.union("", &[("skc_flags", any, 0), ("skc_listener", any, 0)]);
        members.push(("", listener, 104));
        let sock_common = btf.structure("sock_common", &members);
        let plain = ["sk_protocol", "sk_ack_backlog", "sk_max_ack_backlog", "sk_drops", "sk_socket"];
        let mut members: Vec<(&str, u32, u32)> =
            plain.iter().zip((200..).step_by(8)).map(|(name, offset)| (*name, any, offset)).collect();
        members.push(("__sk_common", sock_common, 0));
        let sock = btf.structure("sock", &members);
        btf.structure("inet_sock", &[("sk", sock, 0), ("inet_sport", any, 800)]);
        let timer = Self::write_queue(btf);
        let request =
            btf.structure("request_sock", &[("__req_common", sock_common, 0), ("rsk_timer", timer, 160)]);
        let sock_pointer = btf.pointer_to(sock);
        let socket = Self::write_socket(btf, sock_pointer);
        btf.structure("tcp_request_sock", &[("rcv_isn", any, 280)]);
        let skb = ["protocol", "network_header", "transport_header", "head", "end"];
        let skb: Vec<_> = skb.iter().zip((8..).step_by(8)).map(|(name, at)| (*name, any, at)).collect();
        let skb = btf.structure("sk_buff", &skb);
        btf.structure("skb_shared_info", &[("gso_segs", any, 4)]);
        btf.structure("bpf_array", &[("pptrs", any, 312)]);
        btf.structure("linux_mib", &[("mibs", any, 0)]);
        btf.enumeration("", &MIBS);
        btf.enumeration("skb_drop_reason", &[("SKB_DROP_REASON_TCP_LISTEN_OVERFLOW", 40)]);
        Self {
            sock: sock_pointer,
            socket,
            request: btf.pointer_to(request),
            skb: btf.pointer_to(skb),
            timer: btf.pointer_to(timer),
        }
    }
}
