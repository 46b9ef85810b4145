//! What the tests of this room share, and those of the state: keys, selection, filter, and what is not known.
use std::{
    net::{IpAddr, Ipv4Addr},
    ops::ControlFlow,
    sync::Arc,
    time::Duration,
};

use ratatui::crossterm::event::{KeyCode, KeyEvent, KeyModifiers};

use super::{
    order::SortBy,
    readings::Key,
    rows::{Loss, PerSecond, Row},
    state::{Mode, Origin, State},
};
use crate::{
    model::{Episode, Handshakes, Histogram, Listener, LossCause, Model, Overflows, Port},
    sample::PortId,
};

fn id(port: u16) -> PortId {
    PortId { netns: 1, address: IpAddr::V4(Ipv4Addr::LOCALHOST), port }
}

/// A row of which nothing is known but its name.
pub(super) fn row(port: u16) -> Row {
    Row {
        key: Key::Port(id(port)),
        name: port.to_string(),
        netns: None,
        process: None,
        accept_queue: None,
        fill: None,
        peaks: None,
        syn_queue: None,
        syn_queue_limit: None,
        rates: PerSecond::default(),
        waits: [None; 2],
        loss: Loss::default(),
    }
}

fn counts(established: u64, refused: u64) -> Handshakes {
    Handshakes {
        established: Some(established),
        connections_refused: Some(refused),
        accept_queue_overflows: Overflows { undivided: Some(2 * refused), ..Overflows::default() },
        listen_drops: Some(3 * refused),
        ..Handshakes::default()
    }
}

fn port(number: u16, established: u64, refused: u64) -> Port {
    let listeners = vec![Listener::with_queue(0, 128)];
    Port { handshakes: counts(established, refused), listeners, ..Port::closed(id(number)) }
}

/// A port that three listeners share, of which the last one has refused all.
fn shared(number: u16, refused: u64) -> Port {
    let listener = |(inode, refused)| {
        let handshakes = Arc::new(counts(10, refused));
        Listener { inode, handshakes, ..Listener::with_queue(u32::from(refused > 0) * 129, 128) }
    };
    let listeners = [(1, 0), (2, 0), (3, refused)].map(listener).into();
    Port { listeners, ..port(number, 30, refused) }
}

fn model(taken: f64, ports: Vec<Port>) -> Model {
    Model { taken, ports, counted_since: Some(0.0), ..Model::empty() }
}

fn state(models: Vec<Model>) -> State {
    let mut state = State::new(Origin::default());
    for model in models {
        state.observe(model);
    }
    state
}

/// Each letter is a key; some stand for keys without one.
fn press(state: &mut State, keys: &str) -> ControlFlow<()> {
    keys.chars().try_for_each(|letter| {
        let code = match letter {
            '⏎' => KeyCode::Enter,
            '⎋' => KeyCode::Esc,
            '⌫' => KeyCode::Backspace,
            '↓' => KeyCode::Down,
            '↑' => KeyCode::Up,
            '⇟' => KeyCode::PageDown,
            '⇱' => KeyCode::Home,
            '⇲' => KeyCode::End,
            letter => KeyCode::Char(letter),
        };
        state.on_key(KeyEvent::from(code))
    })
}

/// What is on the screen: names, the selected one in brackets.
fn names(state: &State) -> String {
    let names = state.lines.iter().enumerate().filter_map(|(index, line)| {
        let name = &state.row(*line)?.name;
        let name = name.strip_prefix("127.0.0.1:").unwrap_or(name);
        Some(if index == state.position() { format!("[{name}]") } else { name.to_owned() })
    });
    names.collect::<Vec<_>>().join(" ")
}

fn three_ports() -> State {
    state(vec![model(1.0, vec![port(21, 0, 0), shared(80, 7), port(443, 0, 1)])])
}

#[test]
fn keys_move_sort_filter_and_fold() {
    let check = |keys: &str, expected: &str| {
        let mut state = three_ports();
        assert_eq!(press(&mut state, keys), ControlFlow::Continue(()), "{keys}");
        assert_eq!(names(&state), expected, "{keys}");
    };
    check("", "[80] socket 3 socket 1 socket 2 443 21");
    check("jj", "80 socket 3 [socket 1] socket 2 443 21");
    check("↓↓↓↑k", "80 [socket 3] socket 1 socket 2 443 21");
    check("⇟", "80 socket 3 socket 1 socket 2 443 [21]");
    check("⇲⇱", "[80] socket 3 socket 1 socket 2 443 21");
    check("G↓g↑", "[80] socket 3 socket 1 socket 2 443 21");
    check("s", "[21] 80 socket 1 socket 2 socket 3 443");
    check(">r", "[443] 80 socket 3 socket 2 socket 1 21");
    check("s<", "[80] socket 3 socket 1 socket 2 443 21");
    // Once somebody has moved, the cursor stays with what it is at.
    check("↓s", "21 80 socket 1 socket 2 [socket 3] 443");
    check("e", "[80] 443 21");
    check("↓↓e", "[80] 443 21");
    check("ee", "[80] socket 3 socket 1 socket 2 443 21");
    check("/44⏎", "[443]");
    check("/44⌫⌫⏎", "[80] socket 3 socket 1 socket 2 443 21");
    check("/44⎋", "[80] socket 3 socket 1 socket 2 443 21");
    // A port is there if one of its listeners is meant.
    check("/socket 2⏎", "[80] socket 3 socket 1 socket 2");
    check("/nothing⏎↓↑e⏎", "");
}

