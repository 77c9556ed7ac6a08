//! The documented grammar is the one that is read: field by field, and by all specs that there are.

use std::collections::BTreeSet;
use std::fs;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use boon::{Compiler, SchemaIndex, Schemas};
use serde_json::Value;

use super::super::decode::{Body, record};
use super::super::grammar;
use super::super::version::{Beside, Version};

/// Specs that reach every mapping that the decoder knows.
const EVERY_MAPPING: &str = include_str!("every-mapping.yaml");

struct Schema {
    schemas: Schemas,
    index: SchemaIndex,
}

impl Schema {
    fn of_any_kind() -> Self {
        let (mut schemas, mut compiler) = (Schemas::new(), Compiler::new());
        let schema = grammar::schema(None).unwrap();
        compiler.add_resource("windlass.json", schema).unwrap();
        let index = compiler.compile("windlass.json", &mut schemas).unwrap();
        Self { schemas, index }
    }

    /// What is wrong with a document.
    fn errors(&self, document: &Value) -> Option<String> {
        self.schemas.validate(document, self.index).err().map(|error| format!("{error:#}"))
    }

    /// What is wrong in a text that may hold several documents; `None` if it is no YAML.
    fn errors_of(&self, text: &str) -> Option<Vec<String>> {
        let mut found = Vec::new();
        for document in serde_yaml::Deserializer::from_str(text) {
            let mut value: serde_yaml::Value = serde::Deserialize::deserialize(document).ok()?;
            value.apply_merge().ok()?;
            if value.is_null() {
                continue;
            }
            found.extend(self.errors(&serde_json::to_value(value).ok()?));
        }
        Some(found)
    }
}

/// Reads one document as a file of its own. Files beside it are there and say nothing.
fn read(text: &str) -> Version {
    let digest = |_: &Path| Ok("sha256:00".to_owned());
    let content = |_: &Path| Ok((Arc::from(""), "sha256:00".to_owned()));
    let beside = Beside { digest: &digest, content: &content };
    Version::read(Arc::from(text), Path::new("/specs"), &beside)
}

/// The way to a field as the schema has it, `spec.ports[].host`, or `None` if it has none.
fn way(schema: &Value, path: &str) -> Option<String> {
    let mut way = String::new();
    let mut here = vec![schema];
    for word in path.split('.') {
        let (name, index) = word.split_once('[').map_or((word, false), |(name, _)| (name, true));
        let mut next: Vec<&Value> =
            here.iter().filter_map(|one| one["properties"].get(name)).collect();
        let mut shown = name;
        if next.is_empty() {
            next = here.iter().filter_map(|one| one.get("additionalProperties")).collect();
            next.retain(|one| one.is_object());
            shown = "*";
        }
        here = forms(&next);
        way.push_str(&format!("{}{shown}", if way.is_empty() { "" } else { "." }));
        if index {
            let items: Vec<&Value> = here.iter().filter_map(|one| one.get("items")).collect();
            here = forms(&items);
            way.push_str("[]");
        }
        if here.is_empty() {
            return None;
        }
    }
    Some(way)
}

/// The forms that values may have.
fn forms<'s>(schemas: &[&'s Value]) -> Vec<&'s Value> {
    let mut found = Vec::new();
    for schema in schemas {
        match schema.get("anyOf").and_then(Value::as_array) {
            Some(inner) => found.extend(forms(&inner.iter().collect::<Vec<_>>())),
            None => found.push(*schema),
        }
    }
    found
}

/// All fields of a schema by their ways, and those that must be there.
fn fields(schema: &Value, way: &str, all: &mut BTreeSet<String>, required: &mut BTreeSet<String>) {
    for form in forms(&[schema]) {
        let names = form.get("required").and_then(Value::as_array).into_iter().flatten();
        required.extend(names.filter_map(Value::as_str).map(|name| format!("{way}{name}")));
        for (name, inner) in form["properties"].as_object().into_iter().flatten() {
            all.insert(format!("{way}{name}"));
            fields(inner, &format!("{way}{name}."), all, required);
        }
        if let Some(inner) = form.get("items") {
            let way = format!("{}[].", way.strip_suffix('.').unwrap());
            fields(inner, &way, all, required);
        }
        if let Some(inner) = form.get("additionalProperties").filter(|inner| inner.is_object()) {
            fields(inner, &format!("{way}*."), all, required);
        }
    }
}

#[test]
fn every_field_that_is_read_is_documented_and_no_other() {
    record::take();
    for kind in grammar::kinds() {
        let schema = grammar::schema(Some(kind)).unwrap();
        let (mut documented, mut required) = (BTreeSet::new(), BTreeSet::new());
        fields(&schema, "", &mut documented, &mut required);
        let mut asked = BTreeSet::new();
        let mut needed = BTreeSet::new();
        let of_kind = |text: &&str| text.lines().any(|line| line == format!("kind: {kind}"));
        for text in EVERY_MAPPING.split("\n---\n").filter(of_kind) {
            let version = read(text);
            let problems: Vec<_> = version.problems.iter().map(|one| &one.message).collect();
            assert!(problems.is_empty(), "{problems:?} in\n{text}");
            let record = record::take();
            for path in &record.asked {
                // A project has no project, and is told so.
                if path == "metadata.project" && !documented.contains(path) {
                    continue;
                }
                let way = way(&schema, path);
                asked.insert(
                    way.unwrap_or_else(|| panic!("{kind}: {path} is read, not documented")),
                );
            }
            needed.extend(record.required.iter().filter_map(|path| way(&schema, path)));
            for path in &record.unbuilt {
                let way = way(&schema, path);
                assert_eq!(way, None, "{kind}: {path} is documented, and not built");
            }
        }
        let unread: Vec<_> = documented.difference(&asked).collect();
        assert!(unread.is_empty(), "{kind}: documented, and never read: {unread:?}");
        // `kind` was known before it could be missing.
        required.remove("kind");
        assert_eq!(needed, required, "{kind}: what must be there");
    }
}

