//! Asking one target again and again.

use std::time::Duration;

use tokio::time::{Instant, sleep};

/// Asks until `record`, which takes in what was seen, answers that the target is healthy. A try
/// begins an `interval` after the one before began, or when that one ends if it took longer.
pub(crate) async fn until_healthy<T>(
    interval: Duration,
    ask: impl AsyncFn() -> T,
    record: impl Fn(T) -> bool,
) {
    loop {
        let begun = Instant::now();
        if record(ask().await) {
            return;
        }
        sleep(interval.saturating_sub(begun.elapsed())).await;
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::cell::{Cell, RefCell};

    #[tokio::test(start_paused = true)]
    async fn the_interval_counts_from_the_start_of_a_try() {
        let origin = Instant::now();
        let starts = RefCell::new(Vec::new());
        let tries = Cell::new(0);
        let ask = async || {
            starts.borrow_mut().push(origin.elapsed().as_millis());
            // The second try takes longer than an interval.
            sleep(Duration::from_millis([100, 700, 100, 0][tries.get()])).await;
            tries.set(tries.get() + 1);
        };
        until_healthy(Duration::from_millis(250), ask, |()| tries.get() == 4).await;
        assert_eq!(*starts.borrow(), [0, 250, 950, 1200]);
    }
}
