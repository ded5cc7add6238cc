//! Decodes facsimile data (TIFF 6.0, sections 10 and 11; ITU-T T.4 and T.6), rows of alternating
//! white and black runs, to rows of bits in which 1 is black.

use fax::{
    BitReader, ByteReader, Color,
    decoder::{DecodeStatus, Group4Decoder},
    maps::{black, white},
};

use crate::Error;

/// How rows are encoded.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Coding {
    /// Runs; each row begins with a byte (compression 2).
    Rows,
    /// Runs, with end-of-line codes between rows (Group 3, one-dimensional).
    Group3,
    /// Differences from the row above (Group 4).
    Group4,
}

/// Decodes `length` bytes of rows of `width` pixels, each row padded to whole bytes.
pub(crate) fn unpack(
    coding: Coding,
    packed: &[u8],
    length: usize,
    width: usize,
) -> Result<Vec<u8>, Error> {
    let bytes = packed
        .iter()
        .copied()
        .map(Ok::<u8, std::convert::Infallible>);
    let mut rows = vec![0; length];
    let mut lines = rows.chunks_exact_mut(width.div_ceil(8));
    let Ok(wide) = u16::try_from(width) else {
        return Err(Error::Unsupported(
            "a facsimile of more than 65,535 columns".into(),
        ));
    };
    if coding == Coding::Group4 {
        let Ok(mut decoder) = Group4Decoder::new(bytes, wide);
        for line in lines {
            match decoder.advance() {
                Ok(DecodeStatus::Incomplete) => draw(decoder.transition(), width, line),
                // Encoders may omit white rows at the end.
                Ok(DecodeStatus::End) => break,
                Err(_) => return Err(damaged()),
            }
        }
        return Ok(rows);
    }
    // Padding, because a code is looked up in more bits than the data may still have.
    let Ok(mut reader) = ByteReader::new(bytes.chain([Ok(0); 4]));
    lines.try_for_each(|line| {
        if coding == Coding::Group3 {
            skip_end_of_line(&mut reader);
        }
        draw(&runs(&mut reader, wide)?, width, line);
        if coding == Coding::Rows {
            // Skip to the next byte.
            let rest = reader.bits_to_byte_boundary();
            let Ok(()) = reader.consume(rest);
        }
        Ok(())
    })?;
    Ok(rows)
}

fn damaged() -> Error {
    Error::Damaged("a row of the facsimile can't be read".into())
}

/// Skips an end-of-line code, if there is one: eleven or more zeros and a one.
fn skip_end_of_line<R: BitReader>(reader: &mut R) {
    if reader.peek(11) != Some(0) {
        return;
    }
    while reader.peek(1) == Some(0) {
        if reader.consume(1).is_err() {
            return;
        }
    }
    let _ = reader.consume(1);
}

/// Reads the runs of a row. Returns the columns where the color changes, beginning with the first
/// black one.
fn runs<R: BitReader>(reader: &mut R, width: u16) -> Result<Vec<u16>, Error> {
    let (mut changes, mut at, mut color) = (Vec::new(), 0u16, Color::White);
    while at < width {
        loop {
            let run = if color == Color::White {
                white::decode(reader)
            } else {
                black::decode(reader)
            }
            .ok_or_else(damaged)?;
            at = at.checked_add(run).ok_or_else(damaged)?;
            // A run of 64 or more consists of several codes, of which the last is below 64.
            if run < 64 {
                break;
            }
        }
        changes.push(at);
        color = !color;
    }
    Ok(changes)
}

/// Sets the bits of the black runs.
fn draw(changes: &[u16], width: usize, line: &mut [u8]) {
    for pair in changes.chunks(2) {
        let from = usize::from(pair[0]);
        let to = pair.get(1).map_or(width, |to| usize::from(*to)).min(width);
        for pixel in from..to {
            line[pixel / 8] |= 0x80 >> (pixel % 8);
        }
    }
}
