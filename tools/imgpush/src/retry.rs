//! Trying again what may pass by itself.

use std::time::Duration;

use rand::RngExt;
use slipway_engine::Error;

/// How often a request to the registry is made at most. The waits between add up to 15 s at the
/// most, 7.5 s on average: more than a registry's restart takes.
const TRIES: u32 = 5;
const FIRST_WAIT: Duration = Duration::from_secs(1);

/// Does something up to five times while it fails in a way that may pass by itself, with a random
/// share of a doubling wait between ("full jitter"): many builds that were refused together do not
/// come back together. `again` is told each failure that is followed by another try.
pub(crate) async fn retrying<T>(
    mut again: impl FnMut(&Error),
    mut attempt: impl AsyncFnMut() -> Result<T, Error>,
) -> Result<T, Error> {
    let mut tries = 0;
    loop {
        tries += 1;
        match attempt().await {
            Err(error) if error.transient() && tries < TRIES => {
                again(&error);
                tokio::time::sleep(wait(tries, rand::rng().random())).await;
            }
            result => return result,
        }
    }
}

/// The wait after try `n`, counted from 1, for a random `share` in 0..1.
fn wait(n: u32, share: f64) -> Duration {
    FIRST_WAIT.mul_f64(f64::from(1 << (n - 1)) * share)
}

#[cfg(test)]
mod tests {
    use super::*;
    use slipway_engine::RegistryFault;

    fn fault(fault: RegistryFault) -> Error {
        Error::Registry { fault, message: "m".into() }
    }

    fn attempts(fault_of: impl Fn() -> Error) -> (u32, usize, bool) {
        let runtime = tokio::runtime::Builder::new_current_thread()
            .enable_time()
            .start_paused(true)
            .build()
            .unwrap();
        let (mut tries, mut told) = (0, 0);
        let result: Result<(), Error> = runtime.block_on(retrying(
            |_| told += 1,
            async || {
                tries += 1;
                Err(fault_of())
            },
        ));
        (tries, told, result.is_ok())
    }

    #[test]
    fn only_what_may_pass_is_tried_again() {
        assert_eq!(attempts(|| fault(RegistryFault::ServerError)), (TRIES, 4, false));
        assert_eq!(attempts(|| fault(RegistryFault::Denied)), (1, 0, false));
        assert_eq!(attempts(|| fault(RegistryFault::TagImmutable)), (1, 0, false));
        assert_eq!(attempts(|| fault(RegistryFault::RepositoryNotFound)), (1, 0, false));
    }

    proptest::proptest! {
        #[test]
        fn waits_grow_and_stay_bounded(share in 0.0..1.0_f64) {
            let total: Duration = (1..TRIES).map(|n| wait(n, share)).sum();
            proptest::prop_assert!(total <= Duration::from_secs(15));
            proptest::prop_assert!((2..TRIES).all(|n| wait(n, share) >= wait(n - 1, share)));
        }
    }
}
