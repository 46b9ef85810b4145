//! Descriptors that the service manager passes on: sockets that it listens on, and what an earlier process left
//! in its store (sd_listen_fds(3)). Both come by the same variables, and are told apart by their names.
use std::{
    os::fd::{FromRawFd, OwnedFd},
    sync::atomic::{AtomicBool, Ordering},
};

/// Whether they have an owner already.
static ARE_TAKEN: AtomicBool = AtomicBool::new(false);

/// All of them with their names, in the service manager's order; none from the second call on, and none where
/// nothing was passed on. They are closed when another program is started.
///
/// To be called before anything else opens files: a variable that is wrong could name one of those.
#[must_use]
pub fn descriptors() -> Vec<(String, OwnedFd)> {
    if ARE_TAKEN.swap(true, Ordering::Relaxed) {
        return Vec::new();
    }
    // An error means variables that no service manager sets, or numbers of files that are not open.
    sd_notify::listen_fds_with_names().map_or_else(
        |_| Vec::new(),
        |passed_on| {
            // SAFETY: sd-notify has just changed a flag of each, so they are open. LISTEN_PID says that they are
            // meant for this process, nothing else in it knows them, and they are given away only once.
            let own = |(raw, name)| (name, unsafe { OwnedFd::from_raw_fd(raw) });
            passed_on.map(own).collect()
        },
    )
}

/// The first of this name, which is no longer among them then.
pub fn take(descriptors: &mut Vec<(String, OwnedFd)>, name: &str) -> Option<OwnedFd> {
    let position = descriptors.iter().position(|(other, _)| other == name)?;
    Some(descriptors.remove(position).1)
}

#[cfg(test)]
mod tests {
    use std::{fs::File, os::fd::AsRawFd};

    use super::*;

    #[test]
    fn one_is_taken_by_its_name_and_the_others_stay() {
        let open = || OwnedFd::from(File::open("/dev/null").unwrap());
        let mut all: Vec<_> = ["map", "http", "http"].map(|name| (name.to_owned(), open())).into();
        let expected = all[1].1.as_raw_fd();
        assert_eq!(take(&mut all, "http").unwrap().as_raw_fd(), expected);
        assert_eq!(all.iter().map(|(name, _)| name.as_str()).collect::<Vec<_>>(), ["map", "http"]);
        assert!(take(&mut all, "other").is_none());
    }
}
