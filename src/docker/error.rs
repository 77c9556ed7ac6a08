//! What went wrong, in our terms: a kind that the planner can act on, and one line for people.

use std::io;
use std::time::Duration;

use bollard::errors::Error;
use reconciler::ports::{DriverError, DriverErrorKind};

/// Longest message, in characters: some engines answer with a whole page.
const MESSAGE_CHARS_MAX: usize = 500;

/// What `operation` failed with. `operation` names what was tried and on what.
pub(super) fn driver_error(operation: &str, error: &Error) -> DriverError {
    let text = text_of(error);
    new(kind_of(error), operation, &taken_port(&text).unwrap_or(text))
}

/// What an engine means that could not listen on a host port: it tells of its endpoints and proxies,
/// in other words with each version, and its user wants to know which port, and who has it.
fn taken_port(text: &str) -> Option<String> {
    let by = if text.contains("port is already allocated") {
        "another container"
    } else if text.contains("address already in use") {
        "another process"
    } else {
        return None;
    };
    let port = text.split_whitespace().find_map(host_port)?;
    Some(format!(
        "host port {port} is taken by {by} on the node; free it there, or let `ports` of the instance \
         name another `host` port"
    ))
}

/// The port of `0.0.0.0:8080`, `[::]:8080/tcp`, or `0.0.0.0:8080:172.17.0.2:80/tcp`.
fn host_port(word: &str) -> Option<u16> {
    let word = word.trim_matches(|c| matches!(c, ':' | ',' | '(' | ')'));
    let rest = match word.strip_prefix('[') {
        Some(rest) => rest.split_once("]:")?.1,
        None => {
            let (address, rest) = word.split_once(':')?;
            address.parse::<std::net::Ipv4Addr>().ok()?;
            rest
        }
    };
    let digits = rest.split(|c: char| !c.is_ascii_digit()).next()?;
    digits.parse().ok().filter(|port| *port > 0)
}

/// An error with a text of our own.
pub(super) fn new(kind: DriverErrorKind, operation: &str, text: &str) -> DriverError {
    DriverError { kind, message: format!("{operation}: {}", one_line(text)) }
}

/// No answer within `limit`.
pub(super) fn timed_out(operation: &str, limit: Duration) -> DriverError {
    new(
        DriverErrorKind::TimedOut,
        operation,
        &format!("no answer within {} s", limit.as_secs_f64()),
    )
}

/// Nothing moved for `limit`.
pub(super) fn stalled(operation: &str, limit: Duration) -> DriverError {
    new(DriverErrorKind::TimedOut, operation, &format!("no progress for {} s", limit.as_secs_f64()))
}

/// Whether the engine no longer speaks the API version that was agreed on: another version of it
/// listens now.
pub(super) fn is_version_mismatch(error: &Error) -> bool {
    matches!(error, Error::DockerResponseServerError { status_code: 400, message }
        if message.contains("client version"))
}

fn kind_of(error: &Error) -> DriverErrorKind {
    if let Error::DockerResponseServerError { status_code, .. } = error {
        return match status_code {
            404 => DriverErrorKind::NotFound,
            409 => DriverErrorKind::Conflict,
            _ => DriverErrorKind::Refused,
        };
    }
    if matches!(error, Error::RequestTimeoutError) {
        return DriverErrorKind::TimedOut;
    }
    // What is left is either the transport (refused, reset, cut off in the middle), or an answer
    // that cannot be read, which is the engine's fault.
    let transport = matches!(
        error,
        Error::HyperLegacyError { .. }
            | Error::HyperResponseError { .. }
            | Error::IOError { .. }
            | Error::SocketNotFoundError(_)
    );
    if transport { DriverErrorKind::Unreachable } else { DriverErrorKind::Refused }
}

