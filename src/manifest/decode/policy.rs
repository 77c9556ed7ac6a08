//! Bindings of policies, and waivers. Whether there is a policy of that name, with such parameters,
//! is known with the policies; their places are kept for whoever knows.

use std::collections::BTreeMap;
use std::fmt::Display;
use std::str::FromStr;
use std::sync::Arc;

use reconciler::model::ids::Name;
use reconciler::model::sparse::Sparse;
use reconciler::model::spec::policy::{
    ActionKind, Bound, Level, Levels, Match, ObjectKind, Param, Point, Projects, Select,
};
use reconciler::model::spec::{PolicyBindingSpec, WaiverSpec};

use super::super::problem::{Problem, Span};
use super::super::tree::{Node, Value};
use super::fields::{Context, Fields, found, is_null, short};
use super::value;

/// A binding, and where it says what others have to know of.
#[derive(Debug, Clone)]
pub(crate) struct BindingDraft {
    pub(crate) spec: Arc<PolicyBindingSpec>,
    /// The name of the policy or profile.
    pub(crate) bound: Span,
    /// The names of its parameters.
    pub(crate) params: BTreeMap<String, Span>,
    /// The nodes of its `match`.
    pub(crate) nodes: Vec<(Name, Span)>,
}

/// A waiver, and where it names its policy.
#[derive(Debug, Clone)]
pub(crate) struct WaiverDraft {
    pub(crate) spec: Arc<WaiverSpec>,
    pub(crate) policy: Span,
}

const LEVEL_SYNONYMS: [(&str, &str); 8] = [
    ("false", "off"),
    ("disabled", "off"),
    ("info", "audit"),
    ("warning", "warn"),
    ("deny", "hard"),
    ("enforce", "hard"),
    ("hard-mandatory", "hard"),
    ("soft-mandatory", "soft"),
];

/// Decodes the spec of a PolicyBinding of `project`.
pub(super) fn binding(
    context: &mut Context<'_>,
    node: &Node<'_>,
    project: &Name,
) -> Option<BindingDraft> {
    let mut fields = Fields::of(context, node, "spec", "")?;
    let bound = bound(context, &mut fields);
    let level = fields.take("level").map(|node| level(context, node, "level"));
    let levels = fields.take("levels").map(|node| levels(context, node));
    let params = fields.take("params").map(|node| params(context, node));
    let matches = fields.take("match").map(|node| matches(context, node, project));
    fields.finish(context, &["enforcement", "window", "exclude"]);
    let (bound, span) = bound?;
    let level = level.map_or(Some(None), |level| level.map(Some))?;
    let levels = levels.unwrap_or(Some(Levels::default()))?;
    let (params, spans) = params.unwrap_or(Some(Default::default()))?;
    let (matches, nodes) = matches.unwrap_or(Some(Default::default()))?;
    let spec = PolicyBindingSpec { bound, level, levels, params, matches: Sparse::new(matches) };
    Some(BindingDraft { spec: Arc::new(spec), bound: span, params: spans, nodes })
}

/// `policy` or `profile`: exactly one.
fn bound(context: &mut Context<'_>, fields: &mut Fields<'_, '_>) -> Option<(Bound, Span)> {
    let (policy, profile) = (fields.entry("policy"), fields.entry("profile"));
    match (policy, profile) {
        (Some(policy), Some(profile)) => {
            let problem = Problem::new(profile.key_span, "both `policy` and `profile`");
            let problem = problem.label("a binding is of one policy or of one profile");
            context.note(problem.also(policy.key_span, "the policy"));
            None
        }
        (Some(entry), None) => {
            let id = parsed(context, &entry.value, "policy", "the id of a policy")?;
            Some((Bound::Policy(id), entry.value.span))
        }
        (None, Some(entry)) => {
            let id = parsed(context, &entry.value, "profile", "the name of a profile")?;
            Some((Bound::Profile(id), entry.value.span))
        }
        (None, None) => {
            let problem = Problem::new(fields.span, "missing field `policy`");
            context.note(problem.label("expected `policy` (an id), or `profile` (a name)"));
            None
        }
    }
}

