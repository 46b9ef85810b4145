//! What a process's control group says of it: its systemd unit, its container, its pod.
//!
//! The names are those that systemd, the container runtimes and the kubelet give; no kernel interface knows
//! of units or containers.
use super::text::clean;

/// What is known of a process by its control group.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Membership {
    /// The systemd unit, as `systemctl status` takes it.
    pub(super) unit: Option<String>,
    /// The container's id of 64 hexadecimal digits, or an LXC container's name.
    pub(super) container: Option<String>,
    /// The uid of the Kubernetes pod, with dashes.
    pub(super) pod: Option<String>,
}

/// Reads `/proc/PID/cgroup` (proc_cgroup_show() of kernel/cgroup/cgroup.c): lines of
/// `hierarchy:controllers:path`.
pub(super) fn decode(cgroups: &[u8]) -> Membership {
    let text = String::from_utf8_lossy(cgroups);
    let path = path(&text).unwrap_or_default();
    Membership { unit: unit(path), container: container(path), pod: pod(path) }
}

/// The path that says most. Version 2 first, then systemd's own hierarchy of version 1, then the longest.
/// But where version 2 is mounted beside version 1 a container may be in the latter only, and its line of
/// version 2 is that of the daemon that started it.
fn path(text: &str) -> Option<&str> {
    let mut paths: Vec<(u8, &str)> = text.lines().filter_map(ranked_path).collect();
    paths.sort_by_key(|(rank, path)| (*rank, usize::MAX - path.len()));
    let contained = paths.iter().find(|(_, path)| container(path).is_some());
    contained.or_else(|| paths.first()).map(|(_, path)| *path)
}

/// A line's path, unless that is the root, and where it stands among the others.
fn ranked_path(line: &str) -> Option<(u8, &str)> {
    let mut fields = line.splitn(3, ':');
    let (hierarchy, controllers, path) = (fields.next()?, fields.next()?, fields.next()?);
    let rank = match (hierarchy, controllers) {
        ("0", "") => 0,
        (_, "name=systemd") => 1,
        _ => 2,
    };
    (path != "/").then_some((rank, path))
}

/// The last component that is named like a unit that processes live in. Of a container that runs a systemd
/// of its own it is that one's.
fn unit(path: &str) -> Option<String> {
    const KINDS: [&str; 5] = [".service", ".scope", ".socket", ".mount", ".swap"];
    let unit = path.rsplit('/').find(|part| KINDS.iter().any(|kind| part.ends_with(kind)));
    clean(unit?.as_bytes())
}

/// The innermost container.
fn container(path: &str) -> Option<String> {
    let parts: Vec<&str> = path.split('/').collect();
    let parents = std::iter::once("").chain(parts.iter().copied());
    let named: Vec<_> = parents.zip(&parts).filter_map(|(parent, part)| container_of(parent, part)).collect();
    clean(named.last()?.as_bytes())
}

/// The container that a component names: `docker-ID.scope`, `cri-containerd-ID.scope`, `crio-ID.scope`,
/// `libpod-ID.scope`, `SLICE:cri-containerd:ID`, a bare `ID`; `lxc.payload.NAME` and, before LXC 4, `lxc/NAME`.
fn container_of<'a>(parent: &str, part: &'a str) -> Option<&'a str> {
    const ID_DIGITS: usize = 64;
    if let Some(name) = part.strip_prefix("lxc.payload.").or_else(|| (parent == "lxc").then_some(part)) {
        return Some(name);
    }
    // The process that watches over a container is not in it.
    if part.contains("-conmon-") {
        return None;
    }
    let id = part.strip_suffix(".scope").unwrap_or(part).rsplit(['-', ':']).next()?;
    (id.len() == ID_DIGITS && is_hexadecimal(id)).then_some(id)
}

/// The pod, in paths below `kubepods`: `podUID` of the cgroupfs driver, `kubepods-QOS-podUID.slice` of the
/// systemd driver, which has underscores where dashes would part slices. A cluster may put a prefix before it.
fn pod(path: &str) -> Option<String> {
    let mut parts = path.split('/').skip_while(|part| !part.contains("kubepods"));
    let uid = parts.find_map(|part| {
        let slice = part.split_once(".slice").map_or(part, |(slice, _)| slice);
        let uid = slice.strip_prefix("pod").or_else(|| Some(slice.rsplit_once("-pod")?.1))?;
        let digits: String = uid.chars().filter(|character| !matches!(character, '-' | '_')).collect();
        // Static pods have a hash without dashes.
        (digits.len() == 32 && is_hexadecimal(&digits)).then_some(uid)
    });
    clean(uid?.replace('_', "-").as_bytes())
}

