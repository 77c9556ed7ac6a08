//! Commands in containers: a driver runs them, and nothing of what is declared changes.

use std::future::Future;
use std::pin::Pin;

use reconciler::engine::{Event, Operator};
use reconciler::model::ids::ReplicaKey;
use reconciler::model::journal::{Entry, ExecNote};
use reconciler::model::observed::ContainerState;
use reconciler::model::snapshot::Located;
use reconciler::model::verdicts::Said;
use reconciler::policy::view::AskedExec;
use reconciler::ports::{ExecCommand, ExecEnd, ExecInput, ExecOutput, ExecTalk};
use tokio::sync::{Mutex, mpsc};

use super::{Input, Shell};
use crate::api::NOT_RUN;
use crate::api::protocol::Frame;

/// Someone who wants a command run.
#[derive(Debug)]
pub struct Talk {
    /// Where.
    pub replica: ReplicaKey,
    /// What.
    pub command: ExecCommand,
    /// Who wants it: `user@host`.
    pub by: String,
    /// Where its output goes.
    pub answer: mpsc::Sender<Frame>,
    /// Where its input comes from; its end means that nobody is there any more.
    pub input: mpsc::Receiver<ExecInput>,
    /// The entry that puts it on record, once there is one.
    pub noted: Option<u64>,
}

impl Talk {
    fn note(&self) -> ExecNote {
        exec_note(&self.command, self.by.clone())
    }
}

/// What is on record of a command: none of its arguments, which may hold secrets.
#[must_use]
pub fn exec_note(command: &ExecCommand, by: String) -> ExecNote {
    let ExecCommand { command, env: _, user, workdir: _, stdin: _, terminal } = command;
    ExecNote {
        by,
        program: command.first().cloned().unwrap_or_default(),
        arguments: command.len().saturating_sub(1),
        user: user.clone(),
        terminal: terminal.is_some(),
    }
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
    /// Starts the commands that waited until the loop has its bearings, and until they are on
    /// record. One that cannot be put on record is not run.
    pub(super) fn start_talks(&mut self) {
        if !self.engine.is_oriented() {
            return;
        }
        for mut talk in std::mem::take(&mut self.talks) {
            if talk.noted.is_none()
                && let Err(denial) = self.may_run(&talk)
            {
                let message = format!("{NOT_RUN}denied by {denial}");
                let help = Some(format!(
                    "`windlass describe {}` says what else policies say of it",
                    talk.replica.instance
                ));
                let _ = talk.answer.try_send(Frame::Error { message, help });
                if !self.engine.only_looks() {
                    let note =
                        ended(&talk, None, Some(format!("not run: denied by {}", denial.policy)));
                    self.event(Event::Operator(Operator::Note { entry: note, at_once: true }));
                }
                continue;
            }
            // Who only looks has no journal to write: whoever asks has put it on record.
            if self.engine.only_looks() {
                self.start_talk(talk);
                continue;
            }
            let seq = match talk.noted {
                Some(seq) => seq,
                None => {
                    let (replica, exec) = (talk.replica.clone(), talk.note());
                    let entry = Box::new(Entry::Exec { replica, exec });
                    self.event(Event::Operator(Operator::Note { entry, at_once: true }));
                    self.engine.last_recorded()
                }
            };
            talk.noted = Some(seq);
            if self.engine.is_durable_to(seq) {
                self.start_talk(talk);
            } else if let Some(why) = self.engine.journal_error() {
                let message =
                    format!("the command is not run, since it cannot be put on record: {why}");
                let note = ended(&talk, None, Some("not run: no record could be made".to_owned()));
                // It has no room for more than a few frames, and this is the first.
                let _ = talk.answer.try_send(Frame::Error { message, help: None });
                self.event(Event::Operator(Operator::Note { entry: note, at_once: true }));
            } else {
                self.talks.push(talk);
            }
        }
    }

    /// Whether policies let a command be run.
    fn may_run(&mut self, talk: &Talk) -> Result<(), Box<Said>> {
        let command = talk.command.command.first().cloned().into_iter().collect();
        let user = talk.command.user.clone();
        self.engine.may_run(&talk.replica, AskedExec { command, user, privileged: false }, &talk.by)
    }

    fn start_talk(&self, talk: Talk) {
        let end = (!self.engine.only_looks()).then(|| self.sender.clone());
        let told = ended(&talk, None, None);
        let tell = move |code: Option<i64>, why: Option<String>| {
            let mut entry = told;
            if let Entry::ExecEnded { code: at, why: because, .. } = &mut *entry {
                (*at, *because) = (code, why);
            }
            if let Some(end) = end {
                let note = Operator::Note { entry, at_once: true };
                // A loop that has ended writes nothing more.
                let _ = end.send(Input::Event(Event::Operator(note)));
            }
        };
        let Talk { replica, command, answer, input, by: _, noted: _ } = talk;
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
                tell(None, Some("not run: no container is there".to_owned()));
                let _ = answer.send(Frame::Error { message, help }).await;
                return;
            };
            let ends = Ends { answer: answer.clone(), input: Mutex::new(input) };
            let ended = driver.exec(&id.0, &command, &ends);
            let frame = tokio::select! {
                ended = ended => match ended {
                    Ok(ExecEnd { code, refused }) => {
                        tell(Some(code), refused.as_ref().map(|_| "it could not be run".to_owned()));
                        Frame::Exited { code, refused }
                    }
                    Err(error) => {
                        tell(None, Some("the engine failed".to_owned()));
                        Frame::Error { message: format!("{replica}: {error}"), help: None }
                    }
                },
                () = answer.closed() => {
                    return tell(None, Some("whoever asked for it went away".to_owned()));
                }
            };
            let _ = answer.send(frame).await;
        });
    }
}

/// The entry for the end of a command.
fn ended(talk: &Talk, code: Option<i64>, why: Option<String>) -> Box<Entry> {
    let (replica, exec) = (talk.replica.clone(), talk.note());
    Box::new(Entry::ExecEnded { replica, exec, code, why })
}
