//! Sets of HTTP statuses.

use std::fmt;
use std::str::FromStr;

use crate::FormError;

/// A set of HTTP statuses, such as `2xx`, `200,204` or `200-299,401`. The default is `2xx`: a
/// redirect is not the service that was asked for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct StatusSet {
    text: String,
    ranges: Vec<(u16, u16)>,
}

impl StatusSet {
    /// Every status.
    #[must_use]
    pub fn any() -> Self {
        Self { text: "any".to_owned(), ranges: vec![(0, u16::MAX)] }
    }

    /// Whether the status is one of them.
    #[must_use]
    pub fn contains(&self, status: u16) -> bool {
        self.ranges.iter().any(|(low, high)| (*low..=*high).contains(&status))
    }
}

impl Default for StatusSet {
    fn default() -> Self {
        Self { text: "2xx".to_owned(), ranges: vec![(200, 299)] }
    }
}

impl fmt::Display for StatusSet {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.text)
    }
}

impl FromStr for StatusSet {
    type Err = FormError;

    fn from_str(text: &str) -> Result<Self, FormError> {
        let parts: Vec<&str> = text.split(',').map(str::trim).collect();
        let ranges = parts.iter().map(|part| {
            range(part).ok_or_else(|| {
                FormError(format!(
                    "\"{part}\" is not a status: write 200, 2xx or 200-299, several with commas"
                ))
            })
        });
        Ok(Self { ranges: ranges.collect::<Result<_, _>>()?, text: parts.join(",") })
    }
}

fn range(part: &str) -> Option<(u16, u16)> {
    let part = part.to_ascii_lowercase();
    if let Some(class) = part.strip_suffix("xx") {
        let low = status(&format!("{class}00"))?;
        return Some((low, low + 99));
    }
    let (low, high) = part.split_once('-').unwrap_or((&part, &part));
    let (low, high) = (status(low.trim())?, status(high.trim())?);
    (low <= high).then_some((low, high))
}

/// Three digits, of the classes that RFC 9110 knows.
fn status(text: &str) -> Option<u16> {
    if text.len() != 3 || !text.bytes().all(|byte| byte.is_ascii_digit()) {
        return None;
    }
    text.parse().ok().filter(|status| (100..600).contains(status))
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn what_is_no_set_is_refused() {
        for bad in ["", "2x", "xx", "6xx", "0xx", "99", "600", "299-200", "200,", "+20", "200 204"]
        {
            assert!(bad.parse::<StatusSet>().is_err(), "{bad}");
        }
        assert_eq!(" 200 , 3XX".parse::<StatusSet>().unwrap().to_string(), "200,3XX");
    }

    proptest! {
        #[test]
        fn a_set_holds_what_its_parts_hold(
            parts in prop::collection::vec((100..600u16, 0..100u16, 0..3u8), 1..5),
            asked in 100..600u16,
        ) {
            let mut texts = Vec::new();
            let mut held = false;
            for (low, more, form) in parts {
                let (text, low, high) = match form {
                    0 => (low.to_string(), low, low),
                    1 => (format!("{}xx", low / 100), low / 100 * 100, low / 100 * 100 + 99),
                    _ => {
                        let high = (low + more).min(599);
                        (format!("{low}-{high}"), low, high)
                    }
                };
                texts.push(text);
                held |= low <= asked && asked <= high;
            }
            let set: StatusSet = texts.join(",").parse().unwrap();
            prop_assert_eq!(set.contains(asked), held);
            prop_assert_eq!(set.to_string().parse(), Ok(set));
        }

        #[test]
        fn the_default_is_all_of_2xx(asked in 0..1000u16) {
            prop_assert_eq!(StatusSet::default().contains(asked), asked / 100 == 2);
        }
    }
}
