//! How far the clocks of the host and of this machine are apart. Pure.

use jiff::SignedDuration;

use super::refused::Refused;
use crate::host::Clock;

/// AWS refuses requests whose time is further off than this.
const REFUSED: SignedDuration = SignedDuration::from_mins(5);

/// Two machines that keep their clocks are much closer than this.
const STRANGE: SignedDuration = SignedDuration::from_secs(30);

/// How far the host's clock is ahead at least, or behind if negative: what it told was true at some
/// moment between the question and the answer.
pub(super) fn skew(clock: &Clock) -> SignedDuration {
    if clock.told < clock.asked {
        clock.told.duration_since(clock.asked)
    } else if clock.told > clock.answered {
        clock.told.duration_since(clock.answered)
    } else {
        SignedDuration::ZERO
    }
}

/// Refuses what does not work, and warns of what is strange.
pub(super) fn judge(skew: SignedDuration) -> Result<Option<String>, Refused> {
    let off = skew.abs();
    let refused =
        Refused::ClockSkew { seconds: off.as_secs().unsigned_abs(), ahead: !skew.is_negative() };
    if off > REFUSED {
        return Err(refused);
    }
    Ok((off > STRANGE).then(|| refused.to_string()))
}

#[cfg(test)]
mod tests {
    use super::*;
    use jiff::Timestamp;
    use proptest::prelude::*;

    fn at(second: i64) -> Timestamp {
        Timestamp::from_second(second).unwrap()
    }

    fn skew_of(told: i64) -> i64 {
        skew(&Clock { asked: at(1000), told: at(told), answered: at(1010) }).as_secs()
    }

    #[test]
    fn the_round_trip_is_no_skew() {
        for (told, off) in [(1000, 0), (1005, 0), (1010, 0), (995, -5), (1013, 3)] {
            assert_eq!(skew_of(told), off, "{told}");
        }
    }

    #[test]
    fn who_is_ahead_is_told() {
        let judge = |seconds| judge(SignedDuration::from_secs(seconds));
        assert_eq!(judge(30), Ok(None));
        let warning = judge(-45).unwrap().unwrap();
        assert_eq!(warning, "the host's clock is 45 s behind this machine's");
        let refused = judge(601).unwrap_err().to_string();
        assert_eq!(refused, "the host's clock is 601 s ahead of this machine's");
        assert!(judge(-301).is_err());
    }

    proptest! {
        #[test]
        fn the_skew_is_never_more_than_the_true_one(
            asked in 0_i64..1_000_000, there in 0_i64..100, back in 0_i64..100, off in -1000_i64..1000
        ) {
            // The host looks at its clock some time after it was asked.
            let clock = Clock { asked: at(asked), told: at(asked + there + off), answered: at(asked + there + back) };
            let seen = skew(&clock).as_secs();
            prop_assert!(seen.abs() <= off.abs() && (seen == 0 || seen.signum() == off.signum()));
            prop_assert!(off.abs() - seen.abs() <= there.max(back));
        }
    }
}
