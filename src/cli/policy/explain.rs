//! `windlass policy explain`: what policies say of one object and why, or what a policy asks for.

use reconciler::model::spec::policy::{Candidate, Point, PolicyId};
use reconciler::model::time::Timestamp;
use reconciler::policy::evaluate::{Decision, Verdict};
use reconciler::policy::outcome::Outcome;
use reconciler::policy::view::ObjectRef;
use serde_json::{Value, json};

use super::judge::{Judged, status};
use super::world::{Policies, Subjects, known, specs_if_any};
use super::{NO_VERDICT, report};
use crate::cli::args::{Dir, Format};
use crate::cli::show::words::meant;
use crate::cli::show::{Ink, Style};
use crate::cli::{Context, Ended, Failure, near};
use crate::policies::{object_ref, readme};

const VERB: &str = "policy explain";

/// Runs the verb.
pub(super) fn run(context: &Context, what: &str, now: Timestamp) -> Ended {
    let settings = context.settings(&Dir { dir: None })?;
    let policies = match report::policies(context, VERB, &settings.policies)? {
        Ok(policies) => policies,
        Err(code) => return Ok(code),
    };
    let is_id = |id: &&PolicyId| id.as_str().eq_ignore_ascii_case(what);
    if let Some(id) = policies.catalogue.policies.keys().find(is_id) {
        return of_policy(context, &policies, id);
    }
    if let Some(id) = policies.catalogue.profiles.keys().find(is_id) {
        return of_profile(context, &policies, id);
    }
    let no_policy = || known("policy", what, policies.catalogue.policies.keys());
    if !what.contains('/') && specs_if_any(context)?.is_none() {
        // Nothing else can be meant.
        no_policy()?;
    }
    let settings = context.settings_to_read(&Dir { dir: None })?;
    let subjects = match Subjects::declared(settings.specs, &policies.catalogue) {
        Ok(subjects) => subjects,
        Err(diagnostics) => return report::broken(context, VERB, &[], &diagnostics),
    };
    if !what.contains('/') && instances(what, &subjects).is_empty() {
        no_policy()?;
    }
    let judged = Judged::of(&policies, &subjects, Point::Plan, now);
    let object = object(what, &judged)?;
    let story = Story::of(&judged, &object);
    match context.global.output {
        format @ (Format::Json | Format::Yaml) => context.out.value(format, &story.value())?,
        Format::Text | Format::Wide | Format::Name => {
            context.out.print(&story.text(&context.out.style))?;
        }
    }
    Ok(story.code())
}

/// The instances of that name, in whatever projects.
fn instances(name: &str, subjects: &Subjects) -> Vec<String> {
    let all = subjects.desired.instances.keys();
    all.filter(|key| key.name.as_str() == name).map(ToString::to_string).collect()
}

/// The object that a word names: `Instance/shop/web`, or `shop/web` or `web` for an instance.
fn object(word: &str, judged: &Judged<'_>) -> Result<ObjectRef, Failure> {
    let word = match instances(word, judged.subjects).as_slice() {
        [] => word.to_owned(),
        [one] => one.clone(),
        several => {
            let failure = Failure::new(format!("several instances are called `{word}`"));
            return Err(failure.help(format!("there are {}", several.join(", "))));
        }
    };
    let word = word.as_str();
    let instance = format!("Instance/{word}");
    let all = &judged.evaluation.decisions;
    let named = object_ref(word);
    let as_instance = object_ref(&instance);
    let found = [&named, &as_instance]
        .into_iter()
        .filter_map(|named| named.as_ref().ok())
        .find(|object| all.contains_key(*object));
    if let Some(found) = found {
        return Ok(found.clone());
    }
    if let (Err(why), true) = (&named, word.matches('/').count() > 1) {
        return Err(Failure::new(why.clone()));
    }
    let name = named.map_or_else(|_| instance.clone(), |object| slashed(&object));
    let names: Vec<String> = all.keys().map(slashed).collect();
    let failure = Failure::new(format!("no {name} is declared"));
    Err(match meant(&name, names.iter().map(String::as_str)) {
        Some(near) => failure.help(format!("did you mean `{near}`?")),
        None => failure.help("an object is named as `Instance/shop/web`"),
    })
}

