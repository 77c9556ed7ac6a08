//! Mangled texts: whatever stands in a file, reading it ends, and its places are in the text.

use std::path::Path;
use std::sync::Arc;

use proptest::prelude::*;

use super::super::problem::Lines;
use super::super::version::{Beside, Version};

const SET: &str = include_str!("design.yaml");

/// Pieces that mean something to YAML, and some that do not.
const PIECES: [&str; 24] = [
    "\n", "  ", "\t", ": ", "- ", "[", "]", "{", "}", ",", "\"", "'", "|\n", ">-\n", "&a ", "*a",
    "<<: ", "--- ", "\n---\n", "# ", "!!str ", "? ", "é", "\u{feff}",
];

/// Reads `text`, and makes diagnostics of all that is wrong with it.
fn read(text: &str) {
    let none = |_: &Path| Err("none".to_owned());
    let nothing = |_: &Path| Err("none".to_owned());
    let beside = Beside { digest: &none, content: &nothing };
    let version = Version::read(Arc::from(text), Path::new("/"), &beside);
    let lines = Lines::new(text);
    for problem in &version.problems {
        let diagnostic = lines.diagnostic("f", problem, str::to_owned);
        assert!(diagnostic.place.line >= 1, "{problem:?}");
        let shown = super::super::render(&[diagnostic], Default::default());
        assert!(shown.starts_with("error: "), "{shown}");
    }
}

proptest! {
    #[test]
    fn mangled_specs_are_read_to_the_end(
        edits in prop::collection::vec((any::<prop::sample::Index>(), 0..PIECES.len(), 0..9_usize), 1..8),
    ) {
        let mut text: Vec<char> = SET.chars().collect();
        for (at, piece, cut) in edits {
            let at = at.index(text.len() + 1);
            let end = (at + cut).min(text.len());
            text.splice(at..end, PIECES[piece].chars());
        }
        read(&text.into_iter().collect::<String>());
    }

    #[test]
    fn noise_is_read_to_the_end(pieces in prop::collection::vec(0..PIECES.len(), 0..60)) {
        read(&pieces.into_iter().map(|piece| PIECES[piece]).collect::<String>());
    }
}
