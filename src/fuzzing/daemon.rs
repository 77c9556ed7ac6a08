//! What clients may send to the daemon's socket. The server and the loop behind it are those of the
//! daemon; its node's engine and its journal are in memory.

use std::collections::BTreeMap;
use std::future::Future;
use std::pin::Pin;
use std::sync::{Arc, OnceLock};

use reconciler::engine::{Engine, Event};
use reconciler::model::desired::{DesiredSet, SpecsReading};
use reconciler::model::fence::Fence;
use reconciler::model::ids::{ContainerId, OwnerId};
use reconciler::model::observed::{NodeListing, ObservedContainer};
use reconciler::model::record::Records;
use reconciler::model::snapshot::Config;
use reconciler::model::spec::Endpoint;
use reconciler::policy::Policies;
use reconciler::ports::{
    Answer, Done, Driver, DriverError, DriverErrorKind, ExecCommand, ExecEnd, ExecTalk, Inside,
    LogLine, LogQuery, NodeEvent, Progress, Usage,
};
use reconciler::step::Action;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::UnixStream;
use tokio::sync::mpsc;

use crate::api::protocol::{Frame, Request};
use crate::api::server::serve;
use crate::manifest::fuzzing::declared;
use crate::probe::Probes;
use crate::shell::{Asker, Input, Metering, Ports, Shell};
use crate::signatures::Signatures;

/// What is declared meanwhile.
const SET: &str = include_str!("../manifest/tests/design.yaml");

/// Sends an input to the socket, and goes on until the daemon has nothing more to say. Whatever it
/// answers is a frame, and a request that is read is written as it was.
pub(super) fn requests(input: &[u8]) {
    for line in input.split(|byte| *byte == b'\n') {
        if let Ok(request) = serde_json::from_slice::<Request>(line) {
            let again = serde_json::to_vec(&request).expect("JSON");
            let again: Request = serde_json::from_slice(&again).expect("as written");
            assert_eq!(again, request, "what is sent is what is read");
        }
    }
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build();
    let answer = runtime.expect("a runtime").block_on(conversation(input));
    for line in answer.split_inclusive(|byte| *byte == b'\n') {
        if let Err(error) = serde_json::from_slice::<Frame>(line) {
            panic!("an answer is no frame: {error}: {}", String::from_utf8_lossy(line));
        }
    }
}

/// All that the daemon answers to one client.
async fn conversation(input: &[u8]) -> Vec<u8> {
    let (sender, inputs) = mpsc::unbounded_channel();
    let shell = tokio::spawn(Shell::new(engine(), ports(&sender), inputs, sender.clone(), 0).run());
    let reading = SpecsReading { desired: desired().clone(), ..SpecsReading::default() };
    let event = Some(Event::Specs(Box::new(reading)));
    let (errors, number) = (Vec::new(), 1);
    sender.send(Input::Specs { event, objects: 0, errors, number }).expect("the shell runs");

    let (ours, theirs) = UnixStream::pair().expect("sockets");
    let (mut reader, mut writer) = ours.into_split();
    let served = serve(theirs, Asker(sender.clone()));
    let asking = async {
        // It may hang up on who sends nonsense.
        let _ = writer.write_all(input).await;
        drop(writer);
    };
    let mut answer = Vec::new();
    let (_, (), ()) = tokio::join!(reader.read_to_end(&mut answer), served, asking);
    let _ = sender.send(Input::Stop);
    shell.await.expect("no panic");
    // A client that left in the middle of an answer has read the beginning of a frame.
    let whole = answer.iter().rposition(|byte| *byte == b'\n').map_or(0, |end| end + 1);
    answer.truncate(whole);
    answer
}

fn engine() -> Engine {
    let records = Records { owner: Some(OwnerId("us".to_owned())), ..Records::default() };
    let endpoint = Endpoint::Unix("/engine".to_owned());
    Engine::new(Config::default(), records, 0, Policies::allow_all(), endpoint)
}

fn desired() -> &'static DesiredSet {
    static DESIRED: OnceLock<DesiredSet> = OnceLock::new();
    DESIRED.get_or_init(|| declared(SET).expect("a set without faults"))
}

fn ports(sender: &mpsc::UnboundedSender<Input>) -> Ports {
    let (written, read) = (sender.clone(), sender.clone());
    Ports {
        commit: Box::new(move |_, ticket| {
            let (result, wants_checkpoint) = (Ok(()), false);
            let _ = written.send(Input::Written { ticket, result, wants_checkpoint });
            Ok(())
        }),
        changed: |_, _| Vec::new(),
        save: Box::new(|_, _| {}),
        connect: Box::new(|_| Arc::new(Still)),
        prober: Arc::new(Probes::default()),
        verifier: Arc::new(Signatures::default()),
        reread: Box::new(move || {
            let (event, errors) = (None, Vec::new());
            let _ = read.send(Input::Specs { event, objects: 0, errors, number: 2 });
            2
        }),
        specs: "specs".to_owned(),
        metering: Metering::none(),
    }
}

/// A node's engine that has nothing, and refuses all that is asked of it.
struct Still;

fn refused<T>() -> Result<T, DriverError> {
    let message = "it does nothing".to_owned();
    Err(DriverError { kind: DriverErrorKind::Refused, message })
}

impl Driver for Still {
    fn list<'a>(&'a self, _: &'a OwnerId) -> Answer<'a, NodeListing> {
        let engine = serde_json::json!({
            "id": "AAAA", "version": "26", "apiVersion": "1.45", "cgroupDriver": "cgroupfs",
            "cpus": 2, "memory": 1 << 30,
        });
        let listing = NodeListing {
            engine: serde_json::from_value(engine).expect("an engine"),
            containers: BTreeMap::new(),
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
        Box::pin(async { Ok(None) })
    }

    fn execute<'a>(
        &'a self,
        _: &'a Action,
        _: &'a (dyn Fn(Progress) + Send + Sync),
    ) -> Answer<'a, Done> {
        Box::pin(async { refused() })
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
        Box::pin(async { refused() })
    }

    fn exec<'a>(
        &'a self,
        _: &'a str,
        _: &'a ExecCommand,
        _: &'a dyn ExecTalk,
    ) -> Answer<'a, ExecEnd> {
        Box::pin(async { refused() })
    }

    fn usage<'a>(&'a self, _: &'a str) -> Answer<'a, Usage> {
        Box::pin(async { refused() })
    }

    fn inside<'a>(&'a self, _: &'a str) -> Answer<'a, Inside> {
        Box::pin(async { refused() })
    }
}
