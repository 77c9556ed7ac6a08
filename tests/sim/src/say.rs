//! Events in a few words, for the trace.

use reconciler::engine::Event;
use reconciler::ports::NodeEvent;
use reconciler::step::Action;

/// What an event is, in one line.
#[must_use]
pub(crate) fn event(event: &Event) -> String {
    fn end<T, E: std::fmt::Display>(result: &Result<T, E>) -> String {
        result.as_ref().map_or_else(ToString::to_string, |_| "ok".to_owned())
    }
    match event {
        Event::Specs(reading) => {
            let broken = reading.broken.len();
            format!("specs: {} objects, {broken} broken, {:?}", reading.desired.len(), reading.root)
        }
        Event::SpecsChanged(change) => format!("specs changed: {} objects", change.objects.len()),
        Event::Policies(_) => "policies".to_owned(),
        Event::Checkout(_) => "checkout".to_owned(),
        Event::Listed { node, asked_at, result } => {
            format!("listed {node} (asked at {}): {}", asked_at.0, end(result))
        }
        Event::Inspected { node, container, result, .. } => {
            let name = container.get(..24.min(container.len())).unwrap_or("");
            format!("inspected {name} on {node}: {}", end(result))
        }
        Event::Hint { node, event } => match event {
            NodeEvent::Container { replica: Some(replica), .. } => {
                format!("hint of {replica} on {node}")
            }
            NodeEvent::Opened
            | NodeEvent::Container { replica: None, .. }
            | NodeEvent::Images
            | NodeEvent::Volumes
            | NodeEvent::Networks
            | NodeEvent::Rules
            | NodeEvent::Groups => format!("hint of {node}: {event:?}"),
        },
        Event::Lost { node, .. } => format!("lost {node}"),
        Event::Committed { ticket, result } => format!("committed {ticket}: {}", end(result)),
        Event::Finished { object, result } => format!("finished {object}: {}", end(result)),
        Event::Probed { container, result, .. } => {
            format!("probed {}: {result:?}", container.0.get(..8).unwrap_or(""))
        }
        Event::Pressed(_) => "pressed".to_owned(),
        Event::LogRead { replica, .. } => format!("log of {replica}"),
        Event::LookedInside { replica, .. } => format!("inside of {replica}"),
        Event::WhoSigned { image, .. } => format!("who signed {image}"),
        Event::Operator(operator) => {
            let mut said = format!("operator: {operator:?}");
            said.truncate(120);
            said
        }
        Event::Wake => "wake".to_owned(),
        Event::Round => "round".to_owned(),
    }
}

/// What a step gives its container.
pub(crate) fn limits(action: &Action) -> String {
    let limits = if let Action::CreateContainer { config, .. } = action {
        &config.limits
    } else if let Action::UpdateContainer { limits, .. } = action {
        limits
    } else {
        return String::new();
    };
    format!(" ({} Mi, {} m)", limits.memory >> 20, limits.nano_cpus / 1_000_000)
}
