//! Decompresses strips and tiles, to no more bytes than requested.

use std::io::Read;

use flate2::read::ZlibDecoder;
use weezl::{BitOrder, LzwStatus, decode::Decoder};

use crate::{Error, fax};

/// Compression of strips and tiles other than JPEG.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Packing {
    Plain,
    PackBits,
    Lzw,
    Deflate,
    Fax(fax::Coding),
}

impl Packing {
    /// Returns the maximum number of bytes that one byte of the file can become. `row_bytes` is the
    /// length of a row.
    pub(crate) fn most_from_a_byte(self, row_bytes: u64) -> u64 {
        match self {
            Self::Plain => 1,
            Self::PackBits => 64,
            // A code of twelve bits stands for at most 4,096 bytes.
            Self::Lzw => 2731,
            Self::Deflate => 1032,
            // A code of twelve bits stands for 2,560 pixels.
            Self::Fax(fax::Coding::Rows | fax::Coding::Group3) => 214,
            // One bit can repeat the row above.
            Self::Fax(fax::Coding::Group4) => row_bytes.saturating_mul(8),
        }
    }

    /// Returns exactly `length` bytes. `width` is the number of pixels in a row of a facsimile.
    pub(crate) fn unpack(
        self,
        packed: &[u8],
        length: usize,
        width: usize,
    ) -> Result<Vec<u8>, Error> {
        const SHORT: &str = "the data of a strip or tile end too early";
        let bytes = match self {
            Self::Plain => packed
                .get(..length)
                .ok_or(Error::Damaged(SHORT.into()))?
                .to_vec(),
            Self::PackBits => pack_bits(packed, length),
            Self::Lzw => lzw(packed, length)?,
            Self::Deflate => {
                let mut bytes = Vec::with_capacity(length);
                let read = ZlibDecoder::new(packed)
                    .take(length as u64)
                    .read_to_end(&mut bytes);
                if let Err(error) = read
                    && bytes.len() < length
                {
                    return Err(Error::Damaged(
                        format!("compressed data can't be unpacked: {error}").into(),
                    ));
                }
                bytes
            }
            Self::Fax(coding) => fax::unpack(coding, packed, length, width)?,
        };
        if bytes.len() < length {
            Err(Error::Damaged(SHORT.into()))
        } else {
            Ok(bytes)
        }
    }
}

/// Decompresses PackBits (TIFF 6.0, section 9).
fn pack_bits(mut packed: &[u8], length: usize) -> Vec<u8> {
    let mut bytes = Vec::with_capacity(length);
    while let [head, rest @ ..] = packed
        && bytes.len() < length
    {
        let left = length - bytes.len();
        packed = match *head as i8 {
            -128 => rest,
            count @ 0.. => {
                let (copied, rest) = rest.split_at((count as usize + 1).min(rest.len()));
                bytes.extend_from_slice(&copied[..copied.len().min(left)]);
                rest
            }
            count => {
                let Some((byte, rest)) = rest.split_first() else {
                    break;
                };
                bytes.resize(
                    bytes.len() + (1 + usize::from(count.unsigned_abs())).min(left),
                    *byte,
                );
                rest
            }
        };
    }
    bytes
}

/// Decompresses LZW (TIFF 6.0, section 13).
fn lzw(packed: &[u8], length: usize) -> Result<Vec<u8>, Error> {
    let mut decoder = Decoder::with_tiff_size_switch(BitOrder::Msb, 8);
    let mut bytes = vec![0; length];
    let (mut read, mut written) = (0, 0);
    while written < length {
        let result = decoder.decode_bytes(&packed[read..], &mut bytes[written..]);
        read += result.consumed_in;
        written += result.consumed_out;
        match result.status {
            Ok(LzwStatus::Ok) => {}
            Ok(LzwStatus::NoProgress | LzwStatus::Done) => break,
            Err(_) => {
                return Err(Error::Damaged(
                    "compressed data can't be unpacked: they contain a code that isn't in the table"
                        .into(),
                ));
            }
        }
    }
    bytes.truncate(written);
    Ok(bytes)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn runs_and_copies_are_told_apart_and_end_in_time() {
        let packed = [0xFE, 0xAA, 0x02, 0x80, 0x00, 0x2A, 0x80, 0xFD, 0xBB];
        assert_eq!(
            pack_bits(&packed, 10),
            [0xAA, 0xAA, 0xAA, 0x80, 0x00, 0x2A, 0xBB, 0xBB, 0xBB, 0xBB]
        );
        assert_eq!(
            pack_bits(&packed, 8),
            [0xAA, 0xAA, 0xAA, 0x80, 0x00, 0x2A, 0xBB, 0xBB]
        );
        assert!(Packing::PackBits.unpack(&packed, 11, 1).is_err(), "too few");
        assert!(
            Packing::PackBits.unpack(&[0xFE], 3, 1).is_err(),
            "a run of nothing"
        );
    }
}
