//! Looks who signed images: signatures in cosign's form of simple signing, by keys that an Image
//! names, from a file beside its spec or from the image's registry.
//!
//! [`simple`] verifies, [`registry`] fetches. It fails closed: what does not verify is no signature,
//! and what could not be fetched is not known.

mod registry;
mod simple;

use std::future::Future;
use std::pin::Pin;
use std::time::Duration;

use reconciler::policy::facts::{Signed, WhoSigned};
use reconciler::ports::Verifier;
use tokio::sync::Semaphore;

/// Questions at once: a set of many Images must not fall upon one registry.
const QUESTIONS_AT_ONCE_MAX: usize = 4;

/// How long a registry may take for all that is asked of it: a manifest and some small documents.
const DEADLINE: Duration = Duration::from_secs(10);

/// Looks who signed images.
#[derive(Debug)]
pub struct Signatures {
    places: Semaphore,
    deadline: Duration,
}

impl Default for Signatures {
    fn default() -> Self {
        Self { places: Semaphore::new(QUESTIONS_AT_ONCE_MAX), deadline: DEADLINE }
    }
}

impl Signatures {
    async fn look(&self, question: &WhoSigned) -> Result<Signed, String> {
        let WhoSigned { image: _, declared: _, reference, digest, verify } = question;
        let fetched;
        let signatures = match (&verify.signatures, reference) {
            (Some(file), _) => &file.signatures,
            (None, None) => {
                let why = "an image from a file has its signatures in a file: name it in \
                           `verify.signatures`";
                return Err(why.to_owned());
            }
            (None, Some(reference)) => {
                // It is never closed.
                let _place = self.places.acquire().await;
                let fetching = registry::signatures(reference, digest);
                fetched = match tokio::time::timeout(self.deadline, fetching).await {
                    Ok(fetched) => fetched?,
                    Err(_) => {
                        let limit = self.deadline.as_secs_f64();
                        return Err(format!("its registry did not answer within {limit} s"));
                    }
                };
                &fetched
            }
        };
        let by = verify.keys.iter().filter(|key| {
            signatures.iter().any(|signature| simple::is_signed(&key.key, digest, signature))
        });
        let (signers, fingerprints) =
            by.map(|key| (key.name.clone(), key.key.fingerprint())).unzip();
        Ok(Signed { digest: digest.clone(), signers, fingerprints })
    }
}

impl Verifier for Signatures {
    fn who_signed<'a>(
        &'a self,
        question: &'a WhoSigned,
    ) -> Pin<Box<dyn Future<Output = Result<Signed, String>> + Send + 'a>> {
        Box::pin(self.look(question))
    }
}

#[cfg(test)]
mod tests;
