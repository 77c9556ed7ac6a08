//! Policies as texts: the library that is compiled in, and a directory of own ones, read again when
//! it changes. All of it is in force at once, or nothing of it: then the last good texts go on, also
//! after a restart, since records keep them as they keep those of specs.
//!
//! Read [`Loader`] first, then `set` (library and directory together), `read` and `profiles` (what
//! files hold), [`compile`](fn@compile) (the seam to the core), [`hold`](fn@hold), the thread that watches, and [`cases`], which say
//! what policies shall say.

pub mod cases;
mod compile;
mod hold;
mod library;
mod object;
mod offline;
mod profiles;
mod read;
mod set;
#[cfg(test)]
mod tests;

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::sync::Arc;

use reconciler::engine::PolicyReading;
use reconciler::model::desired::BrokenFile;
use reconciler::model::policies::{POLICY_TEXTS, PolicySources, PolicyStanding};

pub use self::compile::{Compile, Compiled, compile};
pub use self::hold::hold;
pub use self::object::object_ref;
pub use self::offline::{Loaded, load, readme, traced};
use self::read::Texts;
use self::set::{Set, set};

/// Where own policies are, if nobody says: there, if it is there.
pub const POLICIES_DEFAULT: &str = "policies";

/// The directory of own policies.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Place {
    /// Where it is.
    pub dir: PathBuf,
    /// Whether it was named, and so has to be there.
    pub named: bool,
}

impl Default for Place {
    fn default() -> Self {
        Self { dir: PathBuf::from(POLICIES_DEFAULT), named: false }
    }
}

/// Texts by their paths in the directory.
type ByPath = BTreeMap<Arc<str>, Arc<str>>;

/// Reads policies again and again.
#[derive(Debug)]
pub struct Loader {
    place: Place,
    compile: Compile,
    /// The texts that are in force, or were in an earlier run.
    last_good: ByPath,
    /// What was found last.
    found: Option<Result<Texts, String>>,
    /// Digest of what is in force, with how many policies that is.
    in_force: Option<(reconciler::model::ids::Digest, usize)>,
}

impl Loader {
    /// A loader of `place`. `records` are all texts that records keep, those of specs too.
    #[must_use]
    pub fn new(place: Place, records: &ByPath, compile: Compile) -> Self {
        let own = records.iter().filter_map(|(name, text)| {
            Some((Arc::from(name.strip_prefix(POLICY_TEXTS)?), Arc::clone(text)))
        });
        Self { place, compile, last_good: own.collect(), found: None, in_force: None }
    }

    /// Reads the directory, and tells what is new: at the first time something always is.
    ///
    /// It never fails: what is wrong is told, and what was in force goes on.
    pub fn news(&mut self) -> Option<News> {
        let found = self.look();
        if self.found.as_ref() == Some(&found) {
            return None;
        }
        self.found = Some(found.clone());
        let texts = found.map_err(|why| vec![why]).and_then(|Texts { texts, problems }| {
            if problems.is_empty() { Ok(texts) } else { Err(problems) }
        });
        let made = texts.and_then(|texts| Ok((self.set(&texts)?, texts)));
        match made {
            Ok((set, texts)) => {
                let changed = self.good(texts);
                Some(self.told(Some(set), changed, Vec::new()))
            }
            Err(problems) => {
                // At a start the texts of the run before; if they are no good to this windlass, what
                // is built in.
                let set = if self.in_force.is_none() {
                    let last_good = self.set(&self.last_good).or_else(|_| self.set(&ByPath::new()));
                    last_good.ok()
                } else {
                    None
                };
                Some(self.told(set, BTreeMap::new(), problems))
            }
        }
    }

    fn look(&self) -> Result<Texts, String> {
        let dir = &self.place.dir;
        match read::texts(dir) {
            Some(texts) => Ok(texts),
            None if self.place.named || !self.last_good.is_empty() => {
                Err(format!("{}: there is no such directory", dir.display()))
            }
            None => Ok(Texts::default()),
        }
    }

    fn set(&self, texts: &ByPath) -> Result<Set, Vec<String>> {
        set(self.compile, &self.place.dir, texts)
    }

    /// Takes texts for the last good ones, and says which of them changed.
    fn good(&mut self, mut texts: ByPath) -> BTreeMap<Arc<str>, Option<Arc<str>>> {
        // Nothing is judged by cases.
        texts.retain(|name, _| !read::is_cases(name));
        let name = |name: &Arc<str>| Arc::<str>::from(format!("{POLICY_TEXTS}{name}"));
        let gone = self.last_good.keys().filter(|name| !texts.contains_key(*name));
        let mut changed: BTreeMap<_, _> = gone.map(|gone| (name(gone), None)).collect();
        let new = texts.iter().filter(|(name, text)| self.last_good.get(*name) != Some(text));
        changed.extend(new.map(|(new, text)| (name(new), Some(Arc::clone(text)))));
        self.last_good = texts;
        changed
    }

    fn told(
        &mut self,
        set: Option<Set>,
        texts: BTreeMap<Arc<str>, Option<Arc<str>>>,
        problems: Vec<String>,
    ) -> News {
        let (sources, compiled) = set.map(|Set { sources, compiled }| (sources, compiled)).unzip();
        let mut policies = None;
        if let (Some(sources), Some(compiled)) = (&sources, &compiled) {
            let now = (sources.digest(), sources.policies.len());
            if self.in_force.as_ref() != Some(&now) {
                policies = Some(Arc::clone(&compiled.policies));
                self.in_force = Some(now);
            }
        }
        let (digest, count) = self.in_force.clone().unzip();
        let broken = problems.first().map(|first| BrokenFile {
            errors: u32::try_from(problems.len()).unwrap_or(u32::MAX),
            first: first.clone(),
            last_good: digest.is_some(),
        });
        let standing = PolicyStanding { count: count.unwrap_or(0), digest, broken };
        let reading = PolicyReading { policies, standing, texts };
        News { reading, sources, compiled, problems }
    }
}

/// What a reading brought.
#[derive(Debug, Clone)]
pub struct News {
    /// For the loop.
    pub reading: PolicyReading,
    /// The texts that came in force, if any did.
    pub sources: Option<PolicySources>,
    /// What was made of them.
    pub compiled: Option<Compiled>,
    /// All that is wrong, each with its place.
    pub problems: Vec<String>,
}
