//! Image references as registries have them: `[host[:port]/]path[:tag][@digest]`.

/// Longest reference that engines accept, without tag and digest.
const NAME_CHARS_MAX: usize = 255;

/// Longest tag, by the specification of registries.
const TAG_CHARS_MAX: usize = 128;

/// Checks a reference and writes its tag out: `busybox` becomes `busybox:latest`. The name stays
/// as short as it was written.
///
/// # Errors
/// What is wrong, for a label.
pub(crate) fn normalise(text: &str) -> Result<String, String> {
    let (rest, digest) = match text.split_once('@') {
        Some((rest, digest)) => (rest, Some(digest)),
        None => (text, None),
    };
    // A colon after the last slash begins a tag; one before it belongs to the host's port.
    let base = rest.rfind('/').map_or(0, |slash| slash + 1);
    let (name, tag) = match rest.get(base..).and_then(|last| last.find(':')) {
        Some(colon) => (rest.get(..base + colon).unwrap_or(""), rest.get(base + colon + 1..)),
        None => (rest, None),
    };
    check_name(name)?;
    if let Some(tag) = tag {
        check_tag(tag)?;
    }
    if let Some(digest) = digest {
        check_digest(digest)?;
    }
    if tag.is_none() && digest.is_none() {
        return Ok(format!("{text}:latest"));
    }
    Ok(text.to_owned())
}

fn check_name(name: &str) -> Result<(), String> {
    if name.is_empty() {
        return Err("the name of an image is missing".to_owned());
    }
    if name.len() > NAME_CHARS_MAX {
        return Err(format!("an image's name has at most {NAME_CHARS_MAX} characters"));
    }
    let mut parts = name.split('/').peekable();
    let is_host = |part: &str| part.contains(['.', ':']) || part == "localhost";
    if name.contains('/') && parts.peek().is_some_and(|first| is_host(first)) {
        check_host(parts.next().unwrap_or(""))?;
    }
    for part in parts {
        check_part(part)?;
    }
    Ok(())
}

fn check_host(host: &str) -> Result<(), String> {
    // An address of IP version 6 stands in brackets.
    let (name, port) = match host.strip_prefix('[').and_then(|rest| rest.split_once(']')) {
        Some((_, port)) => ("", port.strip_prefix(':')),
        None => match host.split_once(':') {
            Some((name, port)) => (name, Some(port)),
            None => (host, None),
        },
    };
    if port.is_some_and(|port| port.parse::<u16>().is_err()) {
        return Err(format!("`{host}` has no valid port"));
    }
    let inner = |c: char| c.is_ascii_alphanumeric() || c == '-' || c == '_';
    let good = |label: &str| {
        !label.is_empty()
            && label.chars().all(inner)
            && !label.starts_with('-')
            && !label.ends_with('-')
    };
    if !host.starts_with('[') && !name.split('.').all(good) {
        return Err(format!("`{host}` is no registry's host name"));
    }
    Ok(())
}

fn check_part(part: &str) -> Result<(), String> {
    if part.is_empty() {
        return Err("an image's name has a part between slashes that is empty".to_owned());
    }
    if part.chars().any(|c| c.is_ascii_uppercase()) {
        return Err(format!("an image's name is in lower case: `{}`", part.to_lowercase()));
    }
    let letter = |c: char| c.is_ascii_lowercase() || c.is_ascii_digit();
    if let Some(bad) = part.chars().find(|c| !letter(*c) && !matches!(c, '.' | '_' | '-')) {
        return Err(format!("an image's name cannot hold `{bad}`"));
    }
    // Between letters stand one point, one or two underscores, or any number of hyphens.
    let joints = part.split(letter).filter(|joint| !joint.is_empty());
    let good = |joint: &str| matches!(joint, "." | "_" | "__") || joint.chars().all(|c| c == '-');
    let edge = |c: Option<char>| c.is_some_and(letter);
    if !edge(part.chars().next()) || !edge(part.chars().next_back()) || !joints.clone().all(good) {
        return Err(format!("`{part}` begins, ends or is joined in a way that no image's name is"));
    }
    Ok(())
}

fn check_tag(tag: &str) -> Result<(), String> {
    let word = |c: char| c.is_ascii_alphanumeric() || c == '_';
    let good = tag.chars().next().is_some_and(word)
        && tag.chars().all(|c| word(c) || c == '.' || c == '-')
        && tag.len() <= TAG_CHARS_MAX;
    if good { Ok(()) } else { Err(format!("`{tag}` is no valid tag")) }
}

fn check_digest(digest: &str) -> Result<(), String> {
    let (method, digits) = digest.split_once(':').unwrap_or((digest, ""));
    let length = match method {
        "sha256" => 64,
        "sha512" => 128,
        _ => return Err("a digest begins with `sha256:`".to_owned()),
    };
    let hex = |c: char| c.is_ascii_digit() || ('a'..='f').contains(&c);
    if digits.len() != length || !digits.chars().all(hex) {
        return Err(format!("a {method} digest has {length} digits, each 0-9 or a-f"));
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn references_are_checked_and_tags_written_out() {
        let digest = format!("sha256:{}", "6f".repeat(32));
        for (text, whole) in [
            ("busybox", "busybox:latest"),
            ("busybox:1.36", "busybox:1.36"),
            ("registry.example/shop/web:1.4", "registry.example/shop/web:1.4"),
            ("localhost:5000/web", "localhost:5000/web:latest"),
            ("[::1]:5000/web", "[::1]:5000/web:latest"),
            ("a__b/c-d.e", "a__b/c-d.e:latest"),
        ] {
            assert_eq!(normalise(text).as_deref(), Ok(whole));
        }
        let pinned = format!("registry.example/db@{digest}");
        assert_eq!(normalise(&pinned).as_deref(), Ok(&*pinned));
        for bad in [
            "",
            "Web",
            "web:",
            "web:-1",
            "a//b",
            "/a",
            "a/",
            "web@sha256:12",
            "web@md5:00",
            "a b",
            "host:x/web",
            "a..b",
            "-a",
            "ba\u{e9}",
        ] {
            assert!(normalise(bad).is_err(), "{bad}");
        }
    }
}
