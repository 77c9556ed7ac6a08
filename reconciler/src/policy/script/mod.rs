//! Scripts: text in, a program out that can be run about one thing after the other.
//!
//! A [`Script`] is a text that was read, checked and compiled once; its name is the SHA-256 of the
//! text. A [`Program`] is a script with the parameters of a binding. A run has the limits of
//! [`limits`], sees the functions of [`language`] and nothing else, and ends in a
//! [`Judgement`]: whatever goes wrong is one of its outcomes.

pub(crate) mod fault;
pub(crate) mod language;
pub mod limits;
pub(crate) mod reading;
pub(crate) mod run;
mod trace;

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;
use std::sync::Arc;

use rhai::{AST, CallFnOptions, Dynamic, Engine, Module, OptimizationLevel, Scope};
use serde_json::Value;

pub use self::run::Surroundings;
pub use self::trace::Statement;

use self::fault::{Failure, FailureKind, of_parsing, of_running};
use self::run::{Run, Said};
use self::trace::Trace;
use super::inventory::Inventory;
use super::meta::PolicyMeta;
use super::outcome::{Judgement, Outcome};
use super::params;
use super::verbs::Note;
use super::view::asked::{ACTION, AskedAction, AskedDrift, DRIFT};
use super::view::table::Thing;
use super::view::{Object, Record};
use crate::model::ids::Digest;

/// Where a script is entered. Each function takes one thing.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Entry {
    /// One declared object.
    Check,
    /// The whole set.
    Set,
    /// An action, before it is done.
    Action,
    /// Drift, before it is repaired.
    Drift,
}

impl Entry {
    /// All of them.
    pub const ALL: [Self; 4] = [Self::Check, Self::Set, Self::Action, Self::Drift];

    /// The name of the function.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Check => "check",
            Self::Set => "check_set",
            Self::Action => "check_action",
            Self::Drift => "check_drift",
        }
    }
}

/// What is not of the language. `switch` compares without asking for types, `try` would hide errors,
/// closures and pointers to functions hide what is called, and `?.` passes over what is absent.
const DISABLED: [&str; 18] = [
    "eval",
    "import",
    "export",
    "try",
    "catch",
    "switch",
    "Fn",
    "call",
    "curry",
    "this",
    "print",
    "debug",
    "type_of",
    "is_def_fn",
    "is_def_var",
    "is_shared",
    "?.",
    "?[",
];

/// Functions that people look for, and that are left out on purpose.
const FORBIDDEN: [&str; 9] =
    ["sleep", "timestamp", "print", "debug", "eval", "exit", "call", "type_of", "open_file"];

/// Binds as the engine's own `??` did.
const OR_ELSE_PRECEDENCE: u8 = 135;

/// An engine with all limits. `params` is what scripts see under that name.
fn engine(params: Module, operations: u64) -> Engine {
    language::fix_seed();
    let mut engine = Engine::new_raw();
    engine
        .set_optimization_level(OptimizationLevel::None)
        .set_strict_variables(true)
        .set_allow_shadowing(false)
        .set_allow_anonymous_fn(false)
        .set_fail_on_invalid_map_property(true)
        // The fast way compares values of different types, and says that it is false.
        .set_fast_operators(false)
        .set_max_operations(operations)
        .set_max_call_levels(limits::CALL_LEVELS_MAX)
        .set_max_expr_depths(limits::EXPRESSION_LEVELS_MAX, limits::FUNCTION_EXPRESSION_LEVELS_MAX)
        .set_max_string_size(limits::STRING_BYTES_MAX)
        .set_max_array_size(limits::LIST_ITEMS_MAX)
        .set_max_map_size(limits::MAP_ENTRIES_MAX)
        .set_max_variables(limits::VARIABLES_MAX)
        .set_max_functions(limits::FUNCTIONS_MAX);
    for symbol in DISABLED {
        engine.disable_symbol(symbol);
    }
    engine.disable_symbol("??");
    let taken = engine.register_custom_operator("??", OR_ELSE_PRECEDENCE).err();
    debug_assert_eq!(taken, None, "`??` was disabled just before");
    engine.on_progress(|operations| {
        run::count(operations);
        None
    });
    engine.register_global_module(language::module());
    engine.register_global_module(Arc::new(params));
    engine
}

