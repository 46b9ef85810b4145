//! Where a connection is, and when its client has taken too long.
//!
//! What is waited for decides how long: the server tells a [`Seat`] when an answer begins and ends, the connection tells it what
//! is read and written. Only progress of an answer gives more time.
use std::{
    io,
    pin::Pin,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    task::{Context, Poll, ready},
    time::Duration,
};

use tokio::{
    io::{AsyncRead, AsyncWrite, ReadBuf},
    sync::Notify,
    time::{Instant, sleep_until},
};

use super::{limits::Limits, places::Place};

/// Where a connection is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Phase {
    /// A request, or the handshake before the first one, is under way.
    Asking,
    /// An answer is being made; whoever makes it has a time limit of its own.
    Answering,
    /// It is being sent.
    Sending,
    /// It is sent.
    Idle,
    /// Nothing more will be sent; the client is to hang up.
    Leaving,
}

/// How long a client may take to hang up.
const FAREWELL: Duration = Duration::from_secs(1);
/// What it may still send meanwhile, in bytes.
const MOST_DISCARDED: usize = 256 << 10;

/// A connection's place, and where it is.
#[derive(Debug)]
pub(super) struct Seat {
    pub(super) place: Place,
    limits: Limits,
    /// With the time until which the client has to do something.
    state: Mutex<(Phase, Instant)>,
    changed: Notify,
}

impl Seat {
    /// That of a connection which was just opened.
    pub(super) fn new(place: Place, limits: Limits) -> Arc<Self> {
        let state = Mutex::new((Phase::Asking, Instant::now() + limits.request));
        Arc::new(Self { place, limits, state, changed: Notify::new() })
    }

    /// The request is complete, and may be answered.
    pub(super) fn answering(&self) {
        self.lock().0 = Phase::Answering;
        self.changed.notify_one();
        self.place.is_answered();
    }

    /// The answer is made.
    pub(super) fn answered(&self) {
        *self.lock() = (Phase::Sending, Instant::now() + self.limits.silence);
        self.changed.notify_one();
        self.place.waits();
    }

    /// Whether a request, or the handshake before the first one, is under way.
    pub(super) fn is_asking(&self) -> bool {
        self.lock().0 == Phase::Asking
    }

    fn read(&self) {
        let mut state = self.lock();
        if state.0 == Phase::Idle {
            *state = (Phase::Asking, Instant::now() + self.limits.request);
            self.changed.notify_one();
        }
    }

    fn leaving(&self) {
        *self.lock() = (Phase::Leaving, Instant::now() + FAREWELL);
        self.changed.notify_one();
    }

    /// Returns when the client has taken too long.
    pub(super) async fn overdue(&self) {
        loop {
            let Some(deadline) = self.deadline() else {
                self.changed.notified().await;
                continue;
            };
            tokio::select! {
                biased;
                () = self.changed.notified() => {}
                () = sleep_until(deadline) => return,
            }
        }
    }

    fn wrote(&self) {
        if self.lock().0 == Phase::Sending {
            self.answered();
        }
    }

    /// hyper flushes when it has handed down all that it has.
    fn flushed(&self) {
        let mut state = self.lock();
        if state.0 == Phase::Sending {
            state.0 = Phase::Idle;
        }
    }

    fn deadline(&self) -> Option<Instant> {
        let (phase, deadline) = *self.lock();
        (phase != Phase::Answering).then_some(deadline)
    }

    fn lock(&self) -> MutexGuard<'_, (Phase, Instant)> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// A stream that tells a seat what happens on it.
#[derive(Debug)]
pub(super) struct Connection<S> {
    stream: S,
    seat: Arc<Seat>,
    is_shut: bool,
    discarded: usize,
}

impl<S> Connection<S> {
    pub(super) const fn new(stream: S, seat: Arc<Seat>) -> Self {
        Self { stream, seat, is_shut: false, discarded: 0 }
    }

    fn written(&self, poll: Poll<io::Result<usize>>) -> Poll<io::Result<usize>> {
        if let Poll::Ready(Ok(_)) = poll {
            self.seat.wrote();
        }
        poll
    }
}

impl<S: AsyncRead + Unpin> AsyncRead for Connection<S> {
    fn poll_read(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        let before = buffer.filled().len();
        let poll = Pin::new(&mut self.stream).poll_read(context, buffer);
        if buffer.filled().len() > before {
            self.seat.read();
        }
        poll
    }
}

impl<S: AsyncRead + AsyncWrite + Unpin> AsyncWrite for Connection<S> {
    fn poll_write(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        let poll = Pin::new(&mut self.stream).poll_write(context, bytes);
        self.written(poll)
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        slices: &[io::IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        let poll = Pin::new(&mut self.stream).poll_write_vectored(context, slices);
        self.written(poll)
    }

    fn is_write_vectored(&self) -> bool {
        self.stream.is_write_vectored()
    }

    fn poll_flush(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        let poll = Pin::new(&mut self.stream).poll_flush(context);
        if let Poll::Ready(Ok(())) = poll {
            self.seat.flushed();
        }
        poll
    }

    /// Says that this was all, and waits a moment until the client does so too. If what it still sends were not read, the kernel would
    /// answer it by a reset, which takes the last answers away from a client that has not read them yet.
    fn poll_shutdown(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        if !self.is_shut {
            ready!(Pin::new(&mut self.stream).poll_shutdown(context))?;
            self.is_shut = true;
            self.seat.leaving();
        }
        let mut bytes = [0; 4096];
        while self.discarded < MOST_DISCARDED {
            let mut buffer = ReadBuf::new(&mut bytes);
            ready!(Pin::new(&mut self.stream).poll_read(context, &mut buffer))?;
            let length = buffer.filled().len();
            if length == 0 {
                break;
            }
            self.discarded += length;
        }
        Poll::Ready(Ok(()))
    }
}
