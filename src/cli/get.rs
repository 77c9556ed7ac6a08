//! `windlass get`: lists of objects.

use std::collections::BTreeMap;

use serde::Serialize;

use super::args::Format;
use super::select::Selector;
use super::show::words::meant;
use super::show::{objects, plain};
use super::{Context, Dir, Ended, Failure, ask, sorting, watch};
use crate::api::protocol::{ImageStatus, NodeStatus, Overview, PlainStatus, VolumeStatus};
use reconciler::status::InstanceStatus;

/// A kind of objects, or all kinds.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Kind {
    Instances,
    Images,
    Volumes,
    Networks,
    Links,
    Flavors,
    Projects,
    Bindings,
    Waivers,
    Nodes,
    All,
}

/// All words for each kind; the first is the one that we use.
const WORDS: [(Kind, &[&str]); 11] = [
    (Kind::Instances, &["instance", "instances", "inst", "in"]),
    (Kind::Images, &["image", "images", "img", "im"]),
    (Kind::Volumes, &["volume", "volumes", "vol", "vols"]),
    (Kind::Networks, &["network", "networks", "net", "nets"]),
    (Kind::Links, &["link", "links", "ln"]),
    (Kind::Flavors, &["flavor", "flavors", "fl"]),
    (Kind::Projects, &["project", "projects", "pr"]),
    (Kind::Bindings, &["policybinding", "policybindings", "binding", "bindings", "pb"]),
    (Kind::Waivers, &["waiver", "waivers", "wv"]),
    (Kind::Nodes, &["node", "nodes", "no"]),
    (Kind::All, &["all"]),
];

impl Kind {
    /// The kind that a word means, in any case.
    pub(super) fn named(word: &str) -> Option<Self> {
        let word = word.to_ascii_lowercase();
        WORDS.iter().find(|(_, words)| words.contains(&word.as_str())).map(|(kind, _)| *kind)
    }

    /// The same, or an error that says what could have been meant.
    pub(super) fn of(word: &str) -> Result<Self, Failure> {
        Self::named(word).ok_or_else(|| {
            let words = WORDS.iter().flat_map(|(_, words)| words.iter().copied());
            let failure = Failure::new(format!("there is no kind `{word}`"));
            match meant(&word.to_ascii_lowercase(), words) {
                Some(meant) => failure.help(format!("did you mean `{meant}`?")),
                None => {
                    failure.help("kinds are instances, images, volumes, networks, links, flavors, projects, policybindings, waivers and nodes; or all")
                }
            }
        })
    }

    /// The word for several of them.
    pub(super) fn plural(self) -> String {
        match self {
            Self::All => "objects".to_owned(),
            Self::Instances
            | Self::Images
            | Self::Volumes
            | Self::Networks
            | Self::Links
            | Self::Flavors
            | Self::Projects
            | Self::Bindings
            | Self::Waivers
            | Self::Nodes => format!("{}s", self.noun()),
        }
    }

    pub(super) fn noun(self) -> &'static str {
        WORDS.iter().find(|(kind, _)| *kind == self).map_or("object", |(_, words)| words[0])
    }
}

/// What is asked for.
#[derive(Debug)]
pub(super) struct Wanted {
    kind: Kind,
    names: Vec<String>,
    labels: Selector,
    project: Option<String>,
    sort_by: Option<&'static str>,
    watch: bool,
}

/// What the command line says.
#[derive(Debug, Default)]
pub(super) struct Asked {
    pub(super) names: Vec<String>,
    pub(super) selector: Option<String>,
    pub(super) project: Option<String>,
    pub(super) sort_by: Option<String>,
    pub(super) watch: bool,
}

impl Wanted {
    /// From what the command line says.
    pub(super) fn new(kind: &str, asked: Asked) -> Result<Self, Failure> {
        let Asked { names, selector, project, sort_by, watch } = asked;
        let kind = Kind::of(kind)?;
        let labels = selector.as_deref().map(Selector::new).transpose()?.unwrap_or_default();
        let sort_by = sort_by.map(|word| sorting::column(kind, &word)).transpose()?;
        if kind == Kind::All && !names.is_empty() {
            let failure = Failure::new("names need a kind");
            return Err(failure.help(format!("`windlass get instance {}`", names[0])));
        }
        Ok(Self { kind, names, labels, project, sort_by, watch })
    }

