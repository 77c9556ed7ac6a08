//! What scripts see of the world: records with typed fields, and nothing else.
//!
//! A record is a handle: the thing itself, and the way to a part of it. Nothing is converted until a
//! script asks for it. What there is to see stands in tables ([`table`]), one a type of the model; a
//! test compares them with the JSON Schema that the same types make, so that a new field of a spec
//! is either seen by policies or left out on purpose.
//!
//! Every way to be wrong about a value is an error, since what is merely false lets things pass:
//! an unknown field, a field that was not said ([`Missing`]), a quantity beside a bare number.

pub(crate) mod asked;
pub(crate) mod image;
pub(crate) mod instance;
pub(crate) mod masked;
pub(crate) mod missing;
pub(crate) mod object;
pub(crate) mod objects;
pub(crate) mod policies;
pub(crate) mod record;
pub(crate) mod running;
#[cfg(all(test, feature = "schema"))]
mod schema_tests;
pub(crate) mod table;

pub use self::asked::{AskedAction, AskedAgain, AskedDrift, AskedExec, AskedNote, AskedRound};
pub use self::masked::{MaskKey, Masked};
pub use self::object::{Object, ObjectRef};
pub use self::running::Running;

pub(crate) use self::image::digest_of_reference;
pub(crate) use self::missing::Missing;
pub(crate) use self::record::{Dict, Record};
