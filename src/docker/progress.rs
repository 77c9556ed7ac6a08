//! How far an image has come, and whether it still comes.

use std::collections::HashMap;
use std::future::Future;
use std::pin::pin;
use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use bollard::models::ProgressDetail;
use reconciler::ports::{DriverError, Progress};
use tokio::time::Instant;

use super::error;

/// Tells when something last moved, so that only a standstill ends a transfer.
#[derive(Debug)]
pub(super) struct Stall {
    moved_at: Mutex<Instant>,
    limit: Duration,
}

impl Stall {
    pub(super) fn new(limit: Duration) -> Self {
        Self { moved_at: Mutex::new(Instant::now()), limit }
    }

    /// Says that something moved.
    pub(super) fn moved(&self) {
        *self.moved_at.lock().unwrap_or_else(PoisonError::into_inner) = Instant::now();
    }

    /// Does `work` until it ends, or nothing has moved for too long.
    pub(super) async fn guard<T>(
        &self,
        operation: &str,
        work: impl Future<Output = Result<T, DriverError>>,
    ) -> Result<T, DriverError> {
        let mut work = pin!(work);
        loop {
            let deadline = self.deadline();
            tokio::select! {
                result = &mut work => return result,
                () = tokio::time::sleep_until(deadline) => {
                    if self.deadline() <= Instant::now() {
                        return Err(error::stalled(operation, self.limit));
                    }
                }
            }
        }
    }

    fn deadline(&self) -> Instant {
        *self.moved_at.lock().unwrap_or_else(PoisonError::into_inner) + self.limit
    }
}

/// Adds up the layers of a pull.
#[derive(Debug, Default)]
pub(super) struct Layers {
    layers: HashMap<String, Progress>,
}

impl Layers {
    /// Takes what the engine says of a layer. Answers the sums if they changed.
    pub(super) fn take(
        &mut self,
        layer: &str,
        status: &str,
        detail: Option<&ProgressDetail>,
    ) -> Option<Progress> {
        let bytes = |number: Option<i64>| number.and_then(|number| u64::try_from(number).ok());
        let before = self.sum();
        match status {
            "Downloading" => {
                let done = bytes(detail?.current)?;
                let total = bytes(detail?.total).unwrap_or(0).max(done);
                self.layers.insert(layer.to_owned(), Progress { done, total });
            }
            "Download complete" | "Pull complete" => {
                let known = self.layers.get_mut(layer)?;
                known.done = known.total;
            }
            _ => return None,
        }
        Some(self.sum()).filter(|sum| *sum != before)
    }

    fn sum(&self) -> Progress {
        self.layers.values().fold(Progress { done: 0, total: 0 }, |sum, layer| Progress {
            done: sum.done + layer.done,
            total: sum.total + layer.total,
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn layers_add_up() {
        let mut layers = Layers::default();
        let detail = |current, total| ProgressDetail { current: Some(current), total };
        let sum = |done, total| Some(Progress { done, total });
        assert_eq!(layers.take("a", "Downloading", Some(&detail(10, Some(100)))), sum(10, 100));
        assert_eq!(layers.take("b", "Downloading", Some(&detail(5, None))), sum(15, 105));
        assert_eq!(layers.take("a", "Download complete", None), sum(105, 105));
        assert_eq!(layers.take("a", "Pull complete", None), None);
        assert_eq!(layers.take("c", "Already exists", None), None);
    }
}
