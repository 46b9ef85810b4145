//! What listen() is asked for, what becomes of it, and which limit made it so.
use nix::libc;
use serde_json::{Value, json};

use super::{
    Setup,
    bench::Bench,
    support::{
        io_uring::listen_by_io_uring,
        sockets::{IPV4, Listener},
        trials::lacks,
        wait::{ensure, wait_until},
    },
};

/// What the daemon should say of a listener's backlog, where it saw the call.
struct Expected {
    requested: i32,
    limit: u32,
    bound: &'static str,
    attainable: u32,
}

/// The one listener of the port has this backlog.
fn expect(bench: &Bench, listener: &Listener, expected: &Expected) {
    wait_until("the backlog", || {
        let port = bench.port(listener.address)?;
        let one = port.pointer("/listeners/0").ok_or("no listener")?;
        let limit = one.get("accept_queue_limit").and_then(Value::as_u64);
        ensure(limit == Some(expected.limit.into()), || format!("{one}"))?;
        let known = json!({
            "requested": expected.requested,
            "bound": expected.bound,
            "attainable": expected.attainable,
            "raised_not_applied": expected.attainable > expected.limit,
        });
        let unknown =
            json!({"requested": null, "bound": null, "attainable": null, "raised_not_applied": null});
        let wanted = if bench.full() { known } else { unknown };
        ensure(one.get("backlog") == Some(&wanted), || format!("{one}\nnot {wanted}"))
    });
}

/// A number below the limit, one above it, and one that asks for all there is; with the limit as it is, raised and
/// lowered since.
pub(crate) fn the_limit_that_cuts_a_backlog_is_named(setup: &Setup) {
    let bench = Bench::new(setup);
    let somaxconn = |value| bench.namespace.set_sysctl("core.somaxconn", value);
    let check = |requested, value: u32, limit, bound| {
        somaxconn(value);
        let listener = Listener::open_asking(&bench.namespace, IPV4, requested);
        expect(&bench, &listener, &Expected { requested, limit, bound, attainable: limit });
    };
    check(10_000, 128, 128, "somaxconn");
    check(10_000, 4_096, 4_096, "somaxconn");
    check(10_000, 65_535, 10_000, "application");
    check(-1, 4_096, 4_096, "maximum");
    check(50, 4_096, 50, "application");
    check(0, 4_096, 0, "application");

    somaxconn(128);
    let listener = Listener::open_asking(&bench.namespace, IPV4, 10_000);
    somaxconn(65_535);
    let raised = Expected { requested: 10_000, limit: 128, bound: "somaxconn", attainable: 10_000 };
    expect(&bench, &listener, &raised);
    listener.listen_again(10_000);
    let applied = Expected { requested: 10_000, limit: 10_000, bound: "application", attainable: 10_000 };
    expect(&bench, &listener, &applied);
    listener.listen_again(20);
    let less = Expected { requested: 20, limit: 20, bound: "application", attainable: 20 };
    expect(&bench, &listener, &less);
}

/// What a listener asked for before anybody watched is not known, until it listens again.
pub(crate) fn the_backlog_of_an_older_listener_is_not_guessed(setup: &Setup) {
    let namespace = super::support::namespace::Namespace::new();
    let listener = Listener::open_asking(&namespace, IPV4, 40);
    let bench = Bench::around(namespace, setup);
    wait_until("the listener", || {
        let port = bench.port(listener.address)?;
        let backlog = port.pointer("/listeners/0/backlog").ok_or("no listener")?;
        ensure(backlog.get("requested") == Some(&Value::Null), || format!("{backlog}"))
    });
    listener.listen_again(30);
    expect(&bench, &listener, &Expected { requested: 30, limit: 30, bound: "application", attainable: 30 });
}

/// `IORING_OP_LISTEN` (6.11) never comes through the system call.
pub(crate) fn a_backlog_that_io_uring_asked_for(setup: &Setup) {
    let bench = Bench::new(setup);
    bench.namespace.set_sysctl("core.somaxconn", 128);
    let socket = Listener::bound(&bench.namespace, IPV4);
    let result = listen_by_io_uring(&socket, 10_000).unwrap_or_else(|| lacks("io_uring for us"));
    if result == -libc::EINVAL {
        lacks("IORING_OP_LISTEN");
    }
    assert_eq!(result, 0, "listen by io_uring");
    let listener = Listener::listening(socket, 10_000);
    expect(
        &bench,
        &listener,
        &Expected { requested: 10_000, limit: 128, bound: "somaxconn", attainable: 128 },
    );
}