fn level(context: &mut Context<'_>, node: &Node<'_>, field: &str) -> Option<Level> {
    let words = Level::ALL.map(|level| (level.as_str(), level));
    value::choice(context, node, field, &words, &LEVEL_SYNONYMS)
}

fn levels(context: &mut Context<'_>, node: &Node<'_>) -> Option<Levels> {
    let mut fields = Fields::of(context, node, "levels", "levels.")?;
    let mut whole = true;
    let [plan, act, drift, scan] = Point::ALL.map(|point| {
        let node = fields.take(point.as_str())?;
        let level = level(context, node, &fields.name(point.as_str()));
        whole &= level.is_some();
        level
    });
    fields.finish(context, &[]);
    whole.then_some(Levels { plan, act, drift, scan })
}

/// The values of parameters, and where their names stand.
type Params = (BTreeMap<String, Param>, BTreeMap<String, Span>);

fn params(context: &mut Context<'_>, node: &Node<'_>) -> Option<Params> {
    let Value::Mapping(entries) = &node.value else {
        context.wrong_type(node, "params", "a mapping of names to values");
        return None;
    };
    let mut whole = true;
    let (mut values, mut spans) = Params::default();
    for entry in entries.iter() {
        let name = format!("params.{}", short(&entry.key));
        let first = entry.key.chars().next();
        let good = first.is_some_and(|c| c.is_ascii_alphabetic() || c == '_')
            && entry.key.chars().all(|c| c.is_ascii_alphanumeric() || c == '_');
        if !good {
            let label = "the name of a parameter has letters, digits and `_`";
            context.invalid(entry.key_span, &name, label);
            whole = false;
            continue;
        }
        match param(context, &entry.value, &name) {
            Some(value) => {
                values.insert(entry.key.clone().into_owned(), value);
                spans.insert(entry.key.clone().into_owned(), entry.key_span);
            }
            None => whole = false,
        }
    }
    whole.then_some((values, spans))
}

/// A scalar is what YAML takes it for; what is neither a truth value nor a whole number is a text,
/// quantities too.
fn param(context: &mut Context<'_>, node: &Node<'_>, field: &str) -> Option<Param> {
    const EXPECTED: &str = "a text, a whole number, true or false, or a list of texts";
    match &node.value {
        Value::Sequence(_) => value::items(context, node, field, |context, node, field| {
            value::text(context, node, field, "a text").map(str::to_owned)
        })
        .map(Param::List),
        Value::Scalar { text, plain: true } if is_null(text) => {
            context.wrong_type(node, field, EXPECTED);
            None
        }
        Value::Scalar { text, plain: true } => match &**text {
            "true" | "True" | "TRUE" => Some(Param::Boolean(true)),
            "false" | "False" | "FALSE" => Some(Param::Boolean(false)),
            digits if is_whole(digits) => match digits.parse() {
                Ok(number) => Some(Param::Integer(number)),
                Err(_) => {
                    let label = format!("expected {} to {}", i64::MIN, i64::MAX);
                    context.out_of_range(node.span, field, label);
                    None
                }
            },
            text => Some(Param::Text(text.to_owned())),
        },
        Value::Scalar { text, plain: false } => Some(Param::Text(text.clone().into_owned())),
        Value::Mapping(_) => {
            context.wrong_type(node, field, EXPECTED);
            None
        }
    }
}

fn is_whole(text: &str) -> bool {
    let digits = text.strip_prefix(['-', '+']).unwrap_or(text);
    !digits.is_empty() && digits.bytes().all(|byte| byte.is_ascii_digit())
}

