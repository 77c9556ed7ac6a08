//! Saved plans as files: `plan --out FILE` writes one, `apply --plan FILE` reads it, `show FILE`
//! prints it again.
//!
//! A file is one JSON document: the saved plan, the plan as it was shown, and a sum of both, so
//! that a file that was cut off or changed by hand is told from one that is whole.

use std::fs::{self, OpenOptions};
use std::io::{ErrorKind, Write as _};
use std::os::unix::fs::OpenOptionsExt as _;
use std::path::{Path, PathBuf};

use reconciler::model::ids::{Digest, hex};
use reconciler::saved::{Made, PLAN_VERSION, SavedPlan};
use serde::{Deserialize, Serialize};
use serde_json::Value;

use super::args::Format;
use super::show::words::{age, count, minute};
use super::{Context, Ended, Failure, absolute, ask, follow, show};
use crate::api::protocol::{Frame, Outcome, PlanView, Request};
pub(super) use crate::app::audit::who;
use crate::app::{Mode, Session, Settings, is_new};
use crate::shell::now;

/// Names of objects and fields that changed tell what runs where.
const FILE_MODE: u32 = 0o600;

/// Random bytes in a plan: no two files have the same digests.
const SALT_BYTES: usize = 16;

/// The field by which a saved plan is known.
const MARK: &str = "windlassPlan";

/// The field that holds the sum of all others.
const SUM: &str = "sum";

/// Larger files are no plans: 100,000 instances take some 100 MB.
const FILE_BYTES_MAX: u64 = 256 * 1024 * 1024;

/// What stands in a file, but for the sum.
#[derive(Debug, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct PlanFile {
    #[serde(flatten)]
    pub(super) saved: SavedPlan,
    /// As it was shown.
    pub(super) shown: PlanView,
}

/// Asks for the plan, in a form that can be saved.
pub(super) async fn ask(
    context: &Context,
    settings: &Settings,
    session: &Session,
) -> Result<PlanFile, Failure> {
    let mut salt = [0; SALT_BYTES];
    getrandom::fill(&mut salt)
        .map_err(|error| Failure::new(format!("make random digits for the plan: {error}")))?;
    let made = Made {
        at: now(),
        by: who(),
        windlass: env!("CARGO_PKG_VERSION").to_owned(),
        specs: absolute(&settings.specs).display().to_string(),
    };
    let request = Request::Save { made, salt: hex(&salt), is_new: is_new(settings)? };
    let frame = ask::one(context, session, request).await?;
    let Frame::Saved { plan, saved } = frame else { return Err(ask::unexpected(&frame)) };
    Ok(PlanFile { saved: *saved, shown: *plan })
}

/// Writes a plan to a file: the whole of it or nothing. What was there is replaced.
pub(super) fn write(context: &Context, path: &Path, mut file: PlanFile) -> Result<(), Failure> {
    if !file.shown.broken.is_empty() {
        return Err(Failure::new("a plan that rests on files with errors is not saved")
            .help("mend them first: `windlass validate` shows all of them"));
    }
    if let Some(why) = &file.shown.degraded {
        return Err(Failure::new(format!("the plan is not saved: {why}")));
    }
    // Each step is listed already.
    file.shown.steps.clear();
    let listed = file.saved.steps.len();
    let mut value = serde_json::to_value(file)?;
    let sum = sum_of(&value);
    if let Value::Object(fields) = &mut value {
        fields.insert(SUM.to_owned(), Value::String(sum.0.to_string()));
    }
    let text = serde_json::to_string_pretty(&value)? + "\n";
    replace(path, &text)
        .map_err(|error| Failure::new(format!("write the plan to {}: {error}", path.display())))?;
    let path = path.display();
    context.out.note(&format!(
        "Saved with {}: `windlass apply --plan {path}` does them, and no others.",
        count(listed, "step")
    ));
    Ok(())
}

fn replace(path: &Path, text: &str) -> std::io::Result<()> {
    if path.is_dir() {
        return Err(std::io::Error::new(ErrorKind::IsADirectory, "it is a directory"));
    }
    let name = path.file_name().unwrap_or_default().to_string_lossy();
    let beside = path.with_file_name(format!(".{name}.{}.tmp", std::process::id()));
    let written = (|| {
        let mut file =
            OpenOptions::new().write(true).create_new(true).mode(FILE_MODE).open(&beside)?;
        file.write_all(text.as_bytes())?;
        file.sync_all()?;
        fs::rename(&beside, path)
    })();
    if written.is_err() {
        // What is told is why it could not be written.
        let _ = fs::remove_file(&beside);
    }
    written
}

