//! A chain: the steps of one object that are under way, one after the other.

use std::collections::{BTreeSet, VecDeque};

use crate::model::ids::{Digest, Name};
use crate::model::time::Timestamp;
use crate::plan::ChangeKind;
use crate::step::Action;

/// The steps of one object that are under way.
#[derive(Debug)]
pub(super) struct Chain {
    pub(super) node: Name,
    pub(super) goal: Digest,
    /// Tells whether it is the same as another one; none if it may be repeated at will.
    pub(super) signature: Option<Digest>,
    pub(super) cause: String,
    pub(super) change: ChangeKind,
    pub(super) steps: VecDeque<Action>,
    pub(super) state: ChainState,
    /// Containers that were touched, by the id or name that the steps used.
    pub(super) touched: BTreeSet<String>,
    /// Containers that its steps made or removed, by their ids: what is heard of them is no news.
    pub(super) known: BTreeSet<String>,
    /// Containers of its replica that something happened to meanwhile, by their ids. Most are those
    /// that it touched; one that is not was made by an earlier call that nobody waited for any more.
    pub(super) heard_of: BTreeSet<String>,
}

/// How far a chain has come.
#[derive(Debug)]
pub(super) enum ChainState {
    /// Its intents are not durable yet.
    Committing { ticket: u64 },
    /// The first of its steps runs.
    Running { since: Timestamp },
    /// What it touched is being looked at.
    Looking { since: Timestamp, waiting: BTreeSet<String>, list: bool },
}

impl Chain {
    pub(super) fn clock_was_put_back(&mut self, now: Timestamp) {
        match &mut self.state {
            ChainState::Committing { .. } => {}
            ChainState::Running { since } | ChainState::Looking { since, .. } => {
                *since = now.min(*since);
            }
        }
    }

    /// Whether its steps were over before that instant.
    pub(super) fn is_over_before(&self, asked_at: Timestamp) -> bool {
        matches!(&self.state, ChainState::Looking { since, .. } if asked_at > *since)
    }

    pub(super) fn waits_for(&self, ticket: u64) -> bool {
        matches!(self.state, ChainState::Committing { ticket: waits } if waits == ticket)
    }

    /// Whether it counts against the node's limit of steps under way.
    pub(super) fn takes_a_place(&self) -> bool {
        match self.state {
            ChainState::Committing { .. } => self.steps.iter().any(takes_a_place),
            ChainState::Running { .. } => self.steps.iter().any(takes_a_place),
            ChainState::Looking { .. } => false,
        }
    }
}

/// Whether an action works the engine. One that only waits (for a container to end, for bytes to
/// arrive) holds no place that others could use.
pub(super) fn takes_a_place(action: &Action) -> bool {
    match action {
        Action::PullImage { .. } | Action::StopContainer { .. } => false,
        Action::LoadImage { .. }
        | Action::ImportImage { .. }
        | Action::CreateVolume { .. }
        | Action::RemoveVolume { .. }
        | Action::CreateNetwork { .. }
        | Action::RemoveNetwork { .. }
        | Action::RemoveCopy { .. }
        | Action::ConnectNetwork { .. }
        | Action::DisconnectNetwork { .. }
        | Action::PutFiles { .. }
        | Action::SetRules { .. }
        | Action::SetGroup { .. }
        | Action::SetHosts { .. }
        | Action::CreateContainer { .. }
        | Action::StartContainer { .. }
        | Action::PauseContainer { .. }
        | Action::UnpauseContainer { .. }
        | Action::UpdateContainer { .. }
        | Action::RenameContainer { .. }
        | Action::RemoveContainer { .. } => true,
    }
}
