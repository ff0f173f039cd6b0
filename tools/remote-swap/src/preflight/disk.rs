//! Whether an image fits on the disk. Pure.

use slipway_shell::size;

use super::refused::Refused;

/// Refuses a deploy that would leave less than the floor free; `image` is what is to be
/// transferred: nothing if the host has it, and unknown if the registry did not tell.
pub(super) fn judge(free: u64, floor: u64, image: Option<u64>, root: &str) -> Result<(), Refused> {
    let needed = floor.saturating_add(image.unwrap_or_default());
    if free >= needed {
        return Ok(());
    }
    let floor = format!("{} of --min-free", size(floor));
    let what = match image {
        Some(bytes) if bytes > 0 => format!("{floor} and {} of compressed layers", size(bytes)),
        _ => floor,
    };
    Err(Refused::DiskFull { free, needed, root: root.to_owned(), what })
}

#[cfg(test)]
mod tests {
    use super::*;

    const MIB: u64 = 1 << 20;

    #[test]
    fn the_image_counts_if_its_size_is_known() {
        let judge = |free: u64, image| judge(free * MIB, 256 * MIB, image, "/var/lib/docker");
        assert_eq!(judge(256, None), Ok(()));
        assert_eq!(judge(300, Some(44 * MIB)), Ok(()));
        let refused = judge(300, Some(45 * MIB)).unwrap_err().to_string();
        assert_eq!(
            refused,
            "the disk has 300 MiB free at /var/lib/docker and the deploy needs 301 MiB: \
             256 MiB of --min-free and 45 MiB of compressed layers"
        );
        let floor = judge(255, None).unwrap_err().to_string();
        assert!(floor.ends_with("needs 256 MiB: 256 MiB of --min-free"), "{floor}");
        assert!(judge(1, Some(u64::MAX)).is_err());
    }
}
