//! Decodes damaged files as libjpeg-turbo does, and thus Pillow (`LOAD_TRUNCATED_IMAGES`), OpenCV
//! and browsers: what is there, and gray where nothing is. Slower than the decoder of whole files,
//! because it reads bit by bit and keeps all coefficients in memory.

mod stream;

use isa::Isa;

pub(crate) use self::stream::Stream;
use crate::{
    Error,
    block::{Block, LANES},
    codes::huffman::Huffman,
    frame::{Component, Frame, Tables},
    scan::{Part, Pass, Scan},
    smooth,
    transform::{Transform, are_zero},
};

/// Decodes the scan with the header `segment`, as far as its data go.
pub(crate) fn read(
    frame: &mut Frame,
    tables: &Tables,
    segment: &[u8],
    stream: &mut Stream<'_>,
) -> Result<(), Error> {
    let scan = Scan::new(frame, tables, segment)?;
    frame.num_scans += 1;
    for part in &scan.parts {
        let component = &mut frame.components[part.component];
        tables.settle(component)?;
        component.prediction = 0;
        if matches!(part.pass, Pass::Sequential { dc, .. } if dc.codes().is_long())
            || matches!(part.pass, Pass::FirstDc(codes) if codes.is_long())
        {
            return Err(Error::Damaged(
                "a Huffman table has first coefficients of more than 15 bits",
            ));
        }
        component
            .known
            .begin(scan.band, scan.shift, frame.num_scans == 1);
        if component.coefficients.is_empty() {
            component.make_room(component.blocks[0]);
        }
    }
    // A scan of one component has rows of blocks, of which each row of units in the frame has
    // several.
    let lines = if let [part] = &scan.parts[..] {
        frame.components[part.component].sampling[0]
    } else {
        1
    };
    let (mut left, mut blocks_to_skip) = (tables.restart_interval, 0);
    for row in 0..scan.units[0] {
        for column in 0..scan.units[1] {
            if !stream.is_out {
                frame.last_good = row / lines;
            }
            if tables.restart_interval > 0 {
                if left == 0 {
                    stream.start_again();
                    (left, blocks_to_skip) = (tables.restart_interval, 0);
                    frame
                        .components
                        .iter_mut()
                        .for_each(|component| component.prediction = 0);
                }
                left -= 1;
            }
            // libjpeg leaves units without data as they are.
            if stream.is_out {
                continue;
            }
            for part in &scan.parts {
                read_unit(
                    &scan,
                    part,
                    &mut frame.components[part.component],
                    [row, column],
                    stream,
                    &mut blocks_to_skip,
                );
            }
        }
    }
    Ok(())
}

/// Decodes the blocks that a unit has of one component. Missing bits are zeros.
fn read_unit(
    scan: &Scan<'_>,
    part: &Part<'_>,
    component: &mut Component,
    [row, column]: [usize; 2],
    stream: &mut Stream<'_>,
    blocks_to_skip: &mut u32,
) {
    let groups = component.groups();
    for line in row * part.sampling[0]..(row + 1) * part.sampling[0] {
        for column in column * part.sampling[1]..(column + 1) * part.sampling[1] {
            let group = &mut component.coefficients[line * groups + column / LANES];
            let mut block = Block {
                group,
                lane: column % LANES,
            };
            let mut band = Band {
                places: scan.band,
                shift: scan.shift,
                blocks_to_skip: &mut *blocks_to_skip,
            };
            match part.pass {
                Pass::Sequential { dc, ac } => {
                    *block.at(0) = first(stream, dc.codes(), &mut component.prediction) as i16;
                    others(stream, ac.codes(), &mut block);
                }
                Pass::FirstDc(codes) => {
                    *block.at(0) =
                        (first(stream, codes, &mut component.prediction) << scan.shift) as i16
                }
                Pass::MoreDc => *block.at(0) |= (stream.take(1) as i16) << scan.shift,
                Pass::FirstAc(codes) => band.first_ac(stream, codes, &mut block),
                Pass::MoreAc(codes) => band.more_ac(stream, codes, &mut block),
            }
        }
    }
}

