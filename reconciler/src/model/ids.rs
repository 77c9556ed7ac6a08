//! How objects are named: validated names, keys, and the ids that steps and containers carry.

use std::cmp::Ordering;
use std::fmt;
use std::str::FromStr;
use std::sync::Arc;

use serde::{Deserialize, Serialize};

use super::subnet::LINK_BITS;

/// The project of objects that name none.
pub const DEFAULT_PROJECT: &str = "default";

/// Longest name, in bytes: a DNS label, so that every name can be an alias on a network.
pub const NAME_BYTES_MAX: usize = 63;

/// Joins the parts of an engine-side name. Names cannot hold it, so the parts cannot run together.
pub const NAME_JOINT: char = '.';

/// Ends the engine's name of a project's own network.
pub(crate) const OWN_NETWORK_SUFFIX: &str = "._";

/// Stands where the name of a network of a project's own stands: no user can give that name.
const OWN_NETWORK: &str = "_";

/// Begins the name of a link's network, which is the link's name behind it; one that is larger than
/// usual has its size behind another of these.
const LINK_NETWORK: char = '_';

/// Why a text is not a [`Name`].
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum NameError {
    /// The text is empty.
    #[error("a name cannot be empty")]
    Empty,
    /// The text is longer than [`NAME_BYTES_MAX`].
    #[error("a name has at most {NAME_BYTES_MAX} characters, this one has {0}")]
    TooLong(usize),
    /// The text holds a character that no name may hold.
    #[error("a name holds only a-z, 0-9 and `-`, and `{0}` is none of them")]
    Character(char),
    /// The text begins or ends with a hyphen.
    #[error("a name begins and ends with a letter or a digit")]
    Edge,
}

/// A DNS label: `a-z`, `0-9` and inner hyphens, 1 to 63 characters.
///
/// Cheap to clone: large sets hold the same project name thousands of times.
#[derive(Clone, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct Name(Arc<str>);

/// By the text. Clones are told by where it is, as `==` does: sorted sets compare the same project
/// with itself again and again.
impl Ord for Name {
    fn cmp(&self, other: &Self) -> Ordering {
        if Arc::ptr_eq(&self.0, &other.0) { Ordering::Equal } else { self.0.cmp(&other.0) }
    }
}

impl PartialOrd for Name {
    fn partial_cmp(&self, other: &Self) -> Option<Ordering> {
        Some(self.cmp(other))
    }
}

impl Name {
    /// Checks `text` and makes a name of it.
    ///
    /// # Errors
    /// [`NameError`] says which rule the text breaks.
    pub fn new(text: &str) -> Result<Self, NameError> {
        if text.is_empty() {
            return Err(NameError::Empty);
        }
        if text.len() > NAME_BYTES_MAX {
            return Err(NameError::TooLong(text.chars().count()));
        }
        let allowed = |c: char| c.is_ascii_lowercase() || c.is_ascii_digit() || c == '-';
        if let Some(bad) = text.chars().find(|c| !allowed(*c)) {
            return Err(NameError::Character(bad));
        }
        if text.starts_with('-') || text.ends_with('-') {
            return Err(NameError::Edge);
        }
        Ok(Self(Arc::from(text)))
    }

    /// The first of all names in their order.
    #[must_use]
    pub fn first() -> Self {
        Self(Arc::from("0"))
    }

    /// The project of objects that name none.
    #[must_use]
    pub fn default_project() -> Self {
        Self(Arc::from(DEFAULT_PROJECT))
    }

    /// The node that exists where no Node is declared.
    #[must_use]
    pub fn local_node() -> Self {
        Self(Arc::from("local"))
    }

    /// Reads a name that windlass wrote itself, in a journal or on a label. Those of a project's own
    /// network and of a link's are of these, and only of these.
    ///
    /// # Errors
    /// As [`new`](Self::new).
    pub fn recorded(text: &str) -> Result<Self, NameError> {
        if text == OWN_NETWORK || link_and_bits(text).is_some() {
            Ok(Self(Arc::from(text)))
        } else {
            Self::new(text)
        }
    }

