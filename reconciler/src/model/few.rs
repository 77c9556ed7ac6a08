//! A sorted map for what nearly all objects have one or two of: replicas, networks, addresses.
//!
//! A tree makes room for eleven entries as soon as it has one, and sends who looks for it to three
//! places in memory; here all entries stand in one row, with no more room than they take.

use std::borrow::Borrow;
use std::fmt;
use std::marker::PhantomData;
use std::ops::{Bound, Index, RangeBounds};

use serde::de::{MapAccess, Visitor};
use serde::{Deserialize, Deserializer, Serialize, Serializer};

/// Up to this many entries there is room for those that are there, and no more.
const EXACT_MAX: usize = 4;

/// A map that is sorted by its keys. It looks like a mapping where it is written, and like a
/// `BTreeMap` to who uses it; to put something in takes time in proportion to what is there.
#[derive(Clone, PartialEq, Eq)]
pub struct Few<K, V>(Vec<(K, V)>);

impl<K, V> Few<K, V> {
    /// An empty one, which takes no room.
    #[must_use]
    pub const fn new() -> Self {
        Self(Vec::new())
    }

    /// How many entries there are.
    #[must_use]
    pub fn len(&self) -> usize {
        self.0.len()
    }

    /// Whether there are none.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// The entries, in order.
    pub fn iter(&self) -> Iter<'_, K, V> {
        self.0.iter().map(pair)
    }

    /// The keys, in order.
    pub fn keys(&self) -> impl DoubleEndedIterator<Item = &K> + Clone {
        self.0.iter().map(|(key, _)| key)
    }

    /// The values, in the order of their keys.
    pub fn values(&self) -> impl DoubleEndedIterator<Item = &V> + Clone {
        self.0.iter().map(|(_, value)| value)
    }

    /// The values, to be changed.
    pub fn values_mut(&mut self) -> impl DoubleEndedIterator<Item = &mut V> {
        self.0.iter_mut().map(|(_, value)| value)
    }

    /// Leaves only those that `keep` is true of.
    pub fn retain(&mut self, mut keep: impl FnMut(&K, &mut V) -> bool) {
        self.0.retain_mut(|(key, value)| keep(key, value));
    }
}

impl<K: Ord, V> Few<K, V> {
    fn index_of<Q: Ord + ?Sized>(&self, key: &Q) -> Result<usize, usize>
    where
        K: Borrow<Q>,
    {
        self.0.binary_search_by(|(at, _)| at.borrow().cmp(key))
    }

    /// The value of a key.
    #[must_use]
    pub fn get<Q: Ord + ?Sized>(&self, key: &Q) -> Option<&V>
    where
        K: Borrow<Q>,
    {
        let index = self.index_of(key).ok()?;
        self.0.get(index).map(|(_, value)| value)
    }

    /// The value of a key, to be changed.
    #[must_use]
    pub fn get_mut<Q: Ord + ?Sized>(&mut self, key: &Q) -> Option<&mut V>
    where
        K: Borrow<Q>,
    {
        let index = self.index_of(key).ok()?;
        self.0.get_mut(index).map(|(_, value)| value)
    }

    /// Whether a key is there.
    #[must_use]
    pub fn contains_key<Q: Ord + ?Sized>(&self, key: &Q) -> bool
    where
        K: Borrow<Q>,
    {
        self.index_of(key).is_ok()
    }

    /// The entries whose keys are in `range`.
    pub fn range(&self, range: impl RangeBounds<K>) -> Iter<'_, K, V> {
        let start = match range.start_bound() {
            Bound::Unbounded => 0,
            Bound::Included(from) => self.0.partition_point(|(key, _)| key < from),
            Bound::Excluded(from) => self.0.partition_point(|(key, _)| key <= from),
        };
        let end = match range.end_bound() {
            Bound::Unbounded => self.0.len(),
            Bound::Included(to) => self.0.partition_point(|(key, _)| key <= to),
            Bound::Excluded(to) => self.0.partition_point(|(key, _)| key < to),
        };
        self.0.get(start..end).unwrap_or_default().iter().map(pair)
    }

    /// Puts a value in, and gives back the one that was in its place.
    pub fn insert(&mut self, key: K, value: V) -> Option<V> {
        match self.index_of(&key) {
            Ok(index) => {
                let held = self.0.get_mut(index).map(|(_, held)| held)?;
                Some(std::mem::replace(held, value))
            }
            Err(index) => {
                if self.0.len() < EXACT_MAX {
                    self.0.reserve_exact(1);
                }
                self.0.insert(index, (key, value));
                None
            }
        }
    }

    /// Takes a value out.
    pub fn remove<Q: Ord + ?Sized>(&mut self, key: &Q) -> Option<V>
    where
        K: Borrow<Q>,
    {
        let index = self.index_of(key).ok()?;
        Some(self.0.remove(index).1)
    }

    /// The value of a key; where there is none, its default is put in.
    pub fn or_default(&mut self, key: K) -> &mut V
    where
        V: Default,
    {
        let index = match self.index_of(&key) {
            Ok(index) => index,
            Err(index) => {
                if self.0.len() < EXACT_MAX {
                    self.0.reserve_exact(1);
                }
                self.0.insert(index, (key, V::default()));
                index
            }
        };
        &mut self.0[index].1
    }
}

