//! What scripts see of bindings and waivers: rules for rules.

use super::table::{dict, maybe, part, shown, table, text, texts};
use crate::model::spec::policy::{Bound, Levels, Match, Projects, Select};
use crate::model::spec::{PolicyBindingSpec, WaiverSpec};

table! {
    /// A binding of a policy or of a profile.
    BINDING = "PolicyBinding": PolicyBindingSpec {
        "policy": Text |spec| match &spec.bound {
            Bound::Policy(id) => text(id.as_str()),
            Bound::Profile(_) => None,
        };
        "profile": Text |spec| match &spec.bound {
            Bound::Profile(id) => text(id.as_str()),
            Bound::Policy(_) => None,
        };
        "level": Text |spec| spec.level.and_then(|level| text(level.as_str()));
        "levels": Part(&LEVELS) |spec| part(&spec.levels);
        "match": Part(&MATCH) |spec| part::<Match>(&spec.matches);
    }
}

table! {
    /// Levels at single points.
    LEVELS = "levels": Levels {
        "plan": Text |levels| levels.plan.and_then(|level| text(level.as_str()));
        "act": Text |levels| levels.act.and_then(|level| text(level.as_str()));
        "drift": Text |levels| levels.drift.and_then(|level| text(level.as_str()));
        "scan": Text |levels| levels.scan.and_then(|level| text(level.as_str()));
    }
}

table! {
    /// What a binding is about. Its projects are a list; `*` stands in it for all.
    MATCH = "match": Match {
        "kinds": Texts |of| Some(of.kinds.iter().map(|kind| kind.as_str().into()).collect());
        "projects": Texts |of| match &of.projects {
            Projects::Own => None,
            Projects::All => texts(["*"].iter()),
            Projects::Named(names) => {
                Some(names.iter().map(|name| name.as_str().into()).collect())
            }
        };
        "labels": Dict |of| dict(&of.labels);
        "names": Texts |of| Some(of.names.iter().map(|name| name.as_str().into()).collect());
        "nodes": Texts |of| Some(of.nodes.iter().map(|name| name.as_str().into()).collect());
        "actions": Texts |of| {
            Some(of.actions.iter().map(|action| action.as_str().into()).collect())
        };
    }
}

table! {
    /// A waiver.
    WAIVER = "Waiver": WaiverSpec {
        "policy": Text |spec| text(spec.policy.as_str());
        "select": Part(&SELECT) |spec| part(&spec.select);
        "reason": Text |spec| text(&spec.reason);
        "ticket": Text |spec| maybe(&spec.ticket);
        "approver": Text |spec| maybe(&spec.approver);
        "expires": Time |spec| Some(spec.expires.0);
    }
}

table! {
    /// What a waiver is for.
    SELECT = "select": Select {
        "kind": Text |of| of.kind.and_then(|kind| text(kind.as_str()));
        "name": Text |of| of.name.as_ref().and_then(shown);
        "project": Text |of| of.project.as_ref().and_then(shown);
        "labels": Dict |of| dict(&of.labels);
    }
}
