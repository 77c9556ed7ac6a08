//! Variables: `${NAME:-default}` in a Compose file, and files of `NAME=value`.

use std::collections::{BTreeMap, BTreeSet};

/// Deepest nesting of defaults: `${A:-${B:-${C}}}`. Nobody needs as many, and each costs stack.
const DEPTH_MAX: usize = 16;

/// Where values come from, and what was asked for in vain.
pub(super) struct Vars<'v> {
    /// The environment, which goes first.
    pub(super) environment: &'v dyn Fn(&str) -> Option<String>,
    /// What the file `.env` says.
    pub(super) file: BTreeMap<String, String>,
    /// Variables that nobody set, each with the line that it is first used in.
    pub(super) unset: BTreeMap<String, u32>,
}

impl Vars<'_> {
    /// The value of a variable.
    pub(super) fn get(&self, name: &str) -> Option<String> {
        (self.environment)(name).or_else(|| self.file.get(name).cloned())
    }

    /// `text` with its variables filled in. `$$` stands for a `$`.
    pub(super) fn fill(&mut self, text: &str, line: u32) -> Result<String, String> {
        let mut unset = BTreeSet::new();
        let filled = fill(text, &|name| self.get(name), &mut unset, 0)?;
        for name in unset {
            self.unset.entry(name).or_insert(line);
        }
        Ok(filled)
    }
}

fn fill(
    text: &str,
    get: &dyn Fn(&str) -> Option<String>,
    unset: &mut BTreeSet<String>,
    depth: usize,
) -> Result<String, String> {
    if depth > DEPTH_MAX {
        return Err(format!("more than {DEPTH_MAX} variables inside each other"));
    }
    let mut filled = String::new();
    let mut rest = text;
    while let Some((before, after)) = rest.split_once('$') {
        filled.push_str(before);
        rest = after;
        if let Some(tail) = rest.strip_prefix('$') {
            filled.push('$');
            rest = tail;
        } else if let Some(tail) = rest.strip_prefix('{') {
            let end = closing(tail).ok_or_else(|| format!("`${{` without its `}}` in `{text}`"))?;
            let (inner, tail) = tail.split_at(end);
            filled.push_str(&expand(inner, get, unset, depth)?);
            rest = tail.strip_prefix('}').unwrap_or(tail);
        } else {
            let (name, tail) = rest.split_at(name_end(rest));
            if name.is_empty() {
                filled.push('$');
            } else {
                filled.push_str(&value_of(name, get, unset));
            }
            rest = tail;
        }
    }
    filled.push_str(rest);
    Ok(filled)
}

fn name_end(text: &str) -> usize {
    let word = |c: char| c.is_ascii_alphanumeric() || c == '_';
    if text.starts_with(|c: char| c.is_ascii_digit()) {
        return 0;
    }
    text.find(|c| !word(c)).unwrap_or(text.len())
}

/// Where the brace that was opened before `text` is closed.
fn closing(text: &str) -> Option<usize> {
    let mut depth = 0_usize;
    let mut before = ' ';
    for (at, c) in text.char_indices() {
        match c {
            '{' if before == '$' => depth += 1,
            '}' if depth == 0 => return Some(at),
            '}' => depth -= 1,
            _ => {}
        }
        before = c;
    }
    None
}

/// What stands for `NAME:-default` and its like.
fn expand(
    inner: &str,
    get: &dyn Fn(&str) -> Option<String>,
    unset: &mut BTreeSet<String>,
    depth: usize,
) -> Result<String, String> {
    let (name, rest) = inner.split_at(name_end(inner));
    if name.is_empty() {
        return Err(format!("`${{{inner}}}` names no variable"));
    }
    let (not_empty, operator) = match rest.strip_prefix(':') {
        Some(operator) => (true, operator),
        None => (false, rest),
    };
    let value = get(name).filter(|value| !(not_empty && value.is_empty()));
    let mut word = |text: &str| fill(text, get, unset, depth + 1);
    match (operator.chars().next(), operator.get(1..).unwrap_or("")) {
        (None, _) if !not_empty => Ok(value_of(name, get, unset)),
        (Some('-'), default) => value.map_or_else(|| word(default), Ok),
        (Some('+'), instead) => value.map_or(Ok(String::new()), |_| word(instead)),
        (Some('?'), why) => {
            let why = word(why)?;
            value.ok_or_else(|| format!("the variable `{name}` must be set: {why}"))
        }
        (_, _) => Err(format!("`${{{inner}}}` is in no form that Compose knows")),
    }
}