/// The sum of all fields but its own.
fn sum_of(file: &Value) -> Digest {
    let mut file = file.clone();
    if let Value::Object(fields) = &mut file {
        fields.remove(SUM);
    }
    Digest::of(file.to_string().as_bytes())
}

/// Reads a saved plan.
pub(super) fn read(path: &Path) -> Result<PlanFile, Failure> {
    let shown = path.display();
    let failed = |why: String| Failure::new(format!("read the saved plan {shown}: {why}"));
    let size = fs::metadata(path).map_err(|error| failed(super::bare(&error)))?;
    if size.is_dir() || size.len() > FILE_BYTES_MAX {
        return Err(failed("it is no saved plan".to_owned()));
    }
    let text = fs::read_to_string(path).map_err(|error| failed(super::bare(&error)))?;
    let again = || "make it anew: `windlass plan --out FILE`".to_owned();
    let value: Value = serde_json::from_str(&text).map_err(|error| {
        let why = if error.is_eof() { "it is cut off" } else { "it is no saved plan" };
        failed(format!("{why} ({error})")).help(again())
    })?;
    match value.get(MARK).and_then(Value::as_u64) {
        None => return Err(failed(format!("it is no saved plan: it has no `{MARK}`"))),
        Some(version) if version > u64::from(PLAN_VERSION) => {
            return Err(failed(format!(
                "it is of version {version}, and this windlass reads up to {PLAN_VERSION}"
            ))
            .help("a newer windlass made it: use that one, or make the plan anew with this one"));
        }
        Some(_) => {}
    }
    let sum = sum_of(&value);
    if value.get(SUM).and_then(Value::as_str) != Some(&*sum.0) {
        return Err(failed("it is damaged, or was changed by hand".to_owned()).help(again()));
    }
    serde_json::from_value(value)
        .map_err(|error| failed(format!("it is damaged ({error})")).help(again()))
}

/// Whether a file is a saved plan, or what is left of one. No spec has such a field.
pub(super) fn is_plan(path: &Path) -> bool {
    let is_meant = |text: &str| text.trim_start().starts_with('{') && text.contains(MARK);
    let file = fs::metadata(path).ok().filter(|file| file.is_file());
    file.is_some_and(|file| file.len() <= FILE_BYTES_MAX)
        && fs::read_to_string(path).is_ok_and(|text| is_meant(&text))
}

/// `windlass show FILE`.
pub(super) fn show(context: &Context, path: &Path) -> Ended {
    let file = read(path)?;
    let out = &context.out;
    match context.global.output {
        format @ (Format::Json | Format::Yaml) => out.value(format, &file)?,
        Format::Name => {
            let names = file.shown.rows.iter().filter(|row| row.change.is_some());
            out.print(&names.map(|row| format!("{}\n", row.name)).collect::<String>())?;
        }
        Format::Text | Format::Wide => {
            let PlanFile { saved, shown } = &file;
            out.note(&origin(saved));
            out.print(&show::plan::render(
                shown,
                &super::near(&saved.made.specs),
                false,
                &out.style,
            ))?;
            let steps: String = saved.steps.iter().map(|step| format!("  {step}\n")).collect();
            if !steps.is_empty() {
                out.print(&format!(
                    "\nAll steps, in the order in which they are foreseen:\n{steps}"
                ))?;
            }
        }
    }
    Ok(0)
}

/// `made 3h ago (2026-11-21 17:14 UTC) by ops@n1 with windlass 0.1.0, from /srv/specs`.
fn origin(saved: &SavedPlan) -> String {
    let Made { at, by, windlass, specs } = &saved.made;
    let since = age(now().since(*at));
    format!("made {since} ago ({} UTC) by {by} with windlass {windlass}, from {specs}", minute(*at))
}

/// `windlass apply --plan FILE`. Beside a daemon it is the daemon that works.
pub(super) async fn apply(context: &Context, path: &Path) -> Ended {
    let PlanFile { saved, shown: _ } = read(path)?;
    let specs = match &context.global.specs {
        Some(specs) => specs.clone(),
        None => PathBuf::from(&saved.made.specs),
    };
    let settings = context.settings_to_read(&super::Dir { dir: Some(specs) })?;
    let origin = origin(&saved);
    let session = Session::open(&settings, Mode::Bound).await.map_err(ask::no_session)?;
    let is_daemon = matches!(session, Session::Daemon(_));
    let request = Request::ApplyPlan { plan: Box::new(saved) };
    let followed = follow::follow(context, &session, request, None).await;
    session.close().await;
    let followed = followed?;
    if let Some(refusal) = &followed.refused {
        return Err(refused(&origin, refusal));
    }
    let Outcome { stopped, left_out, .. } = &followed.outcome;
    if let Some(why) = stopped {
        context.out.complain(&format!("stopped: {why}"));
        if is_daemon {
            context.out.complain("the daemon goes on with what the specs declare");
        }
    }
    if !left_out.is_empty() {
        let why = if followed.outcome.is_good() { "no longer needed" } else { "not done" };
        let list: String = left_out.iter().map(|step| format!("  {step}\n")).collect();
        context.out.note(&format!("{why}:\n{list}"));
    }
    follow::conclude(context, &settings, "Applied", &followed)
}

