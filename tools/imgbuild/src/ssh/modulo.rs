//! The one piece of arithmetic that reading an RSA key wants: OpenSSH's form leaves out the exponents
//! for each prime, which follow from the others.

use std::cmp::Ordering;

/// `number` modulo (`prime` - 1), both big-endian; without leading zeros.
pub(crate) fn less_one_modulo(number: &[u8], prime: &[u8]) -> Vec<u8> {
    let mut modulus = prime.to_vec();
    // A prime is odd, so that nothing is borrowed.
    if let Some(last) = modulus.last_mut() {
        *last &= 0xfe;
    }
    if modulus.iter().all(|byte| *byte == 0) {
        return Vec::new();
    }
    // One byte more than the modulus, since it is doubled before it is made smaller.
    modulus.insert(0, 0);
    let mut rest = vec![0_u8; modulus.len()];
    for byte in number {
        for bit in (0..8).rev() {
            double(&mut rest, byte >> bit & 1);
            if rest.as_slice().cmp(modulus.as_slice()) != Ordering::Less {
                subtract(&mut rest, &modulus);
            }
        }
    }
    let zeros = rest.iter().take_while(|byte| **byte == 0).count();
    rest.split_off(zeros)
}

/// Doubles a number and adds a bit.
fn double(number: &mut [u8], mut bit: u8) {
    for byte in number.iter_mut().rev() {
        let high = *byte >> 7;
        *byte = *byte << 1 | bit;
        bit = high;
    }
}

/// Takes away a number that is not larger.
fn subtract(from: &mut [u8], number: &[u8]) {
    let mut borrowed = false;
    for (byte, less) in from.iter_mut().zip(number).rev() {
        let (first, under) = byte.overflowing_sub(*less);
        let (second, under_again) = first.overflowing_sub(u8::from(borrowed));
        *byte = second;
        borrowed = under || under_again;
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    proptest! {
        #[test]
        fn as_the_processor_does_it(number in any::<u128>(), prime in 3_u64..) {
            let prime = prime | 1;
            let found = less_one_modulo(&number.to_be_bytes(), &prime.to_be_bytes());
            let found = found.iter().fold(0_u128, |all, byte| all << 8 | u128::from(*byte));
            prop_assert_eq!(found, number % (u128::from(prime) - 1));
        }
    }

    #[test]
    fn nothing_is_divided_by_nothing() {
        assert!(less_one_modulo(&[7], &[1]).is_empty());
        assert!(less_one_modulo(&[7], &[]).is_empty());
    }
}
