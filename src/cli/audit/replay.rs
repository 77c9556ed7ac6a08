//! `windlass audit replay SEQ`: comes to a recorded verdict again, from what is on record.

use reconciler::engine::{Engine, Event};
use reconciler::model::journal::{Entry, Stamped, VerdictNote};
use reconciler::model::policies::POLICY_TEXTS;
use reconciler::model::record::Records;
use reconciler::model::snapshot::Config;
use reconciler::policy::Policies;

use super::settings;
use crate::app::{self, Settings};
use crate::cli::args::Format;
use crate::cli::show::Ink;
use crate::cli::{Context, Ended, Failure};
use crate::hint::Hint;
use crate::manifest;
use crate::policies::{self, Place, compile};

/// What it ends with if nobody can be asked again.
const NOT_REPLAYED: u8 = 2;

/// Runs the verb.
pub(super) fn run(context: &Context, seq: u64) -> Ended {
    let settings = settings(context)?;
    let (records, stamped) = records_before(&settings, seq)?;
    let Entry::Verdict { verdict } = stamped.entry else {
        let failure = Failure::new(format!("entry {seq} is no verdict"));
        let help = "`windlass audit log --kind policy` shows which entries are";
        return Err(Failure { code: Some(NOT_REPLAYED), ..failure.help(help) });
    };
    let again = again(&settings, records, seq, stamped.at, &verdict).map_err(|why| {
        let failure = Failure::new(format!("entry {seq} cannot be replayed: {why}"));
        Failure { code: Some(NOT_REPLAYED), ..failure }
    })?;
    let (then, now) = (bytes(&verdict), bytes(&again));
    let is_same = then == now;
    let out = &context.out;
    match context.global.output {
        format @ (Format::Json | Format::Yaml) => {
            let value = serde_json::json!({
                "seq": seq,
                "identical": is_same,
                "recorded": &*verdict,
                "replayed": again,
            });
            out.value(format, &value)?;
        }
        Format::Text | Format::Wide | Format::Name => {
            let VerdictNote { object, policy, outcome, sha256, .. } = &*verdict;
            let head = format!("{seq}  {object}: {policy} {}", outcome.word());
            let text = if is_same {
                let same = out.style.paint(Ink::Good, "the same, byte for byte");
                format!("{head}: {same}\n   policy sha256 {sha256}\n")
            } else {
                let other = out.style.paint(Ink::Bad, "comes to something else");
                format!("{head}: {other}\n-  {then}\n+  {now}\n")
            };
            out.print(&text)?;
        }
    }
    Ok(u8::from(!is_same))
}

fn bytes(verdict: &VerdictNote) -> String {
    // A note always has a serial form.
    serde_json::to_string(verdict).unwrap_or_default()
}

/// The records as they were before an entry, and the entry.
fn records_before(settings: &Settings, seq: u64) -> Result<(Records, Stamped), Failure> {
    let mut records = Records::default();
    let (mut found, mut first, mut last) = (None, None, 0);
    app::history(settings, &mut |stamped| {
        first.get_or_insert(stamped.seq);
        last = stamped.seq;
        if stamped.seq < seq {
            records.apply(stamped.at, &stamped.entry);
        } else if stamped.seq == seq {
            found = Some(stamped);
        }
    })?;
    found.map(|found| (records, found)).ok_or_else(|| {
        let failure = Failure::new(match first {
            Some(first) => format!("there is no entry {seq}: the record holds {first} to {last}"),
            None => format!("there is no entry {seq}: nothing is on record yet"),
        });
        Failure { code: Some(NOT_REPLAYED), ..failure }
    })
}

/// The verdict, come to again with the specs and policies of then.
fn again(
    settings: &Settings,
    records: Records,
    seq: u64,
    at: reconciler::model::time::Timestamp,
    verdict: &VerdictNote,
) -> Result<VerdictNote, String> {
    // Texts on record are what a loader falls back to; nothing of today's directories counts.
    let nowhere = settings.state.join("nothing of today");
    let mut texts = records.texts.clone();
    texts.retain(|file, _| !file.starts_with(POLICY_TEXTS));
    let mut loader = manifest::Loader::new(nowhere.clone(), texts);
    let mut reading = loader.read(&Hint::All);
    let place = Place { dir: nowhere, named: true };
    let news = policies::Loader::new(place, &records.texts, compile).news();
    let policies = news.ok_or("there are no policies")?.reading;
    reading.specs.texts.clear();
    let endpoint = app::default_endpoint();
    let (config, allow) = (Config::default(), Policies::allow_all());
    let mut engine = Engine::new(config, records, seq - 1, allow, endpoint).looking();
    for event in
        [Event::Policies(Box::new(policies)), Event::Specs(Box::new(reading.specs)), Event::Round]
    {
        let _ = engine.handle(at, event);
    }
    engine.judged_again(verdict)
}
