//! The folder that everything downloaded or built for development lies in.
//!
//! An entry is there completely or not at all: it is made under a temporary name and renamed. Runs
//! at the same time take turns by a file lock.

use std::cell::RefCell;
use std::fs::{self, File};
use std::path::{Path, PathBuf};

use anyhow::{Context as _, Result, anyhow};

use crate::toolchain_layout;

/// An open cache. The lock is taken when the first entry has to be made and held until drop.
pub(crate) struct Cache {
    root: PathBuf,
    lock: RefCell<Option<File>>,
}

impl Cache {
    /// The user's cache.
    pub(crate) fn open() -> Result<Self> {
        Ok(Self::at(toolchain_layout::cache_root().map_err(|message| anyhow!(message))?))
    }

    fn at(root: PathBuf) -> Self {
        Self { root, lock: RefCell::new(None) }
    }

    pub(crate) fn root(&self) -> &Path {
        &self.root
    }

    /// Room for work in progress; emptied when the cache is closed.
    pub(crate) fn temporary(&self) -> PathBuf {
        self.root.join("tmp")
    }

    /// Makes sure that the entry exists: `make` fills the empty folder it is given. Returns
    /// the entry's folder.
    pub(crate) fn entry(&self, name: &Path, make: impl FnOnce(&Path) -> Result<()>) -> Result<PathBuf> {
        let entry = self.root.join(name);
        if entry.exists() {
            return Ok(entry);
        }
        self.take_lock()?;
        if entry.exists() {
            return Ok(entry); // made by the run we waited for
        }
        let unfinished = self.temporary().join("entry");
        let advice = || format!("cannot write {}: is the disk full or read-only?", entry.display());
        if unfinished.exists() {
            fs::remove_dir_all(&unfinished).with_context(advice)?;
        }
        fs::create_dir_all(&unfinished).with_context(advice)?;
        make(&unfinished)?;
        fs::create_dir_all(entry.parent().unwrap_or(&self.root)).with_context(advice)?;
        fs::rename(&unfinished, &entry).with_context(advice)?;
        Ok(entry)
    }

    fn take_lock(&self) -> Result<()> {
        if self.lock.borrow().is_some() {
            return Ok(());
        }
        let advice = || {
            let variable = toolchain_layout::CACHE_VARIABLE;
            format!("cannot write to the cache folder {}: set {variable} to another", self.root.display())
        };
        fs::create_dir_all(&self.root).with_context(advice)?;
        let file = File::create(self.root.join("lock")).with_context(advice)?;
        if file.try_lock().is_err() {
            println!("setup: waiting for another run that fills {}", self.root.display());
            file.lock().with_context(advice)?;
        }
        self.lock.replace(Some(file));
        // Whatever is left here was interrupted: only the holder of the lock writes to it.
        self.empty_temporary();
        Ok(())
    }

    fn empty_temporary(&self) {
        // Left-overs only cost disk space; the next run tries again.
        let _ = fs::remove_dir_all(self.temporary());
    }
}

impl Drop for Cache {
    fn drop(&mut self) {
        if self.lock.borrow().is_some() {
            self.empty_temporary();
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use anyhow::bail;

    fn scratch(name: &str) -> PathBuf {
        let folder = std::env::temp_dir().join(format!("xtask-cache-{name}-{}", std::process::id()));
        let _ = fs::remove_dir_all(&folder);
        folder
    }

    #[test]
    fn an_entry_is_made_once() {
        let root = scratch("once");
        let cache = Cache::at(root.clone());
        let name = Path::new("tool/1.0");
        let made = cache.entry(name, |folder| Ok(fs::write(folder.join("file"), "x")?)).unwrap();
        assert_eq!(made, root.join("tool/1.0"));
        cache.entry(name, |_| bail!("made twice")).unwrap();
        drop(cache);
        assert!(root.join("tool/1.0/file").exists());
        assert!(!root.join("tmp").exists());
        fs::remove_dir_all(root).unwrap();
    }

    #[test]
    fn a_failure_leaves_nothing_and_is_made_good_by_the_next_run() {
        let root = scratch("failure");
        let name = Path::new("tool");
        let broken = Cache::at(root.clone()).entry(name, |folder| {
            fs::write(folder.join("half"), "x")?;
            bail!("no network")
        });
        assert_eq!(broken.unwrap_err().to_string(), "no network");
        assert!(!root.join("tool").exists());
        let made = Cache::at(root.clone()).entry(name, |folder| Ok(fs::write(folder.join("whole"), "x")?));
        assert!(!made.unwrap().join("half").exists());
        fs::remove_dir_all(root).unwrap();
    }
}
