//! The cases of the library: each policy says what its `cases.yaml` expects, asked by the same evaluator
//! as in the loop, of specs that were read like all others.

use std::collections::BTreeMap;
use std::fs;
use std::path::Path;
use std::sync::Arc;

use reconciler::model::ids::Key;
use reconciler::model::policies::PolicySources;
use reconciler::model::spec::policy::{ObjectKind, Point};
use reconciler::model::time::Timestamp;
use reconciler::policy::evaluate::Evaluator;
use reconciler::policy::library::Library;
use reconciler::policy::outcome::{Outcome, Weight};
use reconciler::policy::view::{MaskKey, ObjectRef};
use serde::Deserialize;
use serde_yaml::{Mapping, Value};

use super::library::library;
use crate::hint::Hint;
use crate::manifest;

/// What a policy is asked, and what it shall say.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct Case {
    case: String,
    /// `pass`, `fail`, `info` or `error`.
    verdict: String,
    /// What findings are about.
    #[serde(default)]
    at: Vec<String>,
    /// How many there are.
    findings: Option<usize>,
    #[serde(default)]
    params: Mapping,
    #[serde(default)]
    labels: Mapping,
    /// Volumes that are declared beside it.
    #[serde(default)]
    volumes: Vec<String>,
    /// The spec of an Instance.
    instance: Value,
}

impl Case {
    fn specs(&self, policy: &str) -> String {
        let mut all = format!(
            "apiVersion: windlass/v1\nkind: Instance\nmetadata:\n  name: case\n  labels: {}\nspec: {}\n",
            line(&self.labels),
            line(&self.instance)
        );
        all.push_str(&format!(
            "---\napiVersion: windlass/v1\nkind: PolicyBinding\nmetadata: {{ name: b }}\nspec: {{ policy: {policy}, level: hard, params: {} }}\n",
            line(&self.params)
        ));
        for volume in &self.volumes {
            all.push_str(&format!(
                "---\napiVersion: windlass/v1\nkind: Volume\nmetadata: {{ name: {volume} }}\nspec: {{}}\n"
            ));
        }
        all
    }

    /// What is otherwise than it shall be.
    fn fault(&self, policy: &str, library: &Arc<Library>) -> Option<String> {
        let folder = tempfile::tempdir().expect("a folder");
        fs::write(folder.path().join("case.yaml"), self.specs(policy)).expect("a file");
        let mut loader = manifest::Loader::new(folder.path().to_owned(), BTreeMap::new());
        let reading = loader.read(&Hint::All);
        if !reading.diagnostics.is_empty() {
            return Some(reading.diagnostics.iter().map(ToString::to_string).collect());
        }
        let mut evaluator = Evaluator::new(Arc::clone(library), MaskKey::default());
        evaluator.renew(&reading.specs.desired);
        let evaluation = evaluator.evaluate(Point::Plan, Timestamp(0), |_| None);
        let key: Key = "default/case".parse().expect("a key");
        let object = ObjectRef { kind: ObjectKind::Instance, key };
        let decision = evaluation.decisions.get(&object)?;
        let [verdict] = &*decision.verdicts else {
            return Some(format!("{} verdicts", decision.verdicts.len()));
        };
        let (word, findings) = match &verdict.outcome {
            Outcome::Pass { .. } => ("pass", &[][..]),
            Outcome::Findings(findings) => {
                let denies = findings.iter().any(|finding| finding.weight == Weight::Deny);
                (if denies { "fail" } else { "info" }, &**findings)
            }
            Outcome::Error(_) => ("error", &[][..]),
        };
        let about = findings.iter().filter_map(|finding| finding.at.as_deref());
        let is_right = word == self.verdict
            && self.findings.is_none_or(|count| count == findings.len())
            && (self.at.is_empty() || about.eq(self.at.iter().map(String::as_str)));
        (!is_right).then(|| format!("{verdict}"))
    }
}

/// A value as YAML of one line: JSON is.
fn line(value: &impl serde::Serialize) -> String {
    serde_json::to_string(value).expect("a value")
}

#[test]
fn policies_say_what_their_cases_expect() {
    let found = library();
    assert!(found.problems.is_empty(), "{:?}", found.problems);
    let sources =
        PolicySources { policies: found.policies.clone(), profiles: found.profiles.clone() };
    let library = match Library::new(&sources) {
        Ok(library) => Arc::new(library),
        Err(bad) => {
            panic!("{}", bad.iter().map(ToString::to_string).collect::<Vec<_>>().join("\n"))
        }
    };
    let mut faults = Vec::new();
    for source in &found.policies {
        let id = source.id().expect("an id").to_string();
        let cases = source.cases.as_deref().expect("cases");
        let cases: Vec<Case> = match serde_yaml::from_str(cases) {
            Ok(cases) => cases,
            Err(error) => {
                faults.push(format!("{id}: {error}"));
                continue;
            }
        };
        for verdict in ["pass", "fail"] {
            if !cases.iter().any(|case| case.verdict == verdict) {
                faults.push(format!("{id}: no case is a {verdict}"));
            }
        }
        let found = cases.iter().filter_map(|case| {
            Some(format!("{id}, {}: {}", case.case, case.fault(&id, &library)?))
        });
        faults.extend(found);
        let readme = Path::new(env!("CARGO_MANIFEST_DIR")).join("policies");
        let readme = readme.join(id.to_lowercase()).join("README.md");
        if !fs::read_to_string(&readme).is_ok_and(|text| text.contains("## Source")) {
            faults.push(format!("{id}: its README names no source"));
        }
    }
    assert!(faults.is_empty(), "{} faults:\n{}", faults.len(), faults.join("\n"));
}
