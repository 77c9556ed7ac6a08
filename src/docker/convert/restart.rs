//! The engine's restart policy, as one word: `no`, `always`, `unless-stopped`, `on-failure:3`.

use bollard::models::{RestartPolicy, RestartPolicyNameEnum as Name};

/// The word for a policy.
pub(super) fn word(policy: Option<&RestartPolicy>) -> String {
    let count = policy.and_then(|policy| policy.maximum_retry_count).unwrap_or(0);
    match policy.and_then(|policy| policy.name) {
        None | Some(Name::EMPTY | Name::NO) => "no".to_owned(),
        Some(Name::ALWAYS) => "always".to_owned(),
        Some(Name::UNLESS_STOPPED) => "unless-stopped".to_owned(),
        Some(Name::ON_FAILURE) if count > 0 => format!("on-failure:{count}"),
        Some(Name::ON_FAILURE) => "on-failure".to_owned(),
    }
}

/// The policy for a word; an unknown one is `no`, as windlass restarts by itself.
pub(super) fn policy(word: &str) -> RestartPolicy {
    let (name, count) = word.split_once(':').unwrap_or((word, "0"));
    let name = match name {
        "always" => Name::ALWAYS,
        "unless-stopped" => Name::UNLESS_STOPPED,
        "on-failure" => Name::ON_FAILURE,
        _ => Name::NO,
    };
    RestartPolicy { name: Some(name), maximum_retry_count: Some(count.parse().unwrap_or(0)) }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn words_survive() {
        for text in ["no", "always", "unless-stopped", "on-failure", "on-failure:3"] {
            assert_eq!(word(Some(&policy(text))), text);
        }
        assert_eq!(word(None), "no");
    }
}
