//! What a fuzzer may throw at the parsers of what a host prints and keeps.

mod front;
mod kept;

use crate::handover;
use crate::lines::{LONGEST, Lines};

/// A target's name, which is that of its directory of seeds, and what takes the bytes.
pub type FuzzTarget = (&'static str, fn(&[u8]));

/// Every target.
pub const TARGETS: &[FuzzTarget] = &[
    ("handover_lines", handover_lines),
    ("log_lines", log_lines),
    ("host_disk", host_disk),
    ("front_config", front::config),
    ("front_map", front::map),
    ("front_state", front::state),
    ("front_archive", front::archive),
    ("trusted_proxy", front::trusted),
    ("env_file", kept::env_file),
    ("stored_spec", kept::stored_spec),
    ("record", kept::record),
    ("swap_values", kept::swap_values),
    ("scrub", kept::scrub),
];

/// Only the launcher's own word ends an order.
fn handover_lines(data: &[u8]) {
    let text = String::from_utf8_lossy(data);
    let runtime = tokio::runtime::Builder::new_current_thread().build();
    let read = runtime.map(|runtime| runtime.block_on(handover::fuzz(data)));
    for line in read.unwrap_or_default() {
        let ended = handover::end(&line);
        assert!(ended.is_none() || line.trim().starts_with("ended "), "{line}");
        assert!(text.contains(&line));
    }
}

/// Lines are never longer than they may be, and nothing but the ends of lines is lost.
fn log_lines(data: &[u8]) {
    let (mut lines, mut count, mut longest) = (Lines::default(), 0, 0);
    let mut each = |line: String| {
        count += 1;
        longest = longest.max(line.len());
    };
    data.chunks(5).for_each(|piece| lines.push(piece, &mut each));
    lines.end(&mut each);
    // What is not UTF-8 becomes three bytes.
    assert!(longest <= 3 * LONGEST && count <= data.len());
}

fn host_disk(data: &[u8]) {
    let _ = crate::measure::available(&String::from_utf8_lossy(data));
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    proptest! {
        #[test]
        fn any_bytes_hold(data in proptest::collection::vec(any::<u8>(), 0..300)) {
            TARGETS.iter().for_each(|(_, target)| target(&data));
        }
    }
}