    /// All that is asked for; an error if one that is named is not there.
    pub(super) fn picked<'a>(&self, overview: &'a Overview) -> Result<Picked<'a>, Failure> {
        let Overview {
            instances,
            images,
            volumes,
            networks,
            links,
            flavors,
            projects,
            bindings,
            waivers,
            nodes,
            ..
        } = overview;
        let mut picked = Picked {
            instances: self.pick(Kind::Instances, instances, |one| one.key.to_string())?,
            images: self.pick(Kind::Images, images, |one| one.name.clone())?,
            volumes: self.pick(Kind::Volumes, volumes, |one| one.key.to_string())?,
            networks: self.pick(Kind::Networks, networks, |one| one.name.clone())?,
            links: self.pick(Kind::Links, links, |one| one.name.clone())?,
            // Of all kinds, what is built in is left out.
            flavors: {
                let mut flavors = self.pick(Kind::Flavors, flavors, |one| one.name.clone())?;
                flavors.retain(|one| self.kind != Kind::All || one.source.is_some());
                flavors
            },
            projects: {
                let of = |one: &PlainStatus| match &self.project {
                    // It is in itself.
                    Some(project) if *project == one.name => format!("{project}/"),
                    Some(_) | None => one.name.clone(),
                };
                self.pick(Kind::Projects, projects, of)?
            },
            bindings: self.pick(Kind::Bindings, bindings, |one| one.name.clone())?,
            waivers: self.pick(Kind::Waivers, waivers, |one| one.name.clone())?,
            nodes: if self.kind == Kind::All && self.project.is_some() {
                Vec::new()
            } else {
                self.pick(Kind::Nodes, nodes, |one| one.name.to_string())?
            },
        };
        if !self.labels.is_empty() {
            picked.instances.retain(|one| self.labels.selects(&one.labels));
            picked.images.retain(|one| self.labels.selects(&one.labels));
            picked.volumes.retain(|one| self.labels.selects(&one.labels));
            for plain in picked.plain() {
                plain.retain(|one| self.labels.selects(&one.labels));
            }
            picked.nodes.retain(|one| self.labels.selects(&one.labels));
        }
        if let Some(column) = self.sort_by {
            picked.instances.sort_by_key(|one| sorting::instance(one, column));
            picked.images.sort_by_key(|one| sorting::image(one, column));
            picked.volumes.sort_by_key(|one| sorting::volume(one, column));
            for plain in picked.plain() {
                plain.sort_by_key(|one| sorting::plain(one, column));
            }
            picked.nodes.sort_by_key(|one| sorting::node(one, column));
        }
        Ok(picked)
    }

    /// The objects of a kind that are asked for; an error if one that is named is not there.
    fn pick<'a, T>(
        &self,
        kind: Kind,
        all: &'a [T],
        name: impl Fn(&T) -> String,
    ) -> Result<Vec<&'a T>, Failure> {
        if self.kind != kind && self.kind != Kind::All {
            return Ok(Vec::new());
        }
        let of_project = |one: &&T| match &self.project {
            Some(project) => {
                name(one).strip_prefix(project.as_str()).is_some_and(|rest| rest.starts_with('/'))
            }
            None => true,
        };
        let all: Vec<&T> = all.iter().filter(of_project).collect();
        if self.names.is_empty() {
            return Ok(all);
        }
        let mut picked = Vec::new();
        for wanted in &self.names {
            let known: Vec<String> = all.iter().map(|one| name(one)).collect();
            let found = find(kind, wanted, &known)?;
            picked.extend(found.into_iter().map(|at| all[at]));
        }
        Ok(picked)
    }
}

