//! What is in the log after models with episodes in them.
use std::net::{IpAddr, Ipv4Addr};

use super::*;
use crate::logging::captured::lines_of;

/// The lines that these models make, one after the other.
fn logged(models: &[Vec<Episode>]) -> Vec<serde_json::Value> {
    let mut log = EpisodeLog::default();
    lines_of(|| {
        for episodes in models {
            log.note(&episodes.iter().cloned().map(Arc::new).collect::<Vec<_>>());
        }
    })
}

fn episode(port: u16, begun: f64, ended: Option<f64>) -> Episode {
    let id = PortId { netns: 7, address: IpAddr::V4(Ipv4Addr::LOCALHOST), port };
    Episode {
        process: Some("java".into()),
        connections_refused: Some(46),
        cause: Some(LossCause::AcceptQueueFull),
        ended,
        ..Episode::beginning(id, begun)
    }
}

/// Level, port and the message of each line.
fn said(models: &[Vec<Episode>]) -> Vec<(String, u64)> {
    let line = |line: &serde_json::Value| (line["level"].as_str().unwrap().to_owned(), line["port"].as_u64());
    logged(models).iter().map(line).map(|(level, port)| (level, port.unwrap())).collect()
}

#[test]
fn an_episode_is_logged_when_it_begins_and_when_it_ends_and_not_in_between() {
    let going_on = || vec![episode(80, 5.0, None)];
    let ended = || vec![episode(80, 5.0, Some(9.0))];
    let check = |models: &[Vec<Episode>], expected: &[(&str, u64)]| {
        let expected: Vec<_> = expected.iter().map(|(level, port)| ((*level).to_owned(), *port)).collect();
        assert_eq!(said(models), expected);
    };
    check(&[vec![]], &[]);
    check(&[going_on(), going_on(), ended(), ended()], &[("WARN", 80), ("INFO", 80)]);
    let again = vec![episode(80, 30.0, None), episode(80, 5.0, Some(9.0))];
    check(&[going_on(), ended(), again.clone(), again], &[("WARN", 80), ("INFO", 80), ("WARN", 80)]);
    let two = vec![episode(81, 6.0, None), episode(80, 5.0, None)];
    check(&[two], &[("WARN", 80), ("WARN", 81)]);
}

#[test]
fn a_line_has_the_numbers_in_fields_and_leaves_out_what_is_not_known() {
    let lines = logged(&[vec![episode(80, 5.0, None)]]);
    let [line] = lines.as_slice() else { panic!("{lines:?}") };
    let expected: [(&str, serde_json::Value); 6] = [
        ("address", "127.0.0.1".into()),
        ("netns", 7.into()),
        ("process", "java".into()),
        ("connections_refused", 46.into()),
        ("cause", "accept_queue_full".into()),
        ("message", "a port loses connections".into()),
    ];
    for (field, value) in expected {
        assert_eq!(line[field], value, "{field}: {line}");
    }
    assert_eq!(line.get("peak"), None, "{line}");
}
