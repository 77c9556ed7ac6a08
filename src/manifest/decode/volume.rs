//! Volumes.

use reconciler::model::spec::{VolumeSpec, defaults};

use super::super::tree::Node;
use super::fields::{Context, Fields};
use super::value;

/// Decodes the spec of a Volume; without one, all fields have their defaults.
pub(crate) fn decode(context: &mut Context<'_>, node: Option<&Node<'_>>) -> Option<VolumeSpec> {
    let mut spec = VolumeSpec {
        driver: defaults::volume_driver(),
        options: Default::default(),
        retain: defaults::volume_retain(),
        protected: false,
    };
    let Some(node) = node else { return Some(spec) };
    let mut fields = Fields::of(context, node, "spec", "")?;
    if let Some(node) = fields.take("driver") {
        let driver = value::text(context, node, "driver", "the name of a volume driver");
        driver.unwrap_or_default().clone_into(&mut spec.driver);
    }
    if let Some(node) = fields.take("options") {
        spec.options = value::texts(context, node, "options", |_| Ok(())).unwrap_or_default();
    }
    if let Some(node) = fields.take("retain") {
        spec.retain = value::boolean(context, node, "retain").unwrap_or(defaults::volume_retain());
    }
    if let Some(node) = fields.take("protected") {
        spec.protected = value::boolean(context, node, "protected").unwrap_or_default();
    }
    fields.finish(context, &["size", "shared"]);
    Some(spec)
}
