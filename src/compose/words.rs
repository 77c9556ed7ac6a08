//! Texts that mean something to Compose: names, commands, sizes.

use reconciler::model::ids::{NAME_BYTES_MAX, Name};

/// A name of ours that is as close to `text` as can be.
pub(super) fn name(text: &str, fallback: &str) -> String {
    let letter = |c: char| if c.is_ascii_alphanumeric() { c.to_ascii_lowercase() } else { '-' };
    let clean: String = text.chars().map(letter).take(NAME_BYTES_MAX).collect();
    let clean = clean.trim_matches('-');
    if Name::new(clean).is_ok() { clean.to_owned() } else { fallback.to_owned() }
}

/// The words of a command line, as a shell splits it; nothing in it is run. `None` if a quote is
/// not closed.
pub(super) fn split(text: &str) -> Option<Vec<String>> {
    let mut words = Vec::new();
    let mut word: Option<String> = None;
    let mut chars = text.chars().peekable();
    while let Some(c) = chars.next() {
        match c {
            '\'' => {
                let word = word.get_or_insert_default();
                loop {
                    match chars.next()? {
                        '\'' => break,
                        c => word.push(c),
                    }
                }
            }
            '"' => {
                let word = word.get_or_insert_default();
                loop {
                    match chars.next()? {
                        '"' => break,
                        '\\' => match chars.next()? {
                            c @ ('"' | '\\' | '$' | '`') => word.push(c),
                            '\n' => {}
                            c => word.extend(['\\', c]),
                        },
                        c => word.push(c),
                    }
                }
            }
            '\\' => match chars.next()? {
                '\n' => {}
                c => word.get_or_insert_default().push(c),
            },
            c if c.is_whitespace() => words.extend(word.take()),
            c => word.get_or_insert_default().push(c),
        }
    }
    words.extend(word);
    Some(words)
}

/// A size in bytes: `512m`, `1.5gb`, `1024`. All units are powers of 1024.
pub(super) fn size(text: &str) -> Option<u64> {
    let text = text.trim().to_ascii_lowercase();
    let end = text.find(|c: char| !c.is_ascii_digit() && c != '.').unwrap_or(text.len());
    let (digits, unit) = text.split_at(end);
    let unit = match unit.trim() {
        "" | "b" => "",
        "k" | "kb" | "kib" => "Ki",
        "m" | "mb" | "mib" => "Mi",
        "g" | "gb" | "gib" => "Gi",
        "t" | "tb" | "tib" => "Ti",
        _ => return None,
    };
    let bytes: reconciler::model::quantity::Bytes = format!("{digits}{unit}").parse().ok()?;
    Some(bytes.0)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn commands_are_split_as_a_shell_would() {
        let cases = [
            ("nginx -g 'daemon off;'", vec!["nginx", "-g", "daemon off;"]),
            ("sh -c \"echo \\\"hi\\\" \\$HOME\"", vec!["sh", "-c", "echo \"hi\" $HOME"]),
            ("a\\ b  c\n d ''", vec!["a b", "c", "d", ""]),
            ("", vec![]),
        ];
        for (text, expected) in cases {
            assert_eq!(split(text).unwrap(), expected, "{text}");
        }
        assert_eq!(split("echo 'a"), None);
    }

    #[test]
    fn names_and_sizes_are_ours() {
        for (text, clean) in [("Web_App.1", "web-app-1"), ("db", "db"), ("--", "x"), ("_a_", "a")] {
            assert_eq!(name(text, "x"), clean);
        }
        let sizes =
            [("64m", 64 << 20), ("1gb", 1 << 30), ("1.5g", 3 << 29), ("1024", 1024), ("2KB", 2048)];
        for (text, bytes) in sizes {
            assert_eq!(size(text), Some(bytes), "{text}");
        }
        assert_eq!(size("many"), None);
    }
}
