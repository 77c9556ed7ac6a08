//! `get --sort-by`: the columns that each kind can be sorted by.

use std::cmp::Reverse;

use reconciler::status::InstanceStatus;

use super::failure::Failure;
use super::get::Kind;
use super::show::words::meant;
use crate::api::protocol::{ImageStatus, NodeStatus, PlainStatus, VolumeStatus};

/// What an object is sorted by: numbers before texts, and what is not known last.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum By {
    Number(u64),
    /// Newest first: the youngest.
    Newest(Reverse<i64>),
    Text(String),
    None,
}

/// The columns of a kind.
fn columns(kind: Kind) -> &'static [&'static str] {
    match kind {
        Kind::Instances => {
            &["name", "project", "status", "ready", "restarts", "age", "node", "image"]
        }
        Kind::Images => &["name", "from", "content", "node"],
        Kind::Volumes => &["name", "project", "driver", "node"],
        Kind::Networks => &["name", "node", "instances"],
        Kind::Links => &["name", "replicas"],
        Kind::Flavors => &["name", "instances"],
        Kind::Projects => &["name", "replicas"],
        Kind::Bindings | Kind::Waivers => &["name"],
        Kind::Nodes => &["name", "status", "endpoint", "version", "cpus", "memory", "containers"],
        Kind::All => &["name"],
    }
}

/// The column that a word means, in any case.
pub(super) fn column(kind: Kind, word: &str) -> Result<&'static str, Failure> {
    let known = columns(kind);
    let word = word.to_ascii_lowercase();
    if let Some(column) = known.iter().find(|column| **column == word) {
        return Ok(column);
    }
    let all = known.join(", ");
    let failure = Failure::new(format!("{} have no column `{word}` to sort by", kind.plural()));
    Err(failure.help(match meant(&word, known.iter().copied()) {
        Some(meant) => format!("did you mean `{meant}`? There are {all}"),
        None => format!("there are {all}"),
    }))
}

fn text(text: impl Into<String>) -> By {
    By::Text(text.into())
}

fn first(nodes: &[reconciler::model::ids::Name]) -> By {
    nodes.first().map_or(By::None, |node| text(node.as_str()))
}

pub(super) fn instance(one: &InstanceStatus, column: &str) -> By {
    match column {
        "project" => text(one.key.project.as_str()),
        "status" => text(one.phase.clone()),
        "ready" => By::Number(one.replicas_ready.into()),
        "restarts" => By::Number(one.replicas.iter().map(|one| u64::from(one.restarts)).sum()),
        "age" => {
            let since = one.replicas.iter().filter_map(|replica| replica.since).min();
            since.map_or(By::None, |since| By::Newest(Reverse(since.0)))
        }
        "node" => {
            let node = one.replicas.iter().filter_map(|replica| replica.node.as_ref()).min();
            node.map_or(By::None, |node| text(node.as_str()))
        }
        "image" => text(one.image.clone()),
        _ => text(one.key.to_string()),
    }
}

pub(super) fn image(one: &ImageStatus, column: &str) -> By {
    match column {
        "from" => text(one.from.clone()),
        "content" => one.content.clone().map_or(By::None, By::Text),
        "node" => first(&one.nodes),
        _ => text(one.name.clone()),
    }
}

pub(super) fn volume(one: &VolumeStatus, column: &str) -> By {
    match column {
        "project" => text(one.key.project.as_str()),
        "driver" => text(one.driver.clone()),
        "node" => first(&one.nodes),
        _ => text(one.key.to_string()),
    }
}

pub(super) fn plain(one: &PlainStatus, column: &str) -> By {
    match column {
        "node" => first(&one.nodes),
        "instances" | "replicas" => By::Number(one.used_by.into()),
        _ => text(one.name.clone()),
    }
}

pub(super) fn node(one: &NodeStatus, column: &str) -> By {
    match column {
        "status" => text(one.status.to_ascii_lowercase()),
        "endpoint" => text(one.endpoint.clone()),
        "version" => one.version.clone().map_or(By::None, By::Text),
        "cpus" => one.cpus.map_or(By::None, |cpus| By::Number(cpus.into())),
        "memory" => one.memory.map_or(By::None, By::Number),
        "containers" => By::Number(one.containers.into()),
        _ => text(one.name.as_str()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_column_that_is_not_there_is_told_with_those_that_are() {
        assert_eq!(column(Kind::Instances, "Age").ok(), Some("age"));
        let help = |word| column(Kind::Nodes, word).err().and_then(|failure| failure.help);
        let all = "name, status, endpoint, version, cpus, memory, containers";
        assert_eq!(help("memroy"), Some(format!("did you mean `memory`? There are {all}")));
        assert_eq!(help("colour"), Some(format!("there are {all}")));
    }

    #[test]
    fn the_youngest_stands_first_and_the_unknown_last() {
        let mut all =
            [By::None, By::Newest(Reverse(1)), By::Newest(Reverse(5)), By::Newest(Reverse(3))];
        all.sort();
        let newest = [5, 3, 1].map(|at| By::Newest(Reverse(at)));
        assert_eq!(all[..3], newest);
        assert_eq!(all[3], By::None);
    }
}
