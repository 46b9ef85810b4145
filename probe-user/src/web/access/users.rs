//! Passwords.
//!
//! bcrypt is slow on purpose, some 50 ms at cost 10. A password that was found right is therefore remembered, as a keyed hash under a
//! key that nobody knows, one per user: a scraper pays once after a start or a reload. One that is not remembered is checked on
//! a thread of its own, one at a time, and after one that was wrong the next check waits as long as that one took. For a
//! user who does not exist a hash is computed all the same, at the highest cost there is: the time tells nothing about
//! names, as long as all hashes have the same cost.
use std::{
    collections::BTreeMap,
    sync::{Arc, Mutex, PoisonError},
    time::Instant,
};

use axum::http::{HeaderMap, header::AUTHORIZATION};
use base64::{Engine, engine::general_purpose::STANDARD};
use bcrypt::HashParts;
use ring::{hmac, rand::SystemRandom};
use tokio::{
    sync::{OwnedSemaphorePermit, Semaphore},
    task::spawn_blocking,
    time::sleep,
};

/// The cheapest hash that is accepted: below, guessing is cheap.
const LEAST_COST: u32 = 4;
/// The dearest, some 3 s: beyond, a scraper gives up before it is answered.
const HIGHEST_COST: u32 = 16;

/// Who may ask, by which password.
#[derive(Debug)]
pub(super) struct Users {
    hashes: BTreeMap<String, Arc<str>>,
    /// No password's.
    nobodys_hash: Arc<str>,
    key: hmac::Key,
    /// What was found right last, by user.
    known: Arc<Mutex<BTreeMap<String, hmac::Tag>>>,
    turn: Arc<Semaphore>,
}

/// The cost of a hash that can be checked; else what is wrong.
pub(super) fn cost_of(hash: &str) -> Result<u32, String> {
    let remedy = "write what `htpasswd -nBC 10 USER` prints after the colon";
    let Ok(parts) = hash.parse::<HashParts>() else { return Err(format!("is no bcrypt hash: {remedy}")) };
    let cost = parts.get_cost();
    if (LEAST_COST..=HIGHEST_COST).contains(&cost) {
        return Ok(cost);
    }
    Err(format!("has cost {cost}, which is not between {LEAST_COST} and {HIGHEST_COST}: {remedy}"))
}

impl Users {
    /// Those with these hashes, all of which [`cost_of`] has found good. `None` when the system gives no random numbers.
    pub(super) fn new(hashes: BTreeMap<String, Arc<str>>) -> Option<Self> {
        let highest = hashes.values().filter_map(|hash| cost_of(hash).ok()).max().unwrap_or(LEAST_COST);
        let zeros = ".".repeat(53);
        Some(Self {
            hashes,
            nobodys_hash: Arc::from(format!("$2b${highest:02}${zeros}")),
            key: hmac::Key::generate(hmac::HMAC_SHA256, &SystemRandom::new()).ok()?,
            known: Arc::default(),
            turn: Arc::new(Semaphore::new(1)),
        })
    }

    /// Whether these headers have the password of a user.
    pub(super) async fn admit(&self, headers: &HeaderMap) -> bool {
        let Some(credential) = Credential::of(headers) else { return false };
        if self.knows(&credential) {
            return true;
        }
        // It is never closed, so this is no error.
        let Ok(turn) = Arc::clone(&self.turn).acquire_owned().await else { return false };
        // Another request with it may have been first.
        self.knows(&credential) || self.check(credential, turn).await
    }

    fn knows(&self, credential: &Credential) -> bool {
        let known = self.known.lock().unwrap_or_else(PoisonError::into_inner);
        let tag = known.get(&credential.user);
        tag.is_some_and(|tag| hmac::verify(&self.key, &credential.message(), tag.as_ref()).is_ok())
    }

    /// In a task of its own: a client that hangs up meanwhile makes no room for the next one.
    async fn check(&self, credential: Credential, turn: OwnedSemaphorePermit) -> bool {
        let hash = self.hashes.get(&credential.user);
        let exists = hash.is_some();
        let hash = Arc::clone(hash.unwrap_or(&self.nobodys_hash));
        let (known, key) = (Arc::clone(&self.known), self.key.clone());
        let checked = tokio::spawn(async move {
            let begun = Instant::now();
            let verified = spawn_blocking(move || {
                let right = bcrypt::verify(&credential.password, &hash).unwrap_or(false);
                (right && exists).then_some(credential)
            });
            let Ok(Some(credential)) = verified.await else {
                let pause = begun.elapsed();
                tokio::spawn(async move {
                    sleep(pause).await;
                    drop(turn);
                });
                return false;
            };
            let tag = hmac::sign(&key, &credential.message());
            known.lock().unwrap_or_else(PoisonError::into_inner).insert(credential.user, tag);
            true
        });
        checked.await.unwrap_or(false)
    }
}

/// What a client says who it is.
struct Credential {
    user: String,
    password: Vec<u8>,
}

impl Credential {
    fn of(headers: &HeaderMap) -> Option<Self> {
        let (scheme, encoded) = headers.get(AUTHORIZATION)?.to_str().ok()?.split_once(' ')?;
        if !scheme.eq_ignore_ascii_case("basic") {
            return None;
        }
        let mut user = STANDARD.decode(encoded.trim()).ok()?;
        let colon = user.iter().position(|byte| *byte == b':')?;
        let password = user.split_off(colon).into_iter().skip(1).collect();
        Some(Self { user: String::from_utf8(user).ok()?, password })
    }

    /// Both in one, so that no two of them are the same bytes.
    fn message(&self) -> Vec<u8> {
        let length = self.user.len().to_le_bytes();
        [length.as_slice(), self.user.as_bytes(), &self.password].concat()
    }
}

#[cfg(test)]
mod tests;
