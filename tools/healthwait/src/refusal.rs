//! What ends the waiting at once: a login that is refused is not waited for.

use std::cell::RefCell;

use slipway_release::Failure;
use tokio::sync::Notify;

/// Room for the first refusal, from whichever target it comes.
#[derive(Default)]
pub(crate) struct Refusal {
    failure: RefCell<Option<Failure>>,
    told: Notify,
}

impl Refusal {
    pub(crate) fn tell(&self, failure: impl Into<Failure>) {
        self.failure.borrow_mut().get_or_insert(failure.into());
        self.told.notify_one();
    }

    /// Waits for one.
    pub(crate) async fn wait(&self) -> Failure {
        loop {
            if let Some(failure) = self.failure.borrow_mut().take() {
                return failure;
            }
            self.told.notified().await;
        }
    }
}
