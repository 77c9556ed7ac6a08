//! The grammar of specs as JSON Schema: the envelope that all kinds share, around what the types of
//! the model say of themselves.
//!
//! Nothing here names a field of a spec: a field is documented where its type is. That the decoder
//! reads just these fields is a test of its own.

use reconciler::model::ids::Name;
use reconciler::model::spec::form::{Text, schema_of};
use reconciler::model::spec::{
    FlavorSpec, ImageSpec, InstanceSpec, LinkSpec, NetworkSpec, NodeSpec, PolicyBindingSpec,
    ProjectSpec, VolumeSpec, WaiverSpec,
};
use schemars::JsonSchema;
use serde_json::{Map, Value, json};
use std::collections::BTreeMap;

use super::decode::{API_VERSION, KINDS, Kind, UNBUILT_KINDS, did_you_mean};

/// What the schema calls itself.
const META_SCHEMA: &str = "https://json-schema.org/draft/2020-12/schema";

/// What every object says of itself.
#[derive(Debug, JsonSchema)]
#[expect(dead_code, reason = "only its schema is used")]
struct Metadata {
    /// The object's name: lower case letters, digits and inner hyphens, at most 63 of them. It is
    /// unique in its project and kind.
    name: Name,
    /// The project that the object is in; `default` if not said.
    project: Option<Name>,
    /// Labels of the object, to select it by: `windlass get instances -l tier=front`.
    #[schemars(default)]
    labels: BTreeMap<String, Text>,
    /// Whatever else shall stand beside it; windlass makes nothing of it.
    #[schemars(default)]
    annotations: BTreeMap<String, Text>,
}

/// The names of the kinds that can be declared.
pub fn kinds() -> impl Iterator<Item = &'static str> + Clone {
    KINDS.iter().map(|(word, _)| *word)
}

/// The kind that a user means, in any case, with the `s` of many or without it.
///
/// # Errors
/// What to say if there is none.
pub fn kind_named(given: &str) -> Result<&'static str, String> {
    let same = |text: &str| kinds().find(|kind| kind.eq_ignore_ascii_case(text));
    if let Some(kind) = same(given).or_else(|| same(given.strip_suffix('s')?)) {
        return Ok(kind);
    }
    let names = kinds().collect::<Vec<_>>().join(", ");
    let one = given.strip_suffix('s').unwrap_or(given);
    let is_unbuilt = |kind: &&str| [given, one].iter().any(|word| kind.eq_ignore_ascii_case(word));
    if UNBUILT_KINDS.iter().any(is_unbuilt) {
        return Err(format!("kind {given} is not supported yet; there are {names}"));
    }
    Err(match did_you_mean(given, kinds()) {
        Some(near) => format!("no kind `{given}`; did you mean `{near}`?"),
        None => format!("no kind `{given}`; there are {names}"),
    })
}

/// The one of `known` that `word` may have been meant to be.
pub fn near<'a>(word: &str, known: impl Iterator<Item = &'a str> + Clone) -> Option<&'a str> {
    did_you_mean(word, known)
}

/// The schema of a document of one kind, by its name; of any kind without one. `None` if there is
/// no such kind.
#[must_use]
pub fn schema(kind: Option<&str>) -> Option<Value> {
    let Some(word) = kind else { return Some(of_any()) };
    let kind = KINDS.iter().find(|(known, _)| *known == word).map(|(_, kind)| *kind)?;
    let mut schema = of(word, kind);
    schema.insert("$schema".to_owned(), json!(META_SCHEMA));
    Some(Value::Object(schema))
}

/// One schema for all kinds: which one holds is said by `kind`.
fn of_any() -> Value {
    let documents = KINDS.iter().map(|(word, kind)| ((*word).to_owned(), of(word, *kind).into()));
    let documents: Map<String, Value> = documents.collect();
    let choice = kinds().map(|word| {
        json!({
            "if": { "properties": { "kind": { "const": word } }, "required": ["kind"] },
            "then": { "$ref": format!("#/$defs/{word}") },
        })
    });
    json!({
        "$schema": META_SCHEMA,
        "title": "windlass spec",
        "description": "An object that windlass holds to its declared state.",
        "type": "object",
        "properties": {
            "apiVersion": { "description": VERSION_DOC, "const": API_VERSION },
            "kind": { "description": KIND_DOC, "enum": kinds().collect::<Vec<_>>() },
            "metadata": { "description": METADATA_DOC, "type": "object" },
            "spec": { "description": SPEC_DOC, "type": "object" },
        },
        "required": ["apiVersion", "kind", "metadata"],
        "allOf": choice.collect::<Vec<_>>(),
        "$defs": documents,
    })
}

const VERSION_DOC: &str = "The version of the grammar.";
const KIND_DOC: &str = "What kind of object is declared.";
const METADATA_DOC: &str = "What the object is called, and what else is said of it.";
const SPEC_DOC: &str = "What is declared.";

fn of(word: &str, kind: Kind) -> Map<String, Value> {
    let mut spec = match kind {
        Kind::Instance => schema_of::<InstanceSpec>(),
        Kind::Image => schema_of::<ImageSpec>(),
        Kind::Volume => schema_of::<VolumeSpec>(),
        Kind::Network => schema_of::<NetworkSpec>(),
        Kind::Link => schema_of::<LinkSpec>(),
        Kind::Node => schema_of::<NodeSpec>(),
        Kind::Flavor => schema_of::<FlavorSpec>(),
        Kind::Project => schema_of::<ProjectSpec>(),
        Kind::PolicyBinding => schema_of::<PolicyBindingSpec>(),
        Kind::Waiver => schema_of::<WaiverSpec>(),
    };
    // What the type says of itself is about the object.
    let description = spec.get("description").cloned();
    set(&mut spec, "description", SPEC_DOC.into());
    let mut metadata = schema_of::<Metadata>();
    set(&mut metadata, "description", METADATA_DOC.into());
    if !kind.is_in_project()
        && let Some(fields) = metadata.pointer_mut("/properties").and_then(Value::as_object_mut)
    {
        fields.remove("project");
    }
    let mut required = vec!["apiVersion", "kind", "metadata"];
    if kind.needs_spec() {
        required.push("spec");
    }
    let mut schema = json!({
        "title": word,
        "type": "object",
        "properties": {
            "apiVersion": { "description": VERSION_DOC, "const": API_VERSION },
            "kind": { "description": KIND_DOC, "const": word },
            "metadata": metadata,
            "spec": spec,
        },
        "required": required,
        "additionalProperties": false,
    });
    set(&mut schema, "description", description.unwrap_or_default());
    match schema {
        Value::Object(fields) => fields,
        Value::Null | Value::Bool(_) | Value::Number(_) | Value::String(_) | Value::Array(_) => {
            Map::new()
        }
    }
}

fn set(schema: &mut Value, key: &str, value: Value) {
    if let Value::Object(fields) = schema {
        fields.insert(key.to_owned(), value);
    }
}