/// Nothing was done, since things are not as they were.
fn refused(origin: &str, refusal: &follow::Refusal) -> Failure {
    /// Further changes are only counted.
    const TOLD_MAX: usize = 10;
    let follow::Refusal { changes, is_settled } = refusal;
    let mut text =
        "the plan is refused, and nothing was done: it rests on what has changed since".to_owned();
    for change in changes.iter().take(TOLD_MAX) {
        text.push_str(&format!("\n  {change}"));
    }
    if changes.len() > TOLD_MAX {
        text.push_str(&format!("\n  {} more", changes.len() - TOLD_MAX));
    }
    let what = if *is_settled {
        "everything is as declared, so nothing is left to do"
    } else {
        "`windlass plan --out FILE` makes it anew"
    };
    Failure::new(text).help(format!("it was {origin}; {what}"))
}

#[cfg(test)]
mod tests {
    use reconciler::model::time::Timestamp;
    use reconciler::report::Counts;
    use reconciler::saved::ListedStep;

    use super::*;

    fn plan() -> PlanFile {
        let made = Made {
            at: Timestamp(1),
            by: "ops@n1".to_owned(),
            windlass: "0".to_owned(),
            specs: "/specs".to_owned(),
        };
        let saved = SavedPlan {
            windlass_plan: PLAN_VERSION,
            made,
            salt: "s".to_owned(),
            state: None,
            rests: reconciler::saved::Rests::default(),
            steps: Vec::<ListedStep>::new(),
        };
        let counts = Counts { settled: 1, ..Counts::default() };
        PlanFile { saved, shown: PlanView { counts, ..PlanView::default() } }
    }

    fn context() -> Context {
        use clap::Parser as _;
        let cli = super::super::args::Cli::try_parse_from(["windlass", "-q", "version"]).unwrap();
        Context { out: super::super::out::Out::new(&cli.global), global: cli.global }
    }

    #[test]
    fn files_come_back_whole_or_not_at_all() {
        use std::os::unix::fs::PermissionsExt as _;
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("plan.json");
        fs::write(&path, "older").unwrap();
        write(&context(), &path, plan()).unwrap();
        assert_eq!(fs::metadata(&path).unwrap().permissions().mode() & 0o777, FILE_MODE);
        assert_eq!(fs::read_dir(dir.path()).unwrap().count(), 1, "something was left beside it");
        assert_eq!(read(&path).unwrap().saved, plan().saved);
        assert!(is_plan(&path));
        let text = fs::read_to_string(&path).unwrap();
        let refusal = |text: &str| {
            fs::write(&path, text).unwrap();
            read(&path).unwrap_err().chain.join(" ")
        };
        assert!(refusal(&text[..text.len() / 2]).contains("cut off"));
        assert!(refusal(&text.replace("ops@n1", "ops@n2")).contains("damaged"));
        let newer = text.replace(r#""windlassPlan": 1"#, r#""windlassPlan": 2"#);
        assert!(refusal(&newer).contains("version 2"));
        assert!(refusal("{}").contains("no saved plan"));
        assert!(refusal("kind: Instance\n").contains("no saved plan"));
        assert!(!is_plan(&path) && !is_plan(dir.path()));
        fs::remove_file(&path).unwrap();
        assert!(read(&path).unwrap_err().chain[0].contains("No such file"));
    }

    #[test]
    fn a_plan_with_broken_files_is_not_saved() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("plan.json");
        let mut file = plan();
        let broken = reconciler::model::desired::BrokenFile {
            errors: 1,
            first: "a.yaml:1: no".to_owned(),
            last_good: true,
        };
        file.shown.broken.insert("a.yaml".into(), broken);
        let failure = write(&context(), &path, file).unwrap_err();
        assert!(failure.chain[0].contains("errors") && !path.exists(), "{failure:?}");
    }
}
