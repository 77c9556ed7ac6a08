//! Records and mappings, as scripts hold them: handles to a part of a thing.

use std::borrow::Cow;
use std::sync::Arc;

use rhai::{Dynamic, ImmutableString};

use super::image::{IMAGE, ImageParts};
use super::masked::{Masked, suspicion};
use super::missing::Missing;
use super::object::{OBJECT, Object, table_of};
use super::table::{Entry, Field, Shape, Table, Thing};
use crate::model::time::Timestamp;
use crate::policy::facts::ImageFacts;
use crate::policy::script::fault::{Answer, mistyped, too_much};
use crate::policy::script::limits::STRING_BYTES_MAX;

/// Parts of parts of parts: no table goes deeper than this.
const STEPS_MAX: usize = 3;

/// A handle to a part of a thing.
#[derive(Clone)]
pub(crate) struct Record {
    root: Arc<Thing>,
    /// Where the root is, for messages.
    prefix: Prefix,
    table: &'static Table,
    steps: [Option<Step>; STEPS_MAX],
}

/// Where a thing is. Those of specs are many, and all in one place.
#[derive(Clone)]
enum Prefix {
    Spec,
    Other(Arc<str>),
}

/// One step of the way from a thing to its part. Records are made with each access, so they are
/// small.
#[derive(Clone, Copy)]
struct Step {
    field: &'static Field,
    /// Of lists; [`NO_INDEX`] where it is none.
    index: u32,
}

/// Stands where there is no index. No list of a spec is as long.
const NO_INDEX: u32 = u32::MAX;

impl Step {
    fn index(self) -> Option<usize> {
        usize::try_from(self.index).ok().filter(|_| self.index != NO_INDEX)
    }
}

impl Step {
    fn go(self, thing: &Thing) -> Option<&Thing> {
        if let Shape::Part(_, read) = self.field.shape {
            return read(thing);
        }
        let index = self.index()?;
        if let Shape::Parts(_, read) = self.field.shape {
            return read(thing, index);
        }
        if let Shape::PartDict(_, read) = self.field.shape {
            return read(thing, index).map(|(_, part)| part);
        }
        None
    }
}

impl std::fmt::Debug for Record {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "Record({} at {})", self.table.name, self.path())
    }
}

impl Record {
    /// The record of a declared object: its spec, `metadata` and `kind`.
    pub(crate) fn of(object: &Arc<Object>) -> Self {
        let table = table_of(object.name().kind);
        let root: Arc<Thing> = Arc::<Object>::clone(object);
        Self { root, prefix: Prefix::Spec, table, steps: [None; STEPS_MAX] }
    }

    /// The record of a thing that is not declared.
    pub(crate) fn plain(
        root: Arc<Thing>,
        prefix: impl Into<Arc<str>>,
        table: &'static Table,
    ) -> Self {
        Self { root, prefix: Prefix::Other(prefix.into()), table, steps: [None; STEPS_MAX] }
    }

