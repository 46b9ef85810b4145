//! The number of a network namespace that no other one gets before the next boot.
use std::{
    mem::size_of,
    os::fd::{AsRawFd, OwnedFd},
};

use rustix::net::{AddressFamily, SocketFlags, SocketType, socket_with};

/// The cookie of the calling thread's network namespace: `net_cookie` of `struct net`, as `SO_NETNS_COOKIE` tells it of any
/// socket in it (`sk_getsockopt()` of net/core/sock.c, 5.14, e8b9eab99232). Inode numbers are handed out again, cookies are not
/// (`net_gen_cookie` of net/core/net_namespace.c). `None` where the kernel does not tell.
#[must_use]
pub fn namespace_cookie() -> Option<u64> {
    // The socket is closed on return: it would keep the namespace alive.
    let socket = socket_with(AddressFamily::UNIX, SocketType::DGRAM, SocketFlags::CLOEXEC, None).ok()?;
    cookie_of(&socket)
}

fn cookie_of(socket: &OwnedFd) -> Option<u64> {
    let mut cookie = 0_u64;
    let mut length = libc::socklen_t::try_from(size_of::<u64>()).ok()?;
    // SAFETY: both values live until the kernel returns; it writes no more than `length` bytes of the first.
    let result = unsafe {
        libc::getsockopt(
            socket.as_raw_fd(),
            libc::SOL_SOCKET,
            libc::SO_NETNS_COOKIE,
            (&raw mut cookie).cast(),
            &raw mut length,
        )
    };
    (result == 0).then_some(cookie)
}

#[cfg(test)]
mod tests {
    use std::{fs::File, thread};

    use super::*;

    #[test]
    fn all_threads_of_a_namespace_are_told_the_same_cookie() {
        assert_eq!(namespace_cookie(), thread::spawn(namespace_cookie).join().unwrap());
    }

    #[test]
    fn what_is_no_socket_has_no_cookie() {
        assert_eq!(cookie_of(&File::open("/proc/self/stat").unwrap().into()), None);
    }
}