fn slashed(object: &ObjectRef) -> String {
    object.to_string().replacen(' ', "/", 1)
}

/// All that is to be said of an object.
struct Story<'a> {
    judged: &'a Judged<'a>,
    object: &'a ObjectRef,
    place: Option<String>,
    verdicts: Vec<&'a Verdict>,
    /// Policies that are bound and not asked about it, with why.
    unasked: Vec<(String, String, String)>,
}

impl<'a> Story<'a> {
    fn of(judged: &'a Judged<'a>, object: &'a ObjectRef) -> Self {
        let evaluation = &judged.evaluation;
        let name = &object.key.project;
        let project = object_ref(&format!("Project/{name}")).ok();
        let parts = [Some(object), project.as_ref().filter(|project| *project != object)];
        let parts = parts.into_iter().flatten().filter_map(|part| evaluation.as_parts.get(part));
        let own = evaluation.decisions.get(object).map(|decision| &**decision);
        let all = own.into_iter().chain(parts).chain([&evaluation.set]);
        let verdicts: Vec<&Verdict> = all.flat_map(|Decision { verdicts, .. }| verdicts).collect();
        let unasked = evaluation.counts.keys().filter(|(policy, binding)| {
            !verdicts.iter().any(|one| one.policy == *policy && one.binding == *binding)
        });
        let unasked = unasked.map(|(policy, binding)| {
            (policy.to_string(), binding.to_string(), judged.why_not(policy, binding, object))
        });
        let unasked = unasked.collect();
        let places = judged.subjects.places(&[(judged.subjects.source(object), None)]);
        let place = places.into_iter().flatten().next();
        let place = place.map(|spot| format!("{}:{}", spot.file, spot.line));
        Self { judged, object, place, verdicts, unasked }
    }

    fn code(&self) -> u8 {
        let is_error = |one: &&&Verdict| matches!(one.outcome, Outcome::Error(_));
        if self.verdicts.iter().find(is_error).is_some() {
            NO_VERDICT
        } else if self.verdicts.iter().any(|verdict| verdict.denies()) {
            1
        } else if self.verdicts.is_empty() {
            2
        } else {
            0
        }
    }

    fn text(&self, style: &Style) -> String {
        let object = style.paint(Ink::Bold, &self.object.to_string());
        let place = self.place.as_ref().map(|place| format!("  ({place})")).unwrap_or_default();
        let mut text = format!("{object}{place}\n");
        let is_allowed = !self.verdicts.iter().any(|verdict| verdict.denies());
        let word = match (is_allowed, self.verdicts.is_empty()) {
            (_, true) => "no policy is asked about it",
            (true, false) => "a plan goes on with it",
            (false, false) => "no new revision of it is made",
        };
        text.push_str(&format!("{word}\n\n"));
        for verdict in &self.verdicts {
            text.push_str(&self.of_verdict(verdict, style));
        }
        if !self.unasked.is_empty() {
            text.push_str("\nnot asked about it:\n");
        }
        for (policy, binding, why) in &self.unasked {
            text.push_str(&format!("  {policy} by {binding}: {why}\n"));
        }
        text
    }

