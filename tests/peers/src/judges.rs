//! Who judges: each has its questions ready, since none of them is asked how fast it reads JSON.

use std::collections::{BTreeMap, BTreeSet};
use std::str::FromStr as _;
use std::sync::Arc;

use cedar_policy::{Authorizer, Context, Entities, EntityUid, PolicyId, PolicySet, Request};
use reconciler::policy::outcome::Outcome;
use reconciler::policy::script::{Program, Script, Surroundings};
use reconciler::policy::view::Object;
use regorus::Rc;
use regorus::languages::rego::compiler::Compiler;
use regorus::rvm::RegoVM;

use crate::specs::Sample;

const RHAI: &str = include_str!("../../../reconciler/tests/policy/seventeen.rhai");
const REGO: &str = include_str!("seventeen.rego");
const CEDAR: &str = include_str!("seventeen.cedar");
const ENTRY: &str = "data.seventeen.deny";

/// What is found wrong with a spec: the messages of the checks that it breaks.
pub(crate) type Verdict = BTreeSet<String>;

/// One of them, with its policy and all questions.
pub(crate) trait Judge {
    /// What it is called.
    fn name(&self) -> &'static str;

    /// Asks the question of that number.
    fn ask(&mut self, number: usize) -> Result<(), String>;

    /// What it says to that.
    fn verdict(&mut self, number: usize) -> Result<Verdict, String>;
}

/// All of them; windlass comes first.
pub(crate) fn judges(samples: &[Sample]) -> Result<Vec<Box<dyn Judge>>, String> {
    Ok(vec![
        Box::new(Windlass::new(samples)?),
        Box::new(Interpreted::new(samples)?),
        Box::new(Compiled::new(samples)?),
        Box::new(Cedar::new(samples)?),
    ])
}

struct Windlass {
    program: Program,
    around: Surroundings,
    objects: Vec<Arc<Object>>,
}

impl Windlass {
    fn new(samples: &[Sample]) -> Result<Self, String> {
        let script = Script::compile(RHAI).map_err(|wrong| format!("{wrong:?}"))?;
        let program = Program::new(&Arc::new(script), &BTreeMap::new())?;
        let objects = samples.iter().map(|sample| Arc::clone(&sample.object)).collect();
        Ok(Self { program, around: Surroundings::default(), objects })
    }
}

impl Judge for Windlass {
    fn name(&self) -> &'static str {
        "windlass"
    }

    fn ask(&mut self, number: usize) -> Result<(), String> {
        std::hint::black_box(self.program.check(&self.objects[number], &self.around));
        Ok(())
    }

    fn verdict(&mut self, number: usize) -> Result<Verdict, String> {
        match self.program.check(&self.objects[number], &self.around).outcome {
            Outcome::Pass { .. } => Ok(Verdict::new()),
            Outcome::Findings(findings) => {
                Ok(findings.into_iter().map(|finding| finding.message).collect())
            }
            Outcome::Error(failure) => Err(failure.to_string()),
        }
    }
}

fn inputs(samples: &[Sample]) -> Result<Vec<regorus::Value>, String> {
    let value = |sample: &Sample| {
        regorus::Value::from_json_str(&sample.json.to_string()).map_err(|error| error.to_string())
    };
    samples.iter().map(value).collect()
}

fn messages(value: &regorus::Value) -> Result<Verdict, String> {
    let set = value.as_set().map_err(|error| error.to_string())?;
    let text = |item: &regorus::Value| {
        item.as_string().map(ToString::to_string).map_err(|error| error.to_string())
    };
    set.iter().map(text).collect()
}

/// regorus as its documents show it.
struct Interpreted {
    engine: regorus::Engine,
    inputs: Vec<regorus::Value>,
}

impl Interpreted {
    fn new(samples: &[Sample]) -> Result<Self, String> {
        let mut engine = regorus::Engine::new();
        engine
            .add_policy("seventeen.rego".to_owned(), REGO.to_owned())
            .map_err(|error| error.to_string())?;
        Ok(Self { engine, inputs: inputs(samples)? })
    }

    fn eval(&mut self, number: usize) -> Result<regorus::Value, String> {
        self.engine.set_input(self.inputs[number].clone());
        self.engine.eval_rule(ENTRY.to_owned()).map_err(|error| error.to_string())
    }
}

