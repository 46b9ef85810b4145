//! The state file: what the daemon has learnt and would need a day to learn again.
//!
//! It is written to a new file in the same folder, which then takes the place of the old one: whatever happens
//! meanwhile, there is a whole file. A file that is of no use is moved aside rather than written over.
use std::{
    fs::{self, File, OpenOptions},
    io::{self, Read, Write},
    os::unix::fs::OpenOptionsExt,
    path::{Path, PathBuf},
    time::Duration,
};

use tracing::{info, warn};

use crate::model::recommendation::{Place, Recommender, RecommenderState};

/// A state is not saved more often than this.
const INTERVAL: Duration = Duration::from_secs(60);

/// More than any state is long: 16,384 ports with 25 hours each.
const MOST_BYTES: u64 = 64 << 20;

/// Where the state is kept.
#[derive(Debug)]
pub struct StateFile {
    path: PathBuf,
    saved: Option<Duration>,
    failing: bool,
}

impl StateFile {
    /// Reads what was saved. Whatever is wrong with it costs what it would have told, and one warning. No file is
    /// given where it may not be written either: something else is in its place.
    #[must_use]
    pub fn load(path: &Path, now_unix: u64, place: &Place) -> (Option<Self>, Recommender) {
        let file = Self { path: path.to_owned(), saved: None, failing: false };
        let problem = match read(path) {
            Ok(None) => return (Some(file), Recommender::default()),
            Ok(Some(text)) => match Recommender::restore(&text, now_unix, place) {
                Ok(restored) => {
                    info!(file = %path.display(), "went on from the saved state");
                    return (Some(file), restored);
                }
                Err(error) => error.to_string(),
            },
            Err(error) => format!("cannot be read: {error}"),
        };
        let kept = move_aside(path);
        let file = kept.is_ok().then_some(file);
        let outcome = kept.unwrap_or_else(|error| format!("{error}, so no state is saved"));
        warn!(file = %path.display(), problem, outcome, "the saved state is of no use, begun without");
        (file, Recommender::default())
    }

    /// Whether it was saved so long ago that it may be again.
    #[must_use]
    pub fn is_due(&self, now: Duration) -> bool {
        self.saved.is_none_or(|saved| now.saturating_sub(saved) >= INTERVAL)
    }

    /// Saves a state; `false` when that failed, which is logged once until it works again.
    pub fn save(&mut self, state: &RecommenderState, now: Duration) -> bool {
        self.saved = Some(now);
        let outcome = write(&self.path, state);
        match &outcome {
            Ok(()) if self.failing => info!(file = %self.path.display(), "the state is saved again"),
            Err(error) if !self.failing => warn!(
                file = %self.path.display(),
                %error,
                "the state cannot be saved: its folder has to be there, and the daemon must be allowed to write in it"
            ),
            _ => {}
        }
        self.failing = outcome.is_err();
        outcome.is_ok()
    }
}

/// The path with something after its last part.
fn beside(path: &Path, ending: &str) -> PathBuf {
    let mut name = path.as_os_str().to_owned();
    name.push(ending);
    name.into()
}

/// The whole file; `None` when there is none.
fn read(path: &Path) -> io::Result<Option<Vec<u8>>> {
    let metadata = match fs::metadata(path) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
        other => other?,
    };
    // To open a named pipe would wait for its writer.
    if !metadata.is_file() {
        return Err(io::Error::other("it is no file"));
    }
    let mut text = Vec::new();
    File::open(path)?.take(MOST_BYTES.saturating_add(1)).read_to_end(&mut text)?;
    if u64::try_from(text.len()).unwrap_or(u64::MAX) > MOST_BYTES {
        return Err(io::Error::other("it is longer than any state"));
    }
    Ok(Some(text))
}

/// Makes room for a new file, and says where the old one is. What is no file stays where it is.
fn move_aside(path: &Path) -> Result<String, String> {
    if fs::metadata(path).is_ok_and(|metadata| !metadata.is_file()) {
        return Err("left where it is".to_owned());
    }
    let aside = beside(path, ".bad");
    match fs::rename(path, &aside) {
        Ok(()) => Ok(format!("moved to {}", aside.display())),
        Err(error) => Err(format!("cannot be moved to {} ({error})", aside.display())),
    }
}

