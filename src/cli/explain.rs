//! `windlass explain`: what can stand in a spec, from the very schema that editors get.
//!
//! Read [`find`] first (from a path to a field), then [`text`] (what is said of it) and [`shape`]
//! (what a value looks like, in a few words).

use serde_json::Value;

use super::args::Format;
use super::show::table::{Table, cell};
use super::show::{Ink, Style};
use super::{Context, Ended, Failure};
use crate::manifest::grammar;

/// Runs the verb.
pub(super) fn run(context: &Context, path: Option<&str>) -> Ended {
    let out = &context.out;
    let Some(path) = path else {
        let mut table = Table::default().flexible(1);
        for kind in grammar::kinds() {
            let schema = grammar::schema(Some(kind)).unwrap_or_default();
            let text = description(&schema);
            let first = text.split("\n\n").next().unwrap_or_default().to_owned();
            table.row(vec![cell(Ink::Bold, kind), first.into()]);
        }
        let more = "\nwindlass explain KIND[.FIELD…] tells more: windlass explain instance.spec\n";
        out.print(&table.render(&out.style))?;
        out.note(more);
        return Ok(0);
    };
    let found = find(path)?;
    match context.global.output {
        format @ (Format::Json | Format::Yaml) => out.value(format, &found.schema)?,
        Format::Name => {
            out.print(&fields_of(&found.schema).fold(String::new(), |mut text, field| {
                text.push_str(field.name);
                text.push('\n');
                text
            }))?
        }
        Format::Text | Format::Wide => out.print(&text(&found, &out.style))?,
    }
    Ok(0)
}

/// What a path leads to.
struct Found {
    /// The path as it is written: `instance.spec.update`.
    path: String,
    schema: Value,
    required: bool,
}

/// Walks `kind.field.field`, in any case. Lists and mappings of names are walked through, and so is
/// `spec` where it is left out.
fn find(path: &str) -> Result<Found, Failure> {
    let mut words = path.split(['.', '[', ']', '/']).filter(|word| !word.is_empty()).peekable();
    let kind = grammar::kind_named(words.next().unwrap_or_default())
        .map_err(|why| Failure::new(why).help("windlass explain lists the kinds"))?;
    let schema = grammar::schema(Some(kind)).unwrap_or_default();
    let mut found = Found { path: kind.to_ascii_lowercase(), schema, required: true };
    // What is none of the few fields of a document is meant to be one of its spec.
    if words.peek().is_some_and(|word| field(&found.schema, word).is_none()) {
        found = step(&found, "spec")?;
    }
    for word in words {
        // `ports[0]` and `ports[]` are any of the list.
        if word.bytes().all(|byte| byte.is_ascii_digit()) && list_of(&found.schema).is_some() {
            continue;
        }
        found = step(&found, word)?;
    }
    Ok(found)
}

fn step(from: &Found, word: &str) -> Result<Found, Failure> {
    if let Some(field) = field(&from.schema, word) {
        let Field { name, schema, required } = field;
        let path = format!("{}.{name}", from.path);
        return Ok(Found { path, schema: schema.clone(), required });
    }
    if let Some(schema) = named_of(&from.schema) {
        let path = format!("{}.{word}", from.path);
        return Ok(Found { path, schema: schema.clone(), required: false });
    }
    let path = &from.path;
    let names = fields_of(&from.schema).map(|field| field.name);
    let failure = Failure::new(format!("no field `{word}` in {path}"));
    let all = names.clone().collect::<Vec<_>>().join(", ");
    Err(match grammar::near(word, names) {
        _ if all.is_empty() => {
            Failure::new(format!("{path} has no fields: `{word}` is none of it"))
                .help(format!("windlass explain {path}"))
        }
        Some(near) => {
            failure.help(format!("did you mean `{near}`? windlass explain {path}.{near}"))
        }
        None => failure.help(format!("there are {all}")),
    })
}

/// A field of a mapping.
struct Field<'s> {
    name: &'s str,
    schema: &'s Value,
    required: bool,
}

fn forms(schema: &Value) -> impl Iterator<Item = &Value> + Clone {
    schema.get("anyOf").and_then(Value::as_array).into_iter().flatten()
}

/// What a list is of.
fn list_of(schema: &Value) -> Option<&Value> {
    schema.get("items").or_else(|| forms(schema).find_map(list_of))
}

/// What each value of a mapping with names of the user's own is.
fn named_of(schema: &Value) -> Option<&Value> {
    schema.get("additionalProperties").filter(|inner| inner.is_object())
}