/// Whether an engine uses our operators. If it did not find them it would use its own, which say
/// that things are unequal where they should refuse to compare them, and rules would pass.
fn is_strict(engine: &Engine) -> bool {
    ["1 == \"1\"", "\"500m\" > 2"].iter().all(|text| {
        let compared = engine.eval_expression::<Dynamic>(text);
        compared.is_err_and(|error| of_running(&error).kind == FailureKind::Type)
    })
}

/// A script that was checked and compiled.
pub struct Script {
    meta: PolicyMeta,
    text: Arc<str>,
    digest: Digest,
    ast: AST,
    entries: BTreeSet<Entry>,
    trace: Option<Trace>,
}

impl fmt::Debug for Script {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Script({} {})", self.meta.id, self.digest.short())
    }
}

impl Script {
    /// Reads, checks and compiles a script.
    ///
    /// # Errors
    /// All that is wrong with it, each with its line.
    pub fn compile(text: &str) -> Result<Self, Vec<Failure>> {
        Self::compile_as(text, false)
    }

    /// The same, with a trace: [`statements`](Self::statements) says which of them runs came by.
    ///
    /// # Errors
    /// As for [`compile`](Self::compile).
    pub fn compile_traced(text: &str) -> Result<Self, Vec<Failure>> {
        Self::compile_as(text, true)
    }

    fn compile_as(text: &str, traced: bool) -> Result<Self, Vec<Failure>> {
        if text.len() > limits::SCRIPT_BYTES_MAX {
            let (long, most) = (text.len(), limits::SCRIPT_BYTES_MAX);
            let message = format!("the script has {long} bytes, and {most} at most are read");
            return Err(vec![Failure::at(FailureKind::Limit, message, None, None)]);
        }
        let meta = PolicyMeta::read(text)?;
        let mut code = reading::read(text, &meta)?;
        let mut trace = None;
        if traced {
            let (marked, marks) = Trace::mark(text, &code).map_err(|failure| vec![failure])?;
            (code, trace) = (marked, Some(marks));
        }
        let mut scope = Scope::new();
        scope.push_constant("params", ());
        let engine = engine(Module::new(), limits::OPERATIONS_MAX);
        if !is_strict(&engine) {
            let message = "the engine compares what is not alike; this is an error of windlass";
            return Err(vec![Failure::at(FailureKind::Runtime, message.to_owned(), None, None)]);
        }
        let ast =
            engine.compile_with_scope(&scope, code).map_err(|error| vec![of_parsing(&error)])?;
        let mut entries = BTreeSet::new();
        let mut wrong = Vec::new();
        for function in ast.iter_functions() {
            let entry = Entry::ALL.into_iter().find(|entry| entry.as_str() == function.name);
            match (entry, function.params.len()) {
                (Some(entry), 1) => {
                    entries.insert(entry);
                }
                (Some(entry), count) => {
                    let name = entry.as_str();
                    let message = format!("`{name}` takes one thing, and here it takes {count}");
                    wrong.push(Failure::at(FailureKind::Parse, message, None, None));
                }
                (None, _) => {}
            }
        }
        if entries.is_empty() && wrong.is_empty() {
            let names = Entry::ALL.map(Entry::as_str).join(", ");
            let message = format!("the script is never entered: it has none of {names}");
            wrong.push(Failure::at(FailureKind::Parse, message, None, None));
        }
        if !wrong.is_empty() {
            return Err(wrong);
        }
        let digest = Digest::of(text.as_bytes());
        Ok(Self { meta, text: Arc::from(text), digest, ast, entries, trace })
    }

    /// What its header says.
    #[must_use]
    pub fn meta(&self) -> &PolicyMeta {
        &self.meta
    }

    /// Its text.
    #[must_use]
    pub fn text(&self) -> &Arc<str> {
        &self.text
    }

    /// The SHA-256 of its text.
    #[must_use]
    pub fn digest(&self) -> &Digest {
        &self.digest
    }

    /// Where it can be entered.
    #[must_use]
    pub fn entries(&self) -> &BTreeSet<Entry> {
        &self.entries
    }

    /// Its statements, and which of them runs of any of its programs came by; none if it is not
    /// traced.
    #[must_use]
    pub fn statements(&self) -> Vec<Statement> {
        self.trace.as_ref().map(Trace::statements).unwrap_or_default()
    }
}

/// A script with the parameters of a binding, ready to run. Runs do not know of each other: they
/// may be in any order, and at the same time.
pub struct Program {
    script: Arc<Script>,
    params: BTreeMap<String, Value>,
    params_digest: Digest,
    engine: Engine,
    set_engine: Engine,
}

