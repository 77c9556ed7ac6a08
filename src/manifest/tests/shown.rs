//! How errors reach people and programs.

use super::super::{Diagnostic, Style, render, summary};
use super::{Specs, instance, messages};

#[test]
fn an_error_is_shown_as_the_design_has_it() {
    let web = instance("web", "busybox");
    let mut specs = Specs::new(&[("shop/web.yaml", &web), ("b.yaml", &instance("b", "busybox"))]);
    specs.read();
    specs.write("shop/web.yaml", &format!("{web}  replica: 3\n"));
    let reading = specs.read();
    let root = specs.folder.path().display().to_string();
    let plain = render(&reading.diagnostics, Style { color: false }).replace(&root, "specs");
    let expected = "\
error: unknown field `replica` in Instance default/web
 --> specs/shop/web.yaml:6:3
  |
6 |   replica: 3
  |   ^^^^^^^ did you mean `replicas`?
  |
  = help: windlass explain instance.spec
";
    assert_eq!(plain, expected);
    let said = summary(&reading.specs, specs.folder.path()).replace(&root, "specs");
    let expected =
        "1 error in 1 of 2 files; the last good version of specs/shop/web.yaml stays in force.";
    assert_eq!(said, expected);
    assert!(render(&reading.diagnostics, Style { color: true }).contains("\u{1b}["));

    let json = serde_json::to_string(&reading.diagnostics).unwrap();
    assert!(json.contains(r#""line":6,"column":3,"width":7,"text":"  replica: 3""#), "{json}");
    let back: Vec<Diagnostic> = serde_json::from_str(&json).unwrap();
    assert_eq!(back, reading.diagnostics);
}

#[test]
fn values_keep_their_text_and_the_field_gives_the_type() {
    let text =
        "  env: { PORT: 8080, DEBUG: true, V: 1.10, NO: no, Q: \"null\" }\n  args: [-p, 80, on]\n";
    let mut specs = Specs::new(&[("a.yaml", &format!("{}{text}", instance("a", "busybox")))]);
    let reading = specs.read();
    assert_eq!(messages(&reading), [""; 0]);
    let a = &reading.specs.desired.instances[&"a".parse().unwrap()].spec;
    let env: Vec<_> = a.env.values().map(String::as_str).collect();
    assert_eq!(env, ["true", "no", "8080", "null", "1.10"]);
    assert_eq!(a.args.as_ref().unwrap(), &["-p", "80", "on"]);
}

#[test]
fn merge_keys_and_aliases_are_applied() {
    let text = "\
apiVersion: windlass/v1
kind: Instance
metadata: { name: a }
spec:
  image: busybox
  env: &base { A: one, B: two }
  labels: { <<: *base, B: three }
  command: &words [sh, -c]
  args: *words
";
    let mut specs = Specs::new(&[("a.yaml", text)]);
    let reading = specs.read();
    assert_eq!(messages(&reading), [""; 0]);
    let a = &reading.specs.desired.instances[&"a".parse().unwrap()].spec;
    assert_eq!((a.labels["A"].as_str(), a.labels["B"].as_str()), ("one", "three"));
    assert_eq!(a.args, a.command);
}
