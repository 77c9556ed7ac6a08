//! `windlass schema` and `windlass explain`, as editors and users call them. No engine is asked.

use std::process::Command;

/// What a command ends with and prints: exit code, standard output, standard error.
fn windlass(args: &[&str]) -> (Option<i32>, String, String) {
    let out = Command::new(env!("CARGO_BIN_EXE_windlass")).args(args).output().expect("it starts");
    let text = |bytes: Vec<u8>| String::from_utf8(bytes).expect("UTF-8");
    (out.status.code(), text(out.stdout), text(out.stderr))
}

#[test]
fn the_schema_is_printed_for_one_kind_and_for_all() {
    let (code, out, _) = windlass(&["schema"]);
    assert_eq!(code, Some(0));
    let schema: serde_json::Value = serde_json::from_str(&out).expect("JSON");
    let kinds: Vec<_> = schema["$defs"].as_object().expect("kinds").keys().collect();
    assert_eq!(
        kinds,
        [
            "Flavor",
            "Image",
            "Instance",
            "Link",
            "Network",
            "Node",
            "PolicyBinding",
            "Project",
            "Volume",
            "Waiver"
        ]
    );
    let (code, out, _) = windlass(&["schema", "instances", "-o", "yaml"]);
    assert_eq!(code, Some(0));
    assert!(out.contains("\ntitle: Instance\n"), "{out}");
    let (code, _, error) = windlass(&["schema", "pod"]);
    assert_eq!(code, Some(1));
    assert!(error.starts_with("error: no kind `pod`; there are Instance, "), "{error}");
}

#[test]
fn fields_are_explained_on_a_pipe_in_plain_lines() {
    let (code, out, error) = windlass(&["explain"]);
    assert_eq!((code, out.lines().count()), (Some(0), 10), "{out}{error}");
    let (code, out, _) = windlass(&["explain", "volume.spec.retain"]);
    let expected = "volume.spec.retain  true or false; default true\n\n  \
                    Whether the data stays when the declaration goes; true if not said.\n";
    assert_eq!((code, out.as_str()), (Some(0), expected));
    let (code, out, error) = windlass(&["explain", "volume.spec.retian"]);
    let expected = "error: no field `retian` in volume.spec\n\
                    help: did you mean `retain`? windlass explain volume.spec.retain\n";
    assert_eq!((code, out.as_str(), error.as_str()), (Some(1), "", expected));
}