    /// The text of the name.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

/// The link whose network has this name, and the size of that network.
fn link_and_bits(network: &str) -> Option<(Name, u8)> {
    let rest = network.strip_prefix(LINK_NETWORK)?;
    let (link, bits) = match rest.split_once(LINK_NETWORK) {
        Some((link, bits)) => (link, bits.parse().ok()?),
        None => (rest, LINK_BITS),
    };
    Some((Name::new(link).ok()?, bits))
}

/// Whether an engine's name of a network is that of a link's.
pub(crate) fn is_link_network(engine_name: &str) -> bool {
    let name = engine_name.split_once(NAME_JOINT).map_or("", |(_, name)| name);
    link_and_bits(name).is_some()
}

impl fmt::Display for Name {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(&self.0)
    }
}

impl fmt::Debug for Name {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Debug::fmt(&*self.0, f)
    }
}

impl FromStr for Name {
    type Err = NameError;
    fn from_str(text: &str) -> Result<Self, NameError> {
        Self::new(text)
    }
}

impl TryFrom<String> for Name {
    type Error = NameError;
    fn try_from(text: String) -> Result<Self, NameError> {
        Self::recorded(&text)
    }
}

impl From<Name> for String {
    fn from(name: Name) -> Self {
        name.0.to_string()
    }
}

/// Names an object inside its project: `project/name`.
///
/// As text, `name` alone means the project `default`.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct Key {
    /// The project that owns the object.
    pub project: Name,
    /// The object's own name, unique in its project and kind.
    pub name: Name,
}

impl Key {
    /// Puts the two parts together.
    #[must_use]
    pub fn new(project: Name, name: Name) -> Self {
        Self { project, name }
    }

    /// The network that a project's instances are on unless they name another one.
    #[must_use]
    pub fn own_network(project: &Name) -> Self {
        Self { project: project.clone(), name: Name(Arc::from(OWN_NETWORK)) }
    }

    /// The network that the two ends of a link are on, where rules cannot be set: with addresses
    /// that share `bits` leading bits.
    #[must_use]
    pub fn link_network(link: &Key, bits: u8) -> Self {
        let size = if bits == LINK_BITS { String::new() } else { format!("{LINK_NETWORK}{bits}") };
        let name = format!("{LINK_NETWORK}{}{size}", link.name);
        Self { project: link.project.clone(), name: Name(Arc::from(name)) }
    }

    /// The link whose network it is, and the length of what its addresses share; `None` for any
    /// other network.
    #[must_use]
    pub fn link_of_network(&self) -> Option<(Key, u8)> {
        let (name, bits) = link_and_bits(self.name.as_str())?;
        Some((Self { project: self.project.clone(), name }, bits))
    }

    /// Whether it is a network that windlass makes by itself: a project's own, or a link's.
    #[must_use]
    pub fn is_built_in_network(&self) -> bool {
        self.name.as_str().starts_with(LINK_NETWORK)
    }

    /// Sorts before all keys of a project.
    pub(crate) fn first_of(project: &Name) -> Self {
        Self { project: project.clone(), name: Name(Arc::from("")) }
    }

    /// Whether it is a project's own network, which nobody declares.
    #[must_use]
    pub fn is_own_network(&self) -> bool {
        self.name.as_str() == OWN_NETWORK
    }

    /// The name that an engine knows the object by: `project.name`.
    #[must_use]
    pub fn engine_name(&self) -> String {
        format!("{}{NAME_JOINT}{}", self.project, self.name)
    }

    /// The object that an engine knows by that name; `None` if it is none of ours.
    #[must_use]
    pub fn of_engine_name(text: &str) -> Option<Self> {
        let (project, name) = text.split_once(NAME_JOINT)?;
        Some(Self { project: Name::new(project).ok()?, name: Name::new(name).ok()? })
    }

    /// Whether `text` is the engine's name of the object, without making a text.
    #[must_use]
    pub fn is_engine_name(&self, text: &str) -> bool {
        text.split_once(NAME_JOINT) == Some((self.project.as_str(), self.name.as_str()))
    }
}

impl fmt::Display for Key {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(&format!("{}/{}", self.project.0, self.name.0))
    }
}

impl fmt::Debug for Key {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{self}")
    }
}

