//! What can be written on the command line. Every flag has a twin in the environment.

use std::net::SocketAddr;
use std::path::PathBuf;

use clap::builder::FalseyValueParser;
use clap::{Args, Parser, Subcommand, ValueEnum};
use reconciler::model::quantity::Span;
use reconciler::model::subnet::Net;

use super::audit::{AuditVerb, When as Moment};
pub(super) use super::format::{Format, Output, When};
use super::policy::PolicyVerb;
use super::show::usage::SortBy;
use super::verbs::{NodeVerb, RolloutVerb};
use super::wait::For;
use crate::app::Retention;

/// Holds containers to the state that the YAML specs of a directory declare.
#[derive(Debug, Parser)]
#[command(
    name = "windlass",
    version,
    max_term_width = 100,
    propagate_version = true,
    subcommand_required = true,
    arg_required_else_help = true,
    after_help = "`windlass up DIR` holds a directory; `windlass plan DIR` shows what it would do.\n\
                  WINDLASS_LOG=debug tells on standard error what windlass does."
)]
pub(super) struct Cli {
    #[command(flatten)]
    pub(super) global: Global,
    #[command(subcommand)]
    pub(super) verb: Verb,
}

/// Flags that every verb takes.
#[derive(Debug, Clone, Args)]
pub(super) struct Global {
    /// The directory of specs, or one file [default: ./specs]
    #[arg(long, global = true, env = "WINDLASS_SPECS", hide_env_values = true, value_name = "DIR", help_heading = GLOBAL)]
    pub(super) specs: Option<PathBuf>,
    /// The directory of the state [default: /var/lib/windlass for root, else ~/.local/state/windlass]
    #[arg(long, global = true, env = "WINDLASS_STATE", hide_env_values = true, value_name = "DIR", help_heading = GLOBAL)]
    pub(super) state: Option<PathBuf>,
    /// The range that networks of projects are made from; one that has its network keeps it [default: 10.144.0.0/12]
    #[arg(long, global = true, env = "WINDLASS_ADDRESSES", hide_env_values = true, value_name = "RANGE", help_heading = GLOBAL)]
    pub(super) addresses: Option<Net>,
    /// The directory of own policies, beside those that are built in [default: ./policies, if it is there]
    #[arg(long, global = true, env = "WINDLASS_POLICIES", hide_env_values = true, value_name = "DIR", help_heading = GLOBAL)]
    pub(super) policies: Option<PathBuf>,
    /// How much of the journal is kept: `size=1Gi`, `age=400d`, `segments=100`, joined by commas, or `all` [default: size=256Mi]
    #[arg(long, global = true, env = "WINDLASS_AUDIT_KEEP", hide_env_values = true, value_name = "BOUNDS", help_heading = GLOBAL)]
    pub(super) audit_keep: Option<Retention>,
    /// How answers are written
    #[arg(
        id = "output", short = 'o', long = "output", global = true, env = "WINDLASS_OUTPUT", hide_env_values = true,
        value_name = "FORMAT", default_value = "text", hide_default_value = true, help_heading = GLOBAL
    )]
    pub(super) asked: Output,
    /// The same, for verbs that write no reports
    #[arg(skip)]
    pub(super) output: Format,
    /// When to use colour; NO_COLOR turns it off too
    #[arg(
        long, global = true, env = "WINDLASS_COLOR", hide_env_values = true, value_name = "WHEN",
        default_value = "auto", hide_default_value = true, help_heading = GLOBAL
    )]
    pub(super) color: When,
    /// Only say what is wrong, and what was asked for
    #[arg(
        short, long, global = true, env = "WINDLASS_QUIET", hide_env_values = true, help_heading = GLOBAL,
        value_parser = FalseyValueParser::new()
    )]
    pub(super) quiet: bool,
    /// Do not ask back
    #[arg(
        short, long, global = true, env = "WINDLASS_YES", hide_env_values = true, help_heading = GLOBAL,
        value_parser = FalseyValueParser::new()
    )]
    pub(super) yes: bool,
    /// How long to wait for an end, as `90s` [default: 5m; 1m for what only looks]
    #[arg(long, global = true, env = "WINDLASS_TIMEOUT", hide_env_values = true, value_name = "TIME", help_heading = GLOBAL)]
    pub(super) timeout: Option<Span>,
}

