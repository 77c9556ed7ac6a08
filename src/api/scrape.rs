//! Metrics over HTTP, for those who scrape them: `GET /metrics`, and nothing else. Nothing can be
//! changed here, and nobody is asked who they are: it belongs on a loopback or an inner address.

use std::convert::Infallible;
use std::net::{SocketAddr, TcpListener};
use std::sync::Arc;
use std::time::Duration;

use http_body_util::Full;
use hyper::body::{Bytes, Incoming};
use hyper::header::{ALLOW, CONTENT_TYPE, HeaderValue};
use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper::{Method, Request, Response, StatusCode};
use hyper_util::rt::{TokioIo, TokioTimer};
use tokio::net::TcpStream;
use tokio::sync::Semaphore;
use tokio::task::JoinHandle;

use super::metrics;
use super::protocol::{Frame, Request as Ask};
use super::server::ListenError;
use crate::shell::Asker;

/// Connections at once: a few scrapers, and somebody who looks. Others wait.
const CONNECTIONS_MAX: usize = 16;

/// How long a request's head may take: whoever says nothing shall not hold a place.
const HEAD_WITHIN: Duration = Duration::from_secs(10);

/// How long an answer may take: nodes that do not answer are not asked, so it is a matter of
/// milliseconds, but for a loop that has just begun.
const ANSWER_WITHIN: Duration = Duration::from_secs(10);

/// How long a connection may live, whatever it does.
const CONNECTION_MAX: Duration = Duration::from_secs(300);

/// Serves metrics until it is dropped.
#[derive(Debug)]
pub struct Scraped {
    /// Where.
    pub address: SocketAddr,
    task: JoinHandle<()>,
}

impl Drop for Scraped {
    fn drop(&mut self) {
        self.task.abort();
    }
}

/// Listens on `address`.
///
/// # Errors
/// [`ListenError`] if the system does not let us.
pub fn listen(address: SocketAddr, asker: Asker) -> Result<Scraped, ListenError> {
    let failed = |source| ListenError::new(format!("{address} for metrics"), source);
    let listener = TcpListener::bind(address).map_err(failed)?;
    listener.set_nonblocking(true).map_err(failed)?;
    let bound = listener.local_addr().map_err(failed)?;
    let listener = tokio::net::TcpListener::from_std(listener).map_err(failed)?;
    let places = Arc::new(Semaphore::new(CONNECTIONS_MAX));
    let task = tokio::spawn(async move {
        // It is never closed.
        while let Ok(place) = Arc::clone(&places).acquire_owned().await {
            match listener.accept().await {
                Ok((stream, _)) => {
                    let asker = asker.clone();
                    tokio::spawn(async move {
                        let _ = tokio::time::timeout(CONNECTION_MAX, serve(stream, asker)).await;
                        drop(place);
                    });
                }
                Err(error) => {
                    // Out of file descriptors, most likely: that passes.
                    tracing::warn!(%error, "accept a scraper");
                    tokio::time::sleep(Duration::from_millis(100)).await;
                }
            }
        }
    });
    Ok(Scraped { address: bound, task })
}

async fn serve(stream: TcpStream, asker: Asker) {
    let service = service_fn(move |request| {
        let asker = asker.clone();
        async move { Ok::<_, Infallible>(answer(&request, &asker).await) }
    });
    let connection = http1::Builder::new()
        .timer(TokioTimer::new())
        .header_read_timeout(HEAD_WITHIN)
        .serve_connection(TokioIo::new(stream), service);
    if let Err(error) = connection.await {
        // A scraper that went away, or somebody who speaks something else.
        tracing::debug!(%error, "serve metrics");
    }
}

async fn answer(request: &Request<Incoming>, asker: &Asker) -> Response<Full<Bytes>> {
    if request.uri().path() != "/metrics" {
        return plain(StatusCode::NOT_FOUND, "metrics are at /metrics\n");
    }
    if !matches!(*request.method(), Method::GET | Method::HEAD) {
        let mut response = plain(StatusCode::METHOD_NOT_ALLOWED, "GET it\n");
        response.headers_mut().insert(ALLOW, HeaderValue::from_static("GET, HEAD"));
        return response;
    }
    let mut frames = asker.ask(Ask::Metrics);
    match tokio::time::timeout(ANSWER_WITHIN, frames.recv()).await {
        Ok(Some(Frame::Metrics { text })) => with(StatusCode::OK, metrics::CONTENT_TYPE, text),
        Ok(_) => plain(StatusCode::SERVICE_UNAVAILABLE, "the loop ends\n"),
        Err(_) => plain(StatusCode::SERVICE_UNAVAILABLE, "the loop has not looked around yet\n"),
    }
}

fn plain(status: StatusCode, text: &'static str) -> Response<Full<Bytes>> {
    with(status, "text/plain; charset=utf-8", text)
}

fn with(status: StatusCode, kind: &'static str, body: impl Into<Bytes>) -> Response<Full<Bytes>> {
    let mut response = Response::new(Full::new(body.into()));
    *response.status_mut() = status;
    response.headers_mut().insert(CONTENT_TYPE, HeaderValue::from_static(kind));
    response
}
