//! Policies for commands that look once, at files and nothing else.

use std::path::Path;
use std::sync::Arc;

use reconciler::model::policies::{Origin, PolicySource, PolicySources};
use reconciler::model::spec::policy::PolicyId;
use reconciler::policy::library::Library;

use super::compile::{Compiled, compile};
use super::read::{self, Texts};
use super::set::{Set, set};
use super::{Place, library};

/// The policies that there are.
#[derive(Debug, Clone)]
pub struct Loaded {
    /// Their texts.
    pub sources: PolicySources,
    /// What is made of them.
    pub compiled: Compiled,
    /// All that stands in the directory of own ones: copies of the library's too, which are there
    /// but once among `sources`.
    pub own: Vec<PolicySource>,
}

/// Reads the directory of own policies, and puts them beside the library.
///
/// # Errors
/// All that is wrong, each with its place.
pub fn load(place: &Place) -> Result<Loaded, Vec<String>> {
    let Texts { texts, problems } = match read::texts(&place.dir) {
        Some(texts) => texts,
        None if place.named => {
            return Err(vec![format!("{}: there is no such directory", place.dir.display())]);
        }
        None => Texts::default(),
    };
    if !problems.is_empty() {
        return Err(problems);
    }
    let Set { sources, compiled } = set(compile, &place.dir, &texts)?;
    Ok(Loaded { sources, compiled, own: read::parsed(&place.dir, &texts).policies })
}

/// The same policies, with scripts that tell which of their statements were reached.
///
/// # Errors
/// All that is wrong with them.
pub fn traced(sources: &PolicySources) -> Result<Arc<Library>, Vec<String>> {
    let library = Library::traced(sources);
    library.map(Arc::new).map_err(|bad| bad.iter().map(ToString::to_string).collect())
}

/// Why a policy is there, as its README says.
#[must_use]
pub fn readme(sources: &PolicySources, id: &PolicyId) -> Option<String> {
    let source = sources.policies.iter().find(|source| source.id().as_ref() == Some(id))?;
    match source.origin {
        Origin::BuiltIn => library::readme(&source.path).map(str::to_owned),
        Origin::Own => {
            let path = Path::new(&*source.path).with_file_name("README.md");
            std::fs::read_to_string(path).ok()
        }
    }
}
