//! How users write the values of specs, as JSON Schema.
//!
//! The schema of the grammar is made from the types of this module's siblings, doc comments
//! included. Where users write something else than the serial form of a type, the form stands
//! here: types that are one value ([`Name`], [`PortRange`], …), types that nothing but a schema is
//! made of ([`Text`], [`Path`], …), and short forms ([`Short`]). [`schema_of`] puts a kind's schema
//! together.

use std::borrow::Cow;
use std::marker::PhantomData;

use schemars::generate::SchemaSettings;
use schemars::{JsonSchema, Schema, SchemaGenerator, json_schema};
use serde_json::{Map, Value, json};

use super::limits::{CAPABILITIES, PORTS, SIGNALS};
use super::policy::{POLICY_ID_BYTES_MAX, Param, PolicyId};
use super::{Device, Endpoint, LocalFile, NetworkName, PortRange, Swap, defaults};
use crate::model::glob::Glob;
use crate::model::ids::{ImageName, Key, NAME_BYTES_MAX, Name};
use crate::model::quantity::{Bytes, Cpus, Ratio, Span};
use crate::model::sparse::{Empty, Sparse};
use crate::model::time::Expiry;

/// The schema of a spec as users write it, complete in itself.
#[must_use]
pub fn schema_of<T: JsonSchema>() -> Value {
    let settings = SchemaSettings::draft2020_12().with(|settings| {
        settings.inline_subschemas = true;
        settings.meta_schema = None;
    });
    let mut schema = settings.into_generator().into_root_schema_for::<T>().to_value();
    if let Value::Object(fields) = &mut schema {
        fields.remove("title");
    }
    tidy(&mut schema);
    schema
}

