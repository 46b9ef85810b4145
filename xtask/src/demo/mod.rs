//! `cargo xtask demo`: stories of real servers that lose connections, played from the spike to the remedy.
//!
//! A real server, a load client, the kernel's own counters and the daemon are put together in a network namespace
//! of their own; what `tcp-backlog-probe doctor` prints is done, and it is looked whether it helped. A story needs
//! a kernel on which the daemon sees what listen() was asked for: this machine's, or one of the lab's.

mod counted;
mod doctor;
mod jmeter;
mod judgement;
mod lab;
mod nginx;
mod play;
mod python;
mod report;
mod stage;
mod stories;
mod story;
mod tomcat;
mod watch;

use std::path::PathBuf;
use std::time::Duration;

use anyhow::{Result, ensure};

use self::play::{Jmeter, Means};
use self::story::Story;
use crate::setup::servers;
use crate::{AlreadyReported, build, setup, spike, workspace};

/// Plays a story of a real server that loses connections, and of the remedy
#[derive(clap::Args)]
pub(crate) struct Arguments {
    /// tomcat-spike, nginx-spike or python-spike
    name: String,
    /// Play it on this machine's kernel, whatever can be seen here
    #[arg(long, conflicts_with = "kernel")]
    here: bool,
    /// Play it on this kernel of the lab (5.10, 6.1, 6.12, 7.2)
    #[arg(long, value_name = "LINE")]
    kernel: Option<String>,
    /// Use this tcp-backlog-probe instead of building one; in the lab it has to be static
    #[arg(long, value_name = "FILE")]
    probe: Option<PathBuf>,
    /// Who makes the spike
    #[arg(long, value_enum, default_value_t = Client::Own)]
    client: Client,
    /// Everything is where the lab puts it: this is the inside of one of its machines
    #[arg(long, hide = true)]
    inside: bool,
    /// How long a client waits for its handshake, in seconds
    #[arg(long, value_name = "SECONDS", default_value = "0.9", value_parser = spike::seconds)]
    connect_timeout: Duration,
    /// How long a client waits for the whole answer, in seconds
    #[arg(long, value_name = "SECONDS", default_value = "120", value_parser = spike::seconds)]
    timeout: Duration,
}

/// A load client.
#[derive(Clone, Copy, Debug, PartialEq, Eq, clap::ValueEnum)]
enum Client {
    /// `cargo xtask spike`: one thread, evenly spread
    Own,
    /// JMeter 2.13: a thread for each connection. It shares the processors with the server
    Jmeter,
}

impl Client {
    /// Without the remedy more connections than these are refused, or the client was too slow for a spike. JMeter
    /// needs seconds for as many threads.
    fn refused_more_than(self) -> u64 {
        match self {
            Self::Own => 1000,
            Self::Jmeter => 100,
        }
    }

    /// What has to be unpacked for it: JMeter itself, and a JVM.
    fn provided(self) -> Result<Option<Jmeter>> {
        Ok(match self {
            Self::Own => None,
            Self::Jmeter => Some(Jmeter {
                classes: setup::server(&servers::JMETER)?,
                jvm: setup::server(&servers::TOMCAT)?,
            }),
        })
    }
}

/// The command itself.
pub(crate) fn run(arguments: &Arguments) -> Result<()> {
    let story = stories::find(&arguments.name)?;
    if arguments.inside {
        return perform(story, &lab::means_inside(story, arguments), arguments.client);
    }
    if let Some(kernel) = &arguments.kernel {
        return lab::play(story, kernel, arguments);
    }
    ensure!(
        workspace::is_root(),
        "demo: making a network namespace takes root (remedy: --kernel, or sudo -E)"
    );
    let probe = probe(arguments)?;
    if !arguments.here && !watch::sees_what_was_asked_for(&probe)? {
        println!("demo: this machine's kernel does not let the daemon see what listen() was asked for");
        return lab::play(story, lab::KERNEL, arguments);
    }
    let means = Means {
        busybox: setup::busybox()?,
        root: setup::server(story.server)?,
        probe,
        folder: workspace::target().join("demo").join(story.name),
        connect_timeout: arguments.connect_timeout,
        timeout: arguments.timeout,
        jmeter: arguments.client.provided()?,
    };
    perform(story, &means, arguments.client)
}

/// The daemon. A static one can also be played with in the lab, whose machines are of this kind only.
fn probe(arguments: &Arguments) -> Result<PathBuf> {
    match &arguments.probe {
        Some(probe) => Ok(probe.clone()),
        None => build::daemon(true, cfg!(target_arch = "x86_64")),
    }
}

/// Plays, shows both spikes and judges.
fn perform(story: &Story, means: &Means, client: Client) -> Result<()> {
    let played = play::play(story, means)?;
    print!("\n{}\n", report::table(&played));
    let claims = judgement::judge(story, &played, client.refused_more_than());
    print!("{}", report::verdict(&claims));
    if claims.iter().all(|claim| claim.holds) { Ok(()) } else { Err(AlreadyReported.into()) }
}
