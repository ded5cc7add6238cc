//! Facsimile pages (TIFF 6.0, sections 10 and 11; ITU-T T.4 and T.6): rows of runs, white and black in turn, as rows of bits of which 1 is black.

use fax::{
    BitReader, ByteReader, Color,
    decoder::{DecodeStatus, Group4Decoder},
    maps::{black, white},
};

use crate::Error;

/// How rows are written.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Coding {
    /// Runs, each row from a byte on.
    Rows,
    /// Runs, with marks between the rows.
    Group3,
    /// What differs from the row above.
    Group4,
}

/// Rows of `width` pixels, `length` bytes of them.
pub(crate) fn unpack(coding: Coding, packed: &[u8], length: usize, width: usize) -> Result<Vec<u8>, Error> {
    let bytes = packed.iter().copied().map(Ok::<u8, std::convert::Infallible>);
    let mut rows = vec![0; length];
    let mut lines = rows.chunks_exact_mut(width.div_ceil(8));
    let Ok(wide) = u16::try_from(width) else { return Err(Error::Unsupported("a facsimile of more than 65,535 columns".into())) };
    if coding == Coding::Group4 {
        let Ok(mut decoder) = Group4Decoder::new(bytes, wide);
        for line in lines {
            match decoder.advance() {
                Ok(DecodeStatus::Incomplete) => draw(decoder.transition(), width, line),
                // White rows at the end may be left out.
                Ok(DecodeStatus::End) => break,
                Err(_) => return Err(damaged()),
            }
        }
        return Ok(rows);
    }
    // Codes are looked for in more bits than they may have.
    let Ok(mut reader) = ByteReader::new(bytes.chain([Ok(0); 4]));
    lines.try_for_each(|line| {
        if coding == Coding::Group3 {
            skip_end_of_line(&mut reader);
        }
        draw(&runs(&mut reader, wide)?, width, line);
        if coding == Coding::Rows {
            // To the next byte.
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

/// Zeros to fill up, eleven more, and a one.
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

/// Where the colours of a row change.
fn runs<R: BitReader>(reader: &mut R, width: u16) -> Result<Vec<u16>, Error> {
    let (mut changes, mut at, mut color) = (Vec::new(), 0u16, Color::White);
    while at < width {
        loop {
            let run = if color == Color::White { white::decode(reader) } else { black::decode(reader) }.ok_or_else(damaged)?;
            at = at.checked_add(run).ok_or_else(damaged)?;
            // Long runs are written in parts, of which the last is short.
            if run < 64 {
                break;
            }
        }
        changes.push(at);
        color = !color;
    }
    Ok(changes)
}

/// Black from each second change to the next.
fn draw(changes: &[u16], width: usize, line: &mut [u8]) {
    for pair in changes.chunks(2) {
        let from = usize::from(pair[0]);
        let to = pair.get(1).map_or(width, |to| usize::from(*to)).min(width);
        for pixel in from..to {
            line[pixel / 8] |= 0x80 >> (pixel % 8);
        }
    }
}
