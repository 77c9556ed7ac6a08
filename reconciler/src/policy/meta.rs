//! The header of a script: what it is called, what it is asked about, what can be set.
//!
//! ```text
//! // @id SUP-DIGEST  @version 1.0.0  @title Image must be pinned by digest  @level hard
//! // @match kinds=Instance actions=create,replace
//! // @param allow: [string] = []
//! ```
//!
//! It stands in comments at the top, outside of the code, so that a policy that has nothing to say
//! about an object is not run at all, and the skip can be explained. Comment lines without a tag are
//! for readers.

use std::collections::{BTreeMap, BTreeSet};

use super::params::{ParamKind, ParamSpec};
use super::script::fault::Failure;
use crate::model::spec::policy::{ActionKind, Level, ObjectKind, PolicyId};

/// Longest title, in bytes: it stands in tables.
const TEXT_BYTES_MAX: usize = 200;

/// What the header of a script says.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PolicyMeta {
    /// The name that bindings and waivers use: `SUP-DIGEST`.
    pub id: PolicyId,
    /// Its version.
    pub version: semver::Version,
    /// What it asks for, in a line.
    pub title: String,
    /// The level where a binding names none.
    pub level: Level,
    /// The kinds of objects that it is asked about; all if empty.
    pub kinds: BTreeSet<ObjectKind>,
    /// The actions that it is asked about; all if empty.
    pub actions: BTreeSet<ActionKind>,
    /// What bindings can set.
    pub params: BTreeMap<String, ParamSpec>,
}

/// The tags that there are.
const TAGS: [&str; 6] = ["id", "version", "title", "level", "match", "param"];

/// One tag with what follows it.
struct Tag<'a> {
    name: &'a str,
    rest: &'a str,
    line: usize,
}

impl PolicyMeta {
    /// Reads the header of a script.
    ///
    /// # Errors
    /// All that is wrong with it.
    pub fn read(text: &str) -> Result<Self, Vec<Failure>> {
        let mut wrong = Vec::new();
        let mut seen: BTreeMap<&str, Tag<'_>> = BTreeMap::new();
        let mut kinds = BTreeSet::new();
        let mut actions = BTreeSet::new();
        let mut params = BTreeMap::new();
        for tag in tags(text) {
            match tag.name {
                "param" => match param(&tag) {
                    Ok((name, _)) if params.contains_key(&name) => {
                        wrong.push(Failure::parse(format!("parameter `{name}` twice"), tag.line));
                    }
                    Ok((name, spec)) => {
                        params.insert(name, spec);
                    }
                    Err(failure) => wrong.push(failure),
                },
                name if !TAGS.contains(&name) => {
                    let known = TAGS.map(|tag| format!("@{tag}")).join(", ");
                    wrong.push(Failure::parse(
                        format!("unknown tag `@{name}`; there are {known}"),
                        tag.line,
                    ));
                }
                name if seen.contains_key(name) => {
                    wrong.push(Failure::parse(format!("`@{name}` twice"), tag.line));
                }
                "match" => {
                    if let Err(failure) = conditions(&tag, &mut kinds, &mut actions) {
                        wrong.push(failure);
                    }
                    seen.insert(tag.name, tag);
                }
                _ => {
                    seen.insert(tag.name, tag);
                }
            }
        }
        let mut take = |name: &'static str| -> String {
            let tag = seen.get(name).filter(|tag| !tag.rest.is_empty());
            match tag {
                Some(tag) if tag.rest.len() <= TEXT_BYTES_MAX => tag.rest.to_owned(),
                Some(tag) => {
                    wrong.push(Failure::parse(format!("`@{name}` is too long"), tag.line));
                    String::new()
                }
                None => {
                    wrong.push(Failure::parse(format!("the header has no `@{name}`"), 1));
                    String::new()
                }
            }
        };
        let (id, version, title, level) =
            (take("id"), take("version"), take("title"), take("level"));
        let line = |name: &str| seen.get(name).map_or(1, |tag| tag.line);
        let parsed_id = PolicyId::new(&id);
        if let (Err(error), false) = (&parsed_id, id.is_empty()) {
            wrong.push(Failure::parse(format!("`{id}`: {error}"), line("id")));
        }
        let version = semver::Version::parse(&version);
        if let (Err(error), true) = (&version, seen.contains_key("version")) {
            let message = format!("the version is none: {error}");
            wrong.push(Failure::parse(message, line("version")));
        }
        let parsed = Level::ALL.into_iter().find(|one| one.as_str() == level);
        if parsed.is_none() && !level.is_empty() {
            let known = Level::ALL.map(Level::as_str).join(", ");
            let message = format!("unknown level `{level}`; there are {known}");
            wrong.push(Failure::parse(message, line("level")));
        }
        match (parsed_id, version, parsed) {
            (Ok(id), Ok(version), Some(level)) if wrong.is_empty() => {
                Ok(Self { id, version, title, level, kinds, actions, params })
            }
            _ => Err(wrong),
        }
    }

    /// Whether it is asked about objects of that kind.
    #[must_use]
    pub fn is_about(&self, kind: ObjectKind) -> bool {
        self.kinds.is_empty() || self.kinds.contains(&kind)
    }

    /// Whether it is asked about that action.
    #[must_use]
    pub fn is_about_action(&self, action: ActionKind) -> bool {
        self.actions.is_empty() || self.actions.contains(&action)
    }
}

