//! The classic builder's account, for the fuzzer.

use super::report::{Report, exit_code};

/// Takes an account in two pieces, and hands its lines on.
pub(crate) fn report(text: &str, each: &mut dyn FnMut(&str)) {
    let mut report = Report::default();
    let (one, two) = text.split_at(text.floor_char_boundary(text.len() / 2));
    report.take(one, each);
    report.take(two, each);
    assert!(report.tail().len() <= 50);
    let _code = exit_code(text);
}