const GLOBAL: &str = "Global options";

/// The verbs.
#[derive(Debug, Subcommand)]
pub(super) enum Verb {
    /// Hold everything to its declared state, until Ctrl-C; containers run on then
    Up {
        #[command(flatten)]
        dir: Dir,
        /// How often to look what containers use, for `usage`; 0s for never [default: 10s]
        #[arg(long, env = "WINDLASS_USAGE_EVERY", hide_env_values = true, value_name = "TIME")]
        usage_every: Option<Span>,
        /// Serve metrics at http://ADDRESS/metrics, as `127.0.0.1:9464`; anybody who gets there reads them
        #[arg(long, env = "WINDLASS_METRICS", hide_env_values = true, value_name = "ADDRESS")]
        metrics: Option<SocketAddr>,
    },
    /// Bring everything to its declared state once, or apply a saved plan
    #[command(
        after_help = "A saved plan (`windlass plan --out FILE`) is applied as it stands, with its own \
                            specs directory unless --specs names one, or refused: if a spec, a container, a \
                            record or a node is not as it was, nothing is done. If a step is needed under \
                            way that the plan does not list, it stops there. A DIR that is a saved plan is \
                            taken as --plan."
    )]
    Apply {
        #[command(flatten)]
        dir: Dir,
        /// The directory of specs, or one file
        #[arg(
            short,
            long,
            env = "WINDLASS_FILE",
            hide_env_values = true,
            value_name = "DIR|FILE",
            conflicts_with = "dir"
        )]
        file: Option<PathBuf>,
        /// Apply this saved plan: the steps that it lists, and no others
        #[arg(long, env = "WINDLASS_PLAN", hide_env_values = true, value_name = "FILE", conflicts_with_all = ["dir", "file"])]
        plan: Option<PathBuf>,
        /// Only show what would be done, as `plan` does
        #[arg(long, env = "WINDLASS_DRY_RUN", hide_env_values = true, value_parser = FalseyValueParser::new())]
        dry_run: bool,
    },
    /// Show what would be done, and do nothing
    #[command(
        after_help = "`-` reads the whole set from standard input; files that it names have absolute paths.\n\n\
                            Signs:  + create   ~ change in place   -/+ replace   - remove   \
                            > prepare\n        ! drift    ? unknown           x refused    \
                            .. waits    = suspended\n\n\
                            Exit codes: 0, or 1 for an error; with --detailed-exitcode 0 nothing to \
                            do, 1 error, 2 changes."
    )]
    Plan {
        #[command(flatten)]
        dir: Dir,
        /// Exit with 0 if there is nothing to do, 1 on an error, 2 if there are changes
        #[arg(long, env = "WINDLASS_DETAILED_EXITCODE", hide_env_values = true, value_parser = FalseyValueParser::new())]
        detailed_exitcode: bool,
        /// Show every step as well
        #[arg(long, env = "WINDLASS_STEPS", hide_env_values = true, value_parser = FalseyValueParser::new())]
        steps: bool,
        /// Save the plan, for `apply --plan FILE`; it holds no values of variables and no files.
        /// (-o is the format of what is printed)
        #[arg(long, env = "WINDLASS_OUT", hide_env_values = true, value_name = "FILE")]
        out: Option<PathBuf>,
    },
    /// Print a saved plan again
    Show {
        /// The file that `windlass plan --out` wrote
        #[arg(value_name = "FILE")]
        file: PathBuf,
    },
    /// Show field by field what is not as declared
    #[command(
        after_help = "`-` reads the whole set from standard input; files that it names have absolute paths.\n\n\
                            Exit codes: 0 the same, 1 differs, 2 error."
    )]
    Diff {
        #[command(flatten)]
        dir: Dir,
    },
    /// Check the specs, without an engine and without state
    #[command(
        after_help = "`-` reads the whole set from standard input; files that it names have absolute paths."
    )]
    Validate {
        #[command(flatten)]
        dir: Dir,
    },
    /// List instances, images, volumes, networks, links, flavors, projects, policybindings, waivers, nodes, or all of them
    #[command(
        after_help = "Examples:  windlass get instances -l tier=front,zone!=b --sort-by age\n           \
                            windlass get instance web -o json\n           \
                            windlass get all -w"
    )]
    Get {
        /// instances, images, volumes, networks, links, flavors, projects, policybindings, waivers, nodes or all
        #[arg(value_name = "KIND")]
        kind: String,
        /// Only these
        #[arg(value_name = "NAME")]
        names: Vec<String>,
        /// Only objects with these labels: `tier=front,!canary,zone!=b`
        #[arg(
            short = 'l',
            long,
            env = "WINDLASS_SELECTOR",
            hide_env_values = true,
            value_name = "LABELS"
        )]
        selector: Option<String>,
        #[command(flatten)]
        project: Project,
        /// Sort by this column; a wrong one is told with those that there are
        #[arg(long, env = "WINDLASS_SORT_BY", hide_env_values = true, value_name = "COLUMN")]
        sort_by: Option<String>,
        /// Go on, with a line for each object that changes
        #[arg(short, long, env = "WINDLASS_WATCH", hide_env_values = true, value_parser = FalseyValueParser::new())]
        watch: bool,
    },
    /// Show all about one object: how it stands, why, and what it was before
    Describe {
        /// The kind and the name; an instance's name alone is enough
        #[arg(value_name = "[KIND] NAME", num_args = 1..=2, required = true)]
        what: Vec<String>,
    },
    /// Show what containers printed
    Logs {
        /// Instances, `shop/web`, or single replicas of them, `shop/web/0`
        #[arg(value_name = "NAME[/ORDINAL]", required = true)]
        names: Vec<String>,
        /// Go on as lines come
        #[arg(short, long, env = "WINDLASS_FOLLOW", hide_env_values = true, value_parser = FalseyValueParser::new())]
        follow: bool,
        /// Only so many of the last lines of each container
        #[arg(long, env = "WINDLASS_TAIL", hide_env_values = true, value_name = "LINES")]
        tail: Option<u32>,
        /// Only lines of so much last time, as `10m`
        #[arg(long, env = "WINDLASS_SINCE", hide_env_values = true, value_name = "TIME")]
        since: Option<Span>,
        /// Begin each line with its time
        #[arg(short, long, env = "WINDLASS_TIMESTAMPS", hide_env_values = true, value_parser = FalseyValueParser::new())]
        timestamps: bool,
    },
    /// Run a command in a container that runs
    #[command(after_help = "Examples:  windlass exec -it web -- sh\n           \
                            windlass exec shop/web/1 -- cat /etc/hosts\n           \
                            echo x | windlass exec -i web -- cat\n\n\
                            Without an ordinal it is the lowest replica that runs.\n\
                            Exit codes: that of the command; 126 it cannot be run, 127 it is not found,\n\
                            125 windlass or the engine failed, 2 the command line is wrong.")]
    Exec {
        /// An instance, `shop/web`, or one of its replicas, `shop/web/0`
        #[arg(value_name = "INSTANCE[/ORDINAL]")]
        name: String,
        /// Hand our standard input on to it
        #[arg(short = 'i', long)]
        stdin: bool,
        /// Give it a terminal: keys, Ctrl-C and the size of ours are its own
        #[arg(short = 't', long)]
        tty: bool,
        /// As this user: `NAME`, `ID`, either with `:GROUP`
        #[arg(
            short,
            long,
            env = "WINDLASS_EXEC_USER",
            hide_env_values = true,
            value_name = "USER"
        )]
        user: Option<String>,
        /// In this directory
        #[arg(
            short,
            long,
            env = "WINDLASS_EXEC_WORKDIR",
            hide_env_values = true,
            value_name = "DIR"
        )]
        workdir: Option<String>,
        /// With this variable; without a value, it is ours
        #[arg(short, long, value_name = "NAME[=VALUE]")]
        env: Vec<String>,
        /// The program and its arguments
        #[arg(value_name = "COMMAND", last = true, required = true)]
        command: Vec<String>,
    },
    /// Show what windlass did and saw, oldest first
    #[command(after_help = "Examples:  windlass events shop/web --since 10m\n           \
                            windlass events -f -o json\n\n\
                            The source is the journal in the state directory: what was declared and decided,\n\
                            intents before they are carried out, results, failures, ends. It holds no value\n\
                            of a variable. Nodes that do not answer and images on their way are not in it:\n\
                            `windlass up` tells of those. -o json is one document a line.")]
    Events {
        /// Only those of this instance, replica, image, volume or node
        #[arg(value_name = "OBJECT")]
        object: Option<String>,
        /// Go on as they come, while `windlass up` runs
        #[arg(short, long, env = "WINDLASS_FOLLOW", hide_env_values = true, value_parser = FalseyValueParser::new())]
        follow: bool,
        /// Only those of so much last time, as `10m`
        #[arg(long, env = "WINDLASS_SINCE", hide_env_values = true, value_name = "TIME")]
        since: Option<Span>,
    },
    /// Show what containers use just now: processors, memory, processes
    #[command(after_help = "Examples:  windlass top --sort-by memory\n           \
                            windlass top projects\n           \
                            windlass top nodes -o json\n\n\
                            CPU is in cores, taken over one second; shares are those of the limit, of the\n\
                            project's quota, or of what the node has. A node's row is the sum of windlass's own\n\
                            containers on it. IO/S is read and written together; it is known of containers on\n\
                            this host, and other nodes' engines are asked for the rest. On a terminal it is\n\
                            shown anew each second, until Ctrl-C; on a pipe once.")]
    Top {
        /// instances, nodes or projects
        #[arg(value_name = "KIND", default_value = "instances", hide_default_value = true)]
        kind: TopKind,
        /// What uses most stands first; or by name
        #[arg(
            long,
            env = "WINDLASS_TOP_SORT_BY",
            hide_env_values = true,
            value_name = "COLUMN",
            default_value = "name",
            hide_default_value = true
        )]
        sort_by: SortBy,
        /// Show it once, also on a terminal
        #[arg(long, env = "WINDLASS_NO_STREAM", hide_env_values = true, value_parser = FalseyValueParser::new())]
        no_stream: bool,
    },
    /// Show what was used: processor time, memory over time, hours by flavor, shares of quotas
    #[command(after_help = "Examples:  windlass usage --since 24h\n           \
                            windlass usage --project shop --since 2026-11-01 --until 2026-12-01 -o csv\n           \
                            windlass usage --by flavor\n\n\
                            `windlass up` looks each 10 s (--usage-every) what containers on its own host use,\n\
                            and keeps it: by the minute for 2 hours, by 5 minutes for 2 days, by the hour for\n\
                            35 days, by the day for 400. What a container uses between the last look and its\n\
                            end is not in it. It is in no journal: with the state's `usage` directory it is lost.\n\
                            -o is text, wide, json, yaml, name or csv.")]
    Usage {
        #[command(flatten)]
        project: Project,
        /// Only this instance: `shop/web`
        #[arg(long, env = "WINDLASS_INSTANCE", hide_env_values = true, value_name = "NAME")]
        instance: Option<String>,
        /// Only since then: `24h` ago, or 2026-11-30
        #[arg(long, env = "WINDLASS_SINCE", hide_env_values = true, value_name = "TIME")]
        since: Option<Moment>,
        /// Only before then
        #[arg(long, env = "WINDLASS_UNTIL", hide_env_values = true, value_name = "TIME")]
        until: Option<Moment>,
        /// Sum by this
        #[arg(
            long,
            env = "WINDLASS_USAGE_BY",
            hide_env_values = true,
            value_name = "WHAT",
            default_value = "project",
            hide_default_value = true
        )]
        by: UsageBy,
    },
    /// Print all metrics, as `up --metrics` serves them to Prometheus
    Metrics,
    /// Wait until objects are ready, completed or gone; nothing is changed
    #[command(
        after_help = "Examples:  windlass wait --for=condition=Ready web db --timeout 2m\n           \
                            windlass wait --for=completed -l job=nightly\n           \
                            windlass wait --for=delete volume data\n\n\
                            It asks the `windlass up` that runs, else it watches the nodes itself; the specs\n\
                            are then those of its start. A one-shot that failed ends it at once.\n\
                            Exit codes: 0 it came about, 1 it did not within --timeout [default: 1m]."
    )]
    Wait {
        /// condition=Ready, completed, or delete
        #[arg(long = "for", env = "WINDLASS_FOR", hide_env_values = true, value_name = "WHAT")]
        what: For,
        /// Instances or replicas of them; objects of another kind after its name: `node n1`
        #[arg(value_name = "[KIND] OBJECT")]
        objects: Vec<String>,
        /// Those with these labels: `tier=front,!canary,zone!=b`
        #[arg(
            short = 'l',
            long,
            env = "WINDLASS_SELECTOR",
            hide_env_values = true,
            value_name = "LABELS"
        )]
        selector: Option<String>,
        #[command(flatten)]
        project: Project,
    },
    /// Let removals go that are held back; without a digest, show them
    Approve {
        /// The digest that was shown with them, or its first 8 digits at least
        #[arg(value_name = "DIGEST", value_parser = digest)]
        digest: Option<String>,
    },
    /// Leave objects alone: no step of any kind, removal included; without a name, list them
    #[command(after_help = "windlass suspend shop/web shop/api --reason \"under repair\"\n\
                            windlass suspend volume shop/data\n\
                            windlass suspend --project shop\n\n\
                            Only whole instances are suspended, with all their replicas. It is on record until \
                            `windlass resume`, restarts included. `store rebuild` keeps it as long as the \
                            journal or the store can be read.")]
    Suspend {
        /// The kind (instance, volume or project; instance if not said), and names
        #[arg(value_name = "[KIND] NAME")]
        what: Vec<String>,
        /// All of a project, what is declared later included
        #[arg(
            short,
            long,
            env = "WINDLASS_SUSPEND_PROJECT",
            hide_env_values = true,
            value_name = "NAME"
        )]
        project: Option<String>,
        /// Why, for those who find it suspended
        #[arg(long, env = "WINDLASS_REASON", hide_env_values = true, value_name = "TEXT")]
        reason: Option<String>,
    },
    /// Nodes: list them, keep new things off them, empty them
    Node {
        #[command(subcommand)]
        verb: NodeVerb,
    },
    /// Let objects go on that were suspended
    Resume {
        /// The kind (instance, volume or project; instance if not said), and names
        #[arg(value_name = "[KIND] NAME")]
        what: Vec<String>,
        /// A project that was suspended as a whole
        #[arg(
            short,
            long,
            env = "WINDLASS_SUSPEND_PROJECT",
            hide_env_values = true,
            value_name = "NAME"
        )]
        project: Option<String>,
    },
    /// See how a new revision of an instance takes its place, and say how it shall go on
    Rollout {
        /// What to do
        #[command(subcommand)]
        verb: RolloutVerb,
    },
    /// Remove every container that is managed here; volumes stay unless declared otherwise
    Down {
        #[command(flatten)]
        dir: Dir,
    },
    /// The audit trail: what was done, by whom and why, and whether the record of it is whole
    Audit {
        /// What to do
        #[command(subcommand)]
        verb: AuditVerb,
    },
    /// Policies, as files have them: list, test, check and explain them, without an engine
    Policy {
        /// What to do
        #[command(subcommand)]
        verb: PolicyVerb,
    },
    /// Look after the state directory
    Store {
        #[command(subcommand)]
        verb: StoreVerb,
    },
    /// Tell what can stand in a spec: types, defaults, what they mean
    Explain {
        /// A kind and the way to a field: `instance`, `instance.spec.ports`; without it, all kinds
        #[arg(value_name = "KIND[.FIELD…]")]
        path: Option<String>,
    },
    /// Print the grammar of specs as a JSON Schema, for editors
    #[command(
        after_help = "An editor with yaml-language-server takes it by a line at the top of a \
                            spec:\n  # yaml-language-server: $schema=./windlass.schema.json"
    )]
    Schema {
        /// Only documents of this kind; of any kind if not said
        #[arg(value_name = "KIND")]
        kind: Option<String>,
    },
    /// Make specs of what other tools have
    Import {
        #[command(subcommand)]
        verb: ImportVerb,
    },
    /// Print what makes a shell complete windlass's words
    #[command(after_help = "bash:  source <(windlass completion bash)\n\
                            zsh:   windlass completion zsh > \"${fpath[1]}/_windlass\"\n\
                            fish:  windlass completion fish > ~/.config/fish/completions/windlass.fish")]
    Completion {
        /// The shell
        shell: clap_complete::Shell,
    },
    /// Print the version
    Version,
}

