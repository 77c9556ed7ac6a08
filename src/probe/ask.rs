//! The two protocols: a connection, and a request by HTTP.

use std::io;
use std::net::SocketAddr;
use std::time::Duration;

use reconciler::model::health::Probe;
use reconciler::model::spec::HealthProbe;
use tokio::io::{AsyncRead, AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::{TcpSocket, TcpStream};
use tokio::time::{Instant, timeout_at};

/// The longest head of an answer, in bytes: servers limit theirs to 8 or 16 KiB.
const HEAD_BYTES_MAX: usize = 64 << 10;

/// So much of a body is read and thrown away, so that a server need not take our end for an
/// accident; what is longer is cut off.
const BODY_BYTES_MAX: usize = 64 << 10;

/// And for so long: what it answered is known by then.
const BODY_WAIT_MAX: Duration = Duration::from_millis(500);

/// The first status that is not healthy.
const STATUS_BAD: u16 = 400;

/// Why a container is not known to be healthy.
#[derive(Debug)]
pub(super) enum Failure {
    /// No connection came about.
    Connect(io::Error),
    /// Nobody said anything to the wish for a connection, for this long.
    NoAnswer(Duration),
    /// It was reached, and did not answer as it shall.
    Answer(String),
}

impl Failure {
    /// In words, with what was tried. A query may hold a secret, and is left out.
    pub(super) fn about(&self, probe: &Probe) -> String {
        let (what, port) = match &probe.check {
            HealthProbe::Http { port, path } => {
                let path = path.split(['?', '#']).next().unwrap_or_default();
                (format!("GET {path} "), *port)
            }
            HealthProbe::Tcp { port } => (String::new(), *port),
            HealthProbe::Exec(_) => (String::new(), 0),
        };
        match self {
            Self::Connect(error) => format!("{what}found port {port} {}", cause(error)),
            Self::NoAnswer(wait) => format!("{what}got no answer at port {port} within {wait:?}"),
            Self::Answer(text) => format!("{what}{text}"),
        }
    }
}

fn cause(error: &io::Error) -> String {
    let kind = error.kind();
    if kind == io::ErrorKind::ConnectionRefused {
        "closed (connection refused)".to_owned()
    } else if kind == io::ErrorKind::HostUnreachable {
        "out of reach (no route to host)".to_owned()
    } else if kind == io::ErrorKind::NetworkUnreachable {
        "out of reach (no route to its network)".to_owned()
    } else {
        format!("out of reach ({error})")
    }
}

/// Asks once. All of it ends within the probe's timeout.
///
/// # Errors
/// [`Failure`] says how far it came.
pub(super) async fn ask(
    socket: TcpSocket,
    address: SocketAddr,
    probe: &Probe,
) -> Result<(), Failure> {
    let timeout = probe.timeout.duration();
    let deadline = Instant::now() + timeout;
    let stream = match timeout_at(deadline, socket.connect(address)).await {
        Ok(Ok(stream)) => stream,
        Ok(Err(error)) if error.kind() == io::ErrorKind::TimedOut => {
            return Err(Failure::NoAnswer(timeout));
        }
        Ok(Err(error)) => return Err(Failure::Connect(error)),
        Err(_) => return Err(Failure::NoAnswer(timeout)),
    };
    let HealthProbe::Http { path, port: _ } = &probe.check else { return Ok(()) };
    match timeout_at(deadline, get(stream, address, path)).await {
        Ok(Ok((status, stream))) => {
            finish(stream, deadline).await;
            if status < STATUS_BAD {
                return Ok(());
            }
            Err(Failure::Answer(format!("answered {status}")))
        }
        Ok(Err(error)) => Err(Failure::Answer(error.to_string())),
        Err(_) => Err(Failure::Answer(format!("was not answered within {timeout:?}"))),
    }
}

async fn get(
    mut stream: TcpStream,
    address: SocketAddr,
    path: &str,
) -> io::Result<(u16, TcpStream)> {
    let request = format!(
        "GET {path} HTTP/1.1\r\nHost: {address}\r\nUser-Agent: windlass/{}\r\nAccept: */*\r\n\
         Connection: close\r\n\r\n",
        env!("CARGO_PKG_VERSION")
    );
    stream.write_all(request.as_bytes()).await?;
    let status = status(&mut stream).await?;
    Ok((status, stream))
}

/// Reads the head of the final answer, and gives its status.
async fn status(stream: &mut (impl AsyncRead + Unpin)) -> io::Result<u16> {
    let mut head: Vec<u8> = Vec::new();
    let mut chunk = [0_u8; 1024];
    loop {
        while let Some(end) = head.windows(4).position(|bytes| bytes == b"\r\n\r\n") {
            let status = status_of(&head)?;
            // Those below 200 only announce another one; 101 ends what we know of.
            if !(100..200).contains(&status) || status == 101 {
                return Ok(status);
            }
            head.drain(..end + 4);
        }
        if head.len() >= HEAD_BYTES_MAX {
            return Err(io::Error::other("answered with a head that does not end"));
        }
        let read = stream.read(&mut chunk).await;
        let count = read.map_err(|error| io::Error::other(format!("was cut off ({error})")))?;
        if count == 0 {
            // A server may end in the middle of its head; what it said first counts.
            return status_of(&head);
        }
        head.extend_from_slice(&chunk[..count]);
    }
}

/// The status in the first line of a head.
fn status_of(head: &[u8]) -> io::Result<u16> {
    let line = head.split(|byte| *byte == b'\n').next().unwrap_or_default();
    let line = String::from_utf8_lossy(line);
    let mut words = line.split_ascii_whitespace();
    let is_http = words.next().is_some_and(|word| word.starts_with("HTTP/1."));
    let status = words.next().filter(|word| is_http && word.len() == 3);
    let status = status.and_then(|word| word.parse().ok()).filter(|status| *status >= 100);
    status.ok_or_else(|| {
        let what = if head.is_empty() { "nothing" } else { "something that is no HTTP" };
        io::Error::other(format!("was answered with {what}"))
    })
}

/// Reads what is left, within limits.
async fn finish(mut stream: TcpStream, deadline: Instant) {
    let mut chunk = [0_u8; 8192];
    let deadline = deadline.min(Instant::now() + BODY_WAIT_MAX);
    let mut left = BODY_BYTES_MAX;
    while left > 0 {
        match timeout_at(deadline, stream.read(&mut chunk)).await {
            Ok(Ok(count)) if count > 0 => left = left.saturating_sub(count),
            Ok(Ok(_) | Err(_)) | Err(_) => return,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use reconciler::model::health::ProbeAt;
    use reconciler::model::quantity::Span;
    use tokio::net::TcpListener;

    fn probe(check: HealthProbe) -> Probe {
        Probe { check, at: ProbeAt::Inside, timeout: Span::seconds(20) }
    }

    async fn read(text: &str) -> Result<u16, String> {
        status(&mut text.as_bytes()).await.map_err(|error| error.to_string())
    }

    #[tokio::test]
    async fn the_final_status_counts() {
        assert_eq!(read("HTTP/1.1 200 OK\r\n\r\nbody").await, Ok(200));
        assert_eq!(read("HTTP/1.0 404\r\nA: b\r\n\r\n").await, Ok(404));
        assert_eq!(read("HTTP/1.1 103 x\r\n\r\nHTTP/1.1 503 no\r\n\r\n").await, Ok(503));
        assert_eq!(read("HTTP/1.1 301 Moved\r\nLocation: /").await, Ok(301));
        let nothing = "was answered with nothing".to_owned();
        assert_eq!(read("").await, Err(nothing));
        for odd in ["SSH-2.0-x\r\n", "HTTP/1.1 99\r\n\r\n", "HTTP/1.1 20000\r\n\r\n", "\r\n\r\n"] {
            assert_eq!(read(odd).await, Err("was answered with something that is no HTTP".into()));
        }
        let endless = format!("HTTP/1.1 200 OK\r\n{}", "A: b\r\n".repeat(20_000));
        assert!(read(&endless).await.unwrap_err().contains("does not end"));
    }

    #[tokio::test]
    async fn servers_are_asked_and_closed_ports_are_told() {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let server = tokio::spawn(async move {
            let mut heard = Vec::new();
            for answer in ["HTTP/1.1 204 No Content\r\n\r\n", "HTTP/1.1 500 Oh\r\n\r\nwhy", ""] {
                let (mut stream, _) = listener.accept().await.unwrap();
                let mut request = [0_u8; 1024];
                let count = stream.read(&mut request).await.unwrap();
                heard.push(String::from_utf8_lossy(&request[..count]).into_owned());
                stream.write_all(answer.as_bytes()).await.unwrap();
            }
            heard
        });
        let path = "/health?token=s3cret".to_owned();
        let http = probe(HealthProbe::Http { port: address.port(), path });
        let once = async |probe: &Probe| {
            ask(TcpSocket::new_v4().unwrap(), address, probe)
                .await
                .map_err(|failure| failure.about(probe))
        };
        assert_eq!(once(&http).await, Ok(()));
        assert_eq!(once(&http).await, Err("GET /health answered 500".to_owned()));
        // One that only takes connections is no web server.
        assert_eq!(once(&http).await, Err("GET /health was answered with nothing".to_owned()));
        let heard = server.await.unwrap();
        assert!(heard[0].starts_with("GET /health?token=s3cret HTTP/1.1\r\n"), "{heard:?}");
        assert!(heard[0].contains(&format!("\r\nHost: {address}\r\n")), "{heard:?}");
        assert!(heard[0].contains("\r\nConnection: close\r\n"), "{heard:?}");
        // The listener is gone with its task.
        let tcp = probe(HealthProbe::Tcp { port: address.port() });
        let refused = format!("found port {} closed (connection refused)", address.port());
        assert_eq!(once(&tcp).await, Err(refused));
    }

    #[tokio::test]
    async fn a_server_that_is_silent_has_its_time() {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let port = address.port();
        let http = HealthProbe::Http { port, path: "/".to_owned() };
        let timeout = Span(50);
        let silent = Probe { timeout, ..probe(http) };
        let asked = ask(TcpSocket::new_v4().unwrap(), address, &silent).await;
        let failure = asked.unwrap_err().about(&silent);
        assert_eq!(failure, "GET / was not answered within 50ms");
        // For TCP that it takes the connection is enough.
        let tcp = Probe { timeout, ..probe(HealthProbe::Tcp { port }) };
        assert!(ask(TcpSocket::new_v4().unwrap(), address, &tcp).await.is_ok());
    }
}