/// A form that is no type of the model.
macro_rules! forms {
    ($($(#[$doc:meta])* $name:ident: $schema:expr;)+) => {$(
        $(#[$doc])*
        #[derive(Debug)]
        pub struct $name;
        form!($name: $schema);
    )+};
}

/// The form of a type.
macro_rules! form {
    ($name:ty: $schema:expr) => {
        impl JsonSchema for $name {
            fn schema_name() -> Cow<'static, str> {
                stringify!($name).into()
            }
            fn inline_schema() -> bool {
                true
            }
            fn json_schema(_: &mut SchemaGenerator) -> Schema {
                $schema
            }
        }
    };
}

/// Ends of names with an inner part of any length are what a DNS label allows.
fn name_pattern() -> String {
    format!("[a-z0-9]([a-z0-9-]{{0,{}}}[a-z0-9])?", NAME_BYTES_MAX - 2)
}

/// What stands in an IP address of either version; what is none of them is found at validation.
const ADDRESS: &str = "[0-9A-Fa-f.:]+";

/// An absolute path in its shortest form.
const PATH: &str = r"^/([^/]+(/[^/]+)*)?$";

// A name, a tag or a word of digits is a number for a YAML parser; windlass takes it as a text.
forms! {
    /// Any text; numbers and truth values are texts here.
    Text: json_schema!({ "title": "text", "type": ["string", "number", "boolean"] });
    /// A program with arguments, or arguments.
    Words: json_schema!({
        "title": "list of words", "type": "array", "minItems": 1,
        "items": { "title": "word", "type": ["string", "number", "boolean"] },
    });
    /// An absolute path.
    Path: json_schema!({ "title": "absolute path", "type": "string", "pattern": PATH });
    /// An address of IP version 4 or 6.
    Address: json_schema!({
        "title": "IP address", "type": "string", "pattern": format!(r"^{ADDRESS}$"),
    });
    /// An address to listen on, which may stand in brackets.
    ListenAddress: json_schema!({
        "title": "IP address", "type": "string", "pattern": format!(r"^\[?{ADDRESS}\]?$"),
    });
    /// An address, or the node.
    HostAddress: json_schema!({
        "title": "IP address or `host-gateway`", "type": "string",
        "pattern": format!("^(host-gateway|{ADDRESS})$"),
    });
    /// What a link waits for.
    LinkCondition: json_schema!({
        "title": "condition",
        "oneOf": [
            { "const": "started", "description": "That it runs." },
            {
                "const": "healthy",
                "description": "That it runs, and its health check says that it is well.",
            },
            { "const": "completed", "description": "That it ended with exit code 0." },
            { "const": "none", "description": "Nothing." },
        ],
    });
    /// A range of addresses.
    Cidr: json_schema!({
        "title": "address range", "type": "string", "pattern": format!("^{ADDRESS}/[0-9]+$"),
        "examples": ["10.20.0.0/24"],
    });
    /// A port inside.
    PortNumber: json_schema!({
        "title": "port", "type": "integer", "minimum": PORTS.0, "maximum": PORTS.1,
    });
    /// A name in DNS.
    HostName: json_schema!({
        "title": "host name", "type": ["string", "integer"], "maxLength": 64,
        "pattern": "^[A-Za-z0-9_]([A-Za-z0-9_.-]*[A-Za-z0-9_])?$",
    });
    /// Cpus by their numbers.
    CpuSet: json_schema!({
        "title": "set of cpus", "type": ["string", "integer"], "examples": ["0-1,3"],
        "pattern": "^([0-9]+(-[0-9]+)?(,[0-9]+(-[0-9]+)?)*)?$",
    });
    /// The path of a file beside the spec.
    LocalPath: json_schema!({ "title": "path", "type": "string", "minLength": 1 });
    /// One file, or several.
    EnvFiles: json_schema!({
        "title": "path or list of paths",
        "anyOf": [
            { "title": "path", "type": "string" },
            { "type": "array", "items": { "title": "path", "type": "string" } },
        ],
    });
    /// Permissions of a file.
    Mode: json_schema!({
        "title": "permissions in base 8", "type": ["string", "integer"],
        "pattern": "^(0o)?[0-7]{1,6}$", "examples": ["0644"],
    });
    /// A signal, by the name that `kill -l` has, `SIG` before it or not.
    Signal: {
        let names = format!("{}|RTMIN(\\+[0-9]+)?|RTMAX(-[0-9]+)?", SIGNALS.join("|"));
        let small = names.to_ascii_lowercase();
        json_schema!({
            "title": "signal",
            "anyOf": [
                { "enum": SIGNALS.as_slice() },
                { "type": "string", "pattern": format!("^((SIG)?({names})|(sig)?({small}))$") },
            ],
        })
    };
    /// Memory as a file system: as large as it gets, or of a size.
    Tmpfs: json_schema!({
        "title": "`true` or a size",
        "anyOf": [{ "const": true }, { "type": ["string", "integer"], "pattern": BYTES }],
    });
    /// A capability of the kernel, as the kernel writes it too.
    Capability: json_schema!({
        "title": "capability",
        "anyOf": [
            { "enum": CAPABILITIES.as_slice() },
            { "type": "string", "pattern": format!("^CAP_({})$", CAPABILITIES.join("|")) },
        ],
    });
    /// The projects of a binding.
    Projects: json_schema!({
        "title": "`*` or names",
        "anyOf": [
            { "const": "*" },
            {
                "type": "array", "minItems": 1,
                "items": { "type": ["string", "integer"], "pattern": format!("^{}$", name_pattern()) },
            },
        ],
    });
    /// A limit of a process.
    Limit: json_schema!({
        "title": "number or `unlimited`",
        "anyOf": [{ "type": "integer", "minimum": -1 }, { "enum": ["unlimited", "-1"] }],
    });
    /// What is done with a device.
    Permissions: json_schema!({
        "title": "some of `rwm`", "type": "string", "pattern": "^[rwm]{1,3}$",
    });
}

/// The digits and units of [`Bytes`].
const BYTES: &str = r"^[0-9]+(\.[0-9]+)?(k|M|G|T|Ki|Mi|Gi|Ti)?$";

form!(Bytes: json_schema!({
    "title": "amount of bytes", "type": ["string", "number"], "minimum": 0,
    "pattern": BYTES, "examples": ["256Mi", "1Gi"],
}));
form!(Cpus: json_schema!({
    "title": "amount of cpu", "type": ["string", "number"], "minimum": 0.01, "maximum": 100_000,
    "pattern": r"^[0-9]+(\.[0-9]+)?m?$", "examples": ["500m", 0.5],
}));
form!(Ratio: json_schema!({
    "title": "ratio", "type": ["string", "number"], "minimum": 1, "maximum": 100,
    "pattern": r"^[0-9]+(\.[0-9]+)?$", "examples": [1.2],
}));
form!(Span: json_schema!({
    "title": "duration", "type": "string", "pattern": r"^([0-9]+(\.[0-9]+)?(ms|s|m|h|d))+$",
    "examples": ["500ms", "10s", "1m30s"],
}));
form!(Name: json_schema!({
    "title": "name", "type": ["string", "integer"], "pattern": format!("^{}$", name_pattern()),
}));
form!(Key: json_schema!({
    "title": "name", "type": ["string", "integer"],
    "pattern": format!("^({0}/)?{0}$", name_pattern()),
}));
form!(NetworkName: json_schema!({
    "title": "name", "type": ["string", "integer"],
    "pattern": format!("^({0}/)?{0}$", name_pattern()),
    "examples": ["bridge", "host", "none"],
}));
form!(ImageName: json_schema!({
    "title": "name of an Image or reference", "type": ["string", "integer"],
    "pattern": r"^[a-z0-9A-Z.\[:_-][^\s]*$",
}));
form!(LocalFile: json_schema!({ "title": "path", "type": "string", "minLength": 1 }));
form!(Endpoint: json_schema!({
    "title": "`unix://` and an absolute path", "type": "string",
    "pattern": "^unix://(/[^/]+)+$", "examples": ["unix:///var/run/docker.sock"],
}));
form!(PortRange: json_schema!({
    "title": "port or range of ports",
    "anyOf": [
        { "title": "port", "type": "integer", "minimum": PORTS.0, "maximum": PORTS.1 },
        { "title": "port or range", "type": "string", "pattern": "^[0-9]{1,5}( *- *[0-9]{1,5})?$" },
    ],
    "examples": [8080, "8080-8082"],
}));
form!(Swap: json_schema!({
    "title": "amount of bytes or `unlimited`", "type": ["string", "integer"],
    "pattern": r"^(unlimited|-1|[0-9]+(\.[0-9]+)?(k|M|G|T|Ki|Mi|Gi|Ti)?)$",
}));

form!(PolicyId: json_schema!({
    "title": "id", "type": ["string", "integer"], "maxLength": POLICY_ID_BYTES_MAX,
    "pattern": "^[A-Za-z0-9]([A-Za-z0-9._-]*[A-Za-z0-9])?$", "examples": ["CIS-5.5"],
}));
form!(Glob: json_schema!({
    "title": "pattern of names", "type": ["string", "integer"], "minLength": 1,
    "examples": ["web-*"],
}));
form!(Param: json_schema!({
    "title": "parameter",
    "anyOf": [
        { "type": ["string", "number", "boolean"] },
        { "type": "array", "items": { "type": ["string", "number", "boolean"] } },
    ],
}));
form!(Expiry: json_schema!({
    "title": "date or instant", "type": "string",
    "pattern": concat!(
        "^[0-9]{4}-[0-9]{2}-[0-9]{2}",
        "([Tt ][0-9]{2}:[0-9]{2}(:[0-9]{2})?([Zz]|[+-][0-9]{2}:[0-9]{2}))?$"
    ),
    "examples": ["2027-01-31", "2027-01-31T12:00:00Z"],
}));

impl<T: Empty + JsonSchema> JsonSchema for Sparse<T> {
    fn schema_name() -> Cow<'static, str> {
        T::schema_name()
    }
    fn json_schema(generator: &mut SchemaGenerator) -> Schema {
        T::json_schema(generator)
    }
}