fn matches(
    context: &mut Context<'_>,
    node: &Node<'_>,
    project: &Name,
) -> Option<(Match, Vec<(Name, Span)>)> {
    let mut fields = Fields::of(context, node, "match", "match.")?;
    let kinds = fields.take("kinds").map(|node| some(context, node, "match.kinds", kind));
    let projects = fields.take("projects").map(|node| projects(context, node, project));
    let labels = fields.take("labels").map(|node| labels(context, node, "match.labels"));
    let names = fields.take("names").map(|node| {
        some(context, node, "match.names", |context, node, field| {
            parsed(context, node, field, "a pattern of names such as `web-*`")
        })
    });
    let nodes = fields.take("nodes").map(|node| {
        some(context, node, "match.nodes", |context, node, field| {
            Some((value::name(context, node, field)?, node.span))
        })
    });
    let actions = fields.take("actions").map(|node| {
        some(context, node, "match.actions", |context, node, field| {
            let words = ActionKind::ALL.map(|action| (action.as_str(), action));
            let synonyms = [("remove", "delete"), ("destroy", "delete"), ("change", "update")];
            value::choice(context, node, field, &words, &synonyms)
        })
    });
    fields.finish(context, &["exclude", "images"]);
    let nodes: Vec<(Name, Span)> = nodes.unwrap_or(Some(Vec::new()))?;
    let matches = Match {
        kinds: kinds.unwrap_or(Some(Vec::new()))?,
        projects: projects.unwrap_or(Some(Projects::Own))?,
        labels: labels.unwrap_or(Some(BTreeMap::new()))?,
        names: names.unwrap_or(Some(Vec::new()))?,
        nodes: nodes.iter().map(|(name, _)| name.clone()).collect(),
        actions: actions.unwrap_or(Some(Vec::new()))?,
    };
    Some((matches, nodes))
}

/// A list that says something: an empty one could be taken for nothing or for everything.
fn some<T>(
    context: &mut Context<'_>,
    node: &Node<'_>,
    field: &str,
    item: impl FnMut(&mut Context<'_>, &Node<'_>, &str) -> Option<T>,
) -> Option<Vec<T>> {
    let items = value::items(context, node, field, item)?;
    if items.is_empty() {
        context.invalid(
            node.span,
            field,
            "an empty list; leave the field out if it does not matter",
        );
        return None;
    }
    Some(items)
}

fn kind(context: &mut Context<'_>, node: &Node<'_>, field: &str) -> Option<ObjectKind> {
    let words = ObjectKind::ALL.map(|kind| (kind.as_str(), kind));
    value::choice(context, node, field, &words, &[("Container", "Instance")])
}

fn labels(
    context: &mut Context<'_>,
    node: &Node<'_>,
    field: &str,
) -> Option<BTreeMap<String, String>> {
    value::texts(context, node, field, |key| {
        if key.is_empty() { Err("a key cannot be empty".to_owned()) } else { Ok(()) }
    })
}

/// `"*"`, or a list of names.
fn projects(context: &mut Context<'_>, node: &Node<'_>, own: &Name) -> Option<Projects> {
    const FIELD: &str = "match.projects";
    let may = *own == Name::default_project();
    let refuse = |context: &mut Context<'_>, span: Span| {
        let label = format!("a binding of project `{own}` is about that project alone");
        let problem = Problem::new(span, format!("invalid `{FIELD}`")).label(label);
        context.note(problem.help("bind it in the project `default` for other projects"));
    };
    if let Value::Scalar { text, .. } = &node.value
        && text == "*"
    {
        if !may {
            refuse(context, node.span);
            return None;
        }
        return Some(Projects::All);
    }
    let Value::Sequence(_) = &node.value else {
        let label = format!("expected `\"*\"` or a list of names, found {}", found(node));
        let problem = Problem::new(node.span, format!("wrong type of `{FIELD}`")).label(label);
        context.note(problem);
        return None;
    };
    let names = some(context, node, FIELD, |context, node, field| {
        if let Value::Scalar { text, .. } = &node.value
            && text == "*"
        {
            context.invalid(node.span, field, "for all projects write `projects: \"*\"`");
            return None;
        }
        let name = value::name(context, node, field)?;
        if !may && name != *own {
            refuse(context, node.span);
            return None;
        }
        Some(name)
    })?;
    Some(Projects::Named(names))
}

