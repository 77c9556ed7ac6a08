//! Compose files as outsiders may write them.

use std::collections::BTreeSet;
use std::path::Path;

use super::parts;
use crate::compose::{World, import};
use crate::manifest::fuzzing::written;

/// Makes specs of a Compose file; a second part is a file beside it. What is made is YAML, whatever was
/// read.
pub(super) fn compose(input: &[u8]) {
    let parts = parts(input, 2);
    let texts: Vec<_> = parts.iter().map(|part| String::from_utf8_lossy(part)).collect();
    let [text, rest @ ..] = texts.as_slice() else { return };
    let environment = |name: &str| match name {
        "TAG" => Some("1.4".to_owned()),
        "HOME" => Some("/root".to_owned()),
        _ => None,
    };
    let read = |_: &Path| match rest.first() {
        Some(text) => Ok(text.to_string()),
        None => Err("it is not there".to_owned()),
    };
    let exists = |path: &Path| path.ends_with(".env") && !rest.is_empty();
    for target in [None, Some(Path::new("/srv/shop/specs"))] {
        let world = World {
            folder: Path::new("/srv/shop"),
            target,
            environment: &environment,
            read: &read,
            exists: &exists,
            profiles: &BTreeSet::from(["extra".to_owned()]),
        };
        match import(text, "compose.yaml", &world) {
            Ok(made) => {
                for (name, text) in made.files {
                    assert!(
                        written(&text).is_ok(),
                        "{name} is no YAML: {:?}\n{text}",
                        written(&text)
                    );
                }
                made.notes.iter().for_each(|note| assert!(!note.to_string().is_empty()));
            }
            Err(refused) => assert!(!refused.to_string().is_empty(), "what is wrong is said"),
        }
    }
}
