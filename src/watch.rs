//! watch
use crate::manifest::Hint;
use std::path::PathBuf;
/// stand-in until the real one is merged
#[derive(Debug)]
pub struct Watch;
impl Watch {
    /// start
    pub fn start(_root: PathBuf, _sink: impl Fn(Hint) + Send + 'static) -> Result<Self, String> {
        Err("not yet".to_owned())
    }
}