#[test]
fn keys_lead_from_place_to_place_and_out() {
    let check = |keys: &str, expected: Option<Mode>| {
        let mut state = three_ports();
        let end = press(&mut state, keys);
        let mode = (end == ControlFlow::Continue(())).then_some(state.mode);
        assert_eq!(mode, expected, "{keys}");
    };
    check("q", None);
    check("⎋", None);
    check("?", Some(Mode::Help));
    check("??", Some(Mode::Table));
    check("?q", None);
    check("?⎋", Some(Mode::Table));
    check("/", Some(Mode::Filter));
    check("/q", Some(Mode::Filter));
    check("/⎋", Some(Mode::Table));
    check("⏎", Some(Mode::Details(0)));
    check("⏎jj↑", Some(Mode::Details(1)));
    check("⏎⏎", Some(Mode::Table));
    check("⏎⎋", Some(Mode::Table));
    check("⏎q", None);
    check("zxy1", Some(Mode::Table));
    let mut state = three_ports();
    let control = |letter| KeyEvent::new(KeyCode::Char(letter), KeyModifiers::CONTROL);
    for mode in [Mode::Table, Mode::Filter, Mode::Details(0), Mode::Help] {
        state.mode = mode;
        assert_eq!(state.on_key(control('c')), ControlFlow::Break(()), "{mode:?}");
        assert_eq!((state.on_key(control('q')), state.mode), (ControlFlow::Continue(()), mode));
    }
}

#[test]
fn the_details_end_with_their_last_line() {
    let mut state = three_ports();
    state.set_width(80);
    assert_eq!(press(&mut state, "⏎⇲"), ControlFlow::Continue(()));
    let last = super::details::lines(&state, 80).len() - 1;
    assert_eq!(state.mode, Mode::Details(last));
    assert_eq!((press(&mut state, "↓↑"), state.mode), (ControlFlow::Continue(()), Mode::Details(last - 1)));
}

#[test]
fn rates_are_of_the_time_between_the_last_two_readings() {
    let mut state = state(vec![model(10.0, vec![port(80, 100, 0)])]);
    let rates = |state: &State| state.groups[0].row.rates;
    assert_eq!(rates(&state), PerSecond::default(), "one reading tells no rate");
    state.observe(model(12.0, vec![port(80, 140, 3)]));
    let (established, refused, overflows, drops) = (Some(20.0), Some(1.5), Some(3.0), Some(4.5));
    assert_eq!(rates(&state), PerSecond { established, refused, overflows, drops });
    state.observe(model(13.0, vec![port(80, 140, 3), port(81, 5, 0)]));
    assert_eq!(rates(&state).established, Some(0.0));
    // A port that was not there had counted nothing.
    assert_eq!(state.groups[1].row.rates.established, Some(5.0));
}

#[test]
fn a_rate_that_cannot_be_known_is_absent() {
    let check = |change: &dyn Fn(&mut Model)| {
        let mut later = model(12.0, vec![port(80, 140, 3)]);
        change(&mut later);
        let state = state(vec![model(10.0, vec![port(80, 100, 0)]), later]);
        assert_eq!(state.groups[0].row.rates.established, None);
    };
    check(&|model| model.counted_since = Some(11.0));
    check(&|model| model.taken = 9.0);
    check(&|model| model.taken = 10.0);
    check(&|model| model.ports[0].handshakes.established = None);
    // What was not known before has not grown.
    let unknown = Port { handshakes: Handshakes::default(), ..port(80, 0, 0) };
    let state = state(vec![model(10.0, vec![unknown]), model(12.0, vec![port(80, 140, 3)])]);
    assert_eq!(state.groups[0].row.rates, PerSecond::default());
}

