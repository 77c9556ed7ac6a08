//! `windlass exec`: a command in a container.

use std::io::{ErrorKind, IsTerminal as _};

use reconciler::model::ids::ReplicaKey;
use reconciler::model::journal::Entry;
use reconciler::ports::{ExecCommand, ExecInput, TerminalSize};
use reconciler::status::{InstanceStatus, ReplicaStatus};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::signal::unix::{Signal, SignalKind, signal};
use tokio::sync::mpsc;

use super::failure::Failure;
use super::get::{Kind, find};
use super::saved::who;
use super::terminal::{Raw, size};
use super::{Context, Dir, Ended, ask};
use crate::api::NOT_RUN;
use crate::api::client::Conversation;
use crate::api::protocol::{Frame, Overview};
use crate::app::{self, Session};
use crate::shell::exec_note;

/// What it ends with if windlass or the engine failed, so that it is not taken for the command's
/// own exit code; as Docker has it.
pub(super) const EXEC_ERROR: u8 = 125;

/// What it ends with if the command line is wrong.
pub(super) const EXEC_MISUSE: u8 = 2;

/// Bytes of input that are sent at once. In base64 they have to fit a line of the socket.
const PIECE_BYTES_MAX: usize = 16 << 10;

/// A terminal that does not know its size has this one.
const SIZE_UNKNOWN: TerminalSize = TerminalSize { rows: 24, columns: 80 };

/// What a terminal sends for Ctrl-C.
const CTRL_C: u8 = 3;

/// What is to be run, and how.
#[derive(Debug)]
pub(super) struct Options {
    /// The program and its arguments.
    pub(super) command: Vec<String>,
    /// Whether our standard input is its own.
    pub(super) stdin: bool,
    /// Whether it has a terminal.
    pub(super) tty: bool,
    pub(super) user: Option<String>,
    pub(super) workdir: Option<String>,
    /// `NAME=value`, or `NAME` for our own value.
    pub(super) env: Vec<String>,
}

/// Runs the verb: ends with the command's exit code.
pub(super) async fn run(context: &Context, name: &str, options: Options) -> Ended {
    let is_terminal = std::io::stdin().is_terminal();
    if options.tty && options.stdin && !is_terminal {
        let failure = Failure::new("standard input is no terminal, so -t cannot make it one");
        let failure = failure.help("leave -t out: `windlass exec -i NAME -- COMMAND`");
        return Err(Failure { code: Some(EXEC_MISUSE), ..failure });
    }
    let env = variables(&options.env)?;
    let settings = context.settings(&Dir { dir: None })?;
    let session = ask::open_to_look(&settings).await?;
    let overview = ask::overview(context, &session, None).await?;
    let replica = replica(context, name, &overview)?;
    let terminal = options.tty.then(|| size().unwrap_or(SIZE_UNKNOWN));
    let command = ExecCommand {
        command: options.command,
        env,
        user: options.user,
        workdir: options.workdir,
        // With a terminal, Ctrl-C has to reach it.
        stdin: options.stdin || options.tty,
        terminal,
    };
    let program = command.command.first().cloned().unwrap_or_default();
    // A daemon puts it on record itself; else it is done here, before anything runs.
    let exec = exec_note(&command, who());
    let is_daemon = matches!(session, Session::Daemon(_));
    if !is_daemon {
        let (replica, exec) = (replica.clone(), exec.clone());
        app::record(&settings, vec![Entry::Exec { replica, exec }]).map_err(|error| {
            Failure::from(error).help("a command that cannot be put on record is not run")
        })?;
    }
    let talk = session.talk(replica.clone(), command).await.map_err(ask::no_session)?;
    // Without a terminal signals do what they always do: they end us.
    let signals = options.tty.then(Signals::new).transpose()?;
    let raw = (options.tty && options.stdin).then(Raw::begin).transpose()?;
    let ended = converse(talk, options.stdin, signals).await;
    drop(raw);
    session.close().await;
    if !is_daemon {
        let (code, why) = match &ended {
            Ok((code, None)) => (Some(*code), None),
            Ok((code, Some(_))) => (Some(*code), Some("it could not be run".to_owned())),
            Err(failure) => (None, Some(not_run(failure))),
        };
        let entry = Entry::ExecEnded { replica: replica.clone(), exec, code, why };
        if let Err(error) = app::record(&settings, vec![entry]) {
            context.out.complain(&format!("the end of the command is not on record: {error}"));
        }
    }
    let (code, refused) = ended?;
    if let Some(why) = refused {
        let failure = Failure::new(format!("run `{program}` in {replica}: {why}"));
        let help = match code {
            127 => "is it in the image, and in its PATH?",
            _ => "may it be executed, and does the directory exist?",
        };
        return Err(Failure { code: Some(byte(code)), ..failure.help(help) });
    }
    Ok(byte(code))
}