impl Judge for Interpreted {
    fn name(&self) -> &'static str {
        "regorus"
    }

    fn ask(&mut self, number: usize) -> Result<(), String> {
        self.eval(number).map(|value| drop(std::hint::black_box(value)))
    }

    fn verdict(&mut self, number: usize) -> Result<Verdict, String> {
        messages(&self.eval(number)?)
    }
}

/// regorus with its policy compiled for its machine, which is kept from one question to the next.
struct Compiled {
    machine: RegoVM,
    inputs: Vec<regorus::Value>,
}

impl Compiled {
    fn new(samples: &[Sample]) -> Result<Self, String> {
        let mut engine = regorus::Engine::new();
        engine
            .add_policy("seventeen.rego".to_owned(), REGO.to_owned())
            .map_err(|error| error.to_string())?;
        let entry: Rc<str> = ENTRY.into();
        let policy = engine.compile_with_entrypoint(&entry).map_err(|error| error.to_string())?;
        let program = Compiler::compile_from_policy(&policy, &[ENTRY])
            .map_err(|error| format!("{error:?}"))?;
        let mut machine = RegoVM::new();
        machine.load_program(program);
        Ok(Self { machine, inputs: inputs(samples)? })
    }

    fn eval(&mut self, number: usize) -> Result<regorus::Value, String> {
        self.machine.set_input(self.inputs[number].clone());
        self.machine.execute().map_err(|error| format!("{error:?}"))
    }
}

impl Judge for Compiled {
    fn name(&self) -> &'static str {
        "regorus, compiled"
    }

    fn ask(&mut self, number: usize) -> Result<(), String> {
        self.eval(number).map(|value| drop(std::hint::black_box(value)))
    }

    fn verdict(&mut self, number: usize) -> Result<Verdict, String> {
        messages(&self.eval(number)?)
    }
}

struct Cedar {
    authorizer: Authorizer,
    policies: PolicySet,
    entities: Entities,
    requests: Vec<Request>,
    names: BTreeMap<PolicyId, String>,
}

impl Cedar {
    fn new(samples: &[Sample]) -> Result<Self, String> {
        let policies = PolicySet::from_str(CEDAR).map_err(|error| error.to_string())?;
        let names = policies
            .policies()
            .filter_map(|policy| Some((policy.id().clone(), policy.annotation("id")?.to_owned())))
            .collect();
        let uid = |text: &str| EntityUid::from_str(text).map_err(|error| error.to_string());
        let (user, action) = (uid("User::\"loop\"")?, uid("Action::\"create\"")?);
        let request = |sample: &Sample| {
            let context = Context::from_json_value(context(&sample.json), None)
                .map_err(|error| error.to_string())?;
            let resource = uid("Instance::\"web\"")?;
            Request::new(user.clone(), action.clone(), resource, context, None)
                .map_err(|error| error.to_string())
        };
        let requests = samples.iter().map(request).collect::<Result<_, _>>()?;
        let (authorizer, entities) = (Authorizer::new(), Entities::empty());
        Ok(Self { authorizer, policies, entities, requests, names })
    }
}

/// The spec with numbers in the place of lists.
fn context(spec: &serde_json::Value) -> serde_json::Value {
    let mut context = spec.clone();
    for (list, name) in [("volumes", "mount"), ("ports", "port")] {
        let items = context[list].as_array().cloned().unwrap_or_default();
        for (number, item) in items.into_iter().enumerate() {
            context[format!("{name}{number}")] = item;
        }
        if let Some(fields) = context.as_object_mut() {
            fields.remove(list);
        }
    }
    context
}

impl Judge for Cedar {
    fn name(&self) -> &'static str {
        "cedar"
    }

    fn ask(&mut self, number: usize) -> Result<(), String> {
        let Self { authorizer, policies, entities, requests, .. } = self;
        std::hint::black_box(authorizer.is_authorized(&requests[number], policies, entities));
        Ok(())
    }

    fn verdict(&mut self, number: usize) -> Result<Verdict, String> {
        let Self { authorizer, policies, entities, requests, names } = self;
        let response = authorizer.is_authorized(&requests[number], policies, entities);
        if let Some(error) = response.diagnostics().errors().next() {
            return Err(error.to_string());
        }
        // The one that permits has no name, and counts only where nothing forbids.
        Ok(response.diagnostics().reason().filter_map(|id| names.get(id).cloned()).collect())
    }
}