/// A mapping `L` that may be written shorter, as an `S`.
#[derive(Debug)]
pub struct Short<L, S>(PhantomData<(L, S)>);

impl<L: JsonSchema, S: JsonSchema> JsonSchema for Short<L, S> {
    fn schema_name() -> Cow<'static, str> {
        L::schema_name()
    }
    fn inline_schema() -> bool {
        true
    }
    fn json_schema(generator: &mut SchemaGenerator) -> Schema {
        let (short, long) = (S::json_schema(generator), L::json_schema(generator));
        json_schema!({ "anyOf": [short, long] })
    }
}

/// A key whose signatures count, in a file or in place.
#[derive(Debug, JsonSchema)]
#[schemars(extend("oneOf" = [{ "required": ["file"] }, { "required": ["key"] }]))]
pub struct TrustedKeyForm {
    /// What it is called in verdicts and records.
    pub name: Text,
    /// The path of a file beside the spec that holds the key in PEM, as `cosign.pub` does: Ed25519,
    /// or ECDSA on the curve P-256.
    pub file: Option<LocalPath>,
    /// The key itself, in PEM.
    pub key: Option<Text>,
}

/// A device of the node, as it stands in a list.
#[derive(Debug, JsonSchema)]
pub struct ListedDevice {
    /// Its path inside; the same as `host` if not said.
    pub container: Option<Path>,
    /// The rest of it.
    #[schemars(flatten)]
    pub device: Device,
}

/// Lets what stands in the one field of an enum's variant be a port alone.
pub(super) fn or_port(schema: &mut Schema) {
    or::<PortNumber>(schema);
}

/// Lets what stands in the one field of an enum's variant be a path alone.
pub(super) fn or_path(schema: &mut Schema) {
    or::<LocalFile>(schema);
}

