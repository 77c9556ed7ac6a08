//! Large sets: how long they take. `cargo test --release --lib large -- --ignored --nocapture`

use std::time::Instant;

use super::{Specs, messages};
use crate::hint::Hint;

fn document(number: usize) -> String {
    // Half of them name what could be a declared Image.
    let image = if number.is_multiple_of(2) { "busybox" } else { "registry.example/app:1.4" };
    format!(
        "apiVersion: windlass/v1\nkind: Instance\nmetadata:\n  name: i{number}\n  project: p{}\nspec:\n  image: {image}\n  resources: {{ cpus: 500m, memory: 64Mi }}\n  env: {{ MODE: production, PORT: 8080 }}\n  ports: [{{ container: 8080 }}]\n",
        number % 100
    )
}

#[test]
#[ignore = "measures; it proves nothing"]
#[expect(clippy::print_stdout, reason = "the figures are what it is for")]
fn ten_thousand_documents() {
    for documents_per_file in [1, 100, 10_000] {
        let mut specs = Specs::new(&[]);
        for file in 0..10_000 / documents_per_file {
            let numbers = file * documents_per_file..(file + 1) * documents_per_file;
            let text = numbers.map(document).collect::<Vec<_>>().join("---\n");
            specs.write(&format!("d{}/f{file}.yaml", file % 10), &text);
        }
        let timed = |specs: &mut Specs, hint: &Hint| {
            let start = Instant::now();
            let reading = specs.loader.read(hint);
            assert_eq!(messages(&reading), [""; 0]);
            assert_eq!(reading.specs.desired.len(), 10_000);
            start.elapsed()
        };
        let first = timed(&mut specs, &Hint::All);
        let racy = timed(&mut specs, &Hint::All);
        let again = timed(&mut specs, &Hint::All);
        let text = std::fs::read_to_string(specs.path("d0/f0.yaml")).unwrap();
        specs.write("d0/f0.yaml", &text.replace("64Mi", "65Mi"));
        let hint = Hint::Paths(vec![specs.path("d0/f0.yaml")]);
        let mut one = timed(&mut specs, &hint);
        // The shortest of several, since other work on the machine only adds to it.
        for memory in 66..100 {
            specs.write("d0/f0.yaml", &text.replace("64Mi", &format!("{memory}Mi")));
            one = one.min(timed(&mut specs, &hint));
        }
        println!(
            "{documents_per_file} documents a file: first {first:?}, again {racy:?} {again:?}, one file {one:?}"
        );
    }
}

#[test]
#[ignore = "measures; it proves nothing"]
#[expect(clippy::print_stdout, reason = "the figures are what it is for")]
fn hostile_texts_of_the_largest_size() {
    let hostile = [
        "[", "{a: ", "- ", "? ", "x", "x ", "\"", "a\n", "---\n", "- a\n", "#", "'a' ", "&a ",
        "*a ", "\n", "!!str ", "a: ", "|\n", "k: v\n",
    ];
    for piece in hostile {
        let text = piece.repeat((4 << 20) / piece.len());
        let mut specs = Specs::new(&[("a.yaml", &text)]);
        let start = Instant::now();
        let reading = specs.read();
        println!("{piece:?}: {:?}, {} errors", start.elapsed(), reading.diagnostics.len());
    }
}
