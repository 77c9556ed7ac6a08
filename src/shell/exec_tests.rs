//! A command in a container is on record before it runs, or it does not run.

use std::collections::BTreeMap;
use std::future::Future;
use std::pin::Pin;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use reconciler::engine::{Engine, Event};
use reconciler::model::desired::SpecsReading;
use reconciler::model::fence::Fence;
use reconciler::model::ids::{ContainerId, OwnerId};
use reconciler::model::journal::{Entry, Stamped};
use reconciler::model::observed::{NodeListing, ObservedContainer};
use reconciler::model::record::Records;
use reconciler::model::snapshot::Config;
use reconciler::model::spec::Endpoint;
use reconciler::policy::Policies;
use reconciler::ports::{
    Answer, Done, Driver, DriverError, ExecCommand, ExecEnd, ExecTalk, Inside, LogLine, LogQuery,
    NodeEvent, Progress, Usage,
};
use reconciler::step::Action;
use tokio::sync::mpsc;

use super::{Asker, Input, Metering, Ports, Shell};
use crate::api::protocol::Frame;
use crate::probe::Probes;
use crate::signatures::Signatures;
use crate::state::samples::{containers, replica};

/// Far more than anything takes here.
const LONG: Duration = Duration::from_secs(30);

type Log = Arc<Mutex<Vec<Entry>>>;

/// An engine with one container, in which any command ends at once. It remembers what was on record
/// by then.
struct One {
    log: Log,
    seen: Mutex<Vec<Vec<Entry>>>,
}

fn entries(log: &Log) -> Vec<Entry> {
    log.lock().unwrap_or_else(PoisonError::into_inner).clone()
}

impl Driver for One {
    fn list<'a>(&'a self, _: &'a OwnerId) -> Answer<'a, NodeListing> {
        let engine = serde_json::json!({
            "id": "AAAA", "version": "26", "apiVersion": "1.45", "cgroupDriver": "cgroupfs",
            "cpus": 2, "memory": 1 << 30,
        });
        let listing = NodeListing {
            engine: serde_json::from_value(engine).expect("an engine"),
            containers: containers(),
            foreign: Vec::new(),
            images: BTreeMap::new(),
            volumes: BTreeMap::new(),
            networks: BTreeMap::new(),
            fence: Fence::default(),
            groups: Default::default(),
        };
        Box::pin(async { Ok(listing) })
    }

    fn inspect<'a>(
        &'a self,
        _: &'a OwnerId,
        _: &'a str,
    ) -> Answer<'a, Option<(ContainerId, ObservedContainer)>> {
        Box::pin(async { Ok(containers().pop_first()) })
    }

    fn execute<'a>(
        &'a self,
        action: &'a Action,
        _: &'a (dyn Fn(Progress) + Send + Sync),
    ) -> Answer<'a, Done> {
        panic!("nothing is to be done, and not {action:?}")
    }

    fn watch<'a>(
        &'a self,
        _: &'a OwnerId,
        sink: &'a (dyn Fn(NodeEvent) + Send + Sync),
    ) -> Pin<Box<dyn Future<Output = DriverError> + Send + 'a>> {
        sink(NodeEvent::Opened);
        Box::pin(std::future::pending())
    }

    fn logs<'a>(
        &'a self,
        _: &'a str,
        _: LogQuery,
        _: &'a (dyn Fn(LogLine) + Send + Sync),
    ) -> Answer<'a, ()> {
        Box::pin(async { Ok(()) })
    }

    fn exec<'a>(
        &'a self,
        _: &'a str,
        _: &'a ExecCommand,
        _: &'a dyn ExecTalk,
    ) -> Answer<'a, ExecEnd> {
        let mut seen = self.seen.lock().unwrap_or_else(PoisonError::into_inner);
        seen.push(entries(&self.log));
        Box::pin(async { Ok(ExecEnd { code: 7, refused: None }) })
    }

    fn usage<'a>(&'a self, _: &'a str) -> Answer<'a, Usage> {
        unreachable!("nobody asks")
    }

    fn inside<'a>(&'a self, _: &'a str) -> Answer<'a, Inside> {
        unreachable!("nobody asks")
    }
}

