//! Names of users: `/etc/passwd` of the host.
//!
//! Users that only a directory service knows are shown by their numbers: asking it means running its code
//! in this process (nsswitch), and waiting for a network.
use std::{
    collections::BTreeMap,
    fs::File,
    io::{self, Read},
    time::Duration,
};

use super::text::clean;

/// The host's file even for a daemon in a container, as long as that sees the host's processes.
const FILES: [&str; 2] = ["/proc/1/root/etc/passwd", "/etc/passwd"];

/// More is not read: some tens of thousands of users.
const MOST_BYTES: u64 = 4 << 20;

/// How old the names may be.
const AGE: Duration = Duration::from_mins(1);

/// Names by number, read anew now and then.
#[derive(Debug, Default)]
pub(super) struct Users {
    names: BTreeMap<u32, String>,
    read_at: Option<Duration>,
}

impl Users {
    /// The user's name, or the number where there is none.
    pub(super) fn name(&mut self, uid: u32, now: Duration) -> String {
        if self.read_at.is_none_or(|read| now.saturating_sub(read) >= AGE) {
            self.read_at = Some(now);
            // A file that cannot be read costs the names only, and a number says as much.
            self.names = FILES.iter().find_map(|file| read(file).ok()).unwrap_or_default();
        }
        self.names.get(&uid).cloned().unwrap_or_else(|| uid.to_string())
    }
}

fn read(file: &str) -> io::Result<BTreeMap<u32, String>> {
    let mut bytes = Vec::new();
    File::open(file)?.take(MOST_BYTES).read_to_end(&mut bytes)?;
    Ok(decode(&bytes))
}

/// Lines of `name:password:number:...` (passwd(5)). Of several names of a number the first counts, as for
/// getpwuid(3).
fn decode(passwd: &[u8]) -> BTreeMap<u32, String> {
    let mut names = BTreeMap::new();
    for line in passwd.split(|byte| *byte == b'\n') {
        let mut fields = line.split(|byte| *byte == b':');
        let (name, number) = (fields.next().and_then(clean), fields.nth(1));
        let number = number.and_then(|number| str::from_utf8(number).ok()?.parse().ok());
        if let (Some(name), Some(number)) = (name, number) {
            names.entry(number).or_insert(name);
        }
    }
    names
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_user_has_the_first_of_its_names() {
        let passwd = b"root:x:0:0:root:/root:/bin/sh\ntoor:x:0:0::/:/bin/sh\n# a comment\nshort:x\n\
            tomcat:x:998:998::/var/lib/tomcat:/sbin/nologin\nwrong:x:none:1::/:\n:x:5:5::/:\n+::::::\n";
        let expected = BTreeMap::from([(0, "root".to_owned()), (998, "tomcat".to_owned())]);
        assert_eq!(decode(passwd), expected);
    }

    #[test]
    fn a_user_without_a_name_is_a_number() {
        let mut users = Users { names: BTreeMap::new(), read_at: Some(Duration::ZERO) };
        assert_eq!(users.name(4711, Duration::ZERO), "4711");
    }

    #[test]
    fn names_are_read_when_they_are_needed_and_again_when_they_are_old() {
        let mut users = Users::default();
        assert_eq!(users.name(0, Duration::ZERO), "root");
        users.names.clear();
        assert_eq!(users.name(0, AGE / 2), "0");
        assert_eq!(users.name(0, AGE), "root");
    }
}