fn fields_of(schema: &Value) -> impl Iterator<Item = Field<'_>> + Clone {
    let holder = holder(schema);
    let required = holder.and_then(|holder| holder.get("required")).and_then(Value::as_array);
    let is_required =
        move |name: &str| required.is_some_and(|all| all.iter().any(|one| one == name));
    let all = holder.and_then(|holder| holder.get("properties")).and_then(Value::as_object);
    let all = all.into_iter().flatten();
    all.map(move |(name, schema)| Field { name, schema, required: is_required(name) })
}

/// The mapping that a value is or that a list is of, whatever shorter forms there are: what has the
/// fields.
fn holder(schema: &Value) -> Option<&Value> {
    if schema.get("properties").is_some() {
        return Some(schema);
    }
    forms(schema)
        .find_map(holder)
        .or_else(|| holder(list_of(schema)?))
        .or_else(|| named_of(schema).and_then(holder))
}

fn field<'s>(schema: &'s Value, word: &str) -> Option<Field<'s>> {
    let plain = |text: &str| text.to_ascii_lowercase().replace(['-', '_'], "");
    let wanted = plain(word);
    fields_of(schema).find(|field| plain(field.name) == wanted)
}

fn description(schema: &Value) -> &str {
    schema.get("description").and_then(Value::as_str).unwrap_or_default()
}

/// What is said of a value.
fn text(found: &Found, style: &Style) -> String {
    let Found { path, schema, required } = found;
    let mut text = style.paint(Ink::Bold, path);
    text.push_str(&format!("  {}", shape(schema)));
    if let Some(note) = note(schema, *required) {
        text.push_str(&format!("; {note}"));
    }
    text.push('\n');
    let wide = style.width.unwrap_or(usize::MAX);
    for paragraph in description(schema).split("\n\n").filter(|text| !text.is_empty()) {
        text.push('\n');
        text.push_str(&wrapped(paragraph, wide.saturating_sub(2).max(WIDTH_MIN), "  "));
    }
    let mut about = Table::default().flexible(1);
    let item = list_of(schema).filter(|_| holder(schema).is_none());
    let words = words_of(item.unwrap_or(schema));
    let bare = words.iter().all(|(_, says)| says.is_empty());
    if bare && !words.is_empty() {
        let words = words.iter().map(|(word, _)| word.as_str()).collect::<Vec<_>>().join(", ");
        let width = wide.saturating_sub(2).clamp(WIDTH_MIN, LIST_WIDTH);
        let head = if item.is_some() { "Each one of" } else { "One of" };
        text.push_str(&format!("\n{head}\n{}", wrapped(&words, width, "  ")));
    }
    for (word, says) in words.into_iter().filter(|_| !bare) {
        about.row(vec![cell(Ink::Bold, format!("  {word}")), says.into()]);
    }
    let about = about.render(style);
    if !about.is_empty() {
        text.push_str(&format!(
            "\n{}\n{about}",
            if item.is_some() { "Each one of" } else { "One of" }
        ));
    }
    if let Some(pattern) = schema.get("examples").and_then(Value::as_array) {
        let examples = pattern.iter().map(shown).collect::<Vec<_>>().join(", ");
        text.push_str(&format!("\nAs      {examples}\n"));
    }
    let mut table = Table::default().flexible(2);
    let mut fields: Vec<Field<'_>> = fields_of(schema).collect();
    fields.sort_by_key(|field| !field.required);
    for Field { name, schema, required } in &fields {
        let mut what = shape(schema);
        if let Some(note) = note(schema, *required) {
            what.push_str(&format!("; {note}"));
        }
        let first = sentence(description(schema)).to_owned();
        let name = cell(Ink::Bold, format!("  {name}"));
        table.row(vec![name, cell(Ink::Dim, what), first.into()]);
    }
    if !fields.is_empty() {
        let of_each = if list_of(schema).is_some() { "Fields of each" } else { "Fields" };
        text.push_str(&format!("\n{of_each}{}\n{}", choice(schema), table.render(style)));
    }
    text
}

/// Narrower than this, a paragraph cannot be read.
const WIDTH_MIN: usize = 40;

/// Where a long list of words is broken, however much room there is.
const LIST_WIDTH: usize = 98;

/// `text` in lines of at most `width` characters.
fn wrapped(text: &str, width: usize, indent: &str) -> String {
    let mut lines = String::new();
    let mut line = String::new();
    for word in text.split_whitespace() {
        if !line.is_empty() && line.chars().count() + word.chars().count() >= width {
            lines.push_str(&format!("{indent}{line}\n"));
            line.clear();
        }
        if !line.is_empty() {
            line.push(' ');
        }
        line.push_str(word);
    }
    lines.push_str(&format!("{indent}{line}\n"));
    lines
}

