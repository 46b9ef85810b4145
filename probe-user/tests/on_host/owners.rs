//! Whose a port is: real servers that fork, hand their sockets on and live in control groups.
use std::{
    env, fs,
    path::{Path, PathBuf},
    process::{self, Child, Command, Stdio},
};

use libtest_mimic::Trial;

use crate::{
    jar,
    scenarios::support::{
        daemon::Daemon,
        metrics::Metrics,
        namespace::Namespace,
        trials::{tell, trial, trials_of},
        wait::{ensure, wait_until},
    },
    servers::Server,
};

/// Every trial of this file.
pub(crate) fn trials() -> Vec<Trial> {
    let mut trials = trials_of!(
        "owners":
        a_server_owns_its_port,
        of_a_server_that_forks_the_master_owns_the_port,
        a_socket_of_systemd_belongs_to_the_server_once_that_runs,
        a_socket_that_is_handed_on_has_a_new_owner,
        a_server_in_a_control_group_of_a_container
    );
    let java = java();
    let without_java = java.is_none();
    let name = "owners::a_jvm_is_known_by_its_jar_file".to_owned();
    let jvm = trial(name, move || a_jvm_is_known_by_its_jar_file(&java.expect("a java")));
    trials.push(jvm.with_ignored_flag(without_java));
    trials
}

fn a_server_owns_its_port() {
    let scene = Scene::new();
    let mut server = Server::start(&scene.namespace, "plain-server");
    let port = server.listen();
    scene.wait_for_owner(port, server.id(), "plain-server");
    let user = if fs::read_to_string("/etc/passwd").is_ok_and(|users| users.starts_with("root:")) {
        "root"
    } else {
        "0"
    };
    assert_eq!(scene.owner_label(port, "user").as_deref(), Some(user));
    assert!(scene.owner_label(port, "command").is_some_and(|command| command.starts_with("on_host")));
    server.close();
    wait_until("a closed port has no owner", || {
        let owner = scene.owner_label(port, "process");
        ensure(owner.is_none(), || format!("{owner:?}"))
    });
}

fn of_a_server_that_forks_the_master_owns_the_port() {
    let scene = Scene::new();
    let mut server = Server::start(&scene.namespace, "forking-master");
    let port = server.listen();
    for _ in 0..3 {
        server.give("worker");
    }
    scene.wait_for_owner(port, server.id(), "forking-master");
    server.end_children();
    server.give("worker");
    scene.wait_for_owner(port, server.id(), "forking-master");
}

fn a_socket_of_systemd_belongs_to_the_server_once_that_runs() {
    let scene = Scene::new();
    let mut manager = Server::start(&scene.namespace, "systemd");
    let port = manager.listen();
    scene.wait_for_owner(port, manager.id(), "systemd");
    let server = manager.give("activated");
    scene.wait_for_owner(port, server, "activated");
    manager.end_children();
    scene.wait_for_owner(port, manager.id(), "systemd");
}

fn a_socket_that_is_handed_on_has_a_new_owner() {
    let scene = Scene::new();
    let mut first = Server::start(&scene.namespace, "first-owner");
    let port = first.listen();
    scene.wait_for_owner(port, first.id(), "first-owner");
    let second = first.give("second-owner");
    scene.wait_for_owner(port, first.id(), "first-owner");
    first.close();
    scene.wait_for_owner(port, second, "second-owner");
}

fn a_server_in_a_control_group_of_a_container() {
    let scene = Scene::new();
    let id = format!("{:064x}", process::id());
    let Some(group) = ControlGroup::make(&format!("docker-{id}.scope")) else {
        return tell("no control group can be made here: containers are not recognised in a test".to_owned());
    };
    let mut server = Server::start(&scene.namespace, "contained");
    group.take_in(server.id());
    let port = server.listen();
    scene.wait_for_owner(port, server.id(), "contained");
    assert_eq!(scene.owner_label(port, "container").as_deref(), Some(id.as_str()));
    assert_eq!(scene.owner_label(port, "unit").as_deref(), Some(group.name()));
    // It has to be out of the group before that can go.
    drop(server);
}

/// The registry of Java's RMI is a server that every runtime has.
fn a_jvm_is_known_by_its_jar_file(java: &Path) {
    let scene = Scene::new();
    let folder = env::temp_dir().join(format!("tcp-backlog-probe-jvm-{}", process::id()));
    fs::create_dir_all(&folder).expect("a folder");
    let file = folder.join("registry.jar");
    fs::write(&file, jar::with_main_class("sun.rmi.registry.RegistryImpl")).expect("a jar file");
    let mut command = Command::new(java);
    // The properties are what a start script of Jetty's would set.
    command.args(["-Xmx32m", "-Djetty.base=/srv/shop", "-jar"]).arg(&file).arg(REGISTRY_PORT.to_string());
    command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null());
    let jvm = Jvm(scene.namespace.run(move || command.spawn().expect("a JVM")));
    scene.wait_for_owner(REGISTRY_PORT, jvm.0.id(), "java");
    let labels = ["command", "application"].map(|label| scene.owner_label(REGISTRY_PORT, label));
    assert_eq!(labels, [Some("registry.jar".to_owned()), Some("jetty".to_owned())]);
    drop(jvm);
    fs::remove_dir_all(folder).expect("the folder away");
}

