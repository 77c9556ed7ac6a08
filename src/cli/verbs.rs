//! What can be done about nodes and rollouts: the words behind `node` and `rollout`.

use clap::Subcommand;
use clap::builder::FalseyValueParser;

/// What can be done about nodes.
#[derive(Debug, Subcommand)]
pub(super) enum NodeVerb {
    /// List nodes, with what is used of them
    List {
        /// Only these
        #[arg(value_name = "NAME")]
        names: Vec<String>,
    },
    /// Tell all of one node
    Describe {
        /// Which
        #[arg(value_name = "NAME")]
        name: String,
    },
    /// Place nothing new on a node; what is there stays
    Cordon {
        /// Which
        #[arg(value_name = "NAME", required = true)]
        names: Vec<String>,
        /// Why, for those who find it so
        #[arg(long, env = "WINDLASS_REASON", hide_env_values = true, value_name = "TEXT")]
        reason: Option<String>,
    },
    /// Place things on a node again; ends a drain, too
    Uncordon {
        /// Which
        #[arg(value_name = "NAME", required = true)]
        names: Vec<String>,
    },
    /// Place nothing new on a node, and move what can be elsewhere
    #[command(
        after_help = "Each replica is made on another node first, and leaves once it is ready there; no more\n\
                            of an instance at once than its `update.maxUnavailable`. What has a volume or a bind, is\n\
                            pinned, or is a job that runs, stays and is listed. Without a daemon this applies the specs.\n\n\
                            Exit codes: 0 the node is empty, 1 something is left on it, or it took longer than --timeout."
    )]
    Drain {
        /// Which
        #[arg(value_name = "NAME")]
        name: String,
        /// Why, for those who find it so
        #[arg(long, env = "WINDLASS_REASON", hide_env_values = true, value_name = "TEXT")]
        reason: Option<String>,
        /// Only say so, and let a daemon do it
        #[arg(long, env = "WINDLASS_NO_WAIT", hide_env_values = true, value_parser = FalseyValueParser::new())]
        no_wait: bool,
    },
    /// Take another engine in the place of the one that a node was
    #[command(
        after_help = "Names the engine that answers now, and binds to that very one. What the earlier engine held\n\
                            is forgotten: its replicas are made anew here, and the data of its volumes is not carried over."
    )]
    Accept {
        /// Which
        #[arg(value_name = "NAME")]
        name: String,
    },
}

/// What can be done about a rollout.
#[derive(Debug, Subcommand)]
pub(super) enum RolloutVerb {
    /// Tell how a rollout stands, and wait until it is over: exit code 0 if it is good
    Status {
        /// The instance
        #[arg(value_name = "[instance] NAME", required = true)]
        what: Vec<String>,
        /// Tell it, and do not wait
        #[arg(long, env = "WINDLASS_NO_WAIT", hide_env_values = true)]
        no_wait: bool,
    },
    /// List an instance's revisions and what became of them
    History {
        /// The instance
        #[arg(value_name = "[instance] NAME", required = true)]
        what: Vec<String>,
    },
    /// Go back to an earlier revision, until the spec changes
    Undo {
        /// The instance
        #[arg(value_name = "[instance] NAME", required = true)]
        what: Vec<String>,
        /// The number of the revision; the last good one before the present one if not said
        #[arg(long, env = "WINDLASS_TO", hide_env_values = true, value_name = "N")]
        to: Option<u64>,
    },
    /// Let no further replica change its revision; repairs, restarts and scaling go on
    Pause {
        /// The instance
        #[arg(value_name = "[instance] NAME", required = true)]
        what: Vec<String>,
    },
    /// Let a rollout go on that was paused
    Resume {
        /// The instance
        #[arg(value_name = "[instance] NAME", required = true)]
        what: Vec<String>,
    },
    /// Give each replica a new container of the same revision, by turns; jobs run again
    Restart {
        /// The instance
        #[arg(value_name = "[instance] NAME", required = true)]
        what: Vec<String>,
    },
}
