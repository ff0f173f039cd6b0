//! The name of a deploy.

use jiff::Timestamp;

/// A new name: `20261123-073233-123-3f9a`, the time in UTC to the millisecond and four random
/// digits. Names sort by time, and two deploys of the same millisecond still differ.
pub(crate) fn new() -> String {
    name(Timestamp::now(), rand::random())
}

fn name(at: Timestamp, random: u16) -> String {
    let millis = at.subsec_millisecond();
    format!("{}-{millis:03}-{random:04x}", at.strftime("%Y%m%d-%H%M%S"))
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn it_begins_with_the_time() {
        let at: Timestamp = "2026-11-23T07:32:33.007Z".parse().unwrap();
        assert_eq!(name(at, 0x3f9), "20261123-073233-007-03f9");
    }

    proptest! {
        #[test]
        fn names_sort_by_time(
            a in 0_i64..4_000_000_000_000,
            b in 0_i64..4_000_000_000_000,
            x: u16,
            y: u16,
        ) {
            let at = |millis| Timestamp::from_millisecond(millis).unwrap();
            prop_assume!(a != b);
            prop_assert_eq!(a < b, name(at(a), x) < name(at(b), y));
        }
    }
}