/// Free in a namespace of its own.
const REGISTRY_PORT: u16 = 1099;

/// `TCP_BACKLOG_PROBE_JAVA`, else the one on PATH.
fn java() -> Option<PathBuf> {
    let named = env::var_os("TCP_BACKLOG_PROBE_JAVA").map(PathBuf::from);
    let on_path = || {
        let path = env::var_os("PATH")?;
        env::split_paths(&path).map(|folder| folder.join("java")).find(|java| java.is_file())
    };
    named.or_else(on_path)
}

struct Jvm(Child);

impl Drop for Jvm {
    fn drop(&mut self) {
        // Both fail only when it has ended already.
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

/// A daemon without hooks, and a namespace with servers for it.
struct Scene {
    namespace: Namespace,
    daemon: Daemon,
}

impl Scene {
    fn new() -> Self {
        Self { namespace: Namespace::new(), daemon: Daemon::start(&["--plan", "none"]) }
    }

    /// Waits until the port belongs to the process, and everything that is said of the port says so.
    fn wait_for_owner(&self, port: u16, pid: u32, name: &str) {
        wait_until(&format!("port {port} belongs to {name}"), || {
            let snapshot = self.daemon.snapshot();
            let ports = snapshot.pointer("/model/ports").and_then(|ports| ports.as_array());
            let is_ours = |found: &&serde_json::Value| {
                found.get("port").and_then(serde_json::Value::as_u64) == Some(u64::from(port))
                    && found.get("netns").and_then(serde_json::Value::as_u64) == Some(self.namespace.inode())
            };
            let found = ports.into_iter().flatten().find(is_ours).ok_or("the port is not there")?;
            let owner = found.pointer("/listeners/0/owner/pid").and_then(serde_json::Value::as_u64);
            ensure(owner == Some(u64::from(pid)), || format!("{pid} is not in {found:#}"))
        });
        assert_eq!(self.owner_label(port, "process").as_deref(), Some(name));
        let labels = self.labels(port);
        let labels: Vec<_> = labels.iter().map(|(name, value)| (*name, value.as_str())).collect();
        let metrics = self.scrape();
        assert_eq!(metrics.label("tcp_backlog_listeners", &labels, "process"), Some(name));
    }

    /// A label of the port's owner, unless it is empty or there is no owner.
    fn owner_label(&self, port: u16, label: &str) -> Option<String> {
        let labels = self.labels(port);
        let labels: Vec<_> = labels.iter().map(|(name, value)| (*name, value.as_str())).collect();
        let metrics = self.scrape();
        let value = metrics.label("tcp_backlog_port_owner_info", &labels, label)?;
        (!value.is_empty()).then(|| value.to_owned())
    }

    fn labels(&self, port: u16) -> [(&'static str, String); 2] {
        [("netns", self.namespace.inode().to_string()), ("port", port.to_string())]
    }

    fn scrape(&self) -> Metrics {
        self.daemon.scrape()
    }
}

/// A control group of this test's.
struct ControlGroup(PathBuf);

impl ControlGroup {
    /// Makes one in the first hierarchy in which that can be done; `None` where there is none, as in a container.
    fn make(name: &str) -> Option<Self> {
        let hierarchies =
            ["/sys/fs/cgroup", "/sys/fs/cgroup/unified", "/sys/fs/cgroup/systemd"].map(Path::new);
        // The top of version 1 is a plain folder, in which nothing is a control group.
        let is_group = |folder: &&Path| folder.join("cgroup.procs").exists();
        let made = |folder: &Path| {
            let group = folder.join(name);
            fs::create_dir(&group).is_ok().then_some(Self(group))
        };
        hierarchies.into_iter().filter(is_group).find_map(made)
    }

    fn name(&self) -> &str {
        self.0.file_name().and_then(|name| name.to_str()).expect("the name that it was made with")
    }

    fn take_in(&self, pid: u32) {
        fs::write(self.0.join("cgroup.procs"), pid.to_string()).expect("a move into the control group");
    }
}

impl Drop for ControlGroup {
    fn drop(&mut self) {
        // The kernel lets it go once the last process is out of it, which may take a moment.
        wait_until("the control group goes", || fs::remove_dir(&self.0).map_err(|error| error.to_string()));
    }
}
