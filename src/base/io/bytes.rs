//! Numbers as bytes, in the order that every file of ours and of safetensors has: little-endian.

/// Returns the `f32` values of bytes; a rest of fewer than four bytes is left out.
pub fn to_f32(bytes: &[u8]) -> impl Iterator<Item = f32> + '_ {
    bytes
        .as_chunks()
        .0
        .iter()
        .map(|four| f32::from_le_bytes(*four))
}

/// Returns the bytes of `f32` values.
pub fn from_f32(values: &[f32]) -> Vec<u8> {
    values
        .iter()
        .flat_map(|value| value.to_le_bytes())
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn values_come_back_as_they_were_to_the_last_bit() {
        let values = [0.0, -0.0, 1.5, f32::MIN_POSITIVE, f32::INFINITY, -3.25e-39];
        let bytes = from_f32(&values);
        assert_eq!(bytes[8..12], [0, 0, 0xc0, 0x3f]);
        let back: Vec<u32> = to_f32(&bytes[..bytes.len() - 1])
            .map(f32::to_bits)
            .collect();
        assert_eq!(
            back,
            values[..5]
                .iter()
                .map(|value| value.to_bits())
                .collect::<Vec<_>>()
        );
    }
}