    fn of_verdict(&self, verdict: &Verdict, style: &Style) -> String {
        let Verdict { object, policy, binding, level, outcome, waived_by, .. } = verdict;
        let (ink, word) = match outcome {
            Outcome::Pass { .. } => (Ink::Good, "passed"),
            Outcome::Error(_) => (Ink::Bad, "no verdict"),
            Outcome::Findings(_) if verdict.denies() => (Ink::Bad, "denied"),
            Outcome::Findings(_) if waived_by.is_some() => (Ink::Dim, "waived"),
            Outcome::Findings(_) => (Ink::Odd, "found"),
        };
        let whose =
            if object == self.object { String::new() } else { ", of the whole set".to_owned() };
        let title = self.judged.policies.library.script(policy);
        let title = title.map(|script| format!(": {}", script.meta().title)).unwrap_or_default();
        let word = style.paint(ink, word);
        let level = level.as_str();
        let mut text = format!("{word} {policy}{title} (level {level}, by {binding}{whose})\n");
        let mut line = |line: String| text.push_str(&format!("    {line}\n"));
        match outcome {
            Outcome::Pass { .. } => {}
            Outcome::Error(_) => line(verdict.message()),
            Outcome::Findings(findings) => {
                for finding in findings {
                    let bare = reconciler::policy::outcome::Finding {
                        want: None,
                        fix: None,
                        ..finding.clone()
                    };
                    line(format!("{}: {bare}", status(verdict, finding.weight).as_str()));
                    if let Some(want) = &finding.want {
                        line(format!("  allowed: {want}"));
                    }
                    if let Some(fix) = &finding.fix {
                        line(format!("  fix: {fix}"));
                    }
                }
            }
        }
        if let Some(waiver) = waived_by.as_ref().and_then(|key| self.judged.waived_by(key)) {
            line(format!("waiver {}", waiver.words()));
        }
        text
    }

    fn value(&self) -> Value {
        let verdicts: Vec<Value> = self
            .verdicts
            .iter()
            .map(|verdict| {
                json!({
                    "verdict": verdict,
                    "denies": verdict.denies(),
                    "waiver": verdict.waived_by.as_ref().and_then(|key| self.judged.waived_by(key)),
                })
            })
            .collect();
        let unasked: Vec<Value> = self
            .unasked
            .iter()
            .map(|(policy, binding, why)| json!({"policy": policy, "binding": binding, "why": why}))
            .collect();
        json!({
            "object": self.object,
            "place": self.place,
            "allowed": !self.verdicts.iter().any(|verdict| verdict.denies()),
            "verdicts": verdicts,
            "notAsked": unasked,
        })
    }
}

impl Judged<'_> {
    /// Why a policy that is bound is not asked about an object.
    fn why_not(
        &self,
        policy: &PolicyId,
        binding: &reconciler::model::ids::Key,
        object: &ObjectRef,
    ) -> String {
        if let Some(elsewhere) = self.elsewhere(policy) {
            return format!("it is {elsewhere}");
        }
        if self.level(policy, binding) == reconciler::model::spec::policy::Level::Off {
            return "its level is off".to_owned();
        }
        let Some(script) = self.policies.library.script(policy) else {
            return "there is no such policy".to_owned();
        };
        let meta = script.meta();
        if !meta.is_about(object.kind) {
            let kinds: Vec<&str> = meta.kinds.iter().map(|kind| kind.as_str()).collect();
            return format!("it is about {}", kinds.join(", "));
        }
        let labels = Default::default();
        let candidate = Candidate {
            kind: object.kind,
            project: Some(&object.key.project),
            name: object.key.name.as_str(),
            labels: Some(&labels),
            node: None,
            action: None,
        };
        let spec = self.subjects.desired.bindings.get(binding).map(|declared| &declared.spec);
        match spec {
            Some(spec) if !spec.matches.projects.cover(&binding.project, candidate.project) => {
                format!("{binding} is about other projects")
            }
            Some(spec)
                if !spec.matches.kinds.is_empty() && !spec.matches.kinds.contains(&object.kind) =>
            {
                format!("{binding} is about other kinds")
            }
            Some(_) | None => format!("{binding} does not match it"),
        }
    }
}

