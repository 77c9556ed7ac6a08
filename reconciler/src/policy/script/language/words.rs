//! The module that the language is made in. It remembers the names of its functions, which the
//! engine tells nobody.

use std::collections::BTreeSet;
use std::ops::{Deref, DerefMut};

use rhai::{Module, RhaiNativeFunc};

/// A module, and the names of the functions that were added to it.
#[derive(Debug, Default)]
pub(crate) struct Words {
    module: Module,
    names: BTreeSet<String>,
}

impl Words {
    /// Adds a function that can be called with values or on one, and changes neither.
    pub(crate) fn set_native_fn<A, const N: usize, const X: bool, R, F>(
        &mut self,
        name: impl Into<String>,
        function: F,
    ) where
        A: 'static,
        R: Clone + Send + Sync + 'static,
        F: RhaiNativeFunc<A, N, X, R, true> + Send + Sync + 'static,
    {
        let name = name.into();
        self.module.set_native_fn(&name, function);
        self.names.insert(name);
    }

    /// Takes note of a function that was added in another way.
    pub(crate) fn name(&mut self, name: &str) {
        self.names.insert(name.to_owned());
    }

    /// The module and the names.
    pub(crate) fn finish(mut self) -> (Module, BTreeSet<String>) {
        self.module.build_index();
        (self.module, self.names)
    }
}

impl Deref for Words {
    type Target = Module;
    fn deref(&self) -> &Module {
        &self.module
    }
}

impl DerefMut for Words {
    fn deref_mut(&mut self) -> &mut Module {
        &mut self.module
    }
}
