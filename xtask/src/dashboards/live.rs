//! The page itself, played with the real parts: the daemon, Prometheus with the rules, Alertmanager, and a webhook.
//!
//! A program with a backlog that was cut to four stops accepting for two seconds while twelve clients come. Exactly one page
//! has to come of it, with all that it is to say, and exactly one word that it is over. All of it is in a network namespace of its own.
//!
//! When the page is there, every expression is asked of this Prometheus; in the end the dashboards are drawn as of that time.

mod http;
mod questions;
mod quiet;
mod stage;
mod traffic;

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::thread;
use std::time::{Duration, Instant, SystemTime};

use anyhow::{Context as _, Result, bail, ensure};
use serde_json::Value;

use self::http::{Ear, Told};
use self::questions::Span;
use self::stage::Stage;
use self::traffic::{BACKLOG, CLIENTS, PORT, Shop};
use super::render::{self, Scene};
use crate::{AlreadyReported, build, processes, setup, workspace};

const ALERT: &str = "TcpBacklogAcceptQueueOverflow";

/// Plays an overflow of two seconds on the real daemon, Prometheus and Alertmanager: one page, and the end of it. Asks every
/// expression meanwhile, and draws the dashboards
#[derive(clap::Args, Default)]
pub(crate) struct Arguments {
    /// This daemon instead of one that is built
    #[arg(long)]
    daemon: Option<PathBuf>,
    /// Leave the pictures of the dashboards in this folder
    #[arg(long, value_name = "FOLDER")]
    pictures: Option<PathBuf>,
    /// With the windows and intervals as they are: 15 minutes instead of 2
    #[arg(long)]
    real_time: bool,
    /// The network namespace is there already
    #[arg(long, hide = true)]
    inside: bool,
}

impl Arguments {
    /// With shorter windows, and without keeping pictures.
    pub(super) fn fast(daemon: Option<PathBuf>) -> Self {
        Self { daemon, ..Self::default() }
    }
}

pub(crate) fn run(arguments: &Arguments) -> Result<()> {
    let daemon = match &arguments.daemon {
        Some(daemon) => daemon.canonicalize().with_context(|| format!("no {}", daemon.display()))?,
        None => build::daemon(false, false)?,
    };
    if arguments.inside { play(&daemon, arguments) } else { enter(&daemon, arguments) }
}

/// Runs this command again in a network and a mount namespace of its own, which are gone when it ends.
fn enter(daemon: &Path, arguments: &Arguments) -> Result<()> {
    // With a folder for /usr/share, which nobody outside of the mount namespace sees.
    const SCRIPT: &str = "\"$0\" ip link set lo up || exit 1; share=$1; shift; \
                          test -z \"$share\" || \"$0\" mount --bind \"$share\" /usr/share || exit 1; exec \"$@\"";
    ensure!(
        workspace::is_root(),
        "dashboards: the play needs root: it loads BPF programs and makes a network namespace"
    );
    // What can take long is done before anything is started, and while there is a network.
    let share = setup::prometheus()?.share.unwrap_or_default();
    let busybox = setup::busybox()?;
    render::prepare()?;
    let mut command = Command::new(&busybox);
    command.args(["unshare", "-n", "-m"]).arg(&busybox).args(["sh", "-c", SCRIPT]).arg(&busybox).arg(share);
    command.arg(std::env::current_exe()?).args(["dashboards", "live", "--inside", "--daemon"]).arg(daemon);
    if let Some(pictures) = &arguments.pictures {
        command.arg("--pictures").arg(pictures);
    }
    if arguments.real_time {
        command.arg("--real-time");
    }
    // What failed it has said itself.
    processes::run(&mut processes::tied_to_this_process(command)).map_err(|_| AlreadyReported.into())
}

fn play(daemon: &Path, arguments: &Arguments) -> Result<()> {
    let ear = Ear::open(stage::WEBHOOK)?;
    let stage = Stage::open(&setup::prometheus()?, daemon, arguments.real_time)?;
    let pictures = arguments.pictures.clone().unwrap_or_else(|| stage.folder().join("pictures"));
    let outcome = story(&ear, arguments.real_time).and_then(|span| draw(span, &pictures));
    if outcome.is_err() {
        println!("{}", stage.last_words());
    }
    outcome
}

/// Gives the time from the beginning to a moment after the page.
fn story(ear: &Ear, in_real_time: bool) -> Result<Span> {
    // A scrape and an evaluation, twice over; and the window with what it takes to be told its end.
    let (reaction, window, scrape) = if in_real_time { (90, 1020, 15) } else { (30, 120, 2) };
    // The daemon sees all of the host: somebody else may use the same port elsewhere.
    let netns = own_netns()?;
    let shop = Shop::open()?;
    wait("the daemon, Prometheus and Alertmanager answer", 60, everybody_is_ready)?;
    let opened = seconds_since_1970();
    wait("the port is seen without a loss", reaction + 10 * scrape, || seen(&netns))?;
    let began = Instant::now();
    let clients = shop.overflow();
    println!("{:6.1} s: {CLIENTS} clients met a backlog of {BACKLOG}, and nobody accepted", 0.0);
    wait("the alert fires in Prometheus", reaction, || fires(&netns))?;
    println!("{:6.1} s: the alert fires", began.elapsed().as_secs_f64());
    let status = |status: &str| -> Vec<Told> {
        let told = ear.told_of(ALERT, &PORT.to_string(), &netns);
        told.into_iter().filter(|told| http::text(&told.alert, "/status") == status).collect()
    };
    wait("the page comes", reaction, || Ok(!status("firing").is_empty()))?;
    println!("{:6.1} s: the page is there", began.elapsed().as_secs_f64());
    let page = status("firing").into_iter().next().context("the page is gone")?;
    check_page(&page)?;
    wait("the daemon's verdict is scraped", reaction, advised)?;
    let span = Span { from: opened, to: seconds_since_1970(), scrape };
    ask(span)?;
    println!("{:6.1} s: every expression is asked", began.elapsed().as_secs_f64());
    wait("the page ends", window, || Ok(!status("resolved").is_empty()))?;
    println!("{:6.1} s: it is over", began.elapsed().as_secs_f64());
    // Whoever would tell it twice has had the time.
    thread::sleep(Duration::from_secs(reaction));
    let (firing, resolved) = (status("firing").len(), status("resolved").len());
    drop(clients);
    if (firing, resolved) != (1, 1) {
        ear.told_of(ALERT, &PORT.to_string(), &netns).iter().for_each(|told| println!("{}", told.alert));
        bail!("{firing} pages and {resolved} ends of it were sent, not one each");
    }
    let text = |name: &str| http::text(&page.alert, &format!("/annotations/{name}")).to_owned();
    println!("dashboards: one page and one end of it\n{}\n{}", text("summary"), text("description"));
    // A line takes some points: a series that is there only while connections are refused has one when the page comes.
    Ok(Span { to: span.to + 3 * scrape, ..span })
}

