//! A daemon ends, in good order or not, and another one goes on where it was.
use std::{
    env,
    fs::File,
    net::{SocketAddr, TcpStream},
    os::fd::AsFd,
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    thread,
    time::{Duration, Instant},
};

use nix::sys::signal::Signal;
use socket2::SockRef;

use super::{
    LISTENERS, OTHER_LISTENERS, Setup,
    bench::Bench,
    support::{
        namespace::{Namespace, enter},
        service_manager::ServiceManager,
        sockets::{IPV4, Listener, connect_in_turn},
        wait::{ensure, pause_for, wait_until},
    },
};

const BACKLOG: u32 = 4;
const CLIENTS: u64 = 12;
/// How often the daemon is killed while there is traffic, and how long it lives and is dead each time.
const ROUNDS: u32 = 3;
const ROUND: Duration = Duration::from_secs(1);
/// The length of all rounds together, in seconds, where somebody wants more.
const SECONDS_VARIABLE: &str = "TCP_BACKLOG_PROBE_FLOOD_SECONDS";

/// A flood of connections to a listener whose queue overflows again and again, and to others that come and go.
pub(crate) fn a_daemon_that_is_killed_in_a_flood_has_lost_no_count(setup: &Setup) {
    let manager = ServiceManager::start();
    let mut bench = Bench::of(Namespace::new(), manager.start_daemon(&setup.arguments()), setup);
    bench.allow_for_missed_kprobes(CLIENTS);
    let listener = Listener::open(&bench.namespace, IPV4, BACKLOG);
    let flood = Flood::start(&bench.namespace, &listener);
    let mut queued = 0;
    for _ in 0..ROUNDS {
        pause_for(round());
        let before = bench.kernel();
        bench.end_daemon(Signal::SIGKILL);
        // Nobody looks while a listener comes, overflows and goes.
        let other = Listener::open(&bench.namespace, IPV4, BACKLOG);
        let clients = connect_in_turn(&bench.namespace, &other, other.address, CLIENTS);
        queued += other.queue_length(&bench.namespace);
        drop((clients, other));
        pause_for(round());
        bench.wait_for("the queue overflows meanwhile", |kernel| {
            kernel.listen_overflows > before.listen_overflows
        });
        bench.replace_daemon(manager.start_daemon(&setup.arguments()));
        assert!(bench.log().contains("went on with the hooks"), "{}", bench.log());
    }
    queued += flood.end();
    bench.compare("every count of three daemons", |moment| {
        ensure(moment.kernel.listen_overflows > u64::from(ROUNDS), || format!("{:?}", moment.kernel))?;
        let established = moment
            .metrics
            .sum("tcp_backlog_established_total", &[("netns", &bench.namespace.inode().to_string())]);
        // Not PassiveOpens: where two processors handle packets of one request at once, each makes a child.
        let queued = queued + listener.queue_length(&bench.namespace);
        let allowed = moment.skipped.of_connections(bench.full());
        let missing = established.and_then(|established| queued.checked_sub(established));
        ensure(missing.is_some_and(|missing| missing <= allowed), || {
            format!("{established:?} established, while {queued} came into a queue")
        })
    });
}

fn round() -> Duration {
    let seconds = env::var(SECONDS_VARIABLE).ok().and_then(|text| text.parse::<u32>().ok());
    seconds.map_or(ROUND, |seconds| Duration::from_secs(1) * seconds / (2 * ROUNDS))
}

/// Clients of one listener, which accepts now and then.
struct Flood {
    over: Arc<AtomicBool>,
    clients: Vec<thread::JoinHandle<()>>,
    /// Gives how many connections it accepted.
    server: thread::JoinHandle<u64>,
}