/// The first sentence of a text, without its end.
fn sentence(text: &str) -> &str {
    let line = text.split("\n\n").next().unwrap_or(text);
    let end = line.find(". ").unwrap_or(line.len());
    line.get(..end).unwrap_or(line).trim_end_matches('.')
}

/// Whether it must be there, or what holds if it is not.
fn note(schema: &Value, required: bool) -> Option<String> {
    let default = || schema.get("default").map(|value| format!("default {}", shown(value)));
    if required { Some("required".to_owned()) } else { default() }
}

/// Which of its fields a mapping needs, where it needs one of several.
fn choice(schema: &Value) -> String {
    let forms = holder(schema).and_then(|holder| holder.get("oneOf")).and_then(Value::as_array);
    let names =
        forms.into_iter().flatten().filter_map(|form| form.pointer("/required/0")?.as_str());
    let names: Vec<&str> = names.collect();
    if names.is_empty() { String::new() } else { format!(", exactly one of {}", names.join(", ")) }
}

/// A value in one line, as a spec has it.
fn shown(value: &Value) -> String {
    match value {
        Value::String(text) => text.clone(),
        Value::Object(fields) => {
            let fields = fields.iter().map(|(name, value)| format!("{name}: {}", shown(value)));
            format!("{{ {} }}", fields.collect::<Vec<_>>().join(", "))
        }
        Value::Null | Value::Bool(_) | Value::Number(_) | Value::Array(_) => value.to_string(),
    }
}

/// The words that can stand there, with what they mean.
fn words_of(schema: &Value) -> Vec<(String, String)> {
    if let Some(words) = schema.get("enum").and_then(Value::as_array) {
        return words.iter().map(|word| (shown(word), String::new())).collect();
    }
    // Beside the words there may be other ways to write them.
    if let Some(first) = forms(schema).next().filter(|first| first.get("enum").is_some()) {
        return words_of(first);
    }
    let forms = schema.get("oneOf").and_then(Value::as_array).into_iter().flatten();
    forms
        .filter_map(|form| Some((shown(form.get("const")?), description(form).to_owned())))
        .collect()
}

/// What a value looks like, in a few words.
fn shape(schema: &Value) -> String {
    if let Some(title) = schema.get("title").and_then(Value::as_str)
        && schema.get("properties").is_none()
    {
        return title.to_owned();
    }
    if let Some(word) = schema.get("const") {
        return format!("`{}`", shown(word));
    }
    if !words_of(schema).is_empty() {
        return "word".to_owned();
    }
    if forms(schema).next().is_some() {
        let mut shapes: Vec<String> = Vec::new();
        for shape in forms(schema).map(shape) {
            if !shapes.contains(&shape) {
                shapes.push(shape);
            }
        }
        return shapes.join(" or ");
    }
    if let Some(inner) = schema.get("items") {
        return format!("list of {}", many(inner));
    }
    if let Some(inner) = named_of(schema) {
        return format!("mapping of names to {}", many(inner));
    }
    match schema.get("type").and_then(Value::as_str) {
        Some("integer") => format!("whole number{}", range(schema)),
        Some("boolean") => "true or false".to_owned(),
        Some("object") => "mapping".to_owned(),
        Some("string") => "text".to_owned(),
        Some(_) | None => "value".to_owned(),
    }
}

/// What several values look like.
fn many(schema: &Value) -> String {
    if forms(schema).next().is_some() && schema.get("title").is_none() {
        let shapes = forms(schema).map(many).collect::<Vec<_>>();
        return shapes.join(" or ");
    }
    let one = shape(schema);
    match one.split_once(' ') {
        Some(("amount", rest)) => format!("amounts {rest}"),
        Some(("whole", rest)) => format!("whole {}", rest.replacen("number", "numbers", 1)),
        Some(("list", rest)) => format!("lists {rest}"),
        Some(("name", rest)) => format!("names {rest}"),
        Some(("number", rest)) => format!("numbers {rest}"),
        Some((first, rest)) if rest.ends_with(|c: char| c.is_ascii_alphabetic()) => {
            format!("{first} {}", plural(rest))
        }
        Some(_) => one,
        None => plural(&one),
    }
}

fn plural(word: &str) -> String {
    let irregular = [("address", "addresses"), ("capability", "capabilities")];
    let found = irregular.iter().find(|(one, _)| word.ends_with(one));
    match found {
        Some((one, more)) => word.replacen(one, more, 1),
        None => format!("{word}s"),
    }
}