/// Reads the DC coefficient of a block, without the shift of a progressive scan.
fn first(stream: &mut Stream<'_>, codes: &Huffman, prediction: &mut i32) -> i32 {
    let size = u32::from(stream.symbol(codes));
    *prediction = prediction.wrapping_add(stream.number(size));
    *prediction
}

/// Reads the AC coefficients of a sequential block. As in libjpeg, an index beyond the last
/// coefficient stands for the last.
fn others(stream: &mut Stream<'_>, codes: &Huffman, block: &mut Block<'_>) {
    let mut place = 1;
    while place < 64 {
        let (run, size) = run_and_size(stream.symbol(codes));
        if size > 0 {
            *block.at(place + run) = stream.number(size) as i16;
        } else if run < 15 {
            break;
        }
        place += run + 1;
    }
}

/// Splits a symbol into a run of zeros and the size of a number in bits.
fn run_and_size(symbol: u8) -> (usize, u32) {
    (usize::from(symbol >> 4), u32::from(symbol & 15))
}

/// What a progressive scan has of each block (`scan::progressive::Band`).
struct Band<'a> {
    places: [usize; 2],
    shift: u32,
    blocks_to_skip: &'a mut u32,
}

impl Band<'_> {
    fn first_ac(&mut self, stream: &mut Stream<'_>, codes: &Huffman, block: &mut Block<'_>) {
        if *self.blocks_to_skip > 0 {
            *self.blocks_to_skip -= 1;
            return;
        }
        let [mut place, last] = self.places;
        while place <= last {
            let (run, size) = run_and_size(stream.symbol(codes));
            if size > 0 {
                *block.at(place + run) = (stream.number(size) << self.shift) as i16;
            } else if run < 15 {
                *self.blocks_to_skip = (1 << run) - 1 + stream.take(run as u32);
                break;
            }
            place += run + 1;
        }
    }

    fn more_ac(&mut self, stream: &mut Stream<'_>, codes: &Huffman, block: &mut Block<'_>) {
        let [mut place, last] = self.places;
        while *self.blocks_to_skip == 0 && place <= last {
            let (mut zeros, size) = run_and_size(stream.symbol(codes));
            let mut fresh = 0;
            if size > 0 {
                fresh = if stream.take(1) == 1 {
                    1 << self.shift
                } else {
                    -1 << self.shift
                };
            } else if zeros < 15 {
                *self.blocks_to_skip = (1 << zeros) + stream.take(zeros as u32);
                break;
            }
            while place <= last {
                if *block.at(place) != 0 {
                    self.refine(stream, block.at(place));
                } else if zeros > 0 {
                    zeros -= 1;
                } else {
                    break;
                }
                place += 1;
            }
            // If the zeros go on to the end of the band, this is beyond it, where libjpeg writes as
            // well.
            if fresh != 0 {
                *block.at(place) = fresh;
            }
            place += 1;
        }
        if *self.blocks_to_skip > 0 {
            for place in place..=last {
                if *block.at(place) != 0 {
                    self.refine(stream, block.at(place));
                }
            }
            *self.blocks_to_skip -= 1;
        }
    }

    fn refine(&self, stream: &mut Stream<'_>, coefficient: &mut i16) {
        let bit = 1 << self.shift;
        if stream.take(1) == 1 && *coefficient & bit == 0 {
            *coefficient = coefficient.wrapping_add(if *coefficient >= 0 { bit } else { -bit });
        }
    }
}

/// Transforms the coefficients of all components into their planes.
pub(crate) fn finish(frame: &mut Frame) {
    if smooth::is_due(frame) {
        smooth::smooth(frame, frame.last_good);
    }
    for component in &mut frame.components {
        let coefficients = std::mem::take(&mut component.coefficients);
        let Some(factors) = component
            .factors
            .filter(|_| !coefficients.iter().all(|group| are_zero(group)))
        else {
            continue;
        };
        let (groups, stride) = (component.groups(), component.stride());
        component.plane = vec![128; component.blocks[0] * 8 * stride];
        for (groups, rows) in coefficients
            .chunks_exact(groups)
            .zip(component.plane.chunks_exact_mut(8 * stride))
        {
            Isa::best().run(Transform {
                groups,
                factors: &factors,
                rows,
            });
        }
    }
}