/// Asks every expression at the time of the page.
fn ask(span: Span) -> Result<()> {
    let problems = questions::ask(&super::catalogue()?, span)?;
    problems.iter().for_each(|problem| println!("{problem}"));
    if problems.is_empty() { Ok(()) } else { Err(AlreadyReported.into()) }
}

/// Draws the dashboards as of a moment after the page, but not at that time: it takes all processors, and scrapes that come too
/// late end an alert.
fn draw(Span { from, to, scrape }: Span, pictures: &Path) -> Result<()> {
    let scene = Scene { prometheus: stage::PROMETHEUS, from, to, scrape, port: &PORT.to_string() };
    render::draw(&super::files(), &scene, pictures)
}

fn seconds_since_1970() -> u64 {
    SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).map_or(0, |since| since.as_secs())
}

fn everybody_is_ready() -> Result<bool> {
    Ok(http::is_ready(stage::DAEMON, "/readyz")
        && http::is_ready(stage::PROMETHEUS, "/-/ready")
        && http::is_ready(stage::ALERTMANAGER, "/-/ready"))
}

/// The number by which the labels name the network namespace of this process.
fn own_netns() -> Result<String> {
    let link = fs::read_link("/proc/self/ns/net").context("cannot read /proc/self/ns/net")?;
    let number = link.to_string_lossy().chars().filter(char::is_ascii_digit).collect();
    Ok(number)
}

/// Whether Prometheus has known the port for ten scrapes, and no loss of it.
fn seen(netns: &str) -> Result<bool> {
    let lost = "port:tcp_backlog_accept_queue_overflows:sum";
    let port = format!("{lost}{{port=\"{PORT}\",netns=\"{netns}\"}}");
    let query = crate::http::encoded(&format!("{port} == 0 and count_over_time({port}[1h]) >= 10"));
    let answer = http::get(stage::PROMETHEUS, &format!("/api/v1/query?query={query}"))?;
    Ok(http::text(&answer, "/data/result/0/value/1") == "0")
}

fn advised() -> Result<bool> {
    let answer = http::get(stage::PROMETHEUS, "/api/v1/query?query=tcp_backlog_advice")?;
    Ok(answer.pointer("/data/result/0").is_some())
}

fn fires(netns: &str) -> Result<bool> {
    let answer = http::get(stage::PROMETHEUS, "/api/v1/alerts")?;
    let alerts = answer.pointer("/data/alerts").and_then(Value::as_array).cloned().unwrap_or_default();
    let port = PORT.to_string();
    let wanted = [
        ("/labels/alertname", ALERT),
        ("/labels/port", &port),
        ("/labels/netns", netns),
        ("/state", "firing"),
    ];
    let is_it = |alert: &Value| wanted.iter().all(|(pointer, value)| http::text(alert, pointer) == *value);
    Ok(alerts.iter().any(is_it))
}

/// Whoever is woken up has to be told where, whose, why, and what to do.
fn check_page(page: &Told) -> Result<()> {
    ensure!(page.receiver == "/pager", "the page went to {}", page.receiver);
    let text = |name: &str| http::text(&page.alert, &format!("/annotations/{name}"));
    let (summary, description) = (text("summary"), text("description"));
    for part in [stage::DAEMON, "18080", " of xtask", "accept queue is full"] {
        ensure!(summary.contains(part), "the summary does not say `{part}`: {summary}");
    }
    for part in ["Cause: ", "Remedy: ", "a limit of 4 connections", "tcp-backlog-probe doctor --port 18080"] {
        ensure!(description.contains(part), "the description does not say `{part}`: {description}");
    }
    ensure!(text("runbook_url").ends_with(&format!("/{ALERT}.md")), "no page of the runbook is named");
    ensure!(http::text(&page.alert, "/labels/runbooks").is_empty(), "the external label is sent along");
    Ok(())
}

/// Waits until it is so; what cannot be asked yet is not so yet.
pub(super) fn wait(what: &str, seconds: u64, is_so: impl Fn() -> Result<bool>) -> Result<()> {
    let deadline = Instant::now() + Duration::from_secs(seconds);
    loop {
        let last = is_so();
        if matches!(last, Ok(true)) {
            return Ok(());
        }
        if Instant::now() > deadline {
            let why = last.err().map_or_else(String::new, |error| format!(": {error:#}"));
            bail!("dashboards: {what}: not within {seconds} s{why}");
        }
        thread::sleep(Duration::from_millis(200));
    }
}
