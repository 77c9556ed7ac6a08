//! The walk on real engines: a directory of specs becomes containers, and stays so.
//!
//! Most tests run the loop in this process, through [`windlass::app`]; those that kill it, or that
//! are about two of them, run the binary. Reading order: [`room`] (how a test asks the loop and
//! looks at the engine), [`apply`], [`crash`], [`drift`], [`guards`], [`life`], [`health`], [`hang`], [`images`],
//! [`daemon`], [`watching`], [`state`], [`plans`] (saved ones, and what is suspended), [`policies`], [`examples`],
//! [`fields`] (every field of a spec), [`networks`], [`links`], [`fence`] (who reaches whom),
//! [`rules`] (what another hand does to that, and what becomes of connections), [`ports`] (that others have),
//! [`nodes`] (several engines as one), [`outage`] (what may happen to one of them), [`surge`] (new ones start
//! first), [`rollout`] (those that fail go back), [`requests`] (nobody notices), [`quota`] (what projects may use),
//! [`audit`] (what is on record), [`usage`] (what is used).
//! [`chaos`] has all of it go wrong at once, at random.
//! [`proxy`] stands between a test's loop and an engine.

mod apply;
mod audit;
mod chaos;
mod crash;
mod daemon;
mod drift;
mod examples;
mod fence;
mod fields;
mod guards;
mod hang;
mod health;
mod images;
mod life;
mod links;
mod links_elsewhere;
mod networks;
mod nodes;
mod outage;
mod plans;
mod policed;
mod policies;
mod ports;
mod pressure;
mod proxy;
mod quota;
mod requests;
mod rollout;
mod room;
mod rules;
mod state;
mod surge;
mod usage;
mod watching;