fn range(schema: &Value) -> String {
    let number = |key: &str| schema.get(key).and_then(Value::as_f64);
    match (number("minimum"), number("maximum")) {
        (Some(min), Some(max)) if max < LARGE => format!(" from {min} to {max}"),
        (Some(min), _) if min > 0.0 => format!(", {min} at least"),
        (_, Some(max)) if max < LARGE => format!(", {max} at most"),
        (_, _) => String::new(),
    }
}

/// A bound above this tells nobody anything.
const LARGE: f64 = 1e12;

#[cfg(test)]
mod tests {
    use super::*;
    use reconciler::model::time::Timestamp;

    fn said(path: &str) -> String {
        match find(path) {
            Ok(found) => text(&found, &Style::plain(Timestamp(0))),
            Err(failure) => failure.text(str::to_owned),
        }
    }

    #[test]
    fn fields_are_explained_with_what_holds_if_they_are_left_out() {
        let expected = "\
instance.spec.health.http  port or mapping

  Windlass asks the container by HTTP; an answer below 400 means healthy.

Fields
  port  whole number from 1 to 65535; required  The port inside
  path  text; default /                         The path, beginning with `/`
";
        assert_eq!(said("Instance.Health.HTTP"), expected);
        let expected = "\
instance.spec.restart  word; default always

  When a container that ended is started again.

One of
  always      Whatever its exit code was.
  on-failure  If its exit code was not 0; with 0 it is completed.
  never       Never: with exit code 0 it is completed, else failed.
";
        assert_eq!(said("instances.spec.restart"), expected);
        let ports = said("instance.ports[0]");
        assert!(ports.starts_with("instance.spec.ports  list of mappings\n"), "{ports}");
        assert!(ports.contains("\nFields of each\n  container  whole number"), "{ports}");
        let tmpfs = said("instance.spec.volumes.tmpfs");
        assert!(tmpfs.starts_with("instance.spec.volumes.tmpfs  `true` or a size\n"), "{tmpfs}");
        let soft = said("instance.security.ulimits.nofile.soft");
        assert!(
            soft.starts_with("instance.spec.security.ulimits.nofile.soft  number or"),
            "{soft}"
        );
    }

    #[test]
    fn what_is_not_there_is_said_with_what_is() {
        let cases = [
            ("instanc", "error: no kind `instanc`; did you mean `Instance`?\n"),
            ("secrets.spec", "error: kind secrets is not supported yet; there are Instance, "),
            (
                "instance.spec.prots",
                "help: did you mean `ports`? windlass explain instance.spec.ports\n",
            ),
            (
                "instance.prots",
                "help: did you mean `ports`? windlass explain instance.spec.ports\n",
            ),
            (
                "image.spec.pull.when",
                "error: image.spec.pull has no fields: `when` is none of it\n",
            ),
            ("node.metadata.project", "help: there are annotations, labels, name\n"),
        ];
        for (path, expected) in cases {
            assert!(said(path).contains(expected), "{path}: {}", said(path));
        }
    }

    #[test]
    fn errors_point_to_what_can_be_explained() {
        let folder = std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/bad-input");
        let mut pointers = std::collections::BTreeSet::new();
        for entry in std::fs::read_dir(folder).unwrap() {
            let path = entry.unwrap().path();
            let text = if path.is_file() { std::fs::read(&path).unwrap() } else { Vec::new() };
            let text = String::from_utf8_lossy(&text).into_owned();
            let said = text.split("windlass explain ").skip(1);
            pointers
                .extend(said.filter_map(|rest| Some(rest.split_whitespace().next()?.to_owned())));
        }
        assert!(pointers.len() >= 6, "{pointers:?}");
        for pointer in pointers {
            assert!(find(&pointer).is_ok_and(|found| found.path == pointer), "{pointer}");
        }
    }

    #[test]
    fn everything_that_is_documented_can_be_explained() {
        fn walk(path: &str) -> usize {
            let found = find(path).unwrap_or_else(|failure| panic!("{path}: {failure:?}"));
            assert_eq!(found.path.to_ascii_lowercase(), path.to_ascii_lowercase());
            let text = text(&found, &Style::plain(Timestamp(0)));
            assert!(!description(&found.schema).is_empty(), "{path} says nothing:\n{text}");
            assert!(!text.lines().next().is_some_and(|line| line.contains("value")), "{text}");
            fields_of(&found.schema)
                .map(|field| walk(&format!("{path}.{}", field.name)))
                .sum::<usize>()
                + 1
        }
        let all: usize = grammar::kinds().map(|kind| walk(&kind.to_ascii_lowercase())).sum();
        assert!(all > 150, "{all}");
    }
}
