//! The edge of `top`: the terminal, the clock, signals, and whoever is read from.
use std::{
    io, mem,
    ops::ControlFlow,
    thread,
    time::{Duration, Instant},
};

use anyhow::{Context, anyhow};
use ratatui::{
    DefaultTerminal,
    crossterm::event::{self, Event},
};
use tokio::{
    sync::mpsc::{Receiver, Sender, UnboundedReceiver, channel, unbounded_channel},
    task::spawn_blocking,
    time::{MissedTickBehavior, interval},
};

use super::{
    state::{Origin, State},
    view::{self, Palette},
};
use crate::{
    daemon::{
        client::{self, Daemon},
        probe::Probe,
        signals::Signals,
    },
    model::Model,
};

/// How often the ages in the header are told anew.
const CLOCK: Duration = Duration::from_secs(1);

/// Where the figures come from.
pub enum Source {
    /// A daemon that runs.
    Daemon(Daemon),
    /// Hooks of our own.
    Own(Box<Probe>),
}

/// A model, or in one line why there is none.
type Reading = Result<Model, String>;

impl Source {
    /// Reads once.
    async fn read(self) -> (Option<Self>, Reading) {
        match self {
            Self::Daemon(daemon) => {
                let reading = match client::snapshot(&daemon).await {
                    Ok(Some(model)) => Ok(model),
                    Ok(None) => Err(format!("nobody can be asked on {daemon}")),
                    Err(error) => Err(format!("{error:#}")),
                };
                (Some(Self::Daemon(daemon)), reading)
            }
            Self::Own(mut probe) => {
                let read = spawn_blocking(move || {
                    let model = probe.read();
                    (probe, model)
                });
                match read.await {
                    Ok((probe, model)) => (Some(Self::Own(probe)), Ok(model)),
                    Err(error) => (None, Err(error.to_string())),
                }
            }
        }
    }
}

/// Shows what the source gives, until somebody has seen enough.
///
/// # Errors
/// When the terminal cannot be used, or nothing can be read any more.
pub fn run(source: Source, origin: Origin, every: Duration, palette: Palette) -> anyhow::Result<()> {
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .worker_threads(1)
        .enable_all()
        .build()
        .context("cannot start the runtime")?;
    let ended = runtime.block_on(async {
        let signals = Signals::install()?;
        let screen = Screen::open().context("the terminal cannot be used")?;
        let (sender, readings) = channel(1);
        tokio::spawn(read_on(source, every, sender));
        show(screen, State::new(origin), palette, Inputs { signals, readings, keys: keys() }).await
    });
    // A reading that is under way is nobody's business any more.
    runtime.shutdown_background();
    ended
}

/// What may happen.
struct Inputs {
    signals: Signals,
    readings: Receiver<Reading>,
    keys: UnboundedReceiver<io::Result<Event>>,
}

async fn show(
    mut screen: Screen,
    mut state: State,
    palette: Palette,
    mut inputs: Inputs,
) -> anyhow::Result<()> {
    let begun = Instant::now();
    let mut clock = interval(CLOCK);
    clock.set_missed_tick_behavior(MissedTickBehavior::Delay);
    loop {
        state.set_now(begun.elapsed());
        screen.draw(&mut state, palette).context("the terminal cannot be written to")?;
        tokio::select! {
            key = inputs.keys.recv() => {
                let Some(key) = key else { return Ok(()) };
                if let Event::Key(key) = key.context("the terminal cannot be read from")?
                    && state.on_key(key) == ControlFlow::Break(())
                {
                    return Ok(());
                }
            }
            reading = inputs.readings.recv() => {
                state.set_now(begun.elapsed());
                match reading.ok_or_else(|| anyhow!("nothing can be read any more"))? {
                    Ok(model) => state.observe(model),
                    Err(reason) => state.note_lost(reason),
                }
            }
            // SIGHUP comes when the terminal is gone.
            _ = inputs.signals.next() => return Ok(()),
            _ = clock.tick() => {}
        }
    }
}

/// Reads again and again, until nobody wants to know.
async fn read_on(source: Source, every: Duration, readings: Sender<Reading>) {
    let mut turns = interval(every);
    turns.set_missed_tick_behavior(MissedTickBehavior::Delay);
    let mut source = Some(source);
    while let Some(readable) = source.take() {
        turns.tick().await;
        let (again, reading) = readable.read().await;
        source = again;
        if readings.send(reading).await.is_err() {
            return;
        }
    }
}

/// The terminal's events. The thread ends with the process: nothing wakes it up but another event.
fn keys() -> UnboundedReceiver<io::Result<Event>> {
    let (sender, keys) = unbounded_channel();
    thread::spawn(move || {
        loop {
            let event = event::read();
            let is_last = event.is_err();
            if sender.send(event).is_err() || is_last {
                return;
            }
        }
    });
    keys
}

/// The terminal while it is ours. It is given back as it was, also by a panic, for which ratatui has a hook.
struct Screen {
    terminal: Option<DefaultTerminal>,
}

impl Screen {
    fn open() -> io::Result<Self> {
        let terminal = ratatui::try_init().inspect_err(|_| drop(ratatui::try_restore()))?;
        Ok(Self { terminal: Some(terminal) })
    }

    fn draw(&mut self, state: &mut State, palette: Palette) -> io::Result<()> {
        let Some(terminal) = &mut self.terminal else { return Ok(()) };
        state.set_width(terminal.size()?.width);
        terminal.draw(|frame| view::draw(state, palette, frame)).map(drop)
    }
}

impl Drop for Screen {
    fn drop(&mut self) {
        // The cursor first, which is the terminal's own affair, and then the screen. Nobody is left to be told of an error.
        drop(mem::take(&mut self.terminal));
        let _ = ratatui::try_restore();
    }
}