/// Decodes the spec of a Waiver of `project`.
pub(super) fn waiver(
    context: &mut Context<'_>,
    node: &Node<'_>,
    project: &Name,
) -> Option<WaiverDraft> {
    let mut fields = Fields::of(context, node, "spec", "")?;
    let policy_node = fields.require(context, "policy", "the id of a policy");
    let policy = policy_node.and_then(|node| parsed(context, node, "policy", "the id of a policy"));
    let select = fields.require(context, "select", "what may break it: kind, name or labels");
    let select = select.and_then(|node| self::select(context, node, project));
    let reason = fields.require(context, "reason", "why, for those who read it later");
    let reason = reason.and_then(|node| said(context, node, "reason"));
    let mut text = |context: &mut Context<'_>, name: &'static str| {
        fields.take(name).map(|node| said(context, node, name))
    };
    let ticket = text(context, "ticket");
    let approver = text(context, "approver");
    let expires = fields.require(context, "expires", "a date such as `2027-01-31`");
    let expires =
        expires.and_then(|node| parsed(context, node, "expires", "a date such as `2027-01-31`"));
    fields.finish(context, &["from", "level"]);
    let spec = WaiverSpec {
        policy: policy?,
        select: select?,
        reason: reason?,
        ticket: ticket.map_or(Some(None), |ticket| ticket.map(Some))?,
        approver: approver.map_or(Some(None), |approver| approver.map(Some))?,
        expires: expires?,
    };
    Some(WaiverDraft { spec: Arc::new(spec), policy: policy_node?.span })
}

/// A text that is more than blanks: who left it empty has not said it.
fn said(context: &mut Context<'_>, node: &Node<'_>, field: &str) -> Option<String> {
    let text = value::text(context, node, field, "a text")?;
    if text.trim().is_empty() {
        context.invalid(node.span, field, "an empty text says nothing");
        return None;
    }
    Some(text.to_owned())
}

fn select(context: &mut Context<'_>, node: &Node<'_>, own: &Name) -> Option<Select> {
    let mut fields = Fields::of(context, node, "select", "select.")?;
    let kind = fields.take("kind").map(|node| kind(context, node, "select.kind"));
    let name = fields
        .take("name")
        .map(|node| parsed(context, node, "select.name", "a pattern of names such as `web-*`"));
    let project = fields.take("project").map(|node| {
        let project = value::name(context, node, "select.project")?;
        if project != *own && *own != Name::default_project() {
            let label = format!("a waiver of project `{own}` is for that project alone");
            let problem = Problem::new(node.span, "invalid `select.project`").label(label);
            context.note(problem.help("write it in the project `default` for other projects"));
            return None;
        }
        Some(project)
    });
    let labels = fields.take("labels").map(|node| labels(context, node, "select.labels"));
    let span = fields.span;
    fields.finish(context, &["projects", "nodes"]);
    let select = Select {
        kind: kind.map_or(Some(None), |kind| kind.map(Some))?,
        name: name.map_or(Some(None), |name| name.map(Some))?,
        project: project.map_or(Some(None), |project| project.map(Some))?,
        labels: labels.unwrap_or(Some(BTreeMap::new()))?,
    };
    if select == Select::default() {
        let problem = Problem::new(span, "invalid `select`");
        let problem = problem.label("a waiver for everything is said as such: { name: \"*\" }");
        context.note(problem);
        return None;
    }
    Some(select)
}

/// A text that is something by its form.
fn parsed<T>(context: &mut Context<'_>, node: &Node<'_>, field: &str, expected: &str) -> Option<T>
where
    T: FromStr,
    T::Err: Display,
{
    let text = value::text(context, node, field, expected)?;
    match text.parse() {
        Ok(value) => Some(value),
        Err(why) => {
            context.invalid(node.span, field, format!("{why}, found {}", found(node)));
            None
        }
    }
}
