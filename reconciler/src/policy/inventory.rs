//! All that is declared, as a handle with questions: scripts never get the whole as a list.

/// A handle to all that is declared.
#[derive(Debug, Clone)]
pub struct Inventory;
