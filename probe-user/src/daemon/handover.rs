//! A restart without a gap: the hooks go on counting while no daemon runs, and the next one goes on from there.
//!
//! systemd keeps descriptors for a service while it is restarted, however it ended (`FileDescriptorStoreMax=`,
//! sd_pid_notify_with_fds(3)), and closes them when it is stopped. Kept are
//!
//! * everything that is attached ([`kernel::attached`]): maps, programs and links;
//! * two pieces of memory in which each reading writes by turns what the maps do not know: whatever happens
//!   while one is written, the other one is whole.
//!
//! A daemon with the same kernel side that wants the same hooks takes it all over. Any other one (another version,
//! another `--plan`) attaches anew and goes on from the totals of the last reading; what was counted between
//! the two is missing, like the time in which nothing was attached.
use std::{
    fs::File,
    io::{self, Seek, Write},
    os::fd::{AsFd, BorrowedFd, OwnedFd},
    os::unix::fs::FileExt,
};

use rustix::fs::{MemfdFlags, memfd_create};
use serde::{Deserialize, Serialize, de::DeserializeOwned};
use tracing::{debug, info, warn};

use super::service_manager;
use crate::{
    kernel::{self, Inventory, Layout, Retirement},
    model::{History, carried::Carried, recommendation::Recommender},
    plan::{outcome::PlanOutcome, wishes::Wishes},
};

/// The names under which the service manager keeps it.
const HOOKS: &str = "hooks";
const STATE: &str = "state";

/// More than any state is long.
const MOST_BYTES: u64 = 256 << 20;

/// What comes first in a state, so that any version can read it.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
#[serde(default)]
struct Header {
    /// Of the two pieces the one with the higher number is the later one.
    sequence: u64,
    /// Equal if the whole of it can be taken over.
    fingerprint: String,
    /// `None` when nothing was attached.
    layout: Option<Layout>,
    inventory: Inventory,
}

/// Which hooks and maps these are.
#[must_use]
pub fn fingerprint(wishes: Wishes) -> String {
    format!("{:016x} {wishes:?}", kernel::object_digest())
}

/// What a daemon before this one has left.
pub struct Predecessor {
    header: Header,
    /// The totals of its last reading.
    pub carried: Carried,
    /// Demands of the last day.
    pub recommender: Recommender,
    /// What it remembered; `None` if that is another version's and cannot be read.
    pub history: Option<History>,
    plan: Option<PlanOutcome>,
    retirement: Option<Retirement>,
    hooks: Vec<OwnedFd>,
    slots: Vec<File>,
}

/// Hooks that go on.
pub struct Adopted {
    /// The maps, and with them the hooks.
    pub maps: kernel::ProbeMaps,
    /// What is attached.
    pub plan: PlanOutcome,
    /// Where the state goes on.
    pub keeper: Keeper,
}

impl Predecessor {
    /// Looks through what the service manager has kept; `None` if that is nothing of use.
    #[must_use]
    pub fn find(kept: Vec<(String, OwnedFd)>) -> Option<Self> {
        let (mut hooks, mut slots) = (Vec::new(), Vec::new());
        for (name, descriptor) in kept {
            match name.as_str() {
                HOOKS => hooks.push(descriptor),
                STATE => slots.push(File::from(descriptor)),
                _ => debug!(name, "a descriptor of no use was kept"),
            }
        }
        let newest =
            slots.iter().filter_map(|slot| whole(slot).ok()).max_by_key(|(header, _)| header.sequence);
        let Some((header, bytes)) = newest else {
            if !hooks.is_empty() {
                warn!("what a daemon before this one left cannot be read: attached anew, and counted from 0");
            }
            return None;
        };
        let mut reader = bytes.as_slice();
        let _known: Header = next(&mut reader)?;
        let carried = next(&mut reader)?;
        Some(Self {
            header,
            carried,
            recommender: next(&mut reader).unwrap_or_default(),
            plan: next(&mut reader),
            retirement: next(&mut reader),
            history: next(&mut reader),
            hooks,
            slots,
        })
    }

    /// Takes its hooks over, if they have so many rows at least.
    ///
    /// # Errors
    /// Says why not, in one line.
    pub fn adopt(&mut self, fingerprint: &str, rows: u32) -> Result<Adopted, String> {
        let layout = self.header.layout.ok_or("nothing was attached")?;
        if self.header.fingerprint != fingerprint {
            return Err("they are another version's, or another plan was asked for".to_owned());
        }
        if layout.rows() < rows {
            return Err("they have too few rows for the listeners that there are now".to_owned());
        }
        let hooks = std::mem::take(&mut self.hooks);
        if Inventory::of(&hooks) != self.header.inventory {
            return Err("the service manager has not kept all of them".to_owned());
        }
        let unreadable = "what belongs to them cannot be read";
        let slots = std::mem::take(&mut self.slots).try_into().map_err(|_| unreadable)?;
        let (Some(plan), Some(retirement), true) =
            (self.plan.take(), self.retirement.take(), self.history.is_some())
        else {
            return Err(unreadable.to_owned());
        };
        let maps = kernel::adopt(hooks, layout, retirement)?;
        let keeper = Keeper { slots, header: self.header.clone(), failing: false };
        Ok(Adopted { maps, plan, keeper })
    }
}