fn of_policy(context: &Context, policies: &Policies, id: &PolicyId) -> Ended {
    let (Some(script), Some(source)) = (
        policies.library.script(id),
        policies.sources.policies.iter().find(|source| source.id().as_ref() == Some(id)),
    ) else {
        return Err(Failure::new(format!("there is no policy `{id}`")));
    };
    let meta = script.meta();
    let entries: Vec<&str> = script.entries().iter().map(|entry| entry.as_str()).collect();
    let kinds: Vec<&str> = meta.kinds.iter().map(|kind| kind.as_str()).collect();
    let actions: Vec<&str> = meta.actions.iter().map(|action| action.as_str()).collect();
    let profiles = policies.catalogue.profiles.iter();
    let profiles: Vec<String> = profiles
        .filter(|(_, profile)| profile.members.iter().any(|member| member.policy == *id))
        .map(|(name, _)| name.to_string())
        .collect();
    let readme = readme(&policies.sources, id);
    let all = |words: &[&str]| if words.is_empty() { "all".to_owned() } else { words.join(", ") };
    let place = match source.origin {
        reconciler::model::policies::Origin::BuiltIn => source.to_string(),
        reconciler::model::policies::Origin::Own => near(&source.path),
    };
    match context.global.output {
        format @ (Format::Json | Format::Yaml) => {
            let params: serde_json::Map<String, Value> = meta
                .params
                .iter()
                .map(|(name, spec)| {
                    let value = json!({ "type": spec.kind.as_str(), "default": spec.default });
                    (name.clone(), value)
                })
                .collect();
            context.out.value(
                format,
                &json!({
                    "id": id, "title": meta.title, "version": meta.version.to_string(),
                    "level": meta.level, "entries": entries, "kinds": kinds, "actions": actions,
                    "params": params, "profiles": profiles, "path": place,
                    "sha256": source.sha256, "readme": readme,
                }),
            )?;
        }
        Format::Text | Format::Wide | Format::Name => {
            let style = &context.out.style;
            let mut text = format!(
                "{}: {}\n\nversion     {}\nlevel       {}\nasked by    {}\nkinds       {}\n",
                style.paint(Ink::Bold, id.as_str()),
                meta.title,
                meta.version,
                meta.level.as_str(),
                entries.join(", "),
                all(&kinds),
            );
            if !actions.is_empty() || entries.contains(&"check_action") {
                text.push_str(&format!("actions     {}\n", all(&actions)));
            }
            for (name, spec) in &meta.params {
                let kind = spec.kind.as_str();
                let default = spec.default.as_ref();
                let default = default.map_or("has to be set".to_owned(), Value::to_string);
                text.push_str(&format!("parameter   {name}: {kind} = {default}\n"));
            }
            if !profiles.is_empty() {
                text.push_str(&format!("profiles    {}\n", profiles.join(", ")));
            }
            text.push_str(&format!("script      {place}\nsha256      {}\n", source.sha256.0));
            if let Some(readme) = readme {
                text.push_str(&format!("\n{readme}"));
            }
            context.out.print(&text)?;
        }
    }
    Ok(0)
}

fn of_profile(context: &Context, policies: &Policies, id: &PolicyId) -> Ended {
    let Some(profile) = policies.catalogue.profiles.get(id) else {
        return Err(Failure::new(format!("there is no profile `{id}`")));
    };
    match context.global.output {
        format @ (Format::Json | Format::Yaml) => context.out.value(format, profile)?,
        Format::Text | Format::Wide | Format::Name => {
            let mut table = crate::cli::show::table::Table::default();
            for member in &profile.members {
                let script = policies.library.script(&member.policy);
                let usual = script.map(|script| script.meta().level);
                let level = member.level.or(usual).map_or("", |level| level.as_str());
                let title = script.map(|script| script.meta().title.clone()).unwrap_or_default();
                table.row(vec![member.policy.as_str().into(), level.into(), title.into()]);
            }
            context.out.print(&table.render(&context.out.style))?;
        }
    }
    Ok(0)
}
