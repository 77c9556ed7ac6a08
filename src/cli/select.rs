//! Label selectors, in the manner of kubectl: `tier=front,zone!=b,canary,!old`.

use std::collections::BTreeMap;

use super::failure::Failure;

/// Conditions on labels; all of them have to hold.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(super) struct Selector(Vec<Label>);

/// A condition on labels.
#[derive(Debug, Clone, PartialEq, Eq)]
enum Label {
    Is(String, String),
    IsNot(String, String),
    Has(String),
    HasNot(String),
}

impl Selector {
    /// Reads a selector.
    pub(super) fn new(text: &str) -> Result<Self, Failure> {
        let label = |part: &str| {
            let part = part.trim();
            let parsed = if let Some((key, value)) = part.split_once("!=") {
                Label::IsNot(key.trim().to_owned(), value.trim().to_owned())
            } else if let Some((key, value)) = part.split_once('=') {
                let value = value.strip_prefix('=').unwrap_or(value);
                Label::Is(key.trim().to_owned(), value.trim().to_owned())
            } else if let Some(key) = part.strip_prefix('!') {
                Label::HasNot(key.trim().to_owned())
            } else {
                Label::Has(part.to_owned())
            };
            let (Label::Is(key, _) | Label::IsNot(key, _) | Label::Has(key) | Label::HasNot(key)) =
                &parsed;
            let is_key = |c: char| c.is_ascii_alphanumeric() || "-_./".contains(c);
            let wrong = match key.as_str() {
                "" => "a key is empty".to_owned(),
                key if !key.chars().all(is_key) => format!("`{key}` is no key of a label"),
                _ => return Ok(parsed),
            };
            let failure = Failure::new(format!("`{text}` selects nothing: {wrong}"));
            Err(failure.help(
                "as in `-l tier=front,zone!=b,canary,!old`: is, is not, has, has not; all of them",
            ))
        };
        text.split(',').map(label).collect::<Result<_, _>>().map(Self)
    }

    /// Whether it asks for nothing.
    pub(super) fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// Whether an object with these labels is selected.
    pub(super) fn selects(&self, labels: &BTreeMap<String, String>) -> bool {
        self.0.iter().all(|label| match label {
            Label::Is(key, value) => labels.get(key) == Some(value),
            Label::IsNot(key, value) => labels.get(key) != Some(value),
            Label::Has(key) => labels.contains_key(key),
            Label::HasNot(key) => !labels.contains_key(key),
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn selectors_are_read() {
        let labels: BTreeMap<String, String> =
            [("tier", "front"), ("zone", "a")].map(|(k, v)| (k.into(), v.into())).into();
        for (text, selects) in [
            ("tier=front", true),
            ("tier==front, zone!=b", true),
            ("tier", true),
            ("!canary,zone", true),
            ("tier=back", false),
            ("tier=front,zone!=a", false),
            ("canary", false),
            ("!tier", false),
            ("canary!=yes", true),
        ] {
            let selector = Selector::new(text).expect(text);
            assert_eq!(selector.selects(&labels), selects, "{text}");
        }
        for wrong in ["a=b,,c", "", "tier in (a)", "=a"] {
            assert!(Selector::new(wrong).is_err(), "{wrong}");
        }
    }
}
