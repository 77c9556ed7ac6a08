//! A socket in front of an engine's: it can fall silent, be slow, lead elsewhere, and tell another time.
//!
//! The time is a matter of what is told, since no engine can be given a clock of its own: a time
//! namespace shifts the clocks that count from the start of a machine and not the one that says what
//! day it is, and programs in Go ask the kernel, not a library that could be exchanged. So each time in
//! an engine's answers is another one, and those in questions are put back.

use std::io::{Read, Write};
use std::os::unix::net::{UnixListener, UnixStream};
use std::path::Path;
use std::sync::atomic::{AtomicI64, AtomicU64, Ordering};
use std::sync::{Arc, Condvar, Mutex, PoisonError};
use std::thread;
use std::time::Duration;

use jiff::SignedDuration;
use jiff::civil::DateTime;

/// Whether what is sent stays where it is, and where it goes.
#[derive(Default)]
pub(super) struct Valve {
    closed: Mutex<bool>,
    changed: Condvar,
    /// The engine's socket.
    leads_to: Mutex<String>,
    /// Ends of what is connected.
    open: Mutex<Vec<UnixStream>>,
    /// How far ahead the engine's clock seems to be, in seconds.
    ahead_s: AtomicI64,
    /// How late each piece of an answer comes, in milliseconds.
    late_ms: AtomicU64,
}

impl Valve {
    pub(super) fn set(&self, closed: bool) {
        *self.closed.lock().unwrap_or_else(PoisonError::into_inner) = closed;
        self.changed.notify_all();
    }

    /// The engine's clock is so many seconds ahead from now on, or behind.
    pub(super) fn shift_clock(&self, ahead_s: i64) {
        self.ahead_s.store(ahead_s, Ordering::Relaxed);
    }

    /// Answers come so late from now on, piece by piece.
    pub(super) fn slow(&self, late: Duration) {
        self.late_ms.store(u64::try_from(late.as_millis()).unwrap_or(0), Ordering::Relaxed);
    }

    /// Leads to another engine from now on; what is connected is cut.
    pub(super) fn lead_to(&self, engine: &str) {
        let path = engine.trim_start_matches("unix://").to_owned();
        *self.leads_to.lock().unwrap_or_else(PoisonError::into_inner) = path;
        for end in self.open.lock().unwrap_or_else(PoisonError::into_inner).drain(..) {
            let _ = end.shutdown(std::net::Shutdown::Both);
        }
    }

    fn connect(&self) -> Option<UnixStream> {
        let path = self.leads_to.lock().unwrap_or_else(PoisonError::into_inner).clone();
        let engine = UnixStream::connect(path).ok()?;
        let end = engine.try_clone().expect("an end");
        self.open.lock().unwrap_or_else(PoisonError::into_inner).push(end);
        Some(engine)
    }

    /// Returns once it is open.
    fn pass(&self) {
        let mut closed = self.closed.lock().unwrap_or_else(PoisonError::into_inner);
        while *closed {
            closed = self.changed.wait(closed).unwrap_or_else(PoisonError::into_inner);
        }
    }
}

/// Which way bytes go.
#[derive(Clone, Copy, PartialEq, Eq)]
enum To {
    Engine,
    Client,
}

/// Passes on what comes until one side ends, and nothing while the valve is closed.
fn pass_on(mut from: UnixStream, mut to: UnixStream, whom: To, valve: &Valve) {
    let mut bytes = vec![0; 1 << 16];
    let mut held = 0;
    while let Ok(length @ 1..) = from.read(&mut bytes[held..]) {
        let length = held + length;
        valve.pass();
        if whom == To::Client {
            thread::sleep(Duration::from_millis(valve.late_ms.load(Ordering::Relaxed)));
        }
        let ahead_s = valve.ahead_s.load(Ordering::Relaxed);
        // A time may come in two pieces. No message ends within one.
        let whole = if ahead_s == 0 { length } else { length - unfinished(&bytes[..length]) };
        match whom {
            To::Client | To::Engine if ahead_s == 0 => {}
            To::Client => shift(&mut bytes[..whole], ahead_s, &TOLD),
            To::Engine => shift(&mut bytes[..whole], -ahead_s, &ASKED),
        }
        if to.write_all(&bytes[..whole]).is_err() {
            break;
        }
        bytes.copy_within(whole..length, 0);
        held = length - whole;
    }
    let _ = to.write_all(&bytes[..held]);
    let _ = to.shutdown(std::net::Shutdown::Write);
}

/// What stands before seconds since 1970 in answers; a time with nanoseconds goes on after them.
const TOLD: [&str; 3] = ["\"time\":", "\"timeNano\":", "\"Created\":"];

