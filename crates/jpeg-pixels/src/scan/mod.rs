//! Decodes a scan: its header, its restarts and its blocks, and transforms them into the planes.

mod progressive;
mod sequential;
mod share;

use isa::{Isa, Work};

pub(crate) use self::share::Pass;
use self::share::Share;
use crate::{
    Error,
    block::{Block, LANES},
    codes::bits::{Bits, Position},
    frame::{Component, Frame, Tables},
    markers::{Markers, Stop},
    smooth,
    transform::{Transform, are_zero},
};

/// Maximum number of scans in a file, more than any encoder writes. Without it, a file that repeats
/// a short scan could take any time to decode.
pub const MOST_SCANS: usize = 100;

const TOO_SHORT: Error = Error::Damaged("its compressed data end before the image does");

/// A component of a scan.
pub(crate) struct Part<'a> {
    /// Index of the component in the frame.
    pub(crate) component: usize,
    /// Vertical and horizontal number of blocks in a unit; one each if the scan has no other
    /// component.
    pub(crate) sampling: [usize; 2],
    pub(crate) pass: Pass<'a>,
}

/// A scan header (T.81, B.2.3).
pub(crate) struct Scan<'a> {
    pub(crate) parts: Vec<Part<'a>>,
    /// First and last coefficient, as zigzag indices.
    pub(crate) band: [usize; 2],
    /// Number of low bits left to later scans.
    pub(crate) shift: u32,
    /// Rows and columns of units in the scan.
    pub(crate) units: [usize; 2],
}

impl<'a> Scan<'a> {
    /// Reads a scan header, with the tables that are valid for it.
    pub(crate) fn new(frame: &Frame, tables: &'a Tables, segment: &[u8]) -> Result<Self, Error> {
        if frame.num_scans == MOST_SCANS {
            return Err(Error::Damaged(
                "it has more than 100 scans, which no encoder writes",
            ));
        }
        const SHORT: Error =
            Error::Damaged("the length of a scan header doesn't match its components");
        let [count, rest @ ..] = segment else {
            return Err(SHORT);
        };
        let (listed, [first, last, shifts]) = rest
            .split_at_checked(2 * usize::from(*count))
            .ok_or(SHORT)?
        else {
            return Err(SHORT);
        };
        let share = if frame.is_progressive {
            Share::new([*first, *last], *shifts)
        } else {
            Share::WHOLE
        };
        if *count == 0 || !share.can_be(frame, *count) {
            return Err(Error::Damaged(
                "a scan covers an impossible range of coefficients",
            ));
        }
        let mut parts: Vec<Part<'_>> = Vec::new();
        for [id, slots] in listed.as_chunks::<2>().0 {
            let component = frame
                .components
                .iter()
                .position(|component| component.id == *id);
            let component = component.ok_or(Error::Damaged(
                "a scan has a component that the frame doesn't have",
            ))?;
            if parts.iter().any(|part| part.component == component) {
                return Err(Error::Damaged("a scan has a component twice"));
            }
            let sampling = if *count == 1 {
                [1, 1]
            } else {
                frame.components[component].sampling
            };
            parts.push(Part {
                component,
                sampling,
                pass: share.pass(frame, tables, *slots)?,
            });
        }
        let units = match &parts[..] {
            [part] => frame.components[part.component].own_blocks(),
            _ => frame.units,
        };
        Ok(Self {
            parts,
            band: share.band,
            shift: share.shift,
            units,
        })
    }
}

/// Decodes the scan that has the header `segment` and its data at `markers`.
pub(crate) fn read(
    frame: &mut Frame,
    tables: &Tables,
    segment: &[u8],
    markers: &mut Markers<'_>,
) -> Result<(), Error> {
    let scan = Scan::new(frame, tables, segment)?;
    // A sequential scan of all components is transformed row by row. Otherwise coefficients are
    // kept until all scans are read.
    let is_streamed = !frame.is_progressive && scan.parts.len() == frame.components.len();
    frame.num_scans += 1;
    for part in &scan.parts {
        let component = &mut frame.components[part.component];
        tables.settle(component)?;
        component.prediction = 0;
        component
            .known
            .begin(scan.band, scan.shift, frame.num_scans == 1);
        if component.coefficients.is_empty() {
            component.make_room(if is_streamed {
                part.sampling[0]
            } else {
                component.blocks[0]
            });
        } else if !frame.is_progressive {
            return Err(Error::Damaged("a component has two scans"));
        }
    }
    let interval = if tables.restart_interval == 0 {
        usize::MAX
    } else {
        tables.restart_interval
    };
    let mut reader = Reader {
        scan,
        interval,
        data: Vec::new(),
        position: Position::default(),
        blocks_to_skip: 0,
        is_streamed,
    };
    reader.read(&mut frame.components, markers)
}

/// Whether the scans so far hold the whole image.
pub(crate) fn are_whole(frame: &Frame) -> bool {
    frame.components.iter().all(|component| {
        if frame.is_progressive {
            component.known.now == [0; 64]
        } else {
            component.factors.is_some()
        }
    })
}

/// Transforms the coefficients that were kept until all scans were read.
pub(crate) fn finish(frame: &mut Frame) -> Result<(), Error> {
    if frame
        .components
        .iter()
        .any(|component| component.factors.is_none())
    {
        return Err(Error::Damaged("a component has no scan"));
    }
    if smooth::is_due(frame) {
        smooth::smooth(frame, usize::MAX);
    }
    for component in &mut frame.components {
        // Streamed components have a plane, or all of their coefficients were zero.
        if component.plane.is_empty() {
            transform(component, 0);
            component.coefficients = Vec::new();
        }
    }
    Ok(())
}

