//! Policies and specs as files have them: nothing is kept, and nothing of an earlier run counts.

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::sync::Arc;

use reconciler::model::desired::{Declared, DesiredSet, Source, Spec as _};
use reconciler::model::ids::{Key, Name};
use reconciler::model::policies::{PolicySource, PolicySources};
use reconciler::model::sparse::Sparse;
use reconciler::model::spec::PolicyBindingSpec;
use reconciler::model::spec::policy::{Bound, Levels, Match, ObjectKind, PolicyId, Projects};
use reconciler::policy::library::Library;
use reconciler::policy::view::ObjectRef;

use crate::cli::show::words::meant;
use crate::cli::{Context, Dir, Failure, near};
use crate::hint::Hint;
use crate::manifest::{self, Catalogue, Diagnostic};
use crate::policies::{self, Place};

/// Where the bindings of the command line stand: in no file.
pub(super) const COMMAND_LINE: &str = "(command line)";

/// The policies that there are.
pub(super) struct Policies {
    pub(super) sources: PolicySources,
    pub(super) library: Arc<Library>,
    pub(super) catalogue: Catalogue,
    /// What stands in the directory of own ones, copies of the library's too.
    pub(super) own: Vec<PolicySource>,
}

/// Reads policies, or says all that is wrong with them.
pub(super) fn policies(place: &Place) -> Result<Policies, Vec<String>> {
    let policies::Loaded { sources, compiled, own } = policies::load(place)?;
    let library = compiled.policies.library().cloned().unwrap_or_default();
    Ok(Policies { sources, library, catalogue: compiled.catalogue, own })
}

/// What is judged: a set, and where it stands. What is declared is one; what runs is to be another,
/// which stands in no file.
pub(super) struct Subjects {
    /// The directory or the file that places in it are of.
    pub(super) root: PathBuf,
    pub(super) desired: DesiredSet,
}

impl Subjects {
    /// What the specs declare, or all that is wrong with them.
    pub(super) fn declared(root: PathBuf, catalogue: &Catalogue) -> Result<Self, Vec<Diagnostic>> {
        let loader = manifest::Loader::new(root.clone(), BTreeMap::new());
        let reading = loader.knowing(catalogue.clone()).read(&Hint::All);
        if reading.diagnostics.is_empty() {
            Ok(Self { root, desired: reading.specs.desired })
        } else {
            Err(reading.diagnostics)
        }
    }

    /// Binds something for everything.
    pub(super) fn bind(&mut self, bound: Bound) -> Result<(), Failure> {
        let number = self.desired.bindings.len();
        let spec = PolicyBindingSpec {
            bound,
            level: None,
            levels: Levels::default(),
            params: BTreeMap::new(),
            matches: Sparse::new(Match { projects: Projects::All, ..Match::default() }),
        };
        let declared = Declared {
            labels: BTreeMap::new(),
            annotations: BTreeMap::new(),
            digest: spec.digest(),
            basis: spec.digest(),
            spec: Arc::new(spec),
            source: Source { file: Arc::from(COMMAND_LINE), line: 0, column: 0 },
            stale: None,
        };
        let name = Name::new(&format!("command-line-{number}"))?;
        self.desired.bindings.insert(Key::new(Name::default_project(), name), declared);
        Ok(())
    }

    /// Where an object stands, if it stands somewhere.
    pub(super) fn source(&self, object: &ObjectRef) -> Option<&Source> {
        let (set, key) = (&self.desired, &object.key);
        let source = match object.kind {
            ObjectKind::Instance => &set.instances.get(key)?.source,
            ObjectKind::Image => &set.images.get(key)?.source,
            ObjectKind::Volume => &set.volumes.get(key)?.source,
            ObjectKind::Network => &set.networks.get(key)?.source,
            ObjectKind::Link => &set.links.get(key)?.source,
            ObjectKind::Flavor => &set.flavors.get(key)?.source,
            ObjectKind::PolicyBinding => &set.bindings.get(key)?.source,
            ObjectKind::Waiver => &set.waivers.get(key)?.source,
            ObjectKind::Project => &set.projects.get(&key.name)?.source,
            ObjectKind::Node => &set.nodes.get(&key.name)?.source,
        };
        (&*source.file != COMMAND_LINE).then_some(source)
    }

    /// The places of fields of objects, as far as they stand somewhere.
    pub(super) fn places(
        &self,
        wanted: &[(Option<&Source>, Option<&str>)],
    ) -> Vec<Option<manifest::Spot>> {
        let there: Vec<(&Source, Option<&str>)> =
            wanted.iter().filter_map(|(source, field)| Some(((*source)?, *field))).collect();
        let mut spots = manifest::spots(&self.root, &there).into_iter();
        let spot = |(source, _): &(Option<&Source>, Option<&str>)| {
            let spot = source.and_then(|_| spots.next())?;
            Some(manifest::Spot { file: near(&spot.file), ..spot })
        };
        wanted.iter().map(spot).collect()
    }
}

/// The id of a policy or of a profile that there is.
pub(super) fn known<'k>(
    noun: &str,
    word: &str,
    all: impl Iterator<Item = &'k PolicyId> + Clone,
) -> Result<PolicyId, Failure> {
    let same = |id: &&PolicyId| id.as_str().eq_ignore_ascii_case(word);
    let exact = all.clone().find(|id| id.as_str() == word);
    if let Some(id) = exact.or_else(|| all.clone().find(same)) {
        return Ok(id.clone());
    }
    let failure = Failure::new(format!("there is no {noun} `{word}`"));
    let upper = word.to_ascii_uppercase();
    let names = all.map(PolicyId::as_str);
    Err(match meant(word, names.clone()).or_else(|| meant(&upper, names)) {
        Some(near) => failure.help(format!("did you mean `{near}`?")),
        None => failure.help("`windlass policy list` lists what there is"),
    })
}

/// The specs directory, if one was named or is there.
pub(super) fn specs_if_any(context: &Context) -> Result<Option<PathBuf>, Failure> {
    let dir = Dir { dir: None };
    let settings = context.settings(&dir)?;
    let is_there = settings.specs.exists();
    Ok((context.names_specs(&dir) || is_there).then_some(settings.specs))
}
