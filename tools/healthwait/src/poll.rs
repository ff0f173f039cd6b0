//! Asking one target again and again.

use std::ops::ControlFlow;
use std::time::Duration;

use tokio::time::{Instant, sleep};

/// Asks until `record`, which takes in what was seen, ends it with an answer. Else that says how
/// long after the start of a try the next one begins; if the try took longer, at once.
pub(crate) async fn poll<T, End>(
    ask: impl AsyncFn() -> T,
    record: impl Fn(T) -> ControlFlow<End, Duration>,
) -> End {
    loop {
        let begun = Instant::now();
        match record(ask().await) {
            ControlFlow::Break(end) => return end,
            ControlFlow::Continue(pause) => sleep(pause.saturating_sub(begun.elapsed())).await,
        }
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
        let record = |()| match tries.get() {
            4 => ControlFlow::Break("healthy"),
            _ => ControlFlow::Continue(Duration::from_millis(250)),
        };
        assert_eq!(poll(ask, record).await, "healthy");
        assert_eq!(*starts.borrow(), [0, 250, 950, 1200]);
    }
}