impl Flood {
    fn start(namespace: &Namespace, listener: &Listener) -> Self {
        let over = Arc::<AtomicBool>::default();
        let client = |_| {
            let (handle, address, over) = (namespace.handle(), listener.address, Arc::clone(&over));
            thread::spawn(move || connect_until(&handle, address, &over))
        };
        let clients = (0..8).map(client).collect();
        let (listener, ends) = (listener.another_hold(), Arc::clone(&over));
        let server = thread::spawn(move || {
            let mut accepted = 0;
            while !ends.load(Ordering::Relaxed) {
                // Slower than they come.
                pause_for(Duration::from_millis(100));
                while listener.accept_one() {
                    accepted += 1;
                }
            }
            accepted
        });
        Self { over, clients, server }
    }

    /// Gives how many connections were accepted.
    fn end(self) -> u64 {
        self.over.store(true, Ordering::Relaxed);
        for client in self.clients {
            client.join().expect("a client of the flood");
        }
        self.server.join().expect("the server of the flood")
    }
}

/// Most of them are refused at first and try again; nobody waits for longer than it takes to be refused once more.
fn connect_until(handle: &File, address: SocketAddr, over: &AtomicBool) {
    enter(handle);
    while !over.load(Ordering::Relaxed) {
        if let Ok(client) = TcpStream::connect_timeout(&address, Duration::from_millis(1_500)) {
            // Ends with a reset: no port is kept from the next one.
            let lingering = SockRef::from(&client.as_fd()).set_linger(Some(Duration::ZERO));
            lingering.expect("SO_LINGER");
        }
    }
}

/// Other hooks are asked for, so those of the daemon before are not taken over: its totals are.
pub(crate) fn totals_go_on_with_other_hooks(setup: &Setup) {
    let manager = ServiceManager::start();
    let mut bench = Bench::of(Namespace::new(), manager.start_daemon(&setup.arguments()), setup);
    let open = Listener::open(&bench.namespace, IPV4, BACKLOG);
    let closed = Listener::open(&bench.namespace, IPV4, BACKLOG);
    let mut clients = connect_in_turn(&bench.namespace, &open, open.address, CLIENTS);
    clients.extend(connect_in_turn(&bench.namespace, &closed, closed.address, 2));
    let refused = CLIENTS - open.capacity();
    bench.wait_for("an overflow", |kernel| kernel.listen_overflows >= refused);
    // Else they would send their SYNs again while nothing is attached.
    drop(clients);
    drop(closed);
    // Room for the one that comes later.
    while open.accept_one() {}
    bench.compare("before the restart", |_| Ok(()));
    let descriptors = manager.kept();
    bench.end_daemon(Signal::SIGTERM);
    manager.wait_for("STOPPING=1");
    let other = |argument| if argument == LISTENERS { OTHER_LISTENERS } else { argument };
    let arguments: Vec<&str> = setup.arguments().into_iter().map(other).collect();
    bench.replace_daemon(manager.start_daemon(&arguments));
    assert!(bench.log().contains("went on from the totals"), "{}", bench.log());
    assert_eq!(manager.kept(), descriptors, "what is of no use any more is still kept");
    let more = connect_in_turn(&bench.namespace, &open, open.address, 1);
    bench.compare("totals of both daemons", |moment| {
        let established = moment.of_port(open.address, "established_total");
        let expected = open.capacity() + 1;
        ensure(established == Some(expected), || format!("{established:?} established, not {expected}"))
    });
    drop(more);
}

/// What systemd waits for, and what it does.
pub(crate) fn a_service_manager_is_told_what_goes_on(setup: &Setup) {
    let manager = ServiceManager::start();
    let watchdog = [("WATCHDOG_USEC", "400000")];
    let mut daemon = manager.start_daemon_with(&setup.arguments(), &watchdog);
    manager.wait_for("WATCHDOG=1");
    daemon.send(Signal::SIGHUP);
    manager.wait_for("RELOADING=1");
    let begun = Instant::now();
    assert!(daemon.end_with(Signal::SIGTERM).success());
    manager.wait_for("STOPPING=1");
    wait_until("it ends soon", || {
        let elapsed = begun.elapsed();
        ensure(elapsed < Duration::from_secs(60), || format!("{elapsed:?}"))
    });
}