fn is_hexadecimal(text: &str) -> bool {
    text.bytes().all(|byte| byte.is_ascii_hexdigit())
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    const ID: &str = "3b6fa0e1c7d94c8f8f0c9a7b5e4d3c2b1a09f8e7d6c5b4a392817263544536ab";
    const OUTER: &str = "00000000000000000000000000000000000000000000000000000000000000ff";
    const UID: &str = "1a2b3c4d-0011-2233-4455-66778899aabb";

    /// Unit, container and pod, empty where there is none.
    #[track_caller]
    fn check(cgroups: &str, expected: [&str; 3]) {
        let Membership { unit, container, pod } = decode(cgroups.as_bytes());
        let found = [unit, container, pod].map(Option::unwrap_or_default);
        assert_eq!(found, expected, "{cgroups}");
    }

    #[test]
    fn a_service_is_known_by_its_unit() {
        check("0::/system.slice/nginx.service\n", ["nginx.service", "", ""]);
        check("0::/system.slice/system-tomcat.slice/tomcat@blue.service", ["tomcat@blue.service", "", ""]);
        check("0::/system.slice/ssh.socket", ["ssh.socket", "", ""]);
        check("0::/user.slice/user-1000.slice/session-3.scope", ["session-3.scope", "", ""]);
        check(
            "0::/user.slice/user-1000.slice/user@1000.service/app.slice/app\\x2djava.service/worker",
            ["app\\x2djava.service", "", ""],
        );
        check("0::/init.scope", ["init.scope", "", ""]);
        check("0::/user.slice", ["", "", ""]);
        check("0::/", ["", "", ""]);
        check("", ["", "", ""]);
        check("nonsense\n0:", ["", "", ""]);
    }

    #[test]
    fn a_container_is_known_by_its_id_whoever_runs_it() {
        for scope in ["docker", "cri-containerd", "crio", "libpod"] {
            let scope = format!("{scope}-{ID}.scope");
            check(&format!("0::/system.slice/{scope}"), [&scope, ID, ""]);
            check(&format!("0::/machine.slice/{scope}/container"), [&scope, ID, ""]);
        }
        check(&format!("0::/docker/{ID}"), ["", ID, ""]);
        check(&format!("0::/ecs/task/{ID}"), ["", ID, ""]);
        check(&format!("0::/../../docker/{ID}"), ["", ID, ""]);
        check(&format!("0::/docker/{OUTER}/kubepods/besteffort/pod{UID}/{ID}"), ["", ID, UID]);
        check(&format!("0::/docker/{ID}/system.slice/nginx.service"), ["nginx.service", ID, ""]);
        check(&format!("0::/docker/{}", &ID[1..]), ["", "", ""]);
        check(&format!("0::/docker/{}", ID.replace('3', "g")), ["", "", ""]);
    }

    #[test]
    fn who_watches_over_a_container_is_not_in_it() {
        let scope = format!("libpod-conmon-{ID}.scope");
        check(&format!("0::/machine.slice/{scope}"), [&scope, "", ""]);
    }

    #[test]
    fn an_lxc_container_is_known_by_its_name() {
        check("0::/lxc.payload.blue/system.slice/ssh.service", ["ssh.service", "blue", ""]);
        check("1:name=systemd:/lxc/blue/init.scope", ["init.scope", "blue", ""]);
        check("0::/lxc.monitor.blue", ["", "", ""]);
    }

    #[test]
    fn a_pod_is_known_by_its_uid_whichever_driver_the_kubelet_has() {
        let slice = UID.replace('-', "_");
        check(&format!("0::/kubepods/burstable/pod{UID}/{ID}"), ["", ID, UID]);
        check(&format!("0::/kubepods/pod{UID}/{ID}"), ["", ID, UID]);
        let scope = format!("cri-containerd-{ID}.scope");
        for class in ["-besteffort", "-burstable", ""] {
            let slices = format!("kubepods.slice/kubepods{class}.slice/kubepods{class}-pod{slice}.slice");
            check(&format!("0::/{slices}/{scope}"), [&scope, ID, UID]);
            check(&format!("0::/kubelet.slice/{slices}/{scope}"), [&scope, ID, UID]);
            let prefixed = format!("kubelet.slice/kubelet-kubepods{class}-pod{slice}.slice");
            check(&format!("0::/{prefixed}/{scope}"), [&scope, ID, UID]);
        }
        check(
            &format!(
                "11:memory:/system.slice/containerd.service/kubepods-burstable-pod{slice}.slice:cri-containerd:{ID}"
            ),
            ["containerd.service", ID, UID],
        );
        let hash = "0123456789abcdef0123456789abcdef";
        check(&format!("0::/kubepods/burstable/pod{hash}/{ID}"), ["", ID, hash]);
        check(&format!("0::/elsewhere/pod{UID}"), ["", "", ""]);
        check("0::/kubepods/podcast/podium", ["", "", ""]);
    }

    #[test]
    fn the_hierarchy_that_says_most_is_believed() {
        let systemd = "1:name=systemd:/system.slice/a.service";
        check(
            &format!("4:memory:/system.slice/b.service/much/longer\n{systemd}\n0::/"),
            ["a.service", "", ""],
        );
        check(&format!("{systemd}\n0::/system.slice/c.service"), ["c.service", "", ""]);
        check("4:memory:/b.service\n3:cpu,cpuacct:/b.service/d.scope", ["d.scope", "", ""]);
        check(&format!("1:name=systemd:/docker/{ID}\n0::/system.slice/docker.service"), ["", ID, ""]);
    }

    proptest! {
        #[test]
        fn no_cgroup_makes_the_decoder_panic(bytes: Vec<u8>, text in "(0::)?[/a-f0-9.:\\-podkubescipelx]{0,90}") {
            let _ = (decode(&bytes), decode(text.as_bytes()));
        }
    }
}