impl fmt::Debug for Program {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Program({:?} with {:?})", self.script, self.params)
    }
}

impl Program {
    /// `script` with these parameters; what is not set is as the script has it.
    ///
    /// # Errors
    /// The first parameter that is wrong.
    pub fn new(script: &Arc<Script>, set: &BTreeMap<String, Value>) -> Result<Self, String> {
        let specs = &script.meta.params;
        let params = params::fill(specs, set)?;
        let module = || -> Result<Module, String> {
            let mut module = params::module(specs, &params)?;
            if let Some(trace) = &script.trace {
                trace.register(&mut module);
            }
            Ok(module)
        };
        let (module, set_module) = (module()?, module()?);
        let times = if script.trace.is_some() { trace::OPERATIONS_TIMES } else { 1 };
        let words = serde_json::to_vec(&params).unwrap_or_default();
        Ok(Self {
            script: Arc::clone(script),
            params,
            params_digest: Digest::of(&words),
            engine: engine(module, limits::OPERATIONS_MAX * times),
            set_engine: engine(set_module, limits::SET_OPERATIONS_MAX * times),
        })
    }

    /// The script.
    #[must_use]
    pub fn script(&self) -> &Arc<Script> {
        &self.script
    }

    /// The value of every parameter.
    #[must_use]
    pub fn params(&self) -> &BTreeMap<String, Value> {
        &self.params
    }

    /// Digest of the parameters.
    #[must_use]
    pub fn params_digest(&self) -> &Digest {
        &self.params_digest
    }

    /// What it says of one declared object.
    #[must_use]
    pub fn check(&self, object: &Arc<Object>, around: &Surroundings) -> Judgement {
        self.run(Entry::Check, Dynamic::from(Record::of(object)), around)
    }

    /// What it says of the whole set.
    #[must_use]
    pub fn check_set(&self, set: &Inventory, around: &Surroundings) -> Judgement {
        let around = Surroundings { inventory: Some(set.clone()), ..around.clone() };
        self.run(Entry::Set, Dynamic::from(set.clone()), &around)
    }

    /// What it says of an action.
    #[must_use]
    pub fn check_action(&self, action: &Arc<AskedAction>, around: &Surroundings) -> Judgement {
        let root: Arc<Thing> = Arc::<AskedAction>::clone(action);
        self.run(Entry::Action, Dynamic::from(Record::plain(root, "action", &ACTION)), around)
    }

    /// What it says of drift.
    #[must_use]
    pub fn check_drift(&self, drift: &Arc<AskedDrift>, around: &Surroundings) -> Judgement {
        let root: Arc<Thing> = Arc::<AskedDrift>::clone(drift);
        self.run(Entry::Drift, Dynamic::from(Record::plain(root, "drift", &DRIFT)), around)
    }

    /// Runs one of its functions about `subject`.
    pub(crate) fn run(&self, entry: Entry, subject: Dynamic, around: &Surroundings) -> Judgement {
        let engine = match entry {
            Entry::Set => &self.set_engine,
            Entry::Check | Entry::Action | Entry::Drift => &self.engine,
        };
        let run = Run::new(around);
        let options = CallFnOptions::new().eval_ast(false).with_tag(run.clone());
        let mut scope = Scope::new();
        run::count(0);
        let returned = engine.call_fn_with_options::<Dynamic>(
            options,
            &mut scope,
            &self.script.ast,
            entry.as_str(),
            (subject,),
        );
        let operations = run::counted();
        let said = run.finish();
        let failure = match returned {
            Ok(value) if value.is_unit() || value.is::<Note>() => None,
            Ok(value) => Some(Failure::at(
                FailureKind::BadReturn,
                format!(
                    "`{}` returned {}: what counts is what it denies",
                    entry.as_str(),
                    language::type_of(&value)
                ),
                None,
                None,
            )),
            Err(error) => Some(of_running(&error)),
        };
        let Said { asked_for_time, asked_for_facts, asserted, .. } = said;
        let done = |outcome| Judgement {
            operations,
            asked_for_time,
            asked_for_facts,
            ..Judgement::of(outcome)
        };
        match failure {
            Some(failure) => done(Outcome::Error(failure)),
            None => {
                let outcome = if said.findings.is_empty() {
                    Outcome::Pass { asserted }
                } else {
                    Outcome::Findings(said.findings)
                };
                Judgement { patches: said.patches, response: said.response, ..done(outcome) }
            }
        }
    }
}