/// Exit codes are bytes.
fn byte(code: i64) -> u8 {
    u8::try_from(code.rem_euclid(256)).unwrap_or(EXEC_ERROR)
}

/// Variables with their values; one without a value has ours.
fn variables(env: &[String]) -> Result<Vec<String>, Failure> {
    let mut all = Vec::new();
    for variable in env {
        match variable.split_once('=') {
            Some(("", _)) => {
                // The value may be a secret.
                let failure = Failure::new("--env: a variable has no name");
                let failure = failure.help("as in `--env MODE=debug`");
                return Err(Failure { code: Some(EXEC_MISUSE), ..failure });
            }
            Some(_) => all.push(variable.clone()),
            None => {
                all.extend(std::env::var(variable).ok().map(|value| format!("{variable}={value}")));
            }
        }
    }
    Ok(all)
}

/// The replica that a name means: one that runs.
fn replica(context: &Context, name: &str, overview: &Overview) -> Result<ReplicaKey, Failure> {
    let known: Vec<String> = overview.instances.iter().map(|one| one.key.to_string()).collect();
    let (found, ordinal) = match find(Kind::Instances, name, &known) {
        Ok(found) => (found, None),
        Err(failure) => {
            let parts = name.rsplit_once('/').and_then(|(instance, ordinal)| {
                let found = find(Kind::Instances, instance, &known).ok()?;
                Some((found, ordinal.parse::<u32>().ok()?))
            });
            let (found, ordinal) = parts.ok_or(failure)?;
            (found, Some(ordinal))
        }
    };
    let instance = match found.as_slice() {
        [at] => &overview.instances[*at],
        several => {
            let names: Vec<&str> = several.iter().map(|at| known[*at].as_str()).collect();
            let failure = Failure::new(format!("`{name}` could be {}", names.join(" or ")));
            return Err(failure.help("write the project before it"));
        }
    };
    if let Some(ordinal) = ordinal {
        let one = instance.replicas.iter().find(|one| one.replica.ordinal == ordinal);
        return match one {
            Some(one) if one.running => Ok(one.replica.clone()),
            Some(one) => Err(not_running(&one.replica.to_string(), instance, Some(one))),
            None => {
                let wanted = instance.replicas_wanted;
                let failure =
                    Failure::new(format!("there is no replica {}/{ordinal}", instance.key));
                Err(failure.help(match wanted {
                    0 => "it is declared with no replica".to_owned(),
                    1 => format!("its only one is {}/0", instance.key),
                    _ => format!("it has {}/0 to {}/{}", instance.key, instance.key, wanted - 1),
                }))
            }
        };
    }
    let running: Vec<&ReplicaStatus> =
        instance.replicas.iter().filter(|replica| replica.running).collect();
    match running.as_slice() {
        [] => Err(not_running(&instance.key.to_string(), instance, instance.replicas.first())),
        [one] => Ok(one.replica.clone()),
        [first, others @ ..] => {
            let more = super::show::words::count(others.len(), "other");
            let which = &first.replica;
            context.out.note(&format!("in {which}; {more} of {} run too", instance.key));
            Ok(which.clone())
        }
    }
}

fn not_running(name: &str, instance: &InstanceStatus, one: Option<&ReplicaStatus>) -> Failure {
    let state = match one {
        Some(one) => {
            let message = one.message.as_ref().map(|message| format!(": {message}"));
            format!("{}{}", one.state, message.unwrap_or_default())
        }
        None => "it has no replica".to_owned(),
    };
    let help = match one.map(|one| one.state.as_str()) {
        Some("Paused") => "set `power: running` to have it go on".to_owned(),
        Some(_) | None => {
            let key = &instance.key;
            format!("`windlass describe {key}` says why, `windlass logs {key}` what it printed")
        }
    };
    Failure::new(format!("{name} does not run ({state})")).help(help)
}

/// Why a command came to no end of its own, for the record.
fn not_run(failure: &Failure) -> String {
    let denial = failure.chain.iter().find_map(|link| link.strip_prefix(NOT_RUN));
    // What a policy found may be long: who said so is what matters here.
    let by = denial.and_then(|denial| denial.split_once(" (")).map(|(by, _)| by);
    by.map_or_else(|| "it was broken off".to_owned(), |by| format!("not run: {by}"))
}