/// Runs a command through a shell whose journal can be written, or cannot. Gives the last frame,
/// what was on record when the command ran, and what is in the end.
async fn run(is_writable: bool) -> (Frame, Vec<Vec<Entry>>, Vec<Entry>) {
    let log = Log::default();
    let driver = Arc::new(One { log: Arc::clone(&log), seen: Mutex::default() });
    let (sender, inputs) = mpsc::unbounded_channel();
    let records = Records { owner: Some(OwnerId("us".to_owned())), ..Records::default() };
    let endpoint = Endpoint::Unix("/engine".to_owned());
    let policies = Policies::allow_all();
    let engine = Engine::new(Config::default(), records, 0, policies, endpoint);
    let (written, durable) = (sender.clone(), Arc::clone(&log));
    let (ran, all) = (Arc::clone(&driver), mpsc::unbounded_channel());
    let (ended, mut ends) = all;
    let ports = Ports {
        commit: Box::new(move |stamped: Vec<Stamped>, ticket| {
            let result = match is_writable {
                true => Ok(()),
                false => Err("no space left on device".to_owned()),
            };
            for Stamped { entry, .. } in stamped.into_iter().filter(|_| is_writable) {
                if matches!(entry, Entry::ExecEnded { .. }) {
                    ended.send(()).expect("the test waits");
                }
                durable.lock().unwrap_or_else(PoisonError::into_inner).push(entry);
            }
            let input = Input::Written { ticket, result, wants_checkpoint: false };
            written.send(input).expect("the shell runs");
            Ok(())
        }),
        changed: |_, _| Vec::new(),
        save: Box::new(|_, _| {}),
        connect: Box::new(move |_| driver.clone()),
        prober: Arc::new(Probes::default()),
        verifier: Arc::new(Signatures::default()),
        reread: Box::new(|| 0),
        specs: "specs".to_owned(),
        metering: Metering::none(),
    };
    let asker = Asker(sender.clone());
    let shell = tokio::spawn(Shell::new(engine, ports, inputs, sender.clone(), 0).run());
    let event = Some(Event::Specs(Box::<SpecsReading>::default()));
    let (errors, number) = (Vec::new(), 1);
    sender.send(Input::Specs { event, objects: 0, errors, number }).expect("the shell runs");
    let command = ExecCommand {
        command: vec!["mysql".to_owned(), "--password=s3cret".to_owned()],
        env: vec!["TOKEN=s3cret".to_owned()],
        user: None,
        workdir: None,
        stdin: false,
        terminal: None,
    };
    let mut talk = asker.talk(replica("shop/web", 0), command, "ops@host".to_owned());
    let frame = tokio::time::timeout(LONG, talk.frames.recv()).await.expect("an answer");
    if is_writable {
        tokio::time::timeout(LONG, ends.recv()).await.expect("its end is on record");
    }
    sender.send(Input::Stop).expect("the shell runs");
    shell.await.expect("no panic");
    let seen = ran.seen.lock().unwrap_or_else(PoisonError::into_inner).clone();
    (frame.expect("an answer"), seen, entries(&log))
}

#[tokio::test]
async fn a_command_is_on_record_before_it_runs_and_when_it_ended() {
    let (frame, seen, all) = run(true).await;
    assert!(matches!(frame, Frame::Exited { code: 7, refused: None }), "{frame:?}");
    let is_begin = |entry: &Entry| {
        matches!(entry, Entry::Exec { replica: of, exec }
            if *of == replica("shop/web", 0) && exec.by == "ops@host"
                && exec.program == "mysql" && exec.arguments == 1)
    };
    assert_eq!(seen.len(), 1);
    assert!(seen[0].iter().any(is_begin), "{:?}", seen[0]);
    let is_end = |entry: &Entry| matches!(entry, Entry::ExecEnded { code: Some(7), why: None, .. });
    assert!(all.iter().any(is_end), "{all:?}");
    assert!(!format!("{all:?}").contains("s3cret"), "arguments and variables may be secret");
}

#[tokio::test]
async fn a_command_that_cannot_be_put_on_record_is_not_run() {
    let (frame, seen, all) = run(false).await;
    let Frame::Error { message, .. } = frame else { panic!("{frame:?}") };
    assert!(message.contains("cannot be put on record: no space left"), "{message}");
    assert_eq!((seen, all), (Vec::new(), Vec::new()));
}
