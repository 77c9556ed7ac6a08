//! What of an entry may hold a secret: the texts of specs, wherever they stand. The journal needs
//! them, an export does not.

use reconciler::model::journal::Entry;
use serde_json::{Value, json};
use sha2::Digest as _;

use reconciler::model::ids::hex;

/// Random bytes in a line: more than anybody can try out.
const SALT_BYTES: usize = 16;

/// Random digits for the line of an entry that may hold a secret.
pub(super) fn salt_of(entry: &Entry) -> Result<Option<[u8; SALT_BYTES]>, getrandom::Error> {
    let may_hold_secrets = matches!(
        entry,
        Entry::Text { text: Some(_), .. } | Entry::Kept { .. } | Entry::Checkpoint { .. }
    );
    if !may_hold_secrets {
        return Ok(None);
    }
    let mut salt = [0; SALT_BYTES];
    getrandom::fill(&mut salt)?;
    Ok(Some(salt))
}

/// An entry without what may be secret.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct Masked {
    /// The entry, in which a digest stands for each text.
    pub(super) entry: Value,
    /// Where.
    pub(super) withheld: Vec<&'static str>,
}

/// Masks an entry, given as its JSON; `None` if there is nothing to mask. `sum` is that of its line:
/// it is salted, so the digests that it goes into are, too.
pub(super) fn masked(entry: &[u8], sum: &str) -> Option<Masked> {
    // All that is masked begins so; the others are not parsed.
    let kinds: [(&[u8], &str); 3] =
        [(b"{\"text\":", "text"), (b"{\"kept\":", "kept"), (b"{\"checkpoint\":", "checkpoint")];
    let (_, kind) = kinds.into_iter().find(|(begin, _)| entry.starts_with(begin))?;
    let mut value: Value = serde_json::from_slice(entry).unwrap_or(Value::Null);
    let path: &[&str] = match kind {
        "text" => &["text", "text"],
        "kept" => &["kept", "kept", "text"],
        _ => &["checkpoint", "records"],
    };
    let withheld = match kind {
        "text" => "entry.text.text",
        "kept" => "entry.kept.kept.text",
        _ => "entry.checkpoint.records",
    };
    let at = path.iter().try_fold(&mut value, |value, key| value.get_mut(key));
    match at {
        // A file that is gone has no text.
        Some(Value::Null) => None,
        Some(at) => {
            *at = stand_in(at, sum);
            Some(Masked { entry: value, withheld: vec![withheld] })
        }
        // Of a newer windlass: nobody knows where its secrets are.
        None => Some(Masked { entry: json!({ kind: "withheld" }), withheld: vec!["entry"] }),
    }
}

/// What stands in the place of a secret: how long it is, and a digest that tells it from others.
fn stand_in(secret: &Value, sum: &str) -> Value {
    let text = secret.as_str().map_or_else(|| secret.to_string(), str::to_owned);
    let digest = sha2::Sha256::digest([sum.as_bytes(), text.as_bytes()].concat());
    json!(format!("withheld: {} bytes, digest {}", text.len(), hex(&digest)))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn masked_text(entry: &str) -> String {
        masked(entry.as_bytes(), "5f").map_or_else(String::new, |masked| {
            format!("{} {}", masked.withheld.join(" "), masked.entry)
        })
    }

    #[test]
    fn texts_of_specs_are_masked_wherever_they_stand() {
        for entry in [
            r#"{"text":{"file":"web.yaml","text":"env: { TOKEN: s3cret }"}}"#,
            r#"{"kept":{"instance":"a/b","revision":"1","kept":{"text":"s3cret","content":"c"}}}"#,
            r#"{"checkpoint":{"records":{"texts":{"web.yaml":"s3cret"}}}}"#,
            r#"{"text":["s3cret"]}"#,
        ] {
            let masked = masked_text(entry);
            assert!(masked.starts_with("entry") && masked.contains("withheld"), "{masked}");
            assert!(!masked.contains("s3cret"), "{masked}");
        }
        assert_eq!(masked_text(r#"{"text":{"file":"web.yaml","text":null}}"#), "");
        assert_eq!(masked_text(r#"{"settled":{"managed":1}}"#), "");
    }
}