/// The objects that a name means: the one of that full name, else those of any project.
pub(super) fn find(kind: Kind, wanted: &str, known: &[String]) -> Result<Vec<usize>, Failure> {
    if let Some(at) = known.iter().position(|name| name == wanted) {
        return Ok(vec![at]);
    }
    let ends = |name: &String| name.rsplit_once('/').is_some_and(|(_, last)| last == wanted);
    let found: Vec<usize> =
        known.iter().enumerate().filter(|(_, name)| ends(name)).map(|(at, _)| at).collect();
    if !found.is_empty() {
        return Ok(found);
    }
    let noun = kind.noun();
    let failure = Failure::new(format!("there is no {noun} `{wanted}`"));
    // A name without its project is compared with names without theirs.
    let last = |name: &String| name.rsplit('/').next().unwrap_or_default().to_owned();
    let short: Vec<String> = known.iter().map(last).collect();
    let candidates = if wanted.contains('/') { known } else { &short };
    let meant = meant(wanted, candidates.iter().map(String::as_str))
        .and_then(|meant| candidates.iter().position(|name| name == meant))
        .map(|at| &known[at]);
    Err(match meant {
        Some(meant) => failure.help(format!("did you mean `{meant}`?")),
        None => failure.help(format!("`windlass get {noun}s` shows those that there are")),
    })
}

/// What was picked of an overview.
#[derive(Default, Serialize)]
pub(super) struct Picked<'a> {
    pub(super) instances: Vec<&'a InstanceStatus>,
    pub(super) images: Vec<&'a ImageStatus>,
    pub(super) volumes: Vec<&'a VolumeStatus>,
    pub(super) networks: Vec<&'a PlainStatus>,
    pub(super) links: Vec<&'a PlainStatus>,
    pub(super) flavors: Vec<&'a PlainStatus>,
    pub(super) projects: Vec<&'a PlainStatus>,
    #[serde(rename = "policybindings")]
    pub(super) bindings: Vec<&'a PlainStatus>,
    pub(super) waivers: Vec<&'a PlainStatus>,
    pub(super) nodes: Vec<&'a NodeStatus>,
}

/// Runs the verb.
pub(super) async fn run(context: &Context, wanted: &Wanted) -> Ended {
    let settings = context.settings(&Dir { dir: None })?;
    let session = ask::open_to_look(&settings).await?;
    let overview = ask::overview(context, &session, None).await?;
    if wanted.watch {
        return watch::run(context, &session, wanted, overview).await;
    }
    session.close().await;
    let picked = wanted.picked(&overview)?;
    match context.global.output {
        Format::Json | Format::Yaml => picked.write(context, wanted)?,
        Format::Name => context.out.print(&picked.names(wanted.kind))?,
        Format::Text => picked.show(context, wanted, &overview, false)?,
        Format::Wide => picked.show(context, wanted, &overview, true)?,
    }
    Ok(0)
}

impl<'a> Picked<'a> {
    /// The lists of objects that say little beside their specs.
    fn plain(&mut self) -> [&mut Vec<&'a PlainStatus>; 6] {
        let Self {
            instances: _,
            images: _,
            volumes: _,
            networks,
            links,
            flavors,
            projects,
            bindings,
            waivers,
            nodes: _,
        } = self;
        [networks, links, flavors, projects, bindings, waivers]
    }

    fn show(
        &self,
        context: &Context,
        wanted: &Wanted,
        overview: &Overview,
        wide: bool,
    ) -> Result<(), Failure> {
        let style = &context.out.style;
        let Self {
            instances,
            images,
            volumes,
            networks,
            links,
            flavors,
            projects,
            bindings,
            waivers,
            nodes,
        } = self;
        let tables = [
            (instances.is_empty(), objects::instances(instances, wide, style)),
            (images.is_empty(), objects::images(images, wide, style)),
            (volumes.is_empty(), objects::volumes(volumes, style)),
            (networks.is_empty(), plain::networks(networks, style)),
            (links.is_empty(), plain::links(links, style)),
            (flavors.is_empty(), plain::flavors(flavors, style)),
            (projects.is_empty(), plain::projects(projects, style)),
            (bindings.is_empty(), plain::bindings(bindings, style)),
            (waivers.is_empty(), plain::waivers(waivers, style)),
            (nodes.is_empty(), objects::nodes(nodes, wide, &overview.specs, style)),
        ];
        let tables = tables.into_iter().filter(|(empty, _)| !empty).map(|(_, table)| table);
        let text = tables.collect::<Vec<_>>().join("\n");
        if text.is_empty() {
            let noun = wanted.kind.plural();
            let place = wanted.project.as_ref().map(|name| format!(" in project {name}"));
            let labels = if wanted.labels.is_empty() { "" } else { " with these labels" };
            let text = format!("no {noun}{}{labels}", place.unwrap_or_default());
            context.out.note(&text);
        }
        context.out.print(&text)
    }