/// Which project's objects.
#[derive(Debug, Clone, Args)]
pub(super) struct Project {
    /// Only objects of this project
    #[arg(short, long, env = "WINDLASS_PROJECT", hide_env_values = true, value_name = "NAME")]
    project: Option<String>,
    /// Objects of all projects, even if WINDLASS_PROJECT names one
    #[arg(short = 'A', long)]
    all_projects: bool,
}

impl Project {
    /// The one that is meant, unless all are.
    pub(super) fn meant(self) -> Option<String> {
        self.project.filter(|_| !self.all_projects)
    }
}

/// What `top` lists.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub(super) enum TopKind {
    #[value(aliases = ["instance", "inst", "in"])]
    Instances,
    #[value(aliases = ["node", "no"])]
    Nodes,
    #[value(aliases = ["project", "proj"])]
    Projects,
}

/// What `usage` sums by.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub(super) enum UsageBy {
    Project,
    Instance,
    Flavor,
    Node,
}

/// The directory, as an argument.
#[derive(Debug, Clone, Args)]
pub(super) struct Dir {
    /// The directory of specs, or one file; the same as --specs
    #[arg(value_name = "DIR")]
    pub(super) dir: Option<PathBuf>,
}

/// What can be done with the store.
#[derive(Debug, Subcommand)]
pub(super) enum StoreVerb {
    /// Make the store anew, from the journal or what is left of both; nothing is deleted
    Rebuild {
        /// Take over the containers of this owner, as their label io.windlass.owner says
        #[arg(long, env = "WINDLASS_OWNER", hide_env_values = true, value_name = "ID")]
        owner: Option<String>,
    },
}