/// Transforms the coefficients into the plane, from row of blocks `first` on. The plane is
/// allocated with the first coefficient that isn't zero, so that images without color need no
/// chroma.
fn transform(component: &mut Component, first: usize) {
    let (stride, groups) = (component.stride(), component.groups());
    if component.is_blank() {
        if component.coefficients.iter().all(|group| are_zero(group)) {
            return;
        }
        component.plane = vec![128; component.blocks[0] * 8 * stride];
    }
    let Some(factors) = &component.factors else {
        return;
    };
    let lines = component.plane[first * 8 * stride..].chunks_exact_mut(8 * stride);
    for (groups, rows) in component.coefficients.chunks_exact(groups).zip(lines) {
        Isa::best().run(Transform {
            groups,
            factors,
            rows,
        });
    }
}

/// The state of decoding a scan.
struct Reader<'a> {
    scan: Scan<'a>,
    /// Number of units between two restarts.
    interval: usize,
    /// Compressed data up to the next restart.
    data: Vec<u8>,
    position: Position,
    /// Number of blocks without further codes, in a progressive scan.
    blocks_to_skip: u32,
    is_streamed: bool,
}

impl Reader<'_> {
    /// Decodes all units of the scan.
    fn read(
        &mut self,
        components: &mut [Component],
        markers: &mut Markers<'_>,
    ) -> Result<(), Error> {
        let [rows, columns] = self.scan.units;
        let (mut restart, mut left) = (0u8, self.interval);
        let mut stop = markers.read_data(restart, &mut self.data);
        for row in 0..rows {
            let mut from = 0;
            while from < columns {
                if left == 0 {
                    match stop {
                        Stop::Restart => {}
                        Stop::Marker => return Err(Error::Damaged("a restart marker is missing")),
                        Stop::End => return Err(Error::CutOff),
                    }
                    restart = (restart + 1) % 8;
                    stop = markers.read_data(restart, &mut self.data);
                    (self.position, self.blocks_to_skip, left) =
                        (Position::default(), 0, self.interval);
                    components
                        .iter_mut()
                        .for_each(|component| component.prediction = 0);
                }
                let to = columns.min(from.saturating_add(left));
                if !self.read_units(components, row, [from, to])? {
                    return Err(if stop == Stop::End {
                        Error::CutOff
                    } else {
                        TOO_SHORT
                    });
                }
                left -= to - from;
                from = to;
            }
            if self.is_streamed {
                self.stream(components, row);
            }
        }
        Ok(())
    }

    /// Decodes some units of a row. Returns false if the data end before they do.
    fn read_units(
        &mut self,
        components: &mut [Component],
        row: usize,
        columns: [usize; 2],
    ) -> Result<bool, Error> {
        let bits = Bits::new(&self.data, self.position);
        // Streamed rows share the coefficients of one row.
        let row = if self.is_streamed { 0 } else { row };
        let bits = Isa::best().run(Units {
            scan: &self.scan,
            components,
            row,
            columns,
            bits,
            blocks_to_skip: &mut self.blocks_to_skip,
        })?;
        self.position = bits.position();
        Ok(!bits.is_beyond())
    }

    /// Transforms a row of units into the planes and sets its coefficients to zero.
    fn stream(&self, components: &mut [Component], row: usize) {
        for part in &self.scan.parts {
            let component = &mut components[part.component];
            transform(component, row * part.sampling[0]);
            if !component.is_blank() {
                component.coefficients.as_flattened_mut().fill(0);
            }
        }
    }
}

/// The decoding of some units of a row.
struct Units<'a, 'b> {
    scan: &'a Scan<'a>,
    components: &'a mut [Component],
    row: usize,
    columns: [usize; 2],
    bits: Bits<'b>,
    blocks_to_skip: &'a mut u32,
}

impl<'b> Work for Units<'_, 'b> {
    type Output = Result<Bits<'b>, Error>;

    #[inline(always)]
    fn run(self) -> Self::Output {
        let mut bits = self.bits;
        for unit in self.columns[0]..self.columns[1] {
            for part in &self.scan.parts {
                let component = &mut self.components[part.component];
                let (groups, prediction) = (component.groups(), &mut component.prediction);
                for line in 0..part.sampling[0] {
                    let first = (self.row * part.sampling[0] + line) * groups;
                    for column in unit * part.sampling[1]..(unit + 1) * part.sampling[1] {
                        let group = &mut component.coefficients[first + column / LANES];
                        let mut block = Block {
                            group,
                            lane: column % LANES,
                        };
                        let band = progressive::Band {
                            places: self.scan.band,
                            shift: self.scan.shift,
                        };
                        let bits = &mut bits;
                        match part.pass {
                            Pass::Sequential { dc, ac } => {
                                sequential::read(bits, [dc, ac], prediction, &mut block)?
                            }
                            Pass::FirstDc(codes) => {
                                band.first_dc(bits, codes, prediction, &mut block)?
                            }
                            Pass::MoreDc => band.more_dc(bits, &mut block),
                            Pass::FirstAc(codes) => {
                                band.first_ac(bits, codes, self.blocks_to_skip, &mut block)?
                            }
                            Pass::MoreAc(codes) => {
                                band.more_ac(bits, codes, self.blocks_to_skip, &mut block)?
                            }
                        }
                    }
                }
            }
        }
        Ok(bits)
    }
}