    /// What it is called in messages.
    pub(crate) fn type_name(&self) -> &'static str {
        self.table.name
    }

    /// The thing that it is of.
    pub(crate) fn root<T: 'static>(&self) -> Option<&T> {
        self.root.downcast_ref()
    }

    /// The thing itself.
    fn thing(&self) -> Option<&Thing> {
        let mut thing: &Thing = match self.root.downcast_ref::<Object>() {
            Some(object) if !self.is_outer() => object.spec(),
            Some(_) | None => &*self.root,
        };
        for step in self.steps.iter().flatten() {
            thing = step.go(thing)?;
        }
        Some(thing)
    }

    /// Whether its way leads by `metadata` and not by the spec.
    fn is_outer(&self) -> bool {
        self.steps[0]
            .is_some_and(|step| OBJECT.fields.iter().any(|field| std::ptr::eq(field, step.field)))
    }

    /// Where it is: `spec.ports[0]`.
    pub(crate) fn path(&self) -> String {
        let mut path = match &self.prefix {
            Prefix::Spec if self.is_outer() => String::new(),
            Prefix::Spec => "spec".to_owned(),
            Prefix::Other(prefix) => prefix.to_string(),
        };
        for step in self.steps.iter().flatten() {
            push(&mut path, step.field.name);
            if let Some(index) = step.index() {
                path.push_str(&format!("[{index}]"));
            }
        }
        path
    }

    fn path_of(&self, field: &str) -> String {
        let outer = self.is_object() && OBJECT.field(field).is_some();
        let mut path = if outer { String::new() } else { self.path() };
        push(&mut path, field);
        path
    }

    fn is_object(&self) -> bool {
        self.steps[0].is_none() && self.root.is::<Object>()
    }

    /// The value of a field, for a script.
    pub(crate) fn get(&self, name: &str) -> Answer<Dynamic> {
        if let Some(field) = self.table.field(name) {
            let Some(thing) = self.thing() else { return self.absent(name) };
            return self.read(field, thing);
        }
        match OBJECT.field(name) {
            Some(field) if self.is_object() => self.read(field, &*self.root),
            Some(_) | None => mistyped(self.unknown(name)),
        }
    }

    fn absent(&self, name: &str) -> Answer<Dynamic> {
        let path = self.path_of(name);
        // What is not said in a spec is absent; what nobody found out is not known.
        let missing = if self.root.is::<ImageFacts>() {
            Missing::unknown(path)
        } else {
            Missing::absent(path)
        };
        Ok(Dynamic::from(missing))
    }

    fn read(&self, field: &'static Field, thing: &Thing) -> Answer<Dynamic> {
        let value = match field.shape {
            Shape::Flag(read) => read(thing).map(Dynamic::from),
            Shape::Number(read) => match read(thing) {
                Some(number) => Some(self.number(field.name, number)?),
                None => None,
            },
            Shape::Signed(read) => read(thing).map(Dynamic::from),
            Shape::Text(read) => match read(thing) {
                Some(text) => Some(self.text(field.name, &text)?),
                None => None,
            },
            Shape::Secret(read) => {
                read(thing).map(|text| Dynamic::from(Masked::new(&text, "content of a file")))
            }
            Shape::Memory(read) => read(thing).map(Dynamic::from),
            Shape::Cpus(read) => read(thing).map(Dynamic::from),
            Shape::Duration(read) => read(thing).map(Dynamic::from),
            Shape::Time(read) => read(thing).map(Dynamic::from::<Timestamp>),
            Shape::Texts(read) => match read(thing) {
                Some(texts) => Some(self.texts(field.name, &texts)?),
                None => None,
            },
            Shape::Part(table, read) => {
                read(thing).is_some().then(|| Dynamic::from(self.part(field, table, None)))
            }
            Shape::Parts(table, read) => {
                let all = (0..)
                    .take_while(|index| read(thing, *index).is_some())
                    .map(|index| Dynamic::from(self.part(field, table, Some(index))))
                    .collect::<Vec<_>>();
                Some(Dynamic::from(all))
            }
            Shape::Dict(read) => {
                read(thing).is_some().then(|| Dynamic::from(Dict { of: self.clone(), field }))
            }
            Shape::PartDict(..) => Some(Dynamic::from(Dict { of: self.clone(), field })),
            Shape::Object(read) => read(thing).map(|object| Dynamic::from(Self::of(object))),
            Shape::Image(read) => read(thing).map(|name| {
                let parts = match self.root.downcast_ref::<Object>() {
                    Some(object) => object.image_parts(name),
                    None => Arc::new(ImageParts::of(name, None)),
                };
                Dynamic::from(Self::plain(parts, self.path_of(field.name), &IMAGE))
            }),
        };
        match value {
            Some(value) => Ok(value),
            None => self.absent(field.name),
        }
    }

    fn part(&self, field: &'static Field, table: &'static Table, index: Option<usize>) -> Self {
        let mut steps = self.steps;
        if let Some(next) = steps.iter_mut().find(|step| step.is_none()) {
            let index = index.and_then(|index| u32::try_from(index).ok()).unwrap_or(NO_INDEX);
            *next = Some(Step { field, index });
        }
        Self { root: Arc::clone(&self.root), prefix: self.prefix.clone(), table, steps }
    }

    fn number(&self, field: &str, number: u64) -> Answer<Dynamic> {
        match i64::try_from(number) {
            Ok(number) => Ok(Dynamic::from(number)),
            Err(_) => {
                let path = self.path_of(field);
                too_much(format!("`{path}` is {number}, and scripts count to 2^63 - 1"))
            }
        }
    }

    fn text(&self, field: &str, text: &str) -> Answer<Dynamic> {
        if text.len() > STRING_BYTES_MAX {
            let (path, long) = (self.path_of(field), text.len());
            return too_much(format!(
                "`{path}` has {long} bytes, and scripts see texts of {STRING_BYTES_MAX} at most"
            ));
        }
        Ok(Dynamic::from(ImmutableString::from(text)))
    }

    fn texts(&self, field: &str, texts: &[Cow<'_, str>]) -> Answer<Dynamic> {
        let texts = texts.iter().map(|text| self.text(field, text)).collect::<Answer<Vec<_>>>()?;
        Ok(Dynamic::from(texts))
    }

    /// What to say of a field that it does not have.
    pub(crate) fn unknown(&self, name: &str) -> String {
        let outer = if self.is_object() { OBJECT.fields } else { &[] };
        let known = self.table.fields.iter().chain(outer).map(|field| field.name);
        unknown(&self.path_of(name), name, known)
    }
}