/// And in questions.
const ASKED: [&str; 2] = ["since=", "until="];

/// As engines write dates; fractions of a second follow, and Z.
const DATE: &str = "%Y-%m-%dT%H:%M:%S";

/// Letters of a date.
const DATE_LENGTH: usize = "2026-01-02T03:04:05".len();

/// Digits of seconds since 1970, these days.
const SECONDS_LENGTH: usize = 10;

/// The length of what may be the beginning of a time at the end of these bytes.
fn unfinished(bytes: &[u8]) -> usize {
    let names = TOLD.iter().chain(&ASKED).map(|name| name.len()).max().unwrap_or(0);
    let of_a_time = |byte: &u8| byte.is_ascii_alphanumeric() || b"-:.\"=".contains(byte);
    let run = bytes.iter().rev().take_while(|byte| of_a_time(byte)).count();
    // Words alone are no time: some answers end with one.
    let is_word = bytes[bytes.len() - run..].iter().all(u8::is_ascii_alphabetic);
    if is_word { 0 } else { run.min(names + DATE_LENGTH) }
}

/// Puts other times in place of those that are there: as many bytes as before.
fn shift(bytes: &mut [u8], by_s: i64, names: &[&str]) {
    for at in 0..bytes.len() {
        let rest = &mut bytes[at..];
        if let Some(date) = rest.get_mut(..DATE_LENGTH).filter(|date| date[10] == b'T')
            && let Some(other) = shifted(date, by_s)
        {
            date.copy_from_slice(other.as_bytes());
        }
        let name = names.iter().find(|name| rest.starts_with(name.as_bytes()));
        let Some(name) = name.map(|name| name.len()) else { continue };
        if let Some(digits) = rest.get_mut(name..name + SECONDS_LENGTH)
            && let Ok(seconds) = String::from_utf8_lossy(digits).parse::<i64>()
        {
            digits.copy_from_slice((seconds + by_s).to_string().as_bytes());
        }
    }
}

/// The date so much later; `None` if it is none, or the one that stands for never.
fn shifted(date: &[u8], by_s: i64) -> Option<String> {
    let text = std::str::from_utf8(date).ok()?;
    let time = DateTime::strptime(DATE, text).ok().filter(|time| time.year() > 1)?;
    let time = time.checked_add(SignedDuration::from_secs(by_s)).ok()?;
    Some(time.strftime(DATE).to_string())
}

#[test]
fn each_time_is_shifted_and_nothing_else() {
    let told = r#"{"StartedAt":"2026-11-30T23:30:00.5Z","FinishedAt":"0001-01-01T00:00:00Z","Id":"1795276075","time":1795276075,"timeNano":1795276075000792858}"#;
    let later = r#"{"StartedAt":"2026-12-01T01:30:00.5Z","FinishedAt":"0001-01-01T00:00:00Z","Id":"1795276075","time":1795283275,"timeNano":1795283275000792858}"#;
    let mut bytes = told.as_bytes().to_vec();
    shift(&mut bytes, 7200, &TOLD);
    assert_eq!(String::from_utf8_lossy(&bytes), later);
    shift(&mut bytes, -7200, &TOLD);
    assert_eq!(String::from_utf8_lossy(&bytes), told);
    let mut asked = *b"GET /v1.41/events?since=1795283275.000792858 HTTP/1.1\r\n";
    shift(&mut asked, -7200, &ASKED);
    assert!(asked.starts_with(b"GET /v1.41/events?since=1795276075.000792858 "));
    assert_eq!(unfinished(b"{\"a\":1}\n"), 0);
    assert_eq!(unfinished(b",\"time\":17"), "\"time\":17".len());
    assert_eq!(unfinished(b"\r\n\r\nOK"), 0);
}

/// A socket that leads to the engine's through a valve.
pub(super) fn proxy(socket: &Path, engine: &str) -> Arc<Valve> {
    let valve = Arc::<Valve>::default();
    valve.lead_to(engine);
    let listener = UnixListener::bind(socket).expect("a socket");
    let inner = Arc::clone(&valve);
    thread::spawn(move || {
        for client in listener.incoming().map_while(Result::ok) {
            let Some(engine) = inner.connect() else { continue };
            let ends = [
                (
                    client.try_clone().expect("an end"),
                    engine.try_clone().expect("an end"),
                    To::Engine,
                ),
                (engine, client, To::Client),
            ];
            for (from, to, whom) in ends {
                let valve = Arc::clone(&inner);
                thread::spawn(move || pass_on(from, to, whom, &valve));
            }
        }
    });
    valve
}
