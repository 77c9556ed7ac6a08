//! `observed.yaml`, as it is written.

use super::*;

#[derive(Deserialize, Default)]
#[serde(rename_all = "camelCase", deny_unknown_fields, default)]
pub(super) struct Observed {
    pub(super) down: bool,
    pub(super) root: String,
    pub(super) policy: String,
    pub(super) nodes: BTreeMap<Name, String>,
    /// Images that no node holds, and that are not resolved.
    pub(super) missing_images: Vec<String>,
    /// Images that are resolved, but that no node holds.
    pub(super) unpulled_images: Vec<String>,
    pub(super) containers: Vec<Container>,
    pub(super) volumes: Vec<Volume>,
    pub(super) networks: Vec<Network>,
    /// Whether projects' own networks have still to be made.
    pub(super) no_own_networks: bool,
    /// The control groups of nodes; nobody looked at those of others.
    pub(super) kernels: BTreeMap<Name, kernel::Kernel>,
    /// What projects' own networks are made from, if not the usual range.
    pub(super) addresses: Option<Net>,
    /// The ranges that were given to projects' own networks.
    pub(super) own_subnets: BTreeMap<Name, Net>,
    /// Projects whose range the engine of n1 refused just now.
    pub(super) refused_subnets: Vec<Name>,
    pub(super) records: BTreeMap<String, Record>,
    /// Whether links cannot be put in force on nodes just now; else they are, as they shall be.
    pub(super) no_rules: bool,
    /// Whether rules cannot be had on nodes.
    pub(super) elsewhere: bool,
    /// Whether it was decided that links have networks of their own.
    pub(super) by_networks: bool,
    /// The addresses that variables of links name.
    pub(super) link_addresses: BTreeMap<Key, Addresses>,
    /// What instances waited for that are no longer declared.
    pub(super) waited_for: BTreeMap<Key, BTreeSet<Key>>,
    /// Instances that have no record at all.
    pub(super) lost_records: Vec<Key>,
    pub(super) volume_records: BTreeMap<Key, bool>,
    pub(super) image_failures: BTreeMap<String, FailureYaml>,
    pub(super) managed: u32,
    pub(super) removed: Vec<String>,
    pub(super) approved: Vec<String>,
    pub(super) in_flight: BTreeMap<String, String>,
    /// Nodes that an operator cordoned: `cordon` or `drain`.
    pub(super) ordered: BTreeMap<Name, String>,
    /// Histories, and what was asked for about rollouts.
    pub(super) rollouts: BTreeMap<Key, rollouts::Rollout>,
    /// The cpus that replicas have for themselves, by node.
    pub(super) cores: BTreeMap<Name, BTreeMap<String, String>>,
    /// Instances, `volume shop/data`, or `project shop`.
    pub(super) suspended: Vec<String>,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub(super) struct Container {
    pub(super) replica: String,
    #[serde(default = "n1")]
    pub(super) node: Name,
    #[serde(default = "one")]
    pub(super) incarnation: u64,
    #[serde(default)]
    pub(super) revision: String,
    #[serde(default)]
    pub(super) state: String,
    /// Which of the host ports of its ranges it has, if not that of its ordinal.
    pub(super) slot: Option<u32>,
    /// How long it has run, or ran.
    #[serde(default = "hour")]
    pub(super) ran_s: u64,
    pub(super) name: Option<String>,
    pub(super) image: Option<String>,
    pub(super) memory: Option<String>,
    pub(super) cpus: Option<String>,
    pub(super) cpuset: Option<String>,
    pub(super) restart_policy: Option<String>,
    #[serde(default)]
    pub(super) health: HealthState,
    /// Why, and for how long.
    #[serde(default)]
    pub(super) health_reason: String,
    #[serde(default = "hour")]
    pub(super) health_s: u64,
    /// Whether its check is still to say something for the first time.
    #[serde(default)]
    pub(super) awaited: bool,
    #[serde(default)]
    pub(super) env: BTreeMap<String, String>,
    /// Its group below its node's own, if not that of its project.
    pub(super) group: Option<String>,
    /// The networks that it is on, by the engine's names.
    pub(super) networks: Option<Vec<String>>,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub(super) struct Volume {
    pub(super) volume: Key,
    #[serde(default = "n1")]
    pub(super) node: Name,
    #[serde(default = "local")]
    pub(super) driver: String,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub(super) struct Network {
    pub(super) network: Key,
    #[serde(default = "n1")]
    pub(super) node: Name,
    #[serde(default = "bridge")]
    pub(super) driver: String,
    #[serde(default)]
    pub(super) copies: Vec<String>,
    /// That of a link's network.
    pub(super) subnet: Option<Net>,
}

#[derive(Deserialize, Default)]
#[serde(rename_all = "camelCase", deny_unknown_fields, default)]
pub(super) struct Record {
    pub(super) node: Option<Name>,
    pub(super) incarnation: Option<u64>,
    pub(super) revision: Option<String>,
    pub(super) unconfirmed: bool,
    pub(super) life: Option<String>,
    pub(super) streak: u32,
    pub(super) restarted_s_ago: i64,
    /// Restarts in a row of a container that has a successor.
    pub(super) earlier: u32,
    pub(super) replaced: u32,
    pub(super) replaced_s_ago: i64,
    /// When a container of its revision was first started.
    pub(super) started_s_ago: Option<i64>,
    pub(super) memory_asked: Option<String>,
    pub(super) cpus_asked: Option<String>,
    pub(super) cpuset_asked: Option<String>,
    pub(super) failure: Option<FailureYaml>,
    /// The networks of links that it was put on, if not those that it is on.
    pub(super) joined: Option<BTreeSet<String>>,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub(super) struct FailureYaml {
    pub(super) step: String,
    pub(super) count: u32,
    pub(super) retry_in_s: i64,
    #[serde(default)]
    pub(super) ago_s: i64,
    /// `current`, `other` or `removal`.
    #[serde(default)]
    pub(super) goal: String,
    #[serde(default)]
    pub(super) name_taken: bool,
    #[serde(default)]
    pub(super) unstartable: bool,
}

pub(super) fn n1() -> Name {
    Name::new("n1").unwrap()
}
pub(super) fn one() -> u64 {
    1
}
pub(super) fn hour() -> u64 {
    3600
}
pub(super) fn bridge() -> String {
    "bridge".to_owned()
}
pub(super) fn local() -> String {
    "local".to_owned()
}