/// The entries of a [`Few`], in order.
pub type Iter<'f, K, V> = std::iter::Map<std::slice::Iter<'f, (K, V)>, Pair<'f, K, V>>;

type Pair<'f, K, V> = fn(&'f (K, V)) -> (&'f K, &'f V);

fn pair<K, V>((key, value): &(K, V)) -> (&K, &V) {
    (key, value)
}

impl<'f, K, V> IntoIterator for &'f Few<K, V> {
    type Item = (&'f K, &'f V);
    type IntoIter = Iter<'f, K, V>;
    fn into_iter(self) -> Self::IntoIter {
        self.iter()
    }
}

impl<K, V> IntoIterator for Few<K, V> {
    type Item = (K, V);
    type IntoIter = std::vec::IntoIter<(K, V)>;
    fn into_iter(self) -> Self::IntoIter {
        self.0.into_iter()
    }
}

/// Of two entries of one key the later one counts.
impl<K: Ord, V> FromIterator<(K, V)> for Few<K, V> {
    fn from_iter<I: IntoIterator<Item = (K, V)>>(entries: I) -> Self {
        let mut few = Self::new();
        few.extend(entries);
        few
    }
}

impl<K: Ord, V> Extend<(K, V)> for Few<K, V> {
    fn extend<I: IntoIterator<Item = (K, V)>>(&mut self, entries: I) {
        for (key, value) in entries {
            self.insert(key, value);
        }
    }
}

impl<K: Ord, V, const N: usize> From<[(K, V); N]> for Few<K, V> {
    fn from(entries: [(K, V); N]) -> Self {
        entries.into_iter().collect()
    }
}

impl<K: Ord + Borrow<Q>, V, Q: Ord + ?Sized> Index<&Q> for Few<K, V> {
    type Output = V;
    fn index(&self, key: &Q) -> &V {
        self.get(key).expect("a key that is there")
    }
}

impl<K, V> Default for Few<K, V> {
    fn default() -> Self {
        Self::new()
    }
}

impl<K: fmt::Debug, V: fmt::Debug> fmt::Debug for Few<K, V> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_map().entries(self).finish()
    }
}

impl<K: Serialize, V: Serialize> Serialize for Few<K, V> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_map(self)
    }
}

impl<'de, K: Deserialize<'de> + Ord, V: Deserialize<'de>> Deserialize<'de> for Few<K, V> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_map(Entries(PhantomData))
    }
}

struct Entries<K, V>(PhantomData<(K, V)>);

impl<'de, K: Deserialize<'de> + Ord, V: Deserialize<'de>> Visitor<'de> for Entries<K, V> {
    type Value = Few<K, V>;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a map")
    }

    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Self::Value, A::Error> {
        let mut few = Few::new();
        while let Some((key, value)) = map.next_entry()? {
            few.insert(key, value);
        }
        Ok(few)
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use super::*;

    /// Whatever is put in and taken out, it holds what a `BTreeMap` holds.
    #[test]
    fn it_is_a_map() {
        let (mut few, mut map) = (Few::new(), BTreeMap::new());
        for step in 0_u32..200 {
            let key = step * 7 % 31;
            if step % 3 == 2 {
                assert_eq!(few.remove(&key), map.remove(&key));
            } else {
                assert_eq!(few.insert(key, step), map.insert(key, step));
            }
            *few.or_default(key / 2) += 1;
            *map.entry(key / 2).or_default() += 1;
            assert!(few.iter().eq(map.iter()));
            assert!(few.range(5..=key + 5).eq(map.range(5..=key + 5)));
            assert!(few.range(..key).eq(map.range(..key)));
            assert_eq!(few.get(&key), map.get(&key));
        }
        few.retain(|key, _| key % 2 == 0);
        map.retain(|key, _| key % 2 == 0);
        let text = serde_json::to_string(&few).expect("a text");
        assert_eq!(text, serde_json::to_string(&map).expect("a text"));
        assert_eq!(serde_json::from_str::<Few<u32, u32>>(&text).expect("a map"), few);
    }

    #[test]
    fn one_entry_takes_the_room_of_one() {
        assert_eq!(Few::from([(1, 2)]).0.capacity(), 1);
    }
}
