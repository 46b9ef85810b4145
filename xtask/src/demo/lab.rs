//! A story on a kernel of the lab: the same program, with everything that it needs, inside an emulated machine.

use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use anyhow::{Context as _, Result};

use super::play::{Jmeter, Means};
use super::story::Story;
use super::{Arguments, Client};
use crate::setup::{self, Lab, servers};
use crate::vm::boot::{Clock, Machine, Shown};
use crate::vm::pack::{self, DAEMON};
use crate::{AlreadyReported, build, vm};

/// The kernel that is taken where this machine's own does not do.
pub(super) const KERNEL: &str = "6.12";

/// Two starts of a JVM, two spikes and a few minutes of waiting, with instructions emulated one by one.
const DEADLINE: Duration = Duration::from_secs(3600);

/// A server's root file system is a part of the machine's memory.
const MEMORY: &str = "3G";

/// Where things are inside.
const XTASK: &str = "/bin/xtask";
const SERVER: &str = "/server";
const JMETER: &str = "/jmeter";
const JVM: &str = "/jvm";

/// Boots a machine that plays the story, and shows what it says.
pub(super) fn play(story: &Story, kernel: &str, arguments: &Arguments) -> Result<()> {
    let lab = setup::lab(&[kernel])?;
    let kernel = lab.kernels.first().context("demo: no kernel")?;
    let probe = super::probe(arguments)?;
    let xtask = build::static_xtask()?;
    let trees = trees(story, arguments.client)?;
    let _turn = vm::wait_for_turn()?;
    let folder = vm::log_folder();
    let archive = folder.join("demo.cpio");
    let programs = [(DAEMON, probe), (XTASK, xtask)];
    pack(&archive, &lab, &programs, &trees, &script(story, arguments))?;
    println!(
        "demo: booting {}: a processor that is emulated takes minutes for what takes seconds",
        kernel.origin
    );
    let log = folder.join("demo.log");
    let machine = Machine {
        emulator: &lab.emulator,
        kernel,
        initramfs: &archive,
        log: &log,
        deadline: DEADLINE,
        memory: MEMORY,
        shown: Shown::Program,
        clock: Clock::Wall,
    };
    let started = Instant::now();
    let verdict = vm::boot_until_init(&machine)?.verdict();
    println!(
        "demo: the machine ran for {:.0} s; its log is {}",
        started.elapsed().as_secs_f32(),
        log.display()
    );
    for problem in &verdict.problems {
        println!("demo: {problem}");
    }
    if verdict.problems.is_empty() { Ok(()) } else { Err(AlreadyReported.into()) }
}

/// The folders that are needed inside: the server, and the load client if it is another program.
fn trees(story: &Story, client: Client) -> Result<Vec<(&'static str, PathBuf)>> {
    let mut trees = vec![(SERVER, setup::server(story.server)?)];
    if let Some(Jmeter { classes, jvm }) = client.provided()? {
        trees.push((JMETER, classes));
        if jvm_inside(story) == JVM {
            trees.push((JVM, jvm));
        }
    }
    Ok(trees)
}

/// Where the JVM is: there need not be two.
fn jvm_inside(story: &Story) -> &'static str {
    if story.server.name == servers::TOMCAT.name { SERVER } else { JVM }
}

fn pack(
    archive: &Path,
    lab: &Lab,
    programs: &[(&str, PathBuf)],
    trees: &[(&str, PathBuf)],
    script: &str,
) -> Result<()> {
    let modules = lab.kernels.first().map(|kernel| kernel.modules.as_slice()).unwrap_or_default();
    let mut initramfs = pack::begin(archive, &lab.busybox, modules, script)?;
    for (name, program) in programs {
        initramfs.program(name.trim_start_matches('/'), &pack::read(program)?)?;
    }
    for (name, tree) in trees {
        initramfs.tree(name.trim_start_matches('/'), tree)?;
    }
    initramfs.finish()?;
    Ok(())
}

/// What init runs. It ends with the story's own exit code. 3,000 clients on one machine send more packets at once
/// than an emulated processor takes in; on many machines they would not share a queue with the server.
fn script(story: &Story, arguments: &Arguments) -> String {
    let client = match arguments.client {
        Client::Own => "own",
        Client::Jmeter => "jmeter",
    };
    format!(
        "#!/bin/sh\n\
         export NO_COLOR=1\n\
         sysctl -w net.core.netdev_max_backlog=65535 > /dev/null\n\
         exec {XTASK} demo {} --inside --client {client} --connect-timeout {} --timeout {}\n",
        story.name,
        arguments.connect_timeout.as_secs_f64(),
        arguments.timeout.as_secs_f64()
    )
}

/// The other side of it.
pub(super) fn means_inside(story: &Story, arguments: &Arguments) -> Means {
    let jmeter = || Jmeter { classes: PathBuf::from(JMETER), jvm: PathBuf::from(jvm_inside(story)) };
    Means {
        busybox: PathBuf::from("/bin/busybox"),
        root: PathBuf::from(SERVER),
        probe: PathBuf::from(DAEMON),
        folder: PathBuf::from("/tmp/demo"),
        connect_timeout: arguments.connect_timeout,
        timeout: arguments.timeout,
        jmeter: (arguments.client == Client::Jmeter).then(jmeter),
    }
}
