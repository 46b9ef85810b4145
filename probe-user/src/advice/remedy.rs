//! Steps that several rules recommend.
use super::{
    application::{TakesEffect, application_of},
    view::{PortView, View},
};
use crate::{
    model::advice::{Step, StepKind},
    sample::OwnerSample,
};

/// Where a sysctl is made to last.
const SYSCTL_FILE: &str = "/etc/sysctl.d/90-tcp-backlog.conf";

/// A step.
pub(super) fn step(kind: StepKind, text: impl Into<String>, command: Option<String>) -> Step {
    Step { kind, text: text.into(), command }
}

/// What the kernel itself allows for since Linux 5.4 (`SOMAXCONN` of linux/socket.h).
const KERNEL_DEFAULT: u64 = 4_096;

/// The backlog that would have been enough: what was wanted in the last day, and in any case more than there is. Where
/// it is not known how much was wanted, the kernel's own default or more.
pub(super) fn sufficient_backlog(port: &PortView<'_>) -> u64 {
    let limit = port.limit().map_or(0, u64::from);
    let more = limit.saturating_add(1).checked_next_power_of_two().unwrap_or(u64::MAX);
    more.max(port.port.backlog_recommended.unwrap_or(KERNEL_DEFAULT))
}

/// Sets a sysctl of the port's network namespace, now and for good.
pub(super) fn raise_sysctl(port: &PortView<'_>, name: &str, value: u64) -> Vec<Step> {
    let netns = port.port.id.netns;
    let owner = port.port.owner();
    let command = set_sysctl(port.view, netns, owner.map(|owner| owner.pid), name, value);
    let now = step(StepKind::Now, format!("raise {name}"), command);
    let lasting = if port.view.is_own(netns) {
        lasting_on_host(name, value)
    } else {
        lasting_in_container(owner, name, value)
    };
    vec![now, lasting]
}

/// The command for a sysctl in a network namespace; `None` where nobody is known to be in it.
pub(super) fn set_sysctl(
    view: &View<'_>,
    netns: u32,
    pid: Option<u32>,
    name: &str,
    value: u64,
) -> Option<String> {
    let set = format!("sysctl -w {name}={value}");
    if view.is_own(netns) {
        return Some(set);
    }
    // /proc/sys/net shows everybody the network namespace that he is in himself.
    pid.map(|pid| format!("nsenter --net=/proc/{pid}/ns/net {set}"))
}

/// Sets a sysctl of the host whenever it starts.
pub(super) fn lasting_on_host(name: &str, value: u64) -> Step {
    let command = format!("echo '{name} = {value}' >> {SYSCTL_FILE}");
    step(StepKind::Lasting, "let it outlast a restart of the host", Some(command))
}

/// A network namespace of its own takes the host's sysctl files for nothing.
fn lasting_in_container(owner: Option<&OwnerSample>, name: &str, value: u64) -> Step {
    let pod = owner.is_some_and(|owner| owner.pod.is_some());
    let container = owner.is_some_and(|owner| owner.container.is_some());
    if pod {
        let text = format!(
            "let it outlast the pod: {name} in securityContext.sysctls of its specification, which the kubelet \
             has to allow (--allowed-unsafe-sysctls)"
        );
        return step(StepKind::Lasting, text, Some(format!("- {{name: {name}, value: \"{value}\"}}")));
    }
    if container {
        let text = "let it outlast the container: an option of docker run and podman run, or sysctls: in a compose file";
        return step(StepKind::Lasting, text, Some(format!("--sysctl {name}={value}")));
    }
    let text = "let it outlast the network namespace: set it where that is made, files in /etc/sysctl.d do not reach it";
    step(StepKind::Lasting, text, None)
}

/// Makes the process listen again.
pub(super) fn listen_again(port: &PortView<'_>) -> Step {
    let owner = port.port.owner();
    let text = "restart it: a listener takes its limit when listen() is called, and keeps it";
    step(StepKind::Restart, text, owner.and_then(|owner| systemctl(owner, "restart")))
}

fn systemctl(owner: &OwnerSample, verb: &str) -> Option<String> {
    if owner.pod.is_some() {
        return None;
    }
    match (&owner.container, &owner.unit) {
        (Some(container), _) => Some(format!("docker restart {container}")),
        (None, Some(unit)) => Some(format!("systemctl {verb} {unit}")),
        (None, None) => None,
    }
}

/// Asks the application for more, in its own words, and makes it listen again.
pub(super) fn ask_for(port: &PortView<'_>, backlog: u64) -> Vec<Step> {
    let owner = port.port.owner();
    let Some((owner, known)) = owner.and_then(|owner| Some((owner, application_of(owner)?))) else {
        let text = format!("let the application ask listen() for {backlog}");
        return vec![step(StepKind::Application, text, None), listen_again(port)];
    };
    let text = format!("{}: {}. {}", known.name, known.place, known.note);
    let setting = step(StepKind::Application, text, Some(known.setting_for(backlog, port.port.id.port)));
    let again = match known.takes_effect {
        TakesEffect::Restart => listen_again(port),
        TakesEffect::Reload => {
            let text = "reload it: it listens again when its own number has changed";
            step(StepKind::Restart, text, systemctl(owner, "reload"))
        }
    };
    vec![setting, again]
}