fn value_of(
    name: &str,
    get: &dyn Fn(&str) -> Option<String>,
    unset: &mut BTreeSet<String>,
) -> String {
    get(name).unwrap_or_else(|| {
        unset.insert(name.to_owned());
        String::new()
    })
}

/// The variables of a file, as Compose reads them: quotes go, comments too, and values may name
/// variables. Lines without a `=` take the value of the environment, and are left out without one.
pub(super) fn of_file(text: &str, outer: &dyn Fn(&str) -> Option<String>) -> Vec<(String, String)> {
    let mut found: Vec<(String, String)> = Vec::new();
    for line in text.lines() {
        let line = line.trim();
        let line = line.strip_prefix("export ").unwrap_or(line).trim_start();
        if line.is_empty() || line.starts_with('#') {
            continue;
        }
        let Some((name, raw)) = line.split_once('=') else {
            found.extend(outer(line).map(|value| (line.to_owned(), value)));
            continue;
        };
        let raw = raw.trim();
        let inside = |quote: char| {
            let rest = raw.strip_prefix(quote)?;
            rest.rfind(quote).and_then(|end| rest.get(..end))
        };
        let value = if let Some(literal) = inside('\'') {
            literal.to_owned()
        } else {
            let quoted = inside('"').map(|text| text.replace("\\n", "\n").replace("\\\"", "\""));
            let bare =
                || raw.split_once(" #").map_or(raw, |(value, _)| value).trim_end().to_owned();
            let value = quoted.unwrap_or_else(bare);
            let get = |name: &str| {
                let earlier = found.iter().rev().find(|(known, _)| known == name);
                earlier.map(|(_, value)| value.clone()).or_else(|| outer(name))
            };
            fill(&value, &get, &mut BTreeSet::new(), 0).unwrap_or(value)
        };
        found.push((name.trim().to_owned(), value));
    }
    found
}

/// Whether a file of variables says the same to windlass, which takes each value as it stands.
pub(super) fn is_literal(text: &str) -> bool {
    text.lines().all(|line| {
        let line = line.trim_end();
        let Some((name, value)) = line.split_once('=') else {
            return line.is_empty() || line.starts_with('#');
        };
        let plain = |text: &str| !text.contains(['"', '\'', '$', '#', '\\']) && text.trim() == text;
        line.starts_with('#') || plain(name) && plain(value) && !name.contains(char::is_whitespace)
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn variables_are_filled_in_as_compose_has_it() {
        let get = |name: &str| match name {
            "TAG" => Some("1.4".to_owned()),
            "EMPTY" => Some(String::new()),
            _ => None,
        };
        let mut vars = Vars { environment: &get, file: BTreeMap::new(), unset: BTreeMap::new() };
        let cases = [
            ("web:$TAG", "web:1.4"),
            ("web:${TAG}-x", "web:1.4-x"),
            ("${EMPTY:-a}${EMPTY-b}", "a"),
            ("${NONE:-a}${NONE-b}${NONE:-${TAG}}", "ab1.4"),
            ("${TAG:+set}${NONE+set}", "set"),
            ("${TAG:?needed}", "1.4"),
            ("$$TAG $1 100$", "$TAG $1 100$"),
            ("a${GONE}b$LOST", "ab"),
        ];
        for (text, expected) in cases {
            assert_eq!(vars.fill(text, 7).as_deref(), Ok(expected), "{text}");
        }
        assert_eq!(vars.unset.keys().collect::<Vec<_>>(), ["GONE", "LOST"]);
        let why = vars.fill("${NONE:?say which}", 1).unwrap_err();
        assert_eq!(why, "the variable `NONE` must be set: say which");
        for bad in ["${", "${}", "${A", "${A!b}", "${-a}"] {
            assert!(vars.fill(bad, 1).is_err(), "{bad}");
        }
        let deep = format!("{}{}", "${A:-".repeat(1000), "}".repeat(1000));
        assert!(vars.fill(&deep, 1).is_err());
    }

    #[test]
    fn files_of_variables_are_read_as_compose_has_it() {
        let text = "# top\nA=1\nexport B=\"two $A\"\nC='$A'\nD=x # tail\n\nHOST\nE=\n";
        let found = of_file(text, &|name| (name == "HOST").then(|| "here".to_owned()));
        let shown: Vec<String> =
            found.iter().map(|(name, value)| format!("{name}={value}")).collect();
        assert_eq!(shown, ["A=1", "B=two 1", "C=$A", "D=x", "HOST=here", "E="]);
        assert!(is_literal("A=1\n# b\n\nB=two words\n"));
        for other in ["A=\"1\"\n", "A=$B\n", "A\n", "A=b # c\n", "export A=1\n"] {
            assert!(!is_literal(other), "{other}");
        }
    }
}
