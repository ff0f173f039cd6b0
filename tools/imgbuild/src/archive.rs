//! Telling an archive from any other file: what the engine takes for no archive it takes for a
//! Dockerfile, which would be a surprise.

/// How many of the first bytes are looked at: the header of a tar archive's first entry.
pub(crate) const HEAD: usize = 512;

/// Where the header has its checksum: eight bytes that count as blanks in it.
const CHECKSUM: std::ops::Range<usize> = 148..156;

/// Whether something that begins like this is a tar archive, or compressed as the engine knows it.
pub(crate) fn begins(head: &[u8]) -> bool {
    let compressed: [&[u8]; 4] =
        [&[0x1f, 0x8b], b"BZh", &[0xfd, b'7', b'z', b'X', b'Z', 0], &[0x28, 0xb5, 0x2f, 0xfd]];
    compressed.iter().any(|magic| head.starts_with(magic)) || tar(head)
}

/// Whether the checksum of the first header is right, which the oldest archives have as well.
fn tar(head: &[u8]) -> bool {
    let Some(head) = head.get(..HEAD) else { return false };
    let told = String::from_utf8_lossy(&head[CHECKSUM]);
    let told = u32::from_str_radix(told.trim_matches(['\0', ' ']), 8);
    let blanks = u32::from(b' ') * 8;
    let rest = head.iter().enumerate().filter(|(at, _)| !CHECKSUM.contains(at));
    let sum = rest.map(|(_, byte)| u32::from(*byte)).sum::<u32>() + blanks;
    told == Ok(sum)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn archives_and_others() {
        let mut head = [0_u8; HEAD];
        head[..4].copy_from_slice(b"file");
        assert!(!begins(&head));
        // The letters of `file`, and eight blanks.
        let sum: u32 = b"file".iter().map(|byte| u32::from(*byte)).sum::<u32>() + 8 * 32;
        head[148..155].copy_from_slice(format!("{sum:06o}\0").as_bytes());
        head[155] = b' ';
        assert!(begins(&head));
        assert!(begins(&[0x1f, 0x8b, 8]));
        assert!(!begins(b"FROM scratch\n"));
        assert!(!begins(b""));
        assert!(!begins(&[0; HEAD]));
    }
}