/// What can be imported.
#[derive(Debug, Subcommand)]
pub(super) enum ImportVerb {
    /// Make specs of a Compose file; what cannot be carried over is listed
    #[command(
        after_help = "Exit codes: 0 imported; 1 with --strict if anything could not be carried \
                            over, or if what was made is not right yet."
    )]
    Compose {
        /// The Compose file; `-` reads standard input
        file: PathBuf,
        /// The directory to write to, a file a service; standard output without it, or with `-`
        #[arg(value_name = "DIR")]
        dir: Option<PathBuf>,
        /// Take services of this profile in; `*` for all
        #[arg(
            long = "profile",
            env = "COMPOSE_PROFILES",
            hide_env_values = true,
            value_name = "NAME",
            value_delimiter = ','
        )]
        profiles: Vec<String>,
        /// Exit with 1 if anything could not be carried over
        #[arg(long, env = "WINDLASS_STRICT", hide_env_values = true, value_parser = FalseyValueParser::new())]
        strict: bool,
        /// Write over files that are there
        #[arg(long, env = "WINDLASS_FORCE", hide_env_values = true, value_parser = FalseyValueParser::new())]
        force: bool,
    },
}

/// Fewer digits could mean another set than the one that was shown.
const DIGEST_DIGITS_MIN: usize = 8;

fn digest(text: &str) -> Result<String, String> {
    if text.len() < DIGEST_DIGITS_MIN || !text.bytes().all(|digit| digit.is_ascii_hexdigit()) {
        return Err(format!(
            "a digest is at least {DIGEST_DIGITS_MIN} hexadecimal digits; `windlass approve` shows it"
        ));
    }
    Ok(text.to_ascii_lowercase())
}
