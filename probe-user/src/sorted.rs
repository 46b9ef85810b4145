//! A map in a sorted vector, for whoever asks for its keys one after the other.
//!
//! A reading goes through all ports of the host a dozen times, each time in the same order, and asks what is known of each.
//! A tree is searched from its root for every one of them, and with ten thousand ports hardly any of that is in the
//! processor's cache. Here the key that was asked for last is remembered: it or the next one is mostly what is wanted.
use std::{
    cmp::Ordering,
    fmt,
    sync::atomic::{AtomicUsize, Ordering::Relaxed},
};

use serde::{Deserialize, Deserializer, Serialize, Serializer, de};

/// What is known by key. A single new key costs as much as there are entries: many come by [`Sorted::make_room_for`] or
/// by collecting.
pub struct Sorted<K, V> {
    entries: Vec<(K, V)>,
    /// Where the last key was. Nothing but speed depends on it.
    last: AtomicUsize,
}

impl<K: Ord + Copy, V> Sorted<K, V> {
    /// Where the key is, or would have to be.
    fn find(&self, key: &K) -> Result<usize, usize> {
        let last = self.last.load(Relaxed);
        let at = |place: usize| self.entries.get(place).map(|(known, _)| known.cmp(key));
        let next = last.saturating_add(1);
        let search = || self.entries.binary_search_by(|(known, _)| known.cmp(key));
        let found = match at(last) {
            Some(Ordering::Equal) => return Ok(last),
            Some(Ordering::Less) => match at(next) {
                Some(Ordering::Equal) => Ok(next),
                None | Some(Ordering::Greater) => Err(next),
                Some(Ordering::Less) => search(),
            },
            None | Some(Ordering::Greater) => search(),
        };
        match found {
            Ok(place) => self.last.store(place, Relaxed),
            // The next one is wanted next.
            Err(place) => self.last.store(place.saturating_sub(1), Relaxed),
        }
        found
    }

    /// What is known of the key.
    pub fn get(&self, key: &K) -> Option<&V> {
        self.entries.get(self.find(key).ok()?).map(|(_, value)| value)
    }

    /// The same, to be changed.
    pub fn get_mut(&mut self, key: &K) -> Option<&mut V> {
        let place = self.find(key).ok()?;
        self.entries.get_mut(place).map(|(_, value)| value)
    }

    /// Whether anything is known of the key.
    pub fn contains_key(&self, key: &K) -> bool {
        self.find(key).is_ok()
    }

    /// Sets what is known of the key.
    pub fn insert(&mut self, key: K, value: V) {
        match self.find(&key) {
            Ok(place) => {
                if let Some((_, known)) = self.entries.get_mut(place) {
                    *known = value;
                }
            }
            Err(place) => self.entries.insert(place, (key, value)),
        }
    }

    /// Forgets the key.
    pub fn remove(&mut self, key: &K) -> Option<V> {
        self.find(key).ok().map(|place| self.entries.remove(place).1)
    }

    /// Forgets what is not to be kept.
    pub fn retain(&mut self, mut keep: impl FnMut(&K, &mut V) -> bool) {
        self.entries.retain_mut(|(key, value)| keep(key, value));
    }

    /// Makes entries of the keys that have none.
    pub fn make_room_for(&mut self, keys: impl IntoIterator<Item = K>, mut new: impl FnMut() -> V) {
        let missing: Vec<K> = keys.into_iter().filter(|key| !self.contains_key(key)).collect();
        if !missing.is_empty() {
            self.entries.reserve_exact(missing.len());
            self.entries.extend(missing.into_iter().map(|key| (key, new())));
            // Two runs that are sorted already are put into each other in one go.
            self.entries.sort_by_key(|(key, _)| *key);
            self.entries.dedup_by_key(|(key, _)| *key);
        }
    }

    /// All entries of the pairs; those of the same key become one, by `join`, in their order.
    pub fn joined(mut pairs: Vec<(K, V)>, mut join: impl FnMut(&mut V, V)) -> Self {
        pairs.sort_by_key(|(key, _)| *key);
        let is_unique = pairs.is_sorted_by(|(key, _), (next, _)| key < next);
        let mut entries =
            if is_unique { std::mem::take(&mut pairs) } else { Vec::with_capacity(pairs.len()) };
        for (key, value) in pairs {
            match entries.last_mut() {
                Some((last, sum)) if *last == key => join(sum, value),
                _ => entries.push((key, value)),
            }
        }
        Self { entries, last: AtomicUsize::new(0) }
    }

    /// The entries from this key on.
    pub fn iter_from(&self, first: K) -> impl Iterator<Item = (&K, &V)> {
        let (Ok(place) | Err(place)) = self.find(&first);
        self.iter().skip(place)
    }
}

impl<K, V> Sorted<K, V> {
    /// All entries in the order of their keys.
    pub fn iter(&self) -> impl ExactSizeIterator<Item = (&K, &V)> {
        self.entries.iter().map(|(key, value)| (key, value))
    }

    /// All keys in order.
    pub fn keys(&self) -> impl ExactSizeIterator<Item = &K> {
        self.entries.iter().map(|(key, _)| key)
    }

    /// All values in the order of their keys.
    pub fn values(&self) -> impl ExactSizeIterator<Item = &V> + Clone {
        self.entries.iter().map(|(_, value)| value)
    }

    /// The same, to be changed.
    pub fn values_mut(&mut self) -> impl ExactSizeIterator<Item = &mut V> {
        self.entries.iter_mut().map(|(_, value)| value)
    }

