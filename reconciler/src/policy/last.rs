//! What is no longer declared, as policies are asked about it: as it was declared last, as far as
//! records say.

use std::collections::BTreeMap;
use std::sync::Arc;

use super::view::{Object, ObjectRef};
use crate::model::desired::{Declared, Source, Spec};
use crate::model::ids::{ImageName, Key};
use crate::model::record::Records;
use crate::model::sparse::Sparse;
use crate::model::spec::policy::ObjectKind;
use crate::model::spec::{
    Endpoint, ImageSource, ImageSpec, InstanceSpec, More, NetworkSpec, NodeSpec, Pull, VolumeSpec,
};
use crate::rollout::overlay;

/// What is known of an object that is not declared. Labels are known of what was protected; of the
/// rest a binding that asks for labels is taken to be about it.
#[must_use]
pub fn object(records: &Records, name: &ObjectRef) -> Object {
    let ObjectRef { kind, key } = name;
    let protected = records.guard.protected.get(&*name.to_string());
    let labels = protected.cloned().unwrap_or_default();
    let is_protected = protected.is_some();
    let object = match kind {
        ObjectKind::Volume => {
            let retain = records.volumes.get(key).is_some_and(|record| record.retain);
            let (driver, options) = ("local".to_owned(), BTreeMap::new());
            let spec = VolumeSpec { driver, options, retain, protected: is_protected };
            Object::volume(key, &declared(spec, labels))
        }
        ObjectKind::Network => {
            let spec = NetworkSpec {
                driver: "bridge".to_owned(),
                options: BTreeMap::new(),
                internal: false,
                ipv6: false,
                subnets: Vec::new(),
                protected: is_protected,
            };
            Object::network(key, &declared(spec, labels))
        }
        ObjectKind::Image => {
            let source = ImageSource::Registry(Arc::from(key.to_string()));
            let spec = ImageSpec { source, pull: Pull::default(), verify: None };
            Object::image(key, &declared(spec, labels))
        }
        ObjectKind::Node => {
            let spec = NodeSpec::at(Endpoint::Unix(String::new()));
            Object::node(&key.name, &declared(spec, labels))
        }
        ObjectKind::Instance
        | ObjectKind::Link
        | ObjectKind::Flavor
        | ObjectKind::Project
        | ObjectKind::PolicyBinding
        | ObjectKind::Waiver => {
            let spec = instance(records, key, is_protected);
            Object::instance(key, &declared(spec, labels), None)
        }
    };
    if is_protected { object } else { object.without_labels() }
}

/// The spec of the revision that was kept last. Of one that was never kept nothing is known but that
/// there is something.
fn instance(records: &Records, key: &Key, protected: bool) -> InstanceSpec {
    let kept = records.kept.get(key).and_then(|kept| kept.values().next_back());
    let mut spec = kept
        .and_then(overlay::spec_of)
        .unwrap_or_else(|| InstanceSpec::of(ImageName::Reference(Arc::from("(not known)"))));
    spec.more = Sparse::new(More { protected, ..(*spec.more).clone() });
    spec
}

fn declared<S: Spec>(spec: S, labels: BTreeMap<String, String>) -> Declared<S> {
    let source = Source { file: Arc::from("(no longer declared)"), line: 0, column: 0 };
    Declared { labels, ..Declared::new(spec, source) }
}