/// The files below `folder` with this ending.
fn files(folder: &str, ending: &str) -> Vec<PathBuf> {
    let mut open = vec![Path::new(env!("CARGO_MANIFEST_DIR")).join(folder)];
    let mut found = Vec::new();
    while let Some(path) = open.pop() {
        if path.is_dir() {
            open.extend(fs::read_dir(&path).unwrap().map(|entry| entry.unwrap().path()));
        } else if path.extension().is_some_and(|extension| extension == ending) {
            found.push(path);
        }
    }
    found.sort();
    assert!(!found.is_empty(), "no {ending} in {folder}");
    found
}

#[test]
fn every_spec_that_is_shown_fits_the_schema() {
    let schema = Schema::of_any_kind();
    let mut texts = vec![("every-mapping.yaml".to_owned(), EVERY_MAPPING.to_owned())];
    // What belongs to policies declares nothing.
    let is_of_policies = |part: std::path::Component<'_>| part.as_os_str() == "policies";
    let is_spec = |path: &PathBuf| {
        !path.components().any(is_of_policies)
            && fs::read_to_string(path).unwrap().contains("apiVersion")
    };
    let examples = files("examples", "yaml").into_iter().filter(is_spec);
    for path in examples.chain(files("specs", "yaml")) {
        texts.push((path.display().to_string(), fs::read_to_string(&path).unwrap()));
    }
    let readme =
        fs::read_to_string(Path::new(env!("CARGO_MANIFEST_DIR")).join("README.md")).unwrap();
    let blocks: Vec<_> =
        readme.split("```yaml\n").skip(1).map(|rest| rest.split("```").next()).collect();
    assert!(!blocks.is_empty());
    for block in blocks.into_iter().flatten().filter(|block| block.contains("apiVersion")) {
        texts.push(("README.md".to_owned(), block.to_owned()));
    }
    for (name, text) in texts {
        let errors = schema.errors_of(&text).unwrap_or_else(|| panic!("{name} is no YAML"));
        assert!(errors.is_empty(), "{name}:\n{}", errors.join("\n"));
    }
}

#[test]
fn most_bad_specs_do_not_fit_the_schema() {
    let schema = Schema::of_any_kind();
    let (mut seen, mut missed) = (0, Vec::new());
    for path in files("tests/bad-input", "yaml") {
        let Ok(text) = fs::read_to_string(&path) else { continue };
        match schema.errors_of(&text) {
            Some(errors) if errors.is_empty() => {
                missed.push(path.file_name().unwrap().to_string_lossy().into_owned());
            }
            Some(_) => seen += 1,
            None => {}
        }
    }
    // The rest is wrong in ways that one document does not show, or by what lies beside it.
    assert!(seen >= 83, "{seen} seen; these look right: {missed:#?}");
}

#[test]
fn what_the_decoder_takes_if_nothing_is_said_is_what_is_documented() {
    let cases = [
        ("Instance", "spec: { image: a, health: { http: { port: 1 } }, stop: {}, update: {} }"),
        ("Image", "spec: { source: { registry: a } }"),
        ("Volume", "spec: {}"),
        ("Network", "spec: {}"),
        ("Link", "spec: { from: a, to: b }"),
    ];
    for (kind, spec) in cases {
        let version = read(&format!(
            "apiVersion: windlass/v1\nkind: {kind}\nmetadata: {{ name: a }}\n{spec}\n"
        ));
        let taken = match version.drafts[0].body.as_ref().unwrap() {
            Body::Instance(draft) => serde_json::to_value(&draft.spec),
            Body::Image(spec) => serde_json::to_value(spec),
            Body::Volume(spec) => serde_json::to_value(spec),
            Body::Network(spec) => serde_json::to_value(spec),
            Body::Link(draft) => serde_json::to_value(&draft.spec),
            Body::Node(_)
            | Body::Flavor(_)
            | Body::Project(_)
            | Body::Binding(_)
            | Body::Waiver(_) => unreachable!("no defaults"),
        };
        let taken = taken.unwrap();
        let schema = grammar::schema(Some(kind)).unwrap();
        let mut compared = 0;
        compare(&schema["properties"]["spec"], &taken, kind, &mut compared);
        assert!(compared >= if kind == "Instance" { 10 } else { 1 }, "{kind}: {compared} compared");
    }
    let schema = grammar::schema(Some("Instance")).unwrap();
    let mode = |way: &str| schema.pointer(&format!("/properties/spec/properties/{way}/default"));
    assert_eq!(mode("files/items/properties/mode"), Some(&"0644".into()));
    assert_eq!(mode("userData/properties/mode"), Some(&"0600".into()));
}

/// Compares each documented default with what was taken at its place, where anything was.
fn compare(schema: &Value, taken: &Value, way: &str, compared: &mut u32) {
    for form in forms(&[schema]) {
        for (name, inner) in form["properties"].as_object().into_iter().flatten() {
            let way = format!("{way}.{name}");
            let Some(value) = taken.get(name) else { continue };
            if let Some(default) = inner.get("default") {
                let same = default == value || !value.is_null() && is_within(default, value);
                assert!(same, "{way}: {default} is documented, {value} is taken");
                *compared += 1;
            }
            compare(inner, value, &way, compared);
        }
    }
}

/// Whether a mapping says the same as another one, which says more.
fn is_within(less: &Value, more: &Value) -> bool {
    let fields = less.as_object().filter(|fields| !fields.is_empty());
    fields.is_some_and(|fields| fields.iter().all(|(name, value)| more.get(name) == Some(value)))
}
