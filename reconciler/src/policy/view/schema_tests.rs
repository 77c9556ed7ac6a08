//! The tables against the JSON Schema that the same types make: a field of a spec is seen by
//! policies, or stands here with the reason why it is not.

use std::collections::{BTreeMap, BTreeSet};

use serde_json::Value;

use super::object::table_of;
use super::table::{Shape, Table};
use crate::model::spec::form::schema_of;
use crate::model::spec::policy::ObjectKind;
use crate::model::spec::{
    FlavorSpec, ImageSpec, InstanceSpec, LinkSpec, NetworkSpec, NodeSpec, PolicyBindingSpec,
    ProjectSpec, VolumeSpec, WaiverSpec,
};

/// Fields of specs that scripts do not see.
const UNSEEN: [(&str, &str); 6] = [
    ("Instance.flavor", "it stands in `resources`"),
    ("Instance.envFiles", "their variables stand in `env`"),
    ("Image.verify.keys[].key", "a key is shown by its name"),
    ("Image.verify.keys[].file", "a key is shown by its name"),
    ("PolicyBinding.params", "what they are is for the policy to say"),
    ("Instance.security.devices[].container", "devices are a mapping by it"),
];

/// Fields that scripts see and specs do not have.
const MADE: [(&str, &str); 1] = [("Instance.volumes[].kind", "which of the sources it is")];

fn schema(kind: ObjectKind) -> Value {
    match kind {
        ObjectKind::Instance => schema_of::<InstanceSpec>(),
        ObjectKind::Image => schema_of::<ImageSpec>(),
        ObjectKind::Volume => schema_of::<VolumeSpec>(),
        ObjectKind::Network => schema_of::<NetworkSpec>(),
        ObjectKind::Link => schema_of::<LinkSpec>(),
        ObjectKind::Node => schema_of::<NodeSpec>(),
        ObjectKind::Flavor => schema_of::<FlavorSpec>(),
        ObjectKind::Project => schema_of::<ProjectSpec>(),
        ObjectKind::PolicyBinding => schema_of::<PolicyBindingSpec>(),
        ObjectKind::Waiver => schema_of::<WaiverSpec>(),
    }
}

/// What may stand at a place: the schema itself, or the forms that it allows.
fn forms(schema: &Value) -> Vec<&Value> {
    let inner = ["anyOf", "oneOf"].iter().filter_map(|key| schema.get(key)?.as_array()).flatten();
    std::iter::once(schema).chain(inner.flat_map(forms)).collect()
}

/// The fields that a schema declares.
fn fields(schema: &Value) -> BTreeMap<&str, &Value> {
    forms(schema)
        .into_iter()
        .filter_map(|form| form.get("properties")?.as_object())
        .flatten()
        .map(|(name, schema)| (name.as_str(), schema))
        .collect()
}

fn walk(path: &str, schema: &Value, table: &Table, wrong: &mut Vec<String>) {
    let fields = fields(schema);
    let seen: BTreeSet<&str> = table.fields.iter().map(|field| field.name).collect();
    for name in fields.keys() {
        let path = format!("{path}.{name}");
        let is_unseen = UNSEEN.iter().any(|(unseen, _)| *unseen == path);
        if seen.contains(name) == is_unseen {
            wrong.push(format!("{path}: scripts should see it, or it stands in UNSEEN"));
        }
    }
    for field in table.fields {
        let path = format!("{path}.{}", field.name);
        let Some(schema) = fields.get(field.name) else {
            if !MADE.iter().any(|(made, _)| *made == path) {
                wrong.push(format!("{path}: no spec has it"));
            }
            continue;
        };
        let titles: Vec<&str> =
            forms(schema).into_iter().filter_map(|form| form.get("title")?.as_str()).collect();
        let types: Vec<&Value> =
            forms(schema).into_iter().filter_map(|form| form.get("type")).collect();
        let has = |word: &str| types.iter().any(|one| one.to_string().contains(word));
        let fits = match &field.shape {
            Shape::Flag(_) => has("boolean"),
            Shape::Number(_) | Shape::Signed(_) => has("integer"),
            Shape::Memory(_) => {
                titles.iter().any(|title| title.contains("bytes") || title.contains("size"))
            }
            Shape::Cpus(_) => titles.contains(&"amount of cpu"),
            Shape::Duration(_) => titles.contains(&"duration"),
            Shape::Texts(_) => has("array") || field.name == "projects",
            Shape::Text(_) | Shape::Secret(_) | Shape::Time(_) | Shape::Image(_) => {
                has("string")
                    || forms(schema)
                        .iter()
                        .any(|form| form.get("const").is_some() || form.get("enum").is_some())
            }
            Shape::Dict(_) => has("object"),
            Shape::Part(inner, _) => {
                // A range of ports is written as a text.
                if field.name == "host" {
                    titles.contains(&"port or range of ports")
                } else {
                    walk(&path, schema, inner, wrong);
                    true
                }
            }
            Shape::Parts(inner, _) | Shape::PartDict(inner, _) => {
                let items: Vec<&Value> = forms(schema)
                    .into_iter()
                    .filter_map(|form| {
                        form.get("items").or_else(|| form.get("additionalProperties"))
                    })
                    .filter(|items| items.is_object())
                    .collect();
                for items in &items {
                    walk(&format!("{path}[]"), items, inner, wrong);
                }
                !items.is_empty()
            }
            Shape::Object(_) => false,
        };
        if !fits {
            wrong.push(format!("{path}: {} is not what {schema} says", field.shape.word()));
        }
    }
}

#[test]
fn scripts_see_what_specs_say() {
    let mut wrong = Vec::new();
    for kind in ObjectKind::ALL {
        walk(kind.as_str(), &schema(kind), table_of(kind), &mut wrong);
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}
