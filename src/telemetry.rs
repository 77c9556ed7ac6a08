//! What windlass tells of itself while it works, for whoever looks for a fault: tracing, to standard
//! error, as `WINDLASS_LOG` says (`debug`, `windlass::docker=trace`). Without it nothing is told.

use tracing_subscriber::EnvFilter;

/// The variable that says what to tell.
pub const VARIABLE: &str = "WINDLASS_LOG";

/// Tells what the environment asks for. Says why, if that cannot be understood.
///
/// # Errors
/// The reason why the variable says nothing that can be followed.
pub fn start() -> Result<(), String> {
    // Most runs end here: a subscriber costs time at each start.
    let Some(wanted) = std::env::var_os(VARIABLE).filter(|text| !text.is_empty()) else {
        return Ok(());
    };
    let wanted = wanted.to_string_lossy();
    let filter = EnvFilter::try_new(&wanted).map_err(|error| format!("{VARIABLE}: {error}"))?;
    tracing_subscriber::fmt()
        .with_env_filter(filter)
        .with_writer(std::io::stderr)
        .with_ansi(false)
        .try_init()
        .map_err(|error| format!("{VARIABLE}: {error}"))
}