/// Signals that end us, each with what a shell reports of it.
struct Signals {
    resized: Signal,
    interrupted: Signal,
    quit: Signal,
    terminated: Signal,
    hung_up: Signal,
}

impl Signals {
    fn new() -> std::io::Result<Self> {
        Ok(Self {
            resized: signal(SignalKind::window_change())?,
            interrupted: signal(SignalKind::interrupt())?,
            quit: signal(SignalKind::quit())?,
            terminated: signal(SignalKind::terminate())?,
            hung_up: signal(SignalKind::hangup())?,
        })
    }
}

/// Carries input and output until the command ends: its exit code, and why it could not be run.
async fn converse(
    talk: Conversation,
    stdin: bool,
    mut signals: Option<Signals>,
) -> Result<(i64, Option<String>), Failure> {
    let Conversation { input, mut frames } = talk;
    if stdin {
        tokio::spawn(send(input.clone()));
    }
    let (mut stdout, mut stderr) = (tokio::io::stdout(), tokio::io::stderr());
    loop {
        let frame = match &mut signals {
            None => frames.recv().await,
            Some(Signals { resized, interrupted, quit, terminated, hung_up }) => tokio::select! {
                frame = frames.recv() => frame,
                _ = resized.recv() => {
                    if let Some(size) = size() {
                        queue(&input, ExecInput::Resize(size));
                    }
                    continue;
                }
                _ = interrupted.recv() => {
                    if stdin {
                        return Err(Failure::interrupted());
                    }
                    // Keys are not ours to hand on here, so the kernel made a signal of this one.
                    queue(&input, ExecInput::Bytes(vec![CTRL_C]));
                    continue;
                }
                _ = quit.recv() => return Err(Failure::silent(131)),
                _ = terminated.recv() => return Err(Failure::silent(143)),
                _ = hung_up.recv() => return Err(Failure::silent(129)),
            },
        };
        match frame {
            Some(Frame::Output { stderr: false, bytes }) => {
                written(stdout.write_all(&bytes).await)?
            }
            Some(Frame::Output { stderr: true, bytes }) => written(stderr.write_all(&bytes).await)?,
            Some(Frame::Exited { code, refused }) => {
                written(stdout.flush().await)?;
                written(stderr.flush().await)?;
                return Ok((code, refused));
            }
            Some(Frame::Error { message, help }) => {
                written(stdout.flush().await)?;
                return Err(ask::told(message, help));
            }
            Some(frame) => return Err(ask::unexpected(&frame)),
            None => return Err(Failure::new("the loop ended before the command did")),
        }
        // What is there is shown, or a prompt would wait for the next line.
        if frames.is_empty() {
            written(stdout.flush().await)?;
            written(stderr.flush().await)?;
        }
    }
}

/// Sends something as soon as there is room, while what the command prints is shown meanwhile.
fn queue(input: &mpsc::Sender<ExecInput>, what: ExecInput) {
    let input = input.clone();
    tokio::spawn(async move {
        // If the command has just ended, it does not matter.
        let _ = input.send(what).await;
    });
}

/// Sends our standard input until it ends.
async fn send(input: mpsc::Sender<ExecInput>) {
    let mut stdin = tokio::io::stdin();
    let mut piece = vec![0; PIECE_BYTES_MAX];
    loop {
        let read = stdin.read(&mut piece).await;
        // An input that cannot be read any more has ended.
        let length = read.unwrap_or(0);
        if length == 0 {
            let _ = input.send(ExecInput::End).await;
            return;
        }
        let bytes = piece.get(..length).unwrap_or_default().to_vec();
        if input.send(ExecInput::Bytes(bytes)).await.is_err() {
            return;
        }
    }
}

fn written(result: std::io::Result<()>) -> Result<(), Failure> {
    match result {
        Ok(()) => Ok(()),
        Err(error) if error.kind() == ErrorKind::BrokenPipe => Err(Failure::closed_pipe()),
        Err(error) => Err(Failure::new(format!("write what the command printed: {error}"))),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn variables_have_names_and_their_values_are_not_told() {
        assert_eq!(variables(&["A=b=c".into()]).ok(), Some(vec!["A=b=c".to_owned()]));
        assert_eq!(variables(&["WINDLASS_NO_SUCH_VARIABLE".into()]).ok(), Some(Vec::new()));
        let failure = variables(&["=s3cret".into()]).expect_err("no name");
        assert_eq!(failure.code, Some(EXEC_MISUSE));
        assert!(!format!("{failure:?}").contains("s3cret"));
    }

    #[test]
    fn exit_codes_are_bytes() {
        assert_eq!([0, 137, 256, -1].map(byte), [0, 137, 0, 255]);
    }
}