impl FromStr for Key {
    type Err = NameError;
    fn from_str(text: &str) -> Result<Self, NameError> {
        match text.split_once('/') {
            Some((project, name)) => Ok(Self::new(Name::new(project)?, Name::new(name)?)),
            None => Ok(Self::new(Name::default_project(), Name::new(text)?)),
        }
    }
}

impl TryFrom<String> for Key {
    type Error = NameError;
    fn try_from(text: String) -> Result<Self, NameError> {
        match text.split_once('/') {
            Some((project, name)) => Ok(Self::new(Name::new(project)?, Name::recorded(name)?)),
            None => text.parse(),
        }
    }
}

impl From<Key> for String {
    fn from(key: Key) -> Self {
        format!("{}/{}", key.project.0, key.name.0)
    }
}

/// One replica of an instance: `project/name/ordinal`.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct ReplicaKey {
    /// The instance that the replica belongs to.
    pub instance: Key,
    /// Its number, from 0.
    pub ordinal: u32,
}

impl ReplicaKey {
    /// Puts the two parts together.
    #[must_use]
    pub fn new(instance: Key, ordinal: u32) -> Self {
        Self { instance, ordinal }
    }

    /// The container name of one incarnation: `project.name.ordinal.incarnation`.
    #[must_use]
    pub fn container_name(&self, incarnation: u64) -> String {
        let Key { project, name } = &self.instance;
        let ordinal = self.ordinal;
        format!("{project}{NAME_JOINT}{name}{NAME_JOINT}{ordinal}{NAME_JOINT}{incarnation}")
    }
}

impl fmt::Display for ReplicaKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(&format!("{}/{}", self.instance, self.ordinal))
    }
}

impl fmt::Debug for ReplicaKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{self}")
    }
}

/// What an instance asks to run: the name of a declared Image, or a reference as engines take it.
///
/// In records the two are kept apart by a prefix, `image:project/name`, which is no reference: a
/// tag holds no slash.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub enum ImageName {
    /// An object of kind Image.
    Declared(Key),
    /// A reference such as `registry.example/web:1.4`, with its tag or digest always written out.
    Reference(Arc<str>),
}

impl fmt::Display for ImageName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Declared(key) => key.fmt(f),
            Self::Reference(reference) => f.pad(reference),
        }
    }
}

impl TryFrom<String> for ImageName {
    type Error = NameError;
    fn try_from(text: String) -> Result<Self, NameError> {
        match text.strip_prefix("image:").filter(|key| key.contains('/')) {
            Some(key) => key.parse().map(Self::Declared),
            None => Ok(Self::Reference(Arc::from(text))),
        }
    }
}

impl From<ImageName> for String {
    fn from(name: ImageName) -> Self {
        match name {
            ImageName::Declared(key) => format!("image:{}/{}", key.project, key.name),
            ImageName::Reference(reference) => reference.to_string(),
        }
    }
}

/// What a step works on. At most one step of an object is in flight.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum ObjectId {
    /// An image on a node.
    Image {
        /// The node that shall hold it.
        node: Name,
        /// Which image.
        image: ImageName,
    },
    /// A volume on a node.
    Volume {
        /// The node that shall hold it.
        node: Name,
        /// Which volume.
        volume: Key,
    },
    /// A network on a node.
    Network {
        /// The node that shall have it.
        node: Name,
        /// Which network.
        network: Key,
    },
    /// The rules of a node: what may talk to what.
    Fence {
        /// The node.
        node: Name,
    },
    /// The control group of a project on a node: what all its containers there may use.
    Group {
        /// The node.
        node: Name,
        /// The project.
        project: Name,
    },
    /// A replica of an instance, wherever it is placed.
    Replica(ReplicaKey),
}

impl fmt::Display for ObjectId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Image { image, .. } => f.pad(&format!("image {image}")),
            Self::Volume { volume, .. } => f.pad(&format!("volume {volume}")),
            Self::Network { network, .. } if network.is_own_network() => {
                f.pad(&format!("network of project {}", network.project))
            }
            Self::Network { network, .. } => match network.link_of_network() {
                Some((link, _)) => f.pad(&format!("network of link {link}")),
                None => f.pad(&format!("network {network}")),
            },
            Self::Fence { node } => f.pad(&format!("rules of {node}")),
            Self::Group { project, .. } => f.pad(&format!("quota of {project}")),
            Self::Replica(replica) => replica.fmt(f),
        }
    }
}

