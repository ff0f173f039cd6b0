//! How long the answers of a target took.

use std::time::Duration;

/// The most samples that are kept: enough for a 99th percentile, and little for a thousand targets.
const LIMIT: usize = 512;

/// Latencies in a bounded number of samples, evenly spread over the time of the waiting.
#[derive(Debug)]
pub(crate) struct Latencies {
    samples: Vec<u32>,
    /// Every so many latencies one is kept.
    stride: u32,
    /// How many came since the last one that was kept.
    skipped: u32,
    min: u32,
}

/// The figures of a target's latencies.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Figures {
    pub(crate) min: Duration,
    pub(crate) median: Duration,
    pub(crate) p99: Duration,
}

impl Default for Latencies {
    fn default() -> Self {
        Self { samples: Vec::new(), stride: 1, skipped: 0, min: u32::MAX }
    }
}

impl Latencies {
    pub(crate) fn add(&mut self, latency: Duration) {
        // In microseconds: an hour fits.
        let latency = u32::try_from(latency.as_micros()).unwrap_or(u32::MAX);
        self.min = self.min.min(latency);
        self.skipped += 1;
        if self.skipped < self.stride {
            return;
        }
        self.skipped = 0;
        self.samples.push(latency);
        if self.samples.len() >= LIMIT {
            let mut index = 0;
            self.samples.retain(|_| {
                index += 1;
                index % 2 == 0
            });
            self.stride = self.stride.saturating_mul(2);
        }
    }

    /// The figures; none without an answer.
    pub(crate) fn figures(&self) -> Option<Figures> {
        let mut sorted = self.samples.clone();
        sorted.sort_unstable();
        let micros = |micros: u32| Duration::from_micros(micros.into());
        // The nearest rank: the least sample that so many of a hundred do not exceed.
        let rank = |percent: usize| {
            let rank = (sorted.len() * percent).div_ceil(100).max(1);
            sorted.get(rank - 1).map(|sample| micros(*sample))
        };
        Some(Figures { min: micros(self.min), median: rank(50)?, p99: rank(99)? })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn of(millis: impl IntoIterator<Item = u64>) -> Option<Figures> {
        let mut latencies = Latencies::default();
        millis.into_iter().for_each(|millis| latencies.add(Duration::from_millis(millis)));
        latencies.figures()
    }

    #[test]
    fn the_figures_are_those_of_the_samples() {
        let figures = |min, median, p99| {
            let [min, median, p99] = [min, median, p99].map(Duration::from_millis);
            Some(Figures { min, median, p99 })
        };
        assert_eq!(of([]), None);
        assert_eq!(of([7]), figures(7, 7, 7));
        assert_eq!(of([9, 1]), figures(1, 1, 9));
        assert_eq!(of((1..=100).rev()), figures(1, 50, 99));
        assert_eq!(of(std::iter::repeat_n(3, 100_000).chain([1])), figures(1, 3, 3));
    }

    proptest! {
        #[test]
        fn many_are_told_by_few(count in 1000..20_000_u64) {
            let mut latencies = Latencies::default();
            (0..count).for_each(|n| latencies.add(Duration::from_micros(n)));
            prop_assert!(latencies.samples.len() < LIMIT);
            let figures = latencies.figures().unwrap();
            prop_assert_eq!(figures.min, Duration::ZERO);
            let near = |of: Duration, share: f64| {
                let exact = count as f64 * share;
                (of.as_micros() as f64 - exact).abs() <= count as f64 * 0.02
            };
            prop_assert!(near(figures.median, 0.5) && near(figures.p99, 0.99), "{figures:?}");
        }
    }
}
