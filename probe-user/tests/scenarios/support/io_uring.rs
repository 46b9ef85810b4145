//! A system call that does not come as one: by io_uring.
use std::os::fd::AsRawFd;

use ::io_uring::{IoUring, opcode, types::Fd};

/// The operation's result; `None` where there is no io_uring, or none for us.
pub(crate) fn listen_by_io_uring(socket: &impl AsRawFd, backlog: i32) -> Option<i32> {
    let mut ring = IoUring::new(2).ok()?;
    let listen = opcode::Listen::new(Fd(socket.as_raw_fd()), backlog).build();
    // SAFETY: the operation has no buffers, and the socket outlives its completion below.
    unsafe { ring.submission().push(&listen) }.expect("room for one operation");
    ring.submit_and_wait(1).expect("an operation of io_uring");
    ring.completion().next().map(|completed| completed.result())
}
