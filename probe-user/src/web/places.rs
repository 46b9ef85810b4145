//! The places that connections have, and who leaves when there is none for the next.
use std::{
    collections::{BTreeMap, HashMap},
    net::{IpAddr, Ipv6Addr},
    sync::{Arc, Mutex, MutexGuard, PoisonError},
};

use tokio::{
    sync::{Notify, OwnedSemaphorePermit, Semaphore},
    time::Instant,
};

/// Whose a connection is, as far as fairness goes; all are one client's where there are no addresses.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub(crate) struct Client(Option<IpAddr>);

impl Client {
    /// The client at this address. Whoever has one IPv6 address has the 2^64 beside it as well.
    pub(super) fn at(address: IpAddr) -> Self {
        Self(Some(match address.to_canonical() {
            IpAddr::V6(address) => IpAddr::V6(Ipv6Addr::from_bits(address.to_bits() >> 64 << 64)),
            address @ IpAddr::V4(_) => address,
        }))
    }
}

/// All places of a listener.
#[derive(Debug)]
pub(super) struct Places {
    limit: usize,
    free: Arc<Semaphore>,
    occupants: Mutex<Occupants>,
    /// Somebody waits for his client who did not before.
    waits: Notify,
}

#[derive(Debug, Default)]
struct Occupants {
    next: u64,
    /// Those that were not given up yet.
    by_number: BTreeMap<u64, Occupant>,
}

#[derive(Debug)]
struct Occupant {
    client: Client,
    /// Since when the client is to do something; `None` while an answer is being made.
    waits_since: Option<Instant>,
    given_up: Arc<Notify>,
}

impl Places {
    pub(super) fn new(limit: usize) -> Arc<Self> {
        let free = Arc::new(Semaphore::new(limit));
        Arc::new(Self { limit, free, occupants: Mutex::default(), waits: Notify::new() })
    }

    /// A place for a new connection; if need be, another one's that waits for its client.
    pub(super) async fn take(self: &Arc<Self>, client: Client) -> Place {
        let permit = loop {
            if let Ok(permit) = Arc::clone(&self.free).try_acquire_owned() {
                break Some(permit);
            }
            self.lock().give_up_one_of(self.limit);
            tokio::select! {
                // An error would mean that the semaphore is closed, which it never is.
                permit = Arc::clone(&self.free).acquire_owned() => break permit.ok(),
                () = self.waits.notified() => {}
            }
        };
        let given_up = Arc::new(Notify::new());
        let occupant =
            Occupant { client, waits_since: Some(Instant::now()), given_up: Arc::clone(&given_up) };
        let number = self.lock().add(occupant);
        Place { number, places: Arc::clone(self), given_up, _permit: permit }
    }

    fn lock(&self) -> MutexGuard<'_, Occupants> {
        self.occupants.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Occupants {
    fn add(&mut self, occupant: Occupant) -> u64 {
        let number = self.next;
        self.next += 1;
        self.by_number.insert(number, occupant);
        number
    }

    /// Tells one to leave, unless one is leaving already or all are being answered.
    fn give_up_one_of(&mut self, limit: usize) {
        if self.by_number.len() < limit {
            return;
        }
        if let Some(occupant) = self.dispensable().and_then(|number| self.by_number.remove(&number)) {
            occupant.given_up.notify_one();
        }
    }

    /// Of the client that waits with the most connections, the one that has waited longest.
    fn dispensable(&self) -> Option<u64> {
        let waiting = || {
            self.by_number
                .iter()
                .filter_map(|(number, occupant)| Some((number, occupant.client, occupant.waits_since?)))
        };
        let mut held = HashMap::<Client, usize>::new();
        waiting().for_each(|(_, client, _)| *held.entry(client).or_default() += 1);
        let most = held.values().max().copied();
        let of_greedy = waiting().filter(|(_, client, _)| held.get(client).copied() == most);
        of_greedy.min_by_key(|(_, _, since)| *since).map(|(number, ..)| *number)
    }
}

/// A place, given back when it is dropped.
#[derive(Debug)]
pub(super) struct Place {
    number: u64,
    places: Arc<Places>,
    given_up: Arc<Notify>,
    _permit: Option<OwnedSemaphorePermit>,
}

impl Place {
    /// The client is to do something from now on.
    pub(super) fn waits(&self) {
        if let Some(occupant) = self.places.lock().by_number.get_mut(&self.number) {
            occupant.waits_since = Some(Instant::now());
        }
        self.places.waits.notify_one();
    }

    /// An answer is being made: the place is safe.
    pub(super) fn is_answered(&self) {
        if let Some(occupant) = self.places.lock().by_number.get_mut(&self.number) {
            occupant.waits_since = None;
        }
    }

    /// Returns when the place is wanted for somebody else.
    pub(super) fn given_up(&self) -> impl Future<Output = ()> + use<> {
        let given_up = Arc::clone(&self.given_up);
        async move { given_up.notified().await }
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        self.places.lock().by_number.remove(&self.number);
    }
}

#[cfg(test)]
mod tests;