    /// How many entries there are.
    pub const fn len(&self) -> usize {
        self.entries.len()
    }

    /// Whether there is none.
    pub const fn is_empty(&self) -> bool {
        self.entries.is_empty()
    }
}

impl<K, V> Default for Sorted<K, V> {
    fn default() -> Self {
        Self { entries: Vec::new(), last: AtomicUsize::new(0) }
    }
}

impl<K: Clone, V: Clone> Clone for Sorted<K, V> {
    fn clone(&self) -> Self {
        Self { entries: self.entries.clone(), last: AtomicUsize::new(0) }
    }
}

impl<K: PartialEq, V: PartialEq> PartialEq for Sorted<K, V> {
    fn eq(&self, other: &Self) -> bool {
        self.entries == other.entries
    }
}

impl<K: Eq, V: Eq> Eq for Sorted<K, V> {}

impl<K: fmt::Debug, V: fmt::Debug> fmt::Debug for Sorted<K, V> {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.debug_map().entries(self.iter()).finish()
    }
}

/// Of several values of a key the last one stays.
impl<K: Ord + Copy, V> FromIterator<(K, V)> for Sorted<K, V> {
    fn from_iter<I: IntoIterator<Item = (K, V)>>(pairs: I) -> Self {
        Self::joined(pairs.into_iter().collect(), |value, later| *value = later)
    }
}

impl<K: Ord + Copy, V, const LENGTH: usize> From<[(K, V); LENGTH]> for Sorted<K, V> {
    fn from(pairs: [(K, V); LENGTH]) -> Self {
        pairs.into_iter().collect()
    }
}

impl<K, V> IntoIterator for Sorted<K, V> {
    type Item = (K, V);
    type IntoIter = std::vec::IntoIter<(K, V)>;

    fn into_iter(self) -> Self::IntoIter {
        self.entries.into_iter()
    }
}

/// As a map.
impl<K: Serialize, V: Serialize> Serialize for Sorted<K, V> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_map(self.iter())
    }
}

impl<'de, K: Deserialize<'de> + Ord + Copy, V: Deserialize<'de>> Deserialize<'de> for Sorted<K, V> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Entries<K, V>(std::marker::PhantomData<(K, V)>);

        impl<'de, K: Deserialize<'de> + Ord + Copy, V: Deserialize<'de>> de::Visitor<'de> for Entries<K, V> {
            type Value = Sorted<K, V>;

            fn expecting(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
                formatter.write_str("a map")
            }

            fn visit_map<A: de::MapAccess<'de>>(self, mut map: A) -> Result<Self::Value, A::Error> {
                std::iter::from_fn(|| map.next_entry().transpose()).collect()
            }
        }

        deserializer.deserialize_map(Entries(std::marker::PhantomData))
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use proptest::{collection::vec, prelude::*};

    use super::*;

    proptest! {
        #[test]
        fn it_is_a_map_whatever_is_asked_for_after_what(
            pairs in vec((0..40_u64, any::<u8>()), 0..40),
            steps in vec((0..44_u64, 0..5_u8), 0..80),
        ) {
            let mut tree: BTreeMap<u64, u8> = pairs.iter().copied().collect();
            let mut sorted: Sorted<u64, u8> = pairs.into_iter().collect();
            for (key, step) in steps {
                match step {
                    0 => { sorted.insert(key, step); tree.insert(key, step); }
                    1 => prop_assert_eq!(sorted.remove(&key), tree.remove(&key)),
                    2 => {
                        sorted.make_room_for([key, key + 1, key + 1], || 9);
                        tree.entry(key).or_insert(9);
                        tree.entry(key + 1).or_insert(9);
                    }
                    3 => {
                        sorted.retain(|known, _| known % 7 != key % 7);
                        tree.retain(|known, _| known % 7 != key % 7);
                    }
                    _ => prop_assert_eq!(sorted.get_mut(&key).copied(), tree.get(&key).copied()),
                }
                for key in [key, key + 1, key.saturating_sub(1)] {
                    prop_assert_eq!(sorted.get(&key), tree.get(&key));
                }
                prop_assert!(sorted.iter().eq(tree.iter()));
                prop_assert!(sorted.iter_from(key).eq(tree.range(key..)));
            }
        }

        #[test]
        fn values_of_one_key_are_joined_in_their_order(pairs in vec((0..6_u8, any::<char>()), 0..20)) {
            let mut tree: BTreeMap<u8, String> = BTreeMap::new();
            pairs.iter().for_each(|(key, letter)| tree.entry(*key).or_default().push(*letter));
            let words = pairs.into_iter().map(|(key, letter)| (key, letter.to_string())).collect();
            let sorted = Sorted::joined(words, |sum: &mut String, more| sum.push_str(&more));
            prop_assert!(sorted.iter().eq(tree.iter()));
        }
    }

    #[test]
    fn it_is_saved_as_the_tree_is_that_it_took_the_place_of() {
        let sorted: Sorted<u64, u8> = [(2, 1), (1, 7), (2, 3)].into_iter().collect();
        let bytes = rmp_serde::to_vec(&sorted).unwrap();
        assert_eq!(rmp_serde::from_slice::<BTreeMap<u64, u8>>(&bytes).unwrap(), [(1, 7), (2, 3)].into());
        assert_eq!(rmp_serde::from_slice::<Sorted<u64, u8>>(&bytes).unwrap(), sorted);
    }
}
