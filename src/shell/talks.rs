//! Commands in containers, and what containers use: questions that a driver answers, and that change
//! nothing of what is declared.

use std::future::Future;
use std::pin::Pin;
use std::sync::Arc;

use futures_util::stream::{self, StreamExt as _};
use reconciler::model::ids::ReplicaKey;
use reconciler::model::observed::ContainerState;
use reconciler::model::snapshot::Located;
use reconciler::ports::{Driver, ExecCommand, ExecEnd, ExecInput, ExecOutput, ExecTalk};
use tokio::sync::{Mutex, mpsc};

use super::Shell;
use crate::api::protocol::{Frame, UsageRow};
use crate::api::view;

/// Samples at once: an engine needs milliseconds for one, and more of them only queue.
const SAMPLES_AT_ONCE: usize = 8;

/// Someone who wants a command run.
#[derive(Debug)]
pub struct Talk {
    /// Where.
    pub replica: ReplicaKey,
    /// What.
    pub command: ExecCommand,
    /// Where its output goes.
    pub answer: mpsc::Sender<Frame>,
    /// Where its input comes from; its end means that nobody is there any more.
    pub input: mpsc::Receiver<ExecInput>,
}

/// The ends of the two queues.
struct Ends {
    answer: mpsc::Sender<Frame>,
    input: Mutex<mpsc::Receiver<ExecInput>>,
}

impl ExecTalk for Ends {
    fn input(&self) -> Pin<Box<dyn Future<Output = Option<ExecInput>> + Send + '_>> {
        Box::pin(async { self.input.lock().await.recv().await })
    }

    fn output(&self, output: ExecOutput) -> Pin<Box<dyn Future<Output = bool> + Send + '_>> {
        let ExecOutput { stderr, bytes } = output;
        Box::pin(async move { self.answer.send(Frame::Output { stderr, bytes }).await.is_ok() })
    }
}

impl Shell {
    /// Starts the commands that waited until the loop has its bearings.
    pub(super) fn start_talks(&mut self) {
        if self.engine.is_oriented() {
            for talk in std::mem::take(&mut self.talks) {
                self.start_talk(talk);
            }
        }
    }

    fn start_talk(&self, talk: Talk) {
        let Talk { replica, command, answer, input } = talk;
        let containers = self.engine.snapshot().containers.get(&replica);
        let runs = |at: &&Located| matches!(at.container.state, ContainerState::Running { .. });
        let newest = containers.and_then(|located| {
            // While it is being replaced there are two, and one of them may not be ready yet.
            let order =
                |at: &&Located| (at.is_ready(), runs(at), at.container.identity.incarnation);
            located.iter().max_by_key(order)
        });
        let found = newest.and_then(|at| Some((self.nodes.get(&at.node)?.driver(), at.id.clone())));
        tokio::spawn(async move {
            let Some((driver, id)) = found else {
                let message = format!("no container of {replica} is there");
                let help = Some(format!("`windlass describe {}` says why", replica.instance));
                let _ = answer.send(Frame::Error { message, help }).await;
                return;
            };
            let ends = Ends { answer: answer.clone(), input: Mutex::new(input) };
            let ended = driver.exec(&id.0, &command, &ends);
            let frame = tokio::select! {
                ended = ended => match ended {
                    Ok(ExecEnd { code, refused }) => Frame::Exited { code, refused },
                    Err(error) => Frame::Error { message: format!("{replica}: {error}"), help: None },
                },
                () = answer.closed() => return,
            };
            let _ = answer.send(frame).await;
        });
    }

    /// Answers what containers use.
    pub(super) fn usage(&self, answer: mpsc::UnboundedSender<Frame>) {
        let snapshot = self.engine.snapshot();
        let nodes = view::nodes(snapshot);
        let mut wanted: Vec<Wanted> = Vec::new();
        for (replica, located) in &snapshot.containers {
            for at in located {
                let runs = matches!(at.container.state, ContainerState::Running { .. });
                if let Some(connection) = self.nodes.get(&at.node).filter(|_| runs) {
                    wanted.push((replica.clone(), at.clone(), connection.driver()));
                }
            }
        }
        tokio::spawn(async move {
            let samples: Vec<_> = wanted.into_iter().map(sample).collect();
            let rows: Vec<UsageRow> =
                stream::iter(samples).buffered(SAMPLES_AT_ONCE).collect().await;
            super::requests::finish(&answer, Frame::Used { rows, nodes });
        });
    }
}

type Wanted = (ReplicaKey, Located, Arc<dyn Driver>);

async fn sample((replica, at, driver): Wanted) -> UsageRow {
    let (usage, message) = match driver.usage(&at.id.0).await {
        Ok(usage) => (Some(usage), None),
        Err(error) => (None, Some(error.message)),
    };
    let limits = at.container.config.limits;
    UsageRow { replica, node: at.node, limits, usage, message }
}
