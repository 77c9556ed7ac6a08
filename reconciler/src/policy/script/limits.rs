//! What a script may use. Every limit is set: the engine's own defaults are mostly "unlimited", and
//! differ between builds. There is no clock among them, so a verdict is the same on replay.

/// Longest script, in bytes, before anything is parsed. The rules of a large library have some
/// hundred lines; a parser that is given megabytes is being attacked.
pub const SCRIPT_BYTES_MAX: usize = 256 << 10;

/// Operations of one run about one object, action or drift. A rule of 17 checks takes about 250,
/// and an operation about 50 ns: the worst run ends within milliseconds.
pub const OPERATIONS_MAX: u64 = 50_000;

/// Operations of one run about the whole set: some dozen for each of 10,000 instances.
pub const SET_OPERATIONS_MAX: u64 = 500_000;

/// Functions that call each other. The engine's stack frames are large, above all in debug builds.
pub const CALL_LEVELS_MAX: usize = 16;

/// Nesting of expressions outside of functions, where nothing but functions may stand.
pub const EXPRESSION_LEVELS_MAX: usize = 48;

/// Nesting of expressions in functions. Rules that people can read have less than ten.
pub const FUNCTION_EXPRESSION_LEVELS_MAX: usize = 24;

/// Longest text, in bytes: more than any field of a spec that a rule can have an opinion of.
pub const STRING_BYTES_MAX: usize = 32 << 10;

/// Most items of a list. Lists of specs have a handful; larger things are handles, not lists.
pub const LIST_ITEMS_MAX: usize = 1_024;

/// Most entries of a mapping that a script makes.
pub const MAP_ENTRIES_MAX: usize = 256;

/// Most variables at once.
pub const VARIABLES_MAX: usize = 128;

/// Most functions of a script.
pub const FUNCTIONS_MAX: usize = 64;

/// Work that helpers do outside of the count of operations, in bytes that they look at: matching a
/// pattern, joining texts. A rule looks at some kilobytes.
pub const WORK_MAX: u64 = 8 << 20;

/// Longest pattern of a glob or regular expression, in bytes.
pub const PATTERN_BYTES_MAX: usize = 512;

/// Most findings of one run. A rule that finds more about one object says the same over and over.
pub const FINDINGS_MAX: usize = 256;

/// Longest text of a finding, in bytes: it is journaled, and shown in a line or two.
pub const FINDING_BYTES_MAX: usize = 1 << 10;