/// What to say of a field that is none of `known`.
pub(crate) fn unknown<'a>(
    path: &str,
    name: &str,
    known: impl Iterator<Item = &'a str> + Clone,
) -> String {
    match nearest(name, known.clone()) {
        Some(near) => format!("unknown field `{path}`; did you mean `{near}`?"),
        None => {
            let known = known.collect::<Vec<_>>().join(", ");
            format!("unknown field `{path}`; there are {known}")
        }
    }
}

/// Which of `known` was probably meant.
pub(crate) fn nearest<'a>(name: &str, known: impl Iterator<Item = &'a str>) -> Option<&'a str> {
    let far = (name.len() / 3).clamp(1, 3);
    let lower = name.to_ascii_lowercase();
    known
        .map(|candidate| (distance(&lower, &candidate.to_ascii_lowercase()), candidate))
        .filter(|(distance, _)| *distance <= far)
        .min()
        .map(|(_, candidate)| candidate)
}

/// How many letters have to be changed, added, taken out or swapped to make one of the other.
fn distance(one: &str, other: &str) -> usize {
    let (one, other): (Vec<char>, Vec<char>) = (one.chars().collect(), other.chars().collect());
    let mut rows = vec![(0..=other.len()).collect::<Vec<_>>()];
    for (i, a) in one.iter().enumerate() {
        let mut row = vec![i + 1];
        for (j, b) in other.iter().enumerate() {
            let change = rows[i][j] + usize::from(a != b);
            let mut best = change.min(rows[i][j + 1] + 1).min(row[j] + 1);
            if i > 0 && j > 0 && *a == other[j - 1] && one[i - 1] == *b {
                best = best.min(rows[i - 1][j - 1] + 1);
            }
            row.push(best);
        }
        rows.push(row);
    }
    rows.last().and_then(|row| row.last()).copied().unwrap_or(usize::MAX)
}

fn push(path: &mut String, name: &str) {
    if !path.is_empty() {
        path.push('.');
    }
    path.push_str(name);
}

/// A mapping with names that users choose.
#[derive(Clone, Debug)]
pub(crate) struct Dict {
    of: Record,
    field: &'static Field,
}

impl Dict {
    /// Where it is.
    pub(crate) fn path(&self) -> String {
        self.of.path_of(self.field.name)
    }

    fn thing(&self) -> Option<&Thing> {
        let outer = self.of.is_object() && OBJECT.field(self.field.name).is_some();
        if outer { Some(&*self.of.root) } else { self.of.thing() }
    }

    /// The names, in order.
    pub(crate) fn names(&self) -> Vec<ImmutableString> {
        let Some(thing) = self.thing() else { return Vec::new() };
        if let Shape::Dict(read) = self.field.shape {
            let entries = read(thing).unwrap_or_default();
            return entries.iter().map(|(name, _)| (*name).into()).collect();
        }
        if let Shape::PartDict(_, read) = self.field.shape {
            return (0..).map_while(|at| read(thing, at)).map(|(name, _)| name.into()).collect();
        }
        Vec::new()
    }

    /// How many entries it has.
    pub(crate) fn len(&self) -> usize {
        self.names().len()
    }

    /// Whether there is an entry of that name.
    pub(crate) fn has(&self, name: &str) -> bool {
        self.names().iter().any(|one| one == name)
    }

    /// The value of that name; absent if there is none.
    pub(crate) fn get(&self, name: &str) -> Answer<Dynamic> {
        Ok(self.find(name)?.unwrap_or_else(|| {
            Dynamic::from(Missing::absent(format!("{}[{name:?}]", self.path())))
        }))
    }

    /// The value of that name, if there is one.
    pub(crate) fn find(&self, name: &str) -> Answer<Option<Dynamic>> {
        let Some(thing) = self.thing() else { return Ok(None) };
        if let Shape::Dict(read) = self.field.shape {
            let entries = read(thing).unwrap_or_default();
            let found = entries.into_iter().find(|(one, _)| *one == name);
            return found.map(|(_, entry)| self.value(name, entry)).transpose();
        }
        if let Shape::PartDict(table, read) = self.field.shape {
            let mut names = (0..).map_while(|at| read(thing, at).map(|(one, _)| (at, one)));
            let index = names.find(|(_, one)| *one == name).map(|(at, _)| at);
            return Ok(index.map(|at| Dynamic::from(self.of.part(self.field, table, Some(at)))));
        }
        Ok(None)
    }

    fn value(&self, name: &str, entry: Entry<'_>) -> Answer<Dynamic> {
        match entry {
            Entry::Text(text) => match suspicion(name, text) {
                Some(why) => Ok(Dynamic::from(Masked::new(text, why))),
                None => self.of.text(self.field.name, text),
            },
            Entry::Memory(bytes) => Ok(Dynamic::from(bytes)),
            Entry::Number(number) => self.of.number(self.field.name, number),
        }
    }
}