#[test]
fn listeners_that_share_a_port_have_figures_of_their_own() {
    let later = model(2.0, vec![shared(80, 11)]);
    let state = state(vec![model(1.0, vec![shared(80, 7)]), later]);
    let group = &state.groups[0];
    assert_eq!((group.row.rates.refused, group.row.accept_queue), (Some(4.0), Some((129, 384))));
    let members: Vec<_> =
        group.members.iter().map(|row| (row.key, row.rates.refused, row.loss.now)).collect();
    let member = |inode| Key::Member(id(80), inode);
    let expected =
        [(member(3), Some(4.0), true), (member(1), Some(0.0), false), (member(2), Some(0.0), false)];
    assert_eq!(members, expected);
    assert_eq!(group.members[0].loss.cause, Some(LossCause::AcceptQueueFull));
    assert_eq!(group.members[0].syn_queue, None, "the kernel does not say whose requests are");
}

#[test]
fn waits_are_of_the_last_seconds_and_not_of_all_time() {
    let waited = |taken: f64, counts: [u64; 3]| {
        let mut port = port(80, 0, 0);
        let upper_bounds = vec![1.0, 2.0].into();
        let wait = Histogram { upper_bounds, counts: counts.into(), sum: 0.0 };
        port.queues.counts.accept_wait = Some(wait);
        model(taken, vec![port])
    };
    let mut state = state(vec![waited(0.0, [1_000, 0, 0])]);
    let waits = |state: &State| state.groups[0].row.waits;
    assert_eq!(waits(&state), [None; 2]);
    state.observe(waited(5.0, [1_000, 10, 0]));
    assert_eq!(waits(&state), [Some(2.0); 2]);
    state.observe(waited(10.0, [1_000, 10, 0]));
    assert_eq!(waits(&state), [Some(2.0); 2]);
    state.observe(waited(20.0, [1_010, 10, 0]));
    assert_eq!(waits(&state), [Some(1.0); 2]);
    state.observe(waited(31.0, [1_010, 10, 0]));
    assert_eq!(waits(&state), [None; 2], "nobody was accepted");
}

#[test]
fn what_is_lost_now_has_its_cause() {
    let mut losing = model(1.0, vec![port(80, 0, 0), port(81, 0, 0)]);
    let going_on = Episode { cause: Some(LossCause::SynQueueFull), ..Episode::beginning(id(81), 0.5) };
    let over = Episode { ended: Some(0.5), ..Episode::beginning(id(80), 0.1) };
    losing.episodes = vec![Arc::new(going_on), Arc::new(over)];
    let state = state(vec![losing]);
    let losses: Vec<_> =
        state.groups.iter().map(|group| (group.row.loss.now, group.row.loss.cause)).collect();
    assert_eq!(losses, [(true, Some(LossCause::SynQueueFull)), (false, None)]);
    assert_eq!(names(&state), "[81] 80");
}

#[test]
fn a_selected_port_that_is_gone_leaves_the_cursor_where_it_was() {
    let ports = |numbers: &[u16]| numbers.iter().map(|number| port(*number, 0, 0)).collect::<Vec<_>>();
    let mut state = state(vec![model(1.0, ports(&[21, 22, 23]))]);
    assert_eq!(press(&mut state, "↓"), ControlFlow::Continue(()));
    state.observe(model(2.0, ports(&[21, 23])));
    assert_eq!(names(&state), "21 [23]");
    state.observe(model(3.0, ports(&[21])));
    assert_eq!(names(&state), "[21]");
    state.observe(model(4.0, ports(&[])));
    state.observe(model(5.0, ports(&[19, 21])));
    assert_eq!(names(&state), "[19] 21");
}

#[test]
fn a_pause_lets_readings_go() {
    let mut state = three_ports();
    assert_eq!(press(&mut state, "p"), ControlFlow::Continue(()));
    state.set_now(Duration::from_secs(7));
    state.observe(model(2.0, vec![]));
    assert_eq!((state.groups.len(), state.age()), (3, Some(Duration::from_secs(7))));
    assert_eq!(press(&mut state, "p"), ControlFlow::Continue(()));
    state.observe(model(3.0, vec![]));
    assert_eq!((state.groups.len(), state.age()), (0, Some(Duration::ZERO)));
}

#[test]
fn a_daemon_that_is_gone_leaves_its_last_figures() {
    let mut state = three_ports();
    state.set_now(Duration::from_secs(3));
    state.note_lost("gone".to_owned());
    assert_eq!((state.lost.as_deref(), state.age()), (Some("gone"), Some(Duration::from_secs(3))));
    assert_eq!(state.groups.len(), 3);
    state.observe(model(2.0, vec![]));
    assert_eq!((state.lost, state.groups.len()), (None, 0));
}

#[test]
fn another_order_keeps_the_filter_and_what_is_folded() {
    let mut state = three_ports();
    assert_eq!(press(&mut state, "e/80⏎s"), ControlFlow::Continue(()));
    assert_eq!((names(&state).as_str(), state.sort), ("[80]", SortBy::Port));
    state.observe(model(2.0, vec![shared(80, 7), shared(8080, 7)]));
    assert_eq!(names(&state), "[80] 8080 socket 1 socket 2 socket 3");
}