/// Writes a new file, and lets it take the place of the old one once it is on the disk.
fn write(path: &Path, state: &RecommenderState) -> io::Result<()> {
    let text = serde_json::to_vec(state)?;
    let new = beside(path, ".new");
    let mut file = OpenOptions::new().write(true).create(true).truncate(true).mode(0o600).open(&new)?;
    file.write_all(&text)?;
    file.sync_all()?;
    fs::rename(&new, path)?;
    match path.parent() {
        // The new name is on the disk once the folder is.
        Some(folder) => File::open(folder)?.sync_all(),
        None => Ok(()),
    }
}

#[cfg(test)]
mod tests {
    use std::{
        net::{IpAddr, Ipv4Addr},
        os::unix::fs::symlink,
    };

    use super::*;
    use crate::sample::PortId;

    const NOW: u64 = 1_790_000_000;
    const PORT: PortId = PortId { netns: 1, address: IpAddr::V4(Ipv4Addr::LOCALHOST), port: 80 };

    fn place() -> Place {
        Place { own_netns: 1, ..Place::default() }
    }

    fn learnt() -> Recommender {
        let mut recommender = Recommender::default();
        recommender.observe(NOW, [(PORT, 100)]);
        recommender
    }

    fn load(path: &Path) -> (Option<StateFile>, Recommender) {
        StateFile::load(path, NOW, &place())
    }

    #[test]
    fn what_was_saved_is_there_after_a_restart() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("state.json");
        let (file, empty) = load(&path);
        assert_eq!(empty, Recommender::default());
        let mut file = file.unwrap();
        for _ in 0..2 {
            assert!(file.save(&learnt().state(NOW, &place()), Duration::ZERO));
            assert_eq!(load(&path).1.recommended(&PORT), Some(128));
        }
        assert_eq!(fs::read_dir(folder.path()).unwrap().count(), 1, "nothing is left beside it");
    }

    #[test]
    fn a_file_of_no_use_is_moved_aside_and_another_takes_its_place() {
        let ahead = serde_json::to_vec(&learnt().state(NOW + 86_400, &place())).unwrap();
        for text in [b"".as_slice(), b"\xff", b"{\"version\": 99}", b"{\"version\": 1, \"ports\": 3}", &ahead]
        {
            let folder = tempfile::tempdir().unwrap();
            let path = folder.path().join("state.json");
            fs::write(&path, text).unwrap();
            let (file, empty) = load(&path);
            assert_eq!(empty, Recommender::default());
            assert_eq!(fs::read(folder.path().join("state.json.bad")).unwrap(), text);
            assert!(!path.exists() && file.unwrap().save(&learnt().state(NOW, &place()), Duration::ZERO));
            assert_eq!(load(&path).1.recommended(&PORT), Some(128));
        }
    }

    #[test]
    fn what_is_no_file_is_left_alone() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("state.json");
        fs::create_dir(&path).unwrap();
        assert!(load(&path).0.is_none() && path.is_dir());
    }

    #[test]
    fn a_folder_that_is_not_there_costs_the_state_and_nothing_else() {
        let folder = tempfile::tempdir().unwrap();
        let (file, _) = load(&folder.path().join("missing/state.json"));
        assert!(!file.unwrap().save(&learnt().state(NOW, &place()), Duration::ZERO));
        let dangling = folder.path().join("dangling");
        symlink("/nonexistent/state.json", &dangling).unwrap();
        assert!(load(&dangling).0.is_some());
    }

    #[test]
    fn a_state_is_saved_once_a_minute_at_most() {
        let mut file = StateFile { path: "/nonexistent/state.json".into(), saved: None, failing: false };
        assert!(file.is_due(Duration::ZERO));
        file.save(&learnt().state(NOW, &place()), Duration::from_secs(5));
        let due = [5, 64, 65].map(|seconds| file.is_due(Duration::from_secs(seconds)));
        assert_eq!(due, [false, false, true]);
    }
}
