//! What may stand in a store: of an earlier windlass, of a later one, or damaged.

use std::collections::BTreeMap;
use std::path::Path;
use std::sync::Arc;

use reconciler::model::ids::{Key, Name, ReplicaKey};
use reconciler::model::observed::ObservedContainer;
use reconciler::model::record::Records;
use reconciler::usage::Series;

use super::diff;
use super::usage::fuzzing::{block, marks};
use super::values::{Changes, Gathered, Values};

/// Reads the lines of an input as keys with their values: `instance/shop/web`, a tabulator, the version, a
/// tabulator, JSON. A key that begins with `usage/` has a value of what was used, in hexadecimal digits.
pub(crate) fn records(input: &[u8]) {
    let store = Values { path: Path::new("/state/store") };
    let mut gathered = Gathered::default();
    for line in input.split(|byte| *byte == b'\n') {
        let mut parts = line.splitn(3, |byte| *byte == b'\t');
        let (Some(key), Some(version), Some(json)) = (parts.next(), parts.next(), parts.next())
        else {
            continue;
        };
        if key.starts_with(b"usage/") {
            used(json);
            continue;
        }
        let version = std::str::from_utf8(version).ok().and_then(|digits| digits.parse().ok());
        let value: Vec<u8> = version.into_iter().chain(json.iter().copied()).collect();
        if key.starts_with(b"observed/") {
            if let Ok(container) = store.decode::<ObservedContainer>(key, &value) {
                let again = serde_json::to_vec(&container).expect("JSON");
                let again: ObservedContainer = serde_json::from_slice(&again).expect("as written");
                assert_eq!(again, container, "what is written is what is read");
            }
        } else if let Err(trouble) = store.gather(key, &value, &mut gathered) {
            assert!(!trouble.error.to_string().is_empty(), "what is wrong is said");
        }
    }
    let Gathered { records, .. } = gathered;
    let mut again = Gathered::default();
    let mut changes = Changes::default();
    for write in diff(&Records::default(), &records) {
        changes.add(&write).expect("JSON");
    }
    for (key, value) in changes.0 {
        let value = value.expect("nothing is removed");
        store
            .gather(&key, &value, &mut again)
            .map_err(|trouble| trouble.error)
            .expect("as written");
    }
    assert_eq!(again.records, records, "what is written is what is read");
    let json = serde_json::to_vec(&records).expect("a checkpoint");
    let again: Records = serde_json::from_slice(&json).expect("as written");
    assert_eq!(again, records, "so it is in checkpoints");
}

/// Reads what was used, of series that are known.
fn used(digits: &[u8]) {
    let bytes: Vec<u8> = digits
        .chunks(2)
        .map_while(|pair| u8::from_str_radix(std::str::from_utf8(pair).ok()?, 16).ok())
        .collect();
    let replica = ReplicaKey::new(Key::new(Name::default_project(), Name::local_node()), 0);
    let series = Series { replica, node: Name::local_node(), flavor: None::<Arc<str>> };
    let names = BTreeMap::from([(0, series)]);
    block(&bytes);
    marks(&bytes, &names);
}
