//! How far an image has come, and whether it still comes.

use std::collections::BTreeMap;
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
    layers: BTreeMap<String, Layer>,
}

/// What is known of a layer.
#[derive(Debug, Clone, Copy)]
enum Layer {
    /// It will come; its size is told when its turn does.
    Announced,
    /// So much of it is here.
    Told(Progress),
}

impl Layers {
    /// Takes what the engine says of a layer. Answers the sums if they changed. The total is 0 as
    /// long as it is not known: an engine tells sizes only of the few layers that it fetches at once,
    /// and the sum of those would be complete again and again before the end.
    pub(super) fn take(
        &mut self,
        layer: &str,
        status: &str,
        detail: Option<&ProgressDetail>,
    ) -> Option<Progress> {
        let bytes = |number: Option<i64>| number.and_then(|number| u64::try_from(number).ok());
        let before = self.sum();
        match status {
            "Pulling fs layer" | "Waiting" => {
                self.layers.entry(layer.to_owned()).or_insert(Layer::Announced);
            }
            "Downloading" => {
                let done = bytes(detail?.current)?;
                let total = bytes(detail?.total).unwrap_or(0).max(done);
                self.layers.insert(layer.to_owned(), Layer::Told(Progress { done, total }));
            }
            // A small one comes so fast that nothing was told of its way.
            "Already exists" | "Download complete" | "Pull complete" => {
                let known = self.layers.get_mut(layer)?;
                *known = match *known {
                    Layer::Announced => Layer::Told(Progress { done: 0, total: 0 }),
                    Layer::Told(Progress { done: _, total }) => {
                        Layer::Told(Progress { done: total, total })
                    }
                };
            }
            _ => return None,
        }
        Some(self.sum()).filter(|sum| *sum != before)
    }

    fn sum(&self) -> Progress {
        let mut sum = Progress { done: 0, total: 0 };
        let mut all_told = true;
        for layer in self.layers.values() {
            match layer {
                Layer::Announced => all_told = false,
                Layer::Told(Progress { done, total }) => {
                    // An engine may say anything.
                    sum.done = sum.done.saturating_add(*done);
                    sum.total = sum.total.saturating_add(*total);
                }
            }
        }
        Progress { total: if all_told { sum.total } else { 0 }, ..sum }
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
        for layer in ["a", "b", "c"] {
            assert_eq!(layers.take(layer, "Pulling fs layer", None), None);
        }
        assert_eq!(layers.take("c", "Waiting", None), None);
        assert_eq!(layers.take("d", "Already exists", None), None);
        // As long as one has not told its size, nobody can say how much it will be.
        assert_eq!(layers.take("a", "Downloading", Some(&detail(10, Some(100)))), sum(10, 0));
        assert_eq!(layers.take("a", "Download complete", None), sum(100, 0));
        assert_eq!(layers.take("b", "Download complete", None), None);
        assert_eq!(layers.take("c", "Downloading", Some(&detail(5, Some(20)))), sum(105, 120));
        assert_eq!(layers.take("a", "Extracting", Some(&detail(1, Some(100)))), None);
        assert_eq!(layers.take("c", "Download complete", None), sum(120, 120));
        assert_eq!(layers.take("c", "Pull complete", None), None);
        for layer in ["e", "f", "g"] {
            layers.take(layer, "Downloading", Some(&detail(i64::MAX, Some(i64::MAX))));
        }
        assert_eq!(layers.sum(), Progress { done: u64::MAX, total: u64::MAX });
    }
}
