//! How it is found out whether a container is healthy.

use reconciler::model::quantity::Span as TimeSpan;
use reconciler::model::spec::limits::{PORTS, RETRIES_MAX};
use reconciler::model::spec::{Health, HealthProbe, defaults};

use super::super::problem::Problem;
use super::super::tree::Node;
use super::fields::{Context, Fields, list};
use super::value;

/// Decodes `health`.
pub(super) fn decode(context: &mut Context<'_>, node: &Node<'_>) -> Option<Health> {
    let mut fields = Fields::of(context, node, "health", "health.")?;
    let checks = ["exec", "http", "tcp"].map(|name| fields.entry(name));
    let given: Vec<_> = checks.into_iter().flatten().collect();
    let check = match given.as_slice() {
        [one] => match &*one.key {
            "exec" => value::words(context, &one.value, "health.exec").map(HealthProbe::Exec),
            "http" => http(context, &one.value),
            _ => tcp(context, &one.value),
        },
        [] => {
            let problem = Problem::new(fields.span, "missing field `health.exec`");
            let label = "expected one of exec (a command, as a list), http, tcp";
            context.note(problem.label(label));
            None
        }
        [first, second, ..] => {
            let keys = list(given.iter().map(|entry| &*entry.key));
            let problem = Problem::new(second.key_span, "more than one check in `health`");
            let problem = problem.label(format!("there is one check, and these are {keys}"));
            context.note(problem.also(first.key_span, "this is one already"));
            None
        }
    };
    let mut time = |context: &mut Context<'_>, name: &'static str, default: TimeSpan, min: u64| {
        let Some(node) = fields.take(name) else { return default };
        let field = format!("health.{name}");
        let Some(span) = value::quantity::<TimeSpan>(context, node, &field) else {
            return default;
        };
        if span.0 < min {
            context.out_of_range(node.span, &field, "engines need at least 1ms");
        }
        span
    };
    let interval = time(context, "interval", defaults::health_interval(), 1);
    let timeout = time(context, "timeout", defaults::health_timeout(), 1);
    let start_period = time(context, "startPeriod", defaults::health_start_period(), 0);
    let retries = match fields.take("retries") {
        None => Some(u64::from(defaults::health_retries())),
        Some(node) => value::integer(context, node, "health.retries", (1, RETRIES_MAX)),
    };
    fields.finish(context, &[]);
    let retries = u32::try_from(retries?).ok()?;
    Some(Health { check: check?, interval, timeout, retries, start_period })
}

/// `{ port: 8080, path: / }`, or the port alone.
fn http(context: &mut Context<'_>, node: &Node<'_>) -> Option<HealthProbe> {
    if node.is_scalar() {
        let port = port(context, node, "health.http")?;
        return Some(HealthProbe::Http { port, path: defaults::http_path() });
    }
    let mut fields = Fields::of(context, node, "health.http", "health.http.")?;
    let port = fields.require(context, "port", "the port inside the container");
    let port = port.and_then(|node| self::port(context, node, "health.http.port"));
    let path = match fields.take("path") {
        None => Some(defaults::http_path()),
        Some(node) => {
            let path = value::text(context, node, "health.http.path", "a path such as `/health`");
            match path {
                Some(path) if path.starts_with('/') && !path.contains(char::is_whitespace) => {
                    Some(path.to_owned())
                }
                Some(_) => {
                    let label = "expected a path that begins with `/`, without blanks";
                    context.invalid(node.span, "health.http.path", label);
                    None
                }
                None => None,
            }
        }
    };
    fields.finish(context, &["scheme", "headers", "host", "status"]);
    Some(HealthProbe::Http { port: port?, path: path? })
}

/// `{ port: 5432 }`, or the port alone.
fn tcp(context: &mut Context<'_>, node: &Node<'_>) -> Option<HealthProbe> {
    if node.is_scalar() {
        return Some(HealthProbe::Tcp { port: port(context, node, "health.tcp")? });
    }
    let mut fields = Fields::of(context, node, "health.tcp", "health.tcp.")?;
    let port = fields.require(context, "port", "the port inside the container");
    let port = port.and_then(|node| self::port(context, node, "health.tcp.port"));
    fields.finish(context, &[]);
    Some(HealthProbe::Tcp { port: port? })
}

fn port(context: &mut Context<'_>, node: &Node<'_>, field: &str) -> Option<u16> {
    let port = value::integer(context, node, field, PORTS)?;
    u16::try_from(port).ok()
}
