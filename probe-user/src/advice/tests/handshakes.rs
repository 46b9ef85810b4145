//! Handshakes that fail for another reason than a full accept queue, and the host around them.
use super::*;

#[test]
fn a_full_syn_queue_is_a_flood_or_slow_clients() {
    let flood = advice(model(port_of_tomcat(128, Some(-1), 128), 128), |port| {
        port.handshakes.syn_received = Some(10_000);
        port.handshakes.syn_dropped.syn_queue_full = Some(9_000);
        port.handshakes.established = Some(3);
    });
    assert_eq!(rules(&flood), [(Rule::SynQueueFull, LOSING)]);
    assert!(flood.verdicts[0].meaning.as_ref().unwrap().contains("SYN flood"));
    assert_eq!(commands(&flood, StepKind::Now), ["sysctl -w net.ipv4.tcp_syncookies=1"]);
    let slow = advice(model(port_of_tomcat(128, Some(-1), 128), 128), |port| {
        port.handshakes.syn_received = Some(1_000);
        port.handshakes.syn_queue_full_cookies = Some(100);
        port.handshakes.established = Some(900);
    });
    assert_eq!(rules(&slow), [(Rule::SynQueueFull, Severity::Warning)]);
    assert!(!slow.verdicts[0].meaning.as_ref().unwrap().contains("flood"));
}

#[test]
fn synacks_that_get_lost_are_told_from_a_few_and_from_a_full_queue() {
    let check = |retransmits, overflows: Option<u64>, expected: &[Rule]| {
        let advice = advice(model(port_of_tomcat(128, Some(-1), 128), 128), |port| {
            port.handshakes.syn_queued = Some(1_000);
            port.handshakes.synack_retransmits = Some(retransmits);
            port.handshakes.accept_queue_overflows.ack = overflows;
        });
        let rules: Vec<_> = rules(&advice).into_iter().map(|(rule, _)| rule).collect();
        assert_eq!(rules, expected, "{retransmits} {overflows:?}");
    };
    check(50, Some(0), &[]);
    check(51, Some(0), &[Rule::SynacksRetransmitted]);
    check(51, Some(1), &[Rule::BurstTooBig]);
}

#[test]
fn what_was_dropped_for_no_queue_is_said_as_well() {
    let other = advice(model(port_of_tomcat(128, Some(-1), 128), 128), |port| {
        port.handshakes.syn_dropped.other = Some(4);
        port.handshakes.last_ack_refused.other = Some(1);
    });
    assert_eq!(rules(&other), [(Rule::OtherDrops, LOSING)]);
}

#[test]
fn without_hooks_the_sockets_and_the_namespace_tell_of_drops() {
    let check = |drops: u32, overflows, listen_drops, expected: &[(Rule, Severity)]| {
        let mut port = port_of_tomcat(128, None, 128);
        port.handshakes = Handshakes::default();
        port.queues.counts.accepted = None;
        let advice = advice_after(model(port, 128), 1, |model| {
            model.ports[0].listeners[0].socket_drops = drops;
            model.namespaces[0].listen_overflows = Some(overflows);
            model.namespaces[0].listen_drops = Some(listen_drops);
        });
        assert_eq!(rules(&advice), expected, "{drops} {overflows} {listen_drops}");
    };
    check(7, 5, 7, &[(Rule::ClampedBySomaxconn, LOSING)]);
    check(7, 0, 7, &[(Rule::PacketsDropped, LOSING)]);
    check(7, 0, 0, &[]);
    check(0, 5, 5, &[(Rule::OverflowsOfNobody, LOSING)]);
}

#[test]
fn sysctls_and_softnet_are_the_hosts() {
    let check = |aborted, expected: &[(Rule, Severity)]| {
        let mut model = model(port_of_tomcat(128, Some(-1), 128), 128);
        model.namespaces[0].limits.tcp_abort_on_overflow = Some(1);
        // Nobody listens there.
        model.namespaces[1].limits.tcp_abort_on_overflow = Some(1);
        let advice = advice(model, |port| port.handshakes.requests_aborted = Some(aborted));
        assert_eq!(rules(&advice), expected);
    };
    check(0, &[(Rule::AbortOnOverflow, Severity::Notice)]);
    check(3, &[(Rule::AbortOnOverflow, LOSING)]);
    let softnet = |dropped| Some(vec![Softnet { cpu: 0, processed: 10, dropped, time_squeeze: 0 }]);
    let mut model = model(port_of_tomcat(128, Some(-1), 128), 128);
    model.host.softnet = softnet(100);
    let advice = advice_after(model, 1, |model| model.host.softnet = softnet(107));
    assert_eq!(rules(&advice), [(Rule::SoftnetDrops, Severity::Warning)]);
    assert!(advice.verdicts[0].title.starts_with("7 packets"));
}
