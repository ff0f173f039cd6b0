//! Who sends what is missing where the engine's store cannot be read. Pure.

/// An export is not begun for less: the engine compresses that in a moment.
const LEAST: u64 = 16 * 1024 * 1024;

/// The engine has to prepare the whole image before the first byte of an export, so that a direct
/// push pays for every layer, the engine's for the missing ones only. A fresh push of a large image
/// is about twice as fast directly (`tests/bench/push.sh` compares them), so a quarter is on the safe
/// side.
const SHARE: u64 = 4;

/// Whether a direct push is faster than the engine's, if so much is missing of so much.
pub(crate) fn direct(missing: u64, total: u64) -> bool {
    missing >= LEAST && missing.saturating_mul(SHARE) >= total
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    const MB: u64 = 1_000_000;

    #[test]
    fn much_goes_directly_and_little_by_the_engine() {
        assert!(direct(300 * MB, 300 * MB));
        assert!(!direct(MB, MB));
        assert!(!direct(20 * MB, 500 * MB));
        assert!(direct(200 * MB, 500 * MB));
    }

    proptest! {
        #[test]
        fn more_that_is_missing_never_speaks_for_the_engine(missing in 0u64..1 << 40, more in 0u64..1 << 30, rest in 0u64..1 << 40) {
            let total = missing + more + rest;
            prop_assert!(!direct(missing, total) || direct(missing + more, total));
        }
    }
}
