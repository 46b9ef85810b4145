//! All hosts in one process: each is asked for by its path, and tells what has happened since it was asked last.

use std::net::TcpListener;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::thread;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use anyhow::{Context as _, Result};

use super::host::{Host, Template};
use super::http;

pub(super) const ADDRESS: &str = "127.0.0.1:10511";
/// So many hosts are asked at the same time.
const WORKERS: usize = 4;
/// Of so many hosts one goes down.
const DOWN: u32 = 200;

pub(super) struct Farm {
    template: Template,
    hosts: Vec<Mutex<State>>,
    /// Whether those hosts are down that are to be.
    live: AtomicBool,
}

struct State {
    host: Host,
    /// The time of the last sample that was told; of the first one.
    told: i64,
    asked: bool,
}

impl Farm {
    pub(super) fn new(template: Template, hosts: u32, history: Duration) -> Self {
        let past = now() - i64::try_from(history.as_millis()).unwrap_or_default();
        let state = |number| {
            // The daemons had been running for a while.
            let host = Host { number, started: past - 3_600_000 };
            Mutex::new(State { host, told: past, asked: false })
        };
        Self { template, hosts: (0..hosts).map(state).collect(), live: AtomicBool::new(false) }
    }

    /// How many hosts nobody has asked yet.
    pub(super) fn unseen(&self) -> usize {
        let asked = |state: &Mutex<State>| state.lock().unwrap_or_else(PoisonError::into_inner).asked;
        self.hosts.iter().filter(|state| !asked(state)).count()
    }

    /// Some hosts go down.
    pub(super) fn go_live(&self) {
        self.live.store(true, Ordering::Relaxed);
    }

    /// What is told at `/host/NUMBER/metrics`.
    fn tell(&self, path: &str, now: i64) -> Option<String> {
        let number: u32 = path.strip_prefix("/host/")?.strip_suffix("/metrics")?.parse().ok()?;
        if self.live.load(Ordering::Relaxed) && number % DOWN == DOWN - 1 {
            return None;
        }
        let mut state =
            self.hosts.get(usize::try_from(number).ok()?)?.lock().unwrap_or_else(PoisonError::into_inner);
        let times = state.host.times(state.told, now);
        state.told = times.last().copied().unwrap_or(state.told);
        let first = !std::mem::replace(&mut state.asked, true);
        Some(self.template.write(&state.host, &times, first))
    }
}

/// Answers until the process ends.
pub(super) fn open(farm: &Arc<Farm>) -> Result<()> {
    let listener = TcpListener::bind(ADDRESS).with_context(|| format!("{ADDRESS} is taken"))?;
    for _ in 0..WORKERS {
        let (listener, farm) = (listener.try_clone()?, Arc::clone(farm));
        thread::spawn(move || {
            for stream in listener.incoming().flatten() {
                // Prometheus notes what was not answered.
                let _ = http::answer(stream, |path| farm.tell(path, now()));
            }
        });
    }
    Ok(())
}

fn now() -> i64 {
    let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    i64::try_from(since.as_millis()).unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::super::host::Asked;
    use super::*;

    #[test]
    fn a_host_tells_its_past_once_and_then_what_is_new() {
        let text = "# HELP a A.\n# TYPE a counter\na 600\n";
        let catalogue = super::super::super::catalogue::example();
        let asked = Asked { by_panels: ["a".to_owned()].into(), by_rules: String::new() };
        let template = Template::parse(text, &catalogue, 1, &asked).unwrap();
        let farm = Farm::new(template, 200, Duration::from_secs(600));
        assert_eq!(farm.unseen(), 200);
        let samples = |now| {
            farm.tell("/host/0/metrics", now).unwrap().lines().filter(|line| line.starts_with("a ")).count()
        };
        let now = now();
        assert_eq!((samples(now), samples(now), samples(now + 15_000)), (40, 0, 1));
        assert_eq!(farm.unseen(), 199);
        farm.go_live();
        assert!(farm.tell("/host/199/metrics", now).is_none());
        assert!(farm.tell("/host/200/metrics", now).is_none());
    }
}