    /// Writes what was picked as a program wants it: one that was named stands alone, else they are
    /// `items`; of all kinds, each kind has a list.
    fn write(&self, context: &Context, wanted: &Wanted) -> Result<(), Failure> {
        fn list<T: Serialize>(
            context: &Context,
            wanted: &Wanted,
            items: &[&T],
        ) -> Result<(), Failure> {
            let format = context.global.output;
            match items {
                [one] if wanted.names.len() == 1 => context.out.value(format, one),
                items => context.out.value(format, &BTreeMap::from([("items", items)])),
            }
        }
        match wanted.kind {
            Kind::Instances => list(context, wanted, &self.instances),
            Kind::Images => list(context, wanted, &self.images),
            Kind::Volumes => list(context, wanted, &self.volumes),
            Kind::Networks => list(context, wanted, &self.networks),
            Kind::Links => list(context, wanted, &self.links),
            Kind::Flavors => list(context, wanted, &self.flavors),
            Kind::Projects => list(context, wanted, &self.projects),
            Kind::Bindings => list(context, wanted, &self.bindings),
            Kind::Waivers => list(context, wanted, &self.waivers),
            Kind::Nodes => list(context, wanted, &self.nodes),
            Kind::All => context.out.value(context.global.output, self),
        }
    }

    /// One name a line, as other verbs take it; of all kinds, with the kind.
    fn names(&self, kind: Kind) -> String {
        let Self {
            instances,
            images,
            volumes,
            networks,
            links,
            flavors,
            projects,
            bindings,
            waivers,
            nodes,
        } = self;
        let lists = [
            (Kind::Instances, instances.iter().map(|one| one.key.to_string()).collect::<Vec<_>>()),
            (Kind::Images, images.iter().map(|one| one.name.clone()).collect()),
            (Kind::Volumes, volumes.iter().map(|one| one.key.to_string()).collect()),
            (Kind::Networks, networks.iter().map(|one| one.name.clone()).collect()),
            (Kind::Links, links.iter().map(|one| one.name.clone()).collect()),
            (Kind::Flavors, flavors.iter().map(|one| one.name.clone()).collect()),
            (Kind::Projects, projects.iter().map(|one| one.name.clone()).collect()),
            (Kind::Bindings, bindings.iter().map(|one| one.name.clone()).collect()),
            (Kind::Waivers, waivers.iter().map(|one| one.name.clone()).collect()),
            (Kind::Nodes, nodes.iter().map(|one| one.name.to_string()).collect()),
        ];
        let mut text = String::new();
        for (of, names) in lists {
            for name in names {
                match kind {
                    Kind::All => text.push_str(&format!("{} {name}\n", of.noun())),
                    Kind::Instances
                    | Kind::Images
                    | Kind::Volumes
                    | Kind::Networks
                    | Kind::Links
                    | Kind::Flavors
                    | Kind::Projects
                    | Kind::Bindings
                    | Kind::Waivers
                    | Kind::Nodes => text.push_str(&format!("{name}\n")),
                }
            }
        }
        text
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn kinds_are_known_by_all_their_names() {
        for (word, kind) in
            [("instances", Kind::Instances), ("Inst", Kind::Instances), ("vol", Kind::Volumes)]
        {
            assert_eq!(Kind::named(word), Some(kind), "{word}");
        }
        let failure = Kind::of("instnaces").expect_err("no such kind");
        assert_eq!(failure.help.as_deref(), Some("did you mean `instances`?"));
    }

    #[test]
    fn names_are_found_in_any_project() {
        let known = ["shop/web", "shop/db", "blog/web"].map(str::to_owned);
        let find = |name| find(Kind::Instances, name, &known);
        assert_eq!(find("shop/web").ok(), Some(vec![0]));
        assert_eq!(find("web").ok(), Some(vec![0, 2]));
        let help = |name| find(name).err().and_then(|failure| failure.help);
        assert_eq!(help("shop/wbe").as_deref(), Some("did you mean `shop/web`?"));
        assert_eq!(help("xyz"), Some("`windlass get instances` shows those that there are".into()));
    }
}
