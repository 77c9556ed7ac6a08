//! The verbs with which scripts say what they find. They collect: one run shows all findings.

use rhai::{Dynamic, FuncRegistration, ImmutableString, NativeCallContext};
use serde_json::Value;

use super::outcome::{Finding, Patch, Response, Weight};
use super::script::fault::{Answer, mistyped, too_much};
use super::script::language::{show, value_of};
use super::script::limits::{FINDING_BYTES_MAX, FINDINGS_MAX};
use super::script::run::Run;
use super::view::{Object, ObjectRef, Record};
use crate::model::ids::{Key, Name};
use crate::model::spec::policy::ObjectKind;
use crate::policy::script::language::words::Words;

/// All verbs. A script without any of them says nothing, and is refused.
pub(crate) const VERBS: [&str; 8] =
    ["deny", "warn", "info", "require", "set_default", "revert", "report", "quarantine"];

/// What verbs return, so that more can be said: `.at(…).observed(…).want(…).fix(…)`.
#[derive(Clone)]
pub(crate) struct Note {
    run: Run,
    /// Which finding it is; none where a requirement held.
    index: Option<usize>,
}

/// Adds the verbs to the language.
pub(crate) fn register(module: &mut Words) {
    for (verb, weight) in [("deny", Weight::Deny), ("warn", Weight::Warn), ("info", Weight::Info)] {
        module.set_native_fn(
            verb,
            move |context: NativeCallContext<'_>, message: ImmutableString| {
                find(&context, weight, &message)
            },
        );
    }
    module.set_native_fn(
        "require",
        |context: NativeCallContext<'_>, holds: bool, message: ImmutableString| {
            if !holds {
                return find(&context, Weight::Deny, &message);
            }
            let run = Run::of(&context)?;
            run.say(|said| said.asserted = true);
            Ok(Note { run, index: None })
        },
    );
    module.set_native_fn(
        "set_default",
        |context: NativeCallContext<'_>, path: ImmutableString, value: Dynamic| -> Answer<()> {
            let value: Value = value_of(&value)?;
            let run = Run::of(&context)?;
            let path = path.to_string();
            let patch = Patch { path, value, line: line(&context) };
            let is_room = run.say(|said| {
                let is_room = said.patches.len() < FINDINGS_MAX;
                if is_room {
                    said.asserted = true;
                    said.patches.push(patch);
                }
                is_room
            });
            if is_room { Ok(()) } else { too_much("it sets too many defaults") }
        },
    );
    for (verb, response) in [
        ("revert", Response::Revert),
        ("report", Response::Report),
        ("quarantine", Response::Quarantine),
    ] {
        module.set_native_fn(
            verb,
            move |context: NativeCallContext<'_>, message: ImmutableString| {
                // Drift that is there is a fact; what becomes of it is the response.
                let weight = match response {
                    Response::Revert | Response::Quarantine => Weight::Warn,
                    Response::Report => Weight::Info,
                };
                let note = find(&context, weight, &message)?;
                note.run.say(|said| said.response = said.response.max(Some(response)));
                Ok::<_, Box<rhai::EvalAltResult>>(note)
            },
        );
    }
    module.name("on");
    FuncRegistration::new("on").with_purity(true).set_into_module(module, on);
    chain(module, "at", |finding, text| finding.at = Some(text));
    chain(module, "observed", |finding, text| finding.observed = Some(text));
    chain(module, "want", |finding, text| finding.want = Some(text));
    chain(module, "fix", |finding, text| finding.fix = Some(text));
}

/// Says what a finding about the whole set is about: an object, or a project by its name.
fn on(note: &mut Note, what: Dynamic) -> Answer<Note> {
    let object = what
        .read_lock::<Record>()
        .and_then(|record| record.root::<Object>().map(|object| object.name().clone()));
    let project = what.read_lock::<ImmutableString>().and_then(|name| Name::new(&name).ok());
    let project = project
        .map(|name| ObjectRef { kind: ObjectKind::Project, key: Key::new(name.clone(), name) });
    let Some(on) = object.or(project) else {
        return mistyped("a finding is on an object, or on a project by its name");
    };
    if let Some(index) = note.index {
        note.run.say(|said| {
            if let Some(finding) = said.findings.get_mut(index) {
                finding.on = Some(on);
            }
        });
    }
    Ok(note.clone())
}

fn find(context: &NativeCallContext<'_>, weight: Weight, message: &str) -> Answer<Note> {
    let run = Run::of(context)?;
    let finding = Finding {
        weight,
        message: cut(message),
        on: None,
        at: None,
        observed: None,
        want: None,
        fix: None,
        line: line(context),
    };
    let index = run.say(|said| {
        let index = said.findings.len();
        if index < FINDINGS_MAX {
            said.asserted = true;
            said.findings.push(finding);
        }
        index
    });
    if index >= FINDINGS_MAX {
        return too_much(format!("it finds more than {FINDINGS_MAX} things"));
    }
    Ok(Note { run, index: Some(index) })
}

/// Adds one of the words that say more of a finding. It takes any value.
fn chain(module: &mut Words, name: &'static str, change: fn(&mut Finding, String)) {
    module.name(name);
    FuncRegistration::new(name).with_purity(true).set_into_module(
        module,
        move |note: &mut Note, value: Dynamic| -> Answer<Note> {
            let text = cut(&show(&value));
            if let Some(index) = note.index {
                note.run.say(|said| {
                    if let Some(finding) = said.findings.get_mut(index) {
                        change(finding, text);
                    }
                });
            }
            Ok(note.clone())
        },
    );
    // Whoever forgets what to say gets told, and not a function that is not there.
    FuncRegistration::new(name).set_into_module(module, move |_: &mut Note| -> Answer<Note> {
        mistyped(format!("`{name}` needs a value"))
    });
}

fn line(context: &NativeCallContext<'_>) -> Option<u32> {
    context.call_position().line().and_then(|line| u32::try_from(line).ok())
}

/// What is longer than a finding may be ends with a mark.
fn cut(text: &str) -> String {
    if text.len() <= FINDING_BYTES_MAX {
        return text.to_owned();
    }
    let end = (0..=FINDING_BYTES_MAX).rev().find(|end| text.is_char_boundary(*end)).unwrap_or(0);
    format!("{}…", &text[..end])
}