/// Who owns a container: a random id made once per state directory. What carries another
/// owner's id is foreign, and is never touched.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct OwnerId(pub String);

impl fmt::Display for OwnerId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(&self.0)
    }
}

/// An engine's id of a container.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct ContainerId(pub Arc<str>);

impl fmt::Display for ContainerId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(&self.0)
    }
}

/// An engine's id of an image: the digest of its configuration, `sha256:…`.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct ImageId(pub Arc<str>);

impl fmt::Display for ImageId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(&self.0)
    }
}

/// Hash of all that cannot change in place: 16 hexadecimal digits.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct Revision(pub Arc<str>);

impl fmt::Display for Revision {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(&self.0)
    }
}

/// A SHA-256 digest in hexadecimal digits.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct Digest(pub Arc<str>);

impl Digest {
    /// The digest of `bytes`.
    #[must_use]
    pub fn of(bytes: &[u8]) -> Self {
        use sha2::Digest as _;
        Self(Arc::from(hex(&sha2::Sha256::digest(bytes))))
    }

    /// The first 16 digits: enough to tell the sets of one directory apart.
    #[must_use]
    pub fn short(&self) -> &str {
        self.0.get(..16).unwrap_or(&self.0)
    }
}

impl fmt::Display for Digest {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(&self.0)
    }
}

/// Lower-case hexadecimal digits of `bytes`.
#[must_use]
pub fn hex(bytes: &[u8]) -> String {
    const DIGITS: &[u8; 16] = b"0123456789abcdef";
    let mut text = String::with_capacity(bytes.len() * 2);
    for byte in bytes {
        text.push(char::from(DIGITS[usize::from(byte >> 4)]));
        text.push(char::from(DIGITS[usize::from(byte & 15)]));
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_dns_labels() {
        for good in ["a", "web", "web-1", "0", &"x".repeat(63)] {
            assert!(Name::new(good).is_ok(), "{good}");
        }
        for bad in ["", "_", "Web", "a.b", "-a", "a-", "a_b", "é", &"x".repeat(64)] {
            assert!(Name::new(bad).is_err(), "{bad}");
        }
    }

    #[test]
    fn nobody_can_name_a_projects_own_network() {
        let key = Key::own_network(&Name::new("shop").expect("a name"));
        assert_eq!(key.engine_name(), "shop._");
        assert!("shop/_".parse::<Key>().is_err());
        let text = serde_json::to_string(&key).expect("a text");
        assert_eq!(serde_json::from_str::<Key>(&text).expect("a key"), key);
    }

    #[test]
    fn nobody_can_name_a_links_network() {
        let link: Key = "shop/web-db".parse().expect("a key");
        for (bits, text) in [(28, "shop._web-db"), (26, "shop._web-db_26")] {
            let key = Key::link_network(&link, bits);
            assert_eq!(key.engine_name(), text);
            assert_eq!(key.link_of_network(), Some((link.clone(), bits)));
            assert!(key.is_built_in_network() && !key.is_own_network());
            assert!(text.replace('.', "/").parse::<Key>().is_err());
            let text = serde_json::to_string(&key).expect("a text");
            assert_eq!(serde_json::from_str::<Key>(&text).expect("a key"), key);
        }
        assert_eq!(link.link_of_network(), None);
        assert_eq!(Key::own_network(&link.project).link_of_network(), None);
        for bad in ["__", "_web_", "_web_x", "_Web", "_web_28_1"] {
            assert!(Name::recorded(bad).is_err(), "{bad}");
        }
    }

    #[test]
    fn a_key_without_project_is_in_default() {
        let key: Key = "web".parse().expect("a key");
        assert_eq!(key.to_string(), "default/web");
        assert_eq!(key.engine_name(), "default.web");
        assert!(key.is_engine_name("default.web") && !key.is_engine_name("default.web.0"));
        assert_eq!(ReplicaKey::new(key, 2).container_name(7), "default.web.2.7");
    }
}
