//! A part of an object that most objects leave at its defaults, and that costs them no memory.

use std::fmt;
use std::ops::Deref;

use serde::{Deserialize, Serialize};

/// A type with a value that means "nothing was said".
pub trait Empty: PartialEq + 'static {
    /// That value.
    fn empty() -> &'static Self;
}

/// A `T` that takes the room of a pointer while it is [empty](Empty). There is one form of each
/// value: an empty one is never boxed, so that equal values are equal in every form.
#[derive(Clone, PartialEq, Eq)]
pub struct Sparse<T>(Option<Box<T>>);

impl<T: Empty> Sparse<T> {
    /// `value`, boxed if it says anything.
    #[must_use]
    pub fn new(value: T) -> Self {
        Self((value != *T::empty()).then(|| Box::new(value)))
    }

    /// Whether nothing was said.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.0.is_none()
    }
}

impl<T> Default for Sparse<T> {
    fn default() -> Self {
        Self(None)
    }
}

impl<T: Empty> Deref for Sparse<T> {
    type Target = T;
    fn deref(&self) -> &T {
        self.0.as_deref().unwrap_or_else(|| T::empty())
    }
}

impl<T: Empty + fmt::Debug> fmt::Debug for Sparse<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        (**self).fmt(f)
    }
}

impl<T: Empty + Serialize> Serialize for Sparse<T> {
    fn serialize<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        (**self).serialize(serializer)
    }
}

impl<'de, T: Empty + Deserialize<'de>> Deserialize<'de> for Sparse<T> {
    fn deserialize<D: serde::Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        T::deserialize(deserializer).map(Self::new)
    }
}

/// Makes a type [`Empty`] whose fields all have an empty default.
macro_rules! empty {
    ($($type:ty),+ $(,)?) => {$(
        impl $crate::model::sparse::Empty for $type {
            fn empty() -> &'static Self {
                static EMPTY: std::sync::LazyLock<$type> =
                    std::sync::LazyLock::new(<$type>::default);
                &EMPTY
            }
        }
    )+};
}
pub(crate) use empty;
