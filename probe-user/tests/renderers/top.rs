//! Whole frames of `top`, as they are on a terminal, and that there is one for any model, any keys and any size.
use std::{ops::ControlFlow, sync::Arc, time::Duration};

use proptest::{collection, prelude::*};
use ratatui::{
    Terminal,
    backend::TestBackend,
    buffer::Buffer,
    crossterm::event::{KeyCode, KeyEvent},
    style::{Color, Modifier},
};
use tcp_backlog_probe::{
    model::{Backlog, BacklogBound, Episode, Histogram, Listener, Model, Peaks, Port, QueueCounts, Queues},
    sample::OwnerSample,
    top::{
        state::{Origin, State},
        view::{Palette, draw},
    },
};

use super::{
    arbitrary, busy, check_golden,
    models::{self, CONTAINER, HOST, all, owned, port},
};

/// A queue whose accepted connections have waited so long, by a growing number.
fn queues(step: u64, waits: [u64; 4], peak: u32) -> Queues {
    let counts: Vec<_> = waits.iter().map(|count| count * step).collect();
    let upper_bounds = vec![0.001, 0.0625, 0.25];
    let wait = Histogram { upper_bounds: upper_bounds.into(), counts: counts.into(), sum: 0.0 };
    let peaks = Peaks {
        last_1_second: peak / 2,
        last_15_seconds: peak,
        last_60_seconds: peak,
        highest: peak,
        highest_at: Some(1_790_000_000.0),
    };
    Queues {
        counts: QueueCounts { accepted: Some(40 * step), accept_wait: Some(wait), accept_queue_fill: None },
        accept_queue_peaks: Some(peaks),
        ..Queues::default()
    }
}

/// A web server whose four workers listen on one port, of which one does not accept.
fn nginx(step: u64) -> Port {
    let mut nginx = port(HOST, "0.0.0.0", 443, all(4_000 + 60 * step, 3_900 + 58 * step, 0), &[]);
    let lengths: [(u32, u32, u64); 4] = [(1, 9_001, 0), (512, 9_002, 2), (0, 9_003, 0), (2, 9_004, 0)];
    let worker = |(accept_queue_length, pid, refused): (u32, u32, u64)| {
        let owner = OwnerSample { pid, process: "nginx".to_owned(), ..OwnerSample::default() };
        Listener {
            accept_queue_length,
            accept_queue_limit: 511,
            backlog: Backlog {
                requested: Some(511),
                bound: Some(BacklogBound::Application),
                attainable: Some(511),
                raised_not_applied: Some(false),
            },
            inode: 70_000 + pid,
            socket_drops: 0,
            owner: Some(Arc::new(owner)),
            handshakes: Arc::new(all(1_000 + 15 * step, 1_000 + (15 - refused) * step, 0)),
            queues: Arc::new(queues(step, [14, 1, 0, 0], accept_queue_length)),
        }
    };
    nginx.listeners = lengths.map(worker).into();
    nginx.process = Some("nginx".into());
    nginx.syn_queue_length = Some(3);
    nginx.queues = queues(step, [56, 4, 0, 0], 512);
    nginx
}

/// A Java server that loses connections.
fn java(step: u64) -> Port {
    let losing = all(3_000 + 240 * step, 1_420 + 52 * step, 381 + 12 * step);
    let mut java = owned(port(HOST, "::", 8080, losing, &[(129, 128)]), models::tomcat());
    java.queues = queues(step, [0, 3, 36, 1], 129);
    java.backlog_recommended = Some(4_096);
    let backlog = Backlog {
        requested: Some(10_000),
        bound: Some(BacklogBound::Somaxconn),
        attainable: Some(4_096),
        raised_not_applied: Some(true),
    };
    java.listeners.iter_mut().for_each(|listener| listener.backlog = backlog);
    java
}

/// In the middle of a load test, so many seconds after its begin.
fn load_test(step: u32) -> Model {
    let counted = u64::from(step);
    let mut model = models::trampoline();
    model.taken += f64::from(step);
    let sshd = owned(port(HOST, "0.0.0.0", 22, all(52, 52, 0), &[(0, 128)]), models::sshd());
    let closed = Port { process: Some("php-fpm".into()), ..port(HOST, "127.0.0.1", 9000, all(7, 7, 0), &[]) };
    let pod =
        port(CONTAINER, "2001:db8:85a3:8d3::370:7348", 5432, all(9 + counted, 9 + counted, 0), &[(3, 4)]);
    let java = java(counted);
    let id = java.id;
    model.ports = vec![sshd, nginx(counted), java, closed, pod];
    let burst = Episode { begun: model.taken - 4.0, ended: None, id, ..busy::episode() };
    model.episodes = vec![Arc::new(burst)];
    model
}

fn origin() -> Origin {
    Origin {
        host: Some("build-7".to_owned()),
        asked: "daemon on /run/tcp-backlog-probe/probe.sock".to_owned(),
    }
}