/// The next value of a state; `None` if it is not what this version expects, and then nothing behind it is.
fn next<T: DeserializeOwned>(reader: &mut &[u8]) -> Option<T> {
    let mut deserializer = rmp_serde::Deserializer::new(&mut *reader).with_human_readable();
    match T::deserialize(&mut deserializer) {
        Ok(value) => Some(value),
        Err(error) => {
            debug!(%error, "a part of the state that was left is of no use");
            *reader = &[];
            None
        }
    }
}

/// A state that was written to its end.
fn whole(slot: &File) -> io::Result<(Header, Vec<u8>)> {
    let length = slot.metadata()?.len().min(MOST_BYTES);
    let mut bytes = vec![0; usize::try_from(length).unwrap_or(usize::MAX)];
    slot.read_exact_at(&mut bytes, 0)?;
    let unfinished = || io::Error::from(io::ErrorKind::UnexpectedEof);
    let header: Header = next(&mut bytes.as_slice()).ok_or_else(unfinished)?;
    let end = bytes.last_chunk().copied().map(u64::from_le_bytes);
    if end == Some(header.sequence) { Ok((header, bytes)) } else { Err(unfinished()) }
}

/// What is saved with each reading, beside the totals.
pub struct State<'a> {
    /// [`Carried::from_model`] of the last model.
    pub carried: &'a Carried,
    /// Demands of the last day.
    pub recommender: &'a Recommender,
    /// What is attached.
    pub plan: &'a PlanOutcome,
    /// What the rows that were given back had counted; nothing without hooks.
    pub retirement: Option<&'a Retirement>,
    /// What is remembered from reading to reading.
    pub history: &'a History,
}

/// Keeps a state for the next daemon.
#[derive(Debug)]
pub struct Keeper {
    slots: [File; 2],
    /// That of the state that was saved last.
    header: Header,
    failing: bool,
}

impl Keeper {
    /// Gives everything that is attached to the service manager, and memory for the state; `None` where there is
    /// none, or where it does not take it. `layout`: how long the arrays are, if anything is attached.
    #[must_use]
    pub fn entrust(fingerprint: String, layout: Option<Layout>) -> Option<Self> {
        if !service_manager::is_there() {
            return None;
        }
        match Self::try_to_entrust(fingerprint, layout) {
            Ok(keeper) => Some(keeper),
            Err(error) => {
                warn!(%error, "hooks and counts cannot be kept over a restart");
                None
            }
        }
    }

    fn try_to_entrust(fingerprint: String, layout: Option<Layout>) -> io::Result<Self> {
        let memory = || memfd_create("tcp-backlog-probe", MemfdFlags::CLOEXEC).map(File::from);
        let slots = [memory()?, memory()?];
        let hooks = if layout.is_some() { kernel::attached()? } else { Vec::new() };
        let header = Header { sequence: 0, fingerprint, layout, inventory: Inventory::of(&hooks) };
        // Whatever is left from before would be taken for a part of it.
        forget();
        let slots_of: Vec<BorrowedFd<'_>> = slots.iter().map(AsFd::as_fd).collect();
        service_manager::keep(STATE, &slots_of)?;
        let hooks: Vec<BorrowedFd<'_>> = hooks.iter().map(AsFd::as_fd).collect();
        service_manager::keep(HOOKS, &hooks)?;
        info!(descriptors = hooks.len(), "given to the service manager to keep over a restart");
        Ok(Self { slots, header, failing: false })
    }

    /// Saves a state in place of the one before the last. What goes wrong is said once.
    pub fn save(&mut self, state: &State<'_>) {
        match self.try_to_save(state) {
            Ok(()) => self.failing = false,
            Err(error) => {
                if !self.failing {
                    warn!(%error, "the state for the next daemon is not saved");
                }
                self.failing = true;
            }
        }
    }

    fn try_to_save(&mut self, state: &State<'_>) -> io::Result<()> {
        let header = Header { sequence: self.header.sequence.wrapping_add(1), ..self.header.clone() };
        let mut bytes = Vec::new();
        write(&mut bytes, &header)?;
        write(&mut bytes, state.carried)?;
        write(&mut bytes, state.recommender)?;
        write(&mut bytes, state.plan)?;
        write(&mut bytes, &state.retirement)?;
        write(&mut bytes, state.history)?;
        bytes.extend(header.sequence.to_le_bytes());
        let [even, odd] = &mut self.slots;
        let slot = if header.sequence.is_multiple_of(2) { even } else { odd };
        // The shorter of two states would have the end of the longer one.
        slot.set_len(0)?;
        slot.rewind()?;
        slot.write_all(&bytes)?;
        self.header = header;
        Ok(())
    }
}

/// Lets the service manager close what a daemon before this one has left: its hooks are detached then.
pub fn forget() {
    for name in [HOOKS, STATE] {
        if let Err(error) = service_manager::forget(name) {
            warn!(%error, name, "the service manager cannot be told to close what it keeps");
        }
    }
}

/// With the names of fields, so that another version can read it, too. Addresses have to be text: where a struct
/// is flattened into another one, serde forgets that they are not.
fn write(bytes: &mut Vec<u8>, value: &impl Serialize) -> io::Result<()> {
    let mut serializer = rmp_serde::Serializer::new(bytes).with_struct_map().with_human_readable();
    value.serialize(&mut serializer).map_err(io::Error::other)
}

#[cfg(test)]
mod tests;