fn or<S: JsonSchema>(schema: &mut Schema) {
    let short = S::json_schema(&mut SchemaGenerator::default());
    let fields = schema.get_mut("properties").and_then(Value::as_object_mut);
    for (_, long) in fields.into_iter().flatten() {
        *long = json!({ "anyOf": [short, long] });
    }
}

/// Permissions of a file as users write them.
pub(super) fn octal(mode: u32) -> String {
    format!("{mode:04o}")
}

/// User data is a file with other permissions.
pub(super) fn user_data(schema: &mut Schema) {
    let mode = json!(octal(defaults::user_data_mode()));
    // Where something may be left out, it is one of two forms.
    for place in ["/properties/mode/default", "/anyOf/0/properties/mode/default"] {
        if let Some(default) = schema.pointer_mut(place) {
            default.clone_from(&mode);
        }
    }
}

/// Makes of a schema of types one of what users write: nothing is null, what is not named is no
/// field, and each variant of an enum is a field, one of which must be there.
fn tidy(schema: &mut Value) {
    match schema {
        Value::Array(items) => items.iter_mut().for_each(tidy),
        Value::Object(fields) => {
            fields
                .iter_mut()
                .filter(|(key, _)| *key != "default")
                .for_each(|(_, inner)| tidy(inner));
            hoist(fields);
            strip(fields);
            let unwrapped = match fields.get_mut("anyOf") {
                Some(Value::Array(forms)) => {
                    forms.retain(|form| form.get("type") != Some(&json!("null")));
                    if forms.len() == 1 { forms.pop() } else { None }
                }
                Some(_) | None => None,
            };
            if let Some(Value::Object(one)) = unwrapped {
                fields.remove("anyOf");
                for (key, value) in one {
                    fields.entry(key).or_insert(value);
                }
            }
            if fields.get("properties").is_some_and(Value::is_object)
                && !fields.contains_key("additionalProperties")
            {
                fields.insert("additionalProperties".to_owned(), Value::Bool(false));
            }
        }
        Value::Null | Value::Bool(_) | Value::Number(_) | Value::String(_) => {}
    }
}

/// A choice of mappings with one field each becomes one mapping with all of the fields.
fn hoist(fields: &mut Map<String, Value>) {
    let single = |form: &Value| {
        form.get("properties").and_then(Value::as_object).is_some_and(|fields| fields.len() == 1)
    };
    let Some(Value::Array(forms)) = fields.get("oneOf") else { return };
    if forms.is_empty() || !forms.iter().all(single) {
        return;
    }
    let Some(Value::Array(forms)) = fields.remove("oneOf") else { return };
    let mut choice = Vec::new();
    for mut form in forms {
        let description = form.get("description").cloned();
        let inner = form.get_mut("properties").and_then(Value::as_object_mut);
        for (name, mut value) in inner.map(std::mem::take).into_iter().flatten() {
            if let (Value::Object(value), Some(text)) = (&mut value, description.clone()) {
                value.insert("description".to_owned(), text);
            }
            choice.push(json!({ "required": [&name] }));
            let all = fields.entry("properties").or_insert_with(|| json!({}));
            if let Value::Object(all) = all {
                all.insert(name, value);
            }
        }
    }
    fields.insert("type".to_owned(), json!("object"));
    fields.insert("oneOf".to_owned(), Value::Array(choice));
}

/// Takes out what says nothing to users, and unwraps the lines of a description.
fn strip(fields: &mut Map<String, Value>) {
    fields.remove("format");
    if let Some(Value::Array(types)) = fields.get_mut("type") {
        types.retain(|one| one != "null");
        if let [one] = types.as_slice() {
            let one = one.clone();
            fields.insert("type".to_owned(), one);
        }
    }
    if let Some(default) = fields.get_mut("default") {
        without_nothing(default);
        if says_nothing(default) {
            fields.remove("default");
        }
    }
    if let Some(Value::String(text)) = fields.get_mut("description") {
        let paragraphs = text.split("\n\n").map(|part| part.split_whitespace().collect::<Vec<_>>());
        *text = paragraphs.map(|words| words.join(" ")).collect::<Vec<_>>().join("\n\n");
    }
}

fn without_nothing(value: &mut Value) {
    if let Value::Object(fields) = value {
        fields.values_mut().for_each(without_nothing);
        fields.retain(|_, value| !says_nothing(value));
    }
}

fn says_nothing(value: &Value) -> bool {
    match value {
        Value::Null => true,
        Value::String(text) => text.is_empty(),
        Value::Array(items) => items.is_empty(),
        Value::Object(fields) => fields.is_empty(),
        Value::Bool(_) | Value::Number(_) => false,
    }
}