/// A state that has seen these models, one each second.
fn state(models: impl IntoIterator<Item = Model>) -> State {
    let mut state = State::new(origin());
    for (second, model) in (0..).zip(models) {
        state.set_now(Duration::from_secs(second));
        state.observe(model);
    }
    state
}

fn loaded() -> State {
    state([load_test(0), load_test(1)])
}

fn press(mut state: State, keys: &str) -> State {
    for letter in keys.chars() {
        let code = match letter {
            '⏎' => KeyCode::Enter,
            letter => KeyCode::Char(letter),
        };
        assert_eq!(state.on_key(KeyEvent::from(code)), ControlFlow::Continue(()));
    }
    state
}

fn frame(state: &State, palette: Palette, width: u16, height: u16) -> Buffer {
    let mut terminal = Terminal::new(TestBackend::new(width, height)).unwrap();
    terminal.draw(|frame| draw(state, palette, frame)).unwrap();
    terminal.backend().buffer().clone()
}

/// The lines of a frame, without the blanks at their ends.
fn text(buffer: &Buffer) -> String {
    let lines = buffer.content().chunks(usize::from(buffer.area.width).max(1)).map(|cells| {
        let line: String = cells.iter().map(|cell| cell.symbol()).collect();
        format!("{}\n", line.trim_end())
    });
    lines.collect()
}

#[track_caller]
fn check(name: &str, mut state: State, width: u16, height: u16) {
    state.set_width(width);
    let text = text(&frame(&state, Palette::Plain, width, height));
    check_golden(&format!("top/{name}.{width}x{height}.txt"), &text);
}

#[test]
fn a_load_test_is_seen_whole_on_a_wide_terminal_and_by_what_matters_on_others() {
    for (width, height) in [(160, 30), (120, 30), (80, 24), (40, 10), (20, 5)] {
        check("load_test", loaded(), width, height);
    }
}

#[test]
fn listeners_that_share_a_port_are_shown_together_on_request() {
    check("members_together", press(loaded(), "je"), 120, 30);
}

#[test]
fn what_cannot_be_measured_is_a_dash() {
    check("tracepoint", state([models::tracepoint()]), 120, 30);
    check("without_bpf", state([models::without_bpf()]), 120, 30);
}

#[test]
fn a_daemon_that_is_gone_is_told_with_the_age_of_its_last_figures() {
    let mut lost = loaded();
    lost.set_now(Duration::from_secs(43));
    lost.note_lost("nobody can be asked on /run/tcp-backlog-probe/probe.sock".to_owned());
    check("lost_daemon", lost, 80, 24);
}

#[test]
fn a_pause_and_a_filter_are_told() {
    let mut paused = press(loaded(), "p/ngi⏎");
    paused.set_now(Duration::from_secs(43));
    check("paused", paused, 80, 24);
    check("filter", press(loaded(), "/ngi"), 80, 24);
}

#[test]
fn an_empty_host_says_so() {
    let mut nobody = models::trampoline();
    nobody.ports.clear();
    nobody.episodes.clear();
    let later = Model { taken: nobody.taken + 1.0, ..nobody.clone() };
    check("empty_host", state([nobody, later]), 80, 24);
    check("nothing_yet", state([]), 80, 24);
    check("filter_without_a_port", press(loaded(), "/caddy⏎"), 80, 24);
}

#[test]
fn the_details_say_all_that_is_known_of_a_port() {
    check("details", press(loaded(), "⏎"), 120, 50);
    check("details", press(loaded(), "⏎jjj"), 60, 20);
    check("details_of_members", press(loaded(), "jj⏎"), 80, 40);
}

#[test]
fn the_help_names_every_key() {
    check("help", press(loaded(), "?"), 80, 24);
}

#[test]
fn colours_say_nothing_that_is_not_said_without_them() {
    let (plain, coloured) =
        [Palette::Plain, Palette::Colours].map(|palette| frame(&loaded(), palette, 120, 30)).into();
    assert_eq!(text(&plain), text(&coloured));
    let colours = |buffer: &Buffer| {
        buffer.content().iter().any(|cell| cell.fg != Color::Reset || cell.bg != Color::Reset)
    };
    assert!(!colours(&plain) && colours(&coloured));
    let modified = |buffer: &Buffer, modifier| {
        buffer.content().iter().filter(|cell| cell.modifier.contains(modifier)).count()
    };
    // The selected line, from end to end.
    assert_eq!(modified(&plain, Modifier::REVERSED), 120);
}

proptest! {
    #[test]
    fn any_model_is_shown_on_any_terminal_whatever_is_pressed(
        models in collection::vec(arbitrary::model(), 0..3),
        keys in "[jkseprqxGg/?⏎0-9<>]{0,8}",
        (width, height) in (0_u16..180, 0_u16..40),
    ) {
        let mut state = state(models);
        state.set_width(width);
        for letter in keys.chars() {
            let code = if letter == '⏎' { KeyCode::Enter } else { KeyCode::Char(letter) };
            let _ = state.on_key(KeyEvent::from(code));
        }
        frame(&state, Palette::Colours, width, height);
    }
}