/// The tags of the comments at the top.
fn tags(text: &str) -> Vec<Tag<'_>> {
    let mut tags = Vec::new();
    for (index, line) in text.lines().enumerate() {
        let line = line.trim_start_matches('\u{feff}').trim();
        let Some(comment) = line.strip_prefix("//") else {
            if line.is_empty() {
                continue;
            }
            break;
        };
        let mut rest = comment.trim();
        while let Some(tag) = rest.strip_prefix('@') {
            let end = tag.find(char::is_whitespace).unwrap_or(tag.len());
            let (name, after) = tag.split_at(end);
            let next = after.find(" @").map_or(after.len(), |at| at + 1);
            let (value, later) = after.split_at(next);
            // A parameter's default may hold an `@`.
            let (value, later) = if name == "param" { (after, "") } else { (value, later) };
            tags.push(Tag { name, rest: value.trim(), line: index + 1 });
            rest = later.trim_start();
        }
    }
    tags
}

fn conditions(
    tag: &Tag<'_>,
    kinds: &mut BTreeSet<ObjectKind>,
    actions: &mut BTreeSet<ActionKind>,
) -> Result<(), Failure> {
    for condition in tag.rest.split_whitespace() {
        let Some((name, words)) = condition.split_once('=') else {
            let message = format!("`{condition}` is no condition; write `kinds=Instance`");
            return Err(Failure::parse(message, tag.line));
        };
        for word in words.split(',').filter(|word| !word.is_empty()) {
            let known = match name {
                "kinds" => match ObjectKind::ALL.into_iter().find(|kind| kind.as_str() == word) {
                    Some(kind) => {
                        kinds.insert(kind);
                        continue;
                    }
                    None => ObjectKind::ALL.map(ObjectKind::as_str).join(", "),
                },
                "actions" => match ActionKind::ALL.into_iter().find(|kind| kind.as_str() == word) {
                    Some(action) => {
                        actions.insert(action);
                        continue;
                    }
                    None => ActionKind::ALL.map(ActionKind::as_str).join(", "),
                },
                other => {
                    let message = format!("unknown condition `{other}`; there are kinds, actions");
                    return Err(Failure::parse(message, tag.line));
                }
            };
            let what = name.trim_end_matches('s');
            let message = format!("unknown {what} `{word}`; there are {known}");
            return Err(Failure::parse(message, tag.line));
        }
    }
    Ok(())
}

/// `allow: [string] = []`
fn param(tag: &Tag<'_>) -> Result<(String, ParamSpec), Failure> {
    let wrong = |message: String| Failure::parse(message, tag.line);
    let Some((name, rest)) = tag.rest.split_once(':') else {
        return Err(wrong("a parameter is written `@param name: type = default`".to_owned()));
    };
    let name = name.trim();
    let is_name = name.starts_with(|c: char| c.is_ascii_lowercase())
        && name.chars().all(|c| c.is_ascii_alphanumeric() || c == '_');
    if !is_name {
        return Err(wrong(format!("`{name}` is no name for a parameter")));
    }
    let (kind, default) = match rest.split_once('=') {
        Some((kind, default)) => (kind.trim(), Some(default.trim())),
        None => (rest.trim(), None),
    };
    let Some(kind) = ParamKind::parse(kind) else {
        let known = ParamKind::ALL.map(ParamKind::as_str).join(", ");
        return Err(wrong(format!("unknown type `{kind}` of `{name}`; there are {known}")));
    };
    let default = match default {
        None => None,
        Some(text) => {
            let value = serde_json::from_str(text)
                .map_err(|error| wrong(format!("the default of `{name}`: {error}")))?;
            kind.check(&value)
                .map_err(|error| wrong(format!("the default of `{name}`: {error}")))?;
            Some(value)
        }
    };
    Ok((name.to_owned(), ParamSpec { kind, default }))
}