fn text_of(error: &Error) -> String {
    if let Error::DockerResponseServerError { message, status_code } = error {
        return match message.as_str() {
            "" => format!("the engine answered with status {status_code}"),
            message => message.to_owned(),
        };
    }
    if let Error::DockerStreamError { error } = error {
        return error.clone();
    }
    // The innermost cause says it best: "connection refused" rather than "client error (Connect)".
    // bollard prints these three without naming them as its cause.
    let mut cause: &dyn std::error::Error = error;
    if let Error::HyperLegacyError { err } = error {
        cause = err;
    } else if let Error::IOError { err } = error {
        cause = err;
    } else if let Error::HyperResponseError { err } = error {
        cause = err;
    }
    while let Some(inner) = cause.source() {
        cause = inner;
    }
    match cause.downcast_ref::<io::Error>() {
        Some(io) => system_text(io),
        None => cause.to_string(),
    }
}

/// What the system says, without the number that it adds.
pub(super) fn system_text(error: &io::Error) -> String {
    let text = error.to_string();
    match text.split_once(" (os error") {
        Some((words, _)) => words.to_owned(),
        None => text,
    }
}

fn one_line(text: &str) -> String {
    let words: Vec<&str> = text.split_whitespace().collect();
    let line = words.join(" ");
    match line.char_indices().nth(MESSAGE_CHARS_MAX) {
        Some((end, _)) => format!("{}…", &line[..end]),
        None => line,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn answered(status_code: u16, message: &str) -> DriverError {
        let error = Error::DockerResponseServerError { status_code, message: message.to_owned() };
        driver_error("start container web", &error)
    }

    #[test]
    fn statuses_have_their_kinds_and_messages_one_line() {
        assert_eq!(answered(404, "no such container").kind, DriverErrorKind::NotFound);
        assert_eq!(answered(409, "in use").kind, DriverErrorKind::Conflict);
        let refused = answered(500, "driver failed:\n port is\tallocated\n");
        assert_eq!(refused.kind, DriverErrorKind::Refused);
        assert_eq!(refused.message, "start container web: driver failed: port is allocated");
        assert_eq!(
            answered(503, "").message,
            "start container web: the engine answered with status 503"
        );
        assert!(answered(500, &"é".repeat(600)).message.chars().count() < 540);
    }

    #[test]
    fn a_taken_port_is_named_with_what_to_do() {
        let endpoint = "driver failed programming external connectivity on endpoint shop.web.0.1 \
                        (51d3fe1b9a0a)";
        let process = [
            format!(
                "{endpoint}: Error starting userland proxy: listen tcp4 0.0.0.0:8080: bind: address \
                 already in use"
            ),
            format!(
                "{endpoint}: failed to bind port 0.0.0.0:8080/tcp: listen tcp4 0.0.0.0:8080: bind: \
                 address already in use"
            ),
            format!(
                "{endpoint}: failed to bind host port for 0.0.0.0:8080:172.17.0.2:80/tcp: address \
                 already in use"
            ),
            "listen udp6 [::]:8080: bind: address already in use".to_owned(),
        ];
        let advice = "free it there, or let `ports` of the instance name another `host` port";
        for text in process {
            let expected = format!(
                "start container web: host port 8080 is taken by another process on the node; \
                 {advice}"
            );
            assert_eq!(answered(500, &text).message, expected, "{text}");
        }
        let text = format!("{endpoint}: Bind for 127.0.0.1:8080 failed: port is already allocated");
        let expected = format!(
            "start container web: host port 8080 is taken by another container on the node; {advice}"
        );
        assert_eq!(answered(500, &text).message, expected);
        // What names no port is told as it is.
        let text = "address already in use";
        assert_eq!(answered(500, text).message, "start container web: address already in use");
    }

    #[test]
    fn a_lost_connection_is_unreachable() {
        let error = Error::from(io::Error::from_raw_os_error(111));
        let error = driver_error("list containers", &error);
        assert_eq!(error.kind, DriverErrorKind::Unreachable);
        assert_eq!(error.message, "list containers: Connection refused");
    }
}
