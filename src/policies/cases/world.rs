//! What a case is about: the objects, the binding, what is known, and when it is.

use std::collections::BTreeMap;
use std::sync::Arc;

use reconciler::model::desired::{Declared, DesiredSet, Source, Spec as _};
use reconciler::model::ids::{Key, Name};
use reconciler::model::sparse::Sparse;
use reconciler::model::spec::PolicyBindingSpec;
use reconciler::model::spec::policy::{Bound, Level, Levels, Match, PolicyId, Projects};
use reconciler::model::time::Timestamp;
use reconciler::policy::evaluate::Evaluator;
use reconciler::policy::facts::{Facts, ImageFacts};
use reconciler::policy::library::Library;
use reconciler::policy::view::MaskKey;

use super::form::{self, Case};
use crate::manifest::inside::{Sheet, document};
use crate::manifest::tree::Node;

/// The instance of a case is called so.
pub(super) const INSTANCE: &str = "Instance/default/case";

/// All that a policy can be asked about.
pub(super) struct World {
    pub(super) evaluator: Evaluator,
    pub(super) now: Timestamp,
    /// What puts the policy in force.
    pub(super) binding: Key,
}

/// The world of a case.
pub(super) fn world(
    case: &Case,
    node: &Node<'_>,
    sheet: &Sheet<'_>,
    policy: &PolicyId,
    library: &Arc<Library>,
) -> Result<World, Vec<String>> {
    let span = node.span;
    let mut documents = Vec::new();
    if let (Some(_), Some(spec)) = (&case.instance, node.get("instance")) {
        let (name, labels) = (Node::text(span, "case"), node.get("labels"));
        documents.push(document(span, "Instance", name, labels, spec.clone()));
    }
    for name in node.get("volumes").map_or(&[][..], Node::items) {
        let spec = Node::mapping(span, Vec::new());
        documents.push(document(name.span, "Volume", name.clone(), None, spec));
    }
    documents.extend(node.get("objects").map_or(&[][..], Node::items).iter().cloned());
    let desired = sheet.desired(&documents);
    let mut desired = desired
        .map_err(|problems| problems.iter().map(ToString::to_string).collect::<Vec<String>>())?;
    let binding = bind(&mut desired, policy, case);
    let mut evaluator = Evaluator::new(Arc::clone(library), MaskKey::default());
    evaluator.renew(&desired);
    let images = case.facts.iter().map(|(digest, facts)| {
        let form::Facts { created, signers, fingerprints } = facts;
        let created = created.map(|at| at.0);
        let (signers, fingerprints) = (signers.clone(), fingerprints.clone());
        (digest.clone(), ImageFacts { created, signers, fingerprints })
    });
    evaluator.learn(Arc::new(Facts { images: images.collect(), ..Facts::default() }));
    let now = case.now.map_or(Timestamp(0), |now| now.0);
    Ok(World { evaluator, now, binding })
}

/// Puts the policy in force for everything, as strictly as can be.
fn bind(desired: &mut DesiredSet, policy: &PolicyId, case: &Case) -> Key {
    let matches = Match { projects: Projects::All, ..Match::default() };
    let spec = PolicyBindingSpec {
        bound: Bound::Policy(policy.clone()),
        level: Some(Level::Hard),
        levels: Levels::default(),
        params: case.params.clone(),
        matches: Sparse::new(matches),
    };
    let key = Key::new(Name::default_project(), Name::default_project());
    let declared = Declared {
        labels: BTreeMap::new(),
        annotations: BTreeMap::new(),
        digest: spec.digest(),
        basis: spec.digest(),
        spec: Arc::new(spec),
        source: Source { file: Arc::from("cases.yaml"), line: 1, column: 1 },
        stale: None,
    };
    desired.bindings.insert(key.clone(), declared);
    key
}
