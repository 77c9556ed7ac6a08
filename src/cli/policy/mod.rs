//! `windlass policy`: policies at a desk or in CI. One file a verb; none of them needs an engine, a
//! daemon or a state.
//!
//! Read `world` first (policies and specs, as files have them), then `judge` (what policies say of a set,
//! as a report), then a verb.

mod check;
mod coverage;
mod explain;
mod judge;
mod list;
mod report;
mod test;
mod tested;
mod world;

use std::path::PathBuf;

use clap::builder::FalseyValueParser;
use clap::{Args, Subcommand};
use reconciler::model::spec::policy::Point;

use super::args::Output;
use super::audit::When;
use super::{Context, Dir, Ended};

/// What these verbs end with if there is no verdict.
pub(super) const NO_VERDICT: u8 = 3;

const CODES: &str = "Exit codes: 0 pass, 1 fail, 2 undefined (nothing was asked), 3 error.";

/// What can be done with policies.
#[derive(Debug, Subcommand)]
pub(super) enum PolicyVerb {
    /// List the policies that there are, built in and own, and which bindings put them in force
    List,
    /// Ask policies what their cases ask, and compare what they say
    #[command(after_help = "windlass policy test                          own policies\n\
                      windlass policy test --all --coverage          the built-in library, too\n\
                      windlass policy test -o junit > cases.xml\n\n\
                      Coverage counts statements: `a() && b()` is one, two in a line are two. With\n\
                      --min-coverage each policy has to reach it.\n\
                      Formats: text, wide (all cases), json, yaml, sarif, junit, markdown, html, github.\n\
                      Exit codes: 0 pass, 1 fail, 2 undefined (no cases), 3 error.")]
    Test {
        /// The directory of own policies; the same as --policies
        #[arg(value_name = "DIR")]
        dir: Option<PathBuf>,
        /// The policies that are built in, too
        #[arg(long, env = "WINDLASS_POLICY_ALL", hide_env_values = true, value_parser = FalseyValueParser::new())]
        all: bool,
        /// Only this policy; may be said more than once
        #[arg(
            long,
            env = "WINDLASS_POLICY",
            hide_env_values = true,
            value_name = "ID",
            value_delimiter = ','
        )]
        policy: Vec<String>,
        /// Tell which statements no case reaches, and which ways to end
        #[arg(long, env = "WINDLASS_COVERAGE", hide_env_values = true, value_parser = FalseyValueParser::new())]
        coverage: bool,
        /// Fail where less than this share of a policy's statements is reached, in percent
        #[arg(long, env = "WINDLASS_MIN_COVERAGE", hide_env_values = true, value_name = "PERCENT", value_parser = clap::value_parser!(u8).range(0..=100))]
        min_coverage: Option<u8>,
    },
    /// Ask the policies that the specs bind about all that the specs declare, as a plan would be
    #[command(after_help = format!(
        "windlass policy check specs/ -o sarif > policy.sarif\n\
         windlass policy check specs/ --profile baseline --strict\n\n\
         `-` reads the whole set from standard input.\n\
         Formats: text, wide (passes too), json, yaml, sarif, junit, markdown, html, policyreport, github.\n{CODES}"
    ))]
    Check(Asked),
    /// The same at the point scan: what levels for audits say of the set
    #[command(after_help = format!(
        "Levels are those that bindings set for the point scan.\n\
         Formats: text, wide (passes too), json, yaml, sarif, junit, markdown, html, policyreport, github.\n{CODES}"
    ))]
    Scan(Asked),
    /// Tell what policies say of one object and why, or what a policy asks for
    #[command(after_help = "windlass policy explain Instance/shop/web\n\
                            windlass policy explain CIS-5.5")]
    Explain {
        /// An object (`Instance/shop/web`, `shop/web`, `web`), a policy or a profile
        #[arg(value_name = "OBJECT|POLICY")]
        what: String,
        #[command(flatten)]
        time: Time,
    },
    /// Tell what no policy looks at, which bindings match nothing, and which policies nobody binds
    Coverage {
        #[command(flatten)]
        dir: Dir,
    },
}

/// What is asked, and how strictly.
#[derive(Debug, Args)]
pub(super) struct Asked {
    #[command(flatten)]
    dir: Dir,
    /// Bind this profile for everything, for this run; may be said more than once
    #[arg(
        long,
        env = "WINDLASS_POLICY_PROFILE",
        hide_env_values = true,
        value_name = "NAME",
        value_delimiter = ','
    )]
    profile: Vec<String>,
    /// Bind this policy for everything, for this run; may be said more than once
    #[arg(
        long,
        env = "WINDLASS_POLICY",
        hide_env_values = true,
        value_name = "ID",
        value_delimiter = ','
    )]
    policy: Vec<String>,
    /// Fail for what is only warned about, too
    #[arg(long, env = "WINDLASS_STRICT", hide_env_values = true, value_parser = FalseyValueParser::new())]
    strict: bool,
    #[command(flatten)]
    time: Time,
}

/// When it is.
#[derive(Debug, Args)]
pub(super) struct Time {
    /// As if it were then, for waivers: `2026-11-30`
    #[arg(long, env = "WINDLASS_NOW", hide_env_values = true, value_name = "TIME")]
    now: Option<When>,
}

impl Time {
    fn get(&self) -> reconciler::model::time::Timestamp {
        self.now.map_or_else(crate::shell::now, |when| reconciler::model::time::Timestamp(when.0))
    }
}

impl PolicyVerb {
    /// The forms of reports that it can be written in.
    pub(super) fn reports(&self) -> &'static [Output] {
        use Output::{Github, Html, Junit, Markdown, Policyreport, Sarif};
        match self {
            Self::Check(_) | Self::Scan(_) => &[Sarif, Junit, Markdown, Html, Policyreport, Github],
            Self::Test { .. } => &[Sarif, Junit, Markdown, Html, Github],
            Self::List | Self::Explain { .. } | Self::Coverage { .. } => &[],
        }
    }
}

/// Runs a verb.
pub(super) fn run(context: &Context, verb: PolicyVerb) -> Ended {
    match verb {
        PolicyVerb::List => list::run(context),
        PolicyVerb::Test { dir, all, policy, coverage, min_coverage } => {
            let options = test::Options { all, policies: policy, coverage, min_coverage };
            test::run(context, dir, &options)
        }
        PolicyVerb::Check(asked) => check::run(context, &asked, Point::Plan),
        PolicyVerb::Scan(asked) => check::run(context, &asked, Point::Scan),
        PolicyVerb::Explain { what, time } => explain::run(context, &what, time.get()),
        PolicyVerb::Coverage { dir } => coverage::run(context, &dir),
    }
}
