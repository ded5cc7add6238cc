//! Pictures that are not resampled: each byte through a table of 256 values.

use crate::{Finish, Picture, Planes};

pub(crate) fn look_up(picture: Picture<'_>, [mirror_columns, mirror_rows]: [bool; 2], finish: &Finish, mut planes: Planes<'_>) {
    let Picture { bytes, height, width, channels } = picture;
    let mut tables = [[0.0; 256]; 3];
    for (channel, table) in tables.iter_mut().enumerate().take(channels) {
        table.iter_mut().zip(0u8..).for_each(|(value, byte)| *value = finish.apply(f32::from(byte), channel));
    }
    for (row, line) in bytes.chunks_exact(width * channels).enumerate() {
        let row = if mirror_rows { height - 1 - row } else { row };
        for (channel, table) in tables.iter().enumerate().take(channels) {
            let to = planes.part(finish.channels[channel].plane, row, 0, width);
            let values = line[channel..].iter().step_by(channels).map(|byte| table[usize::from(*byte)]);
            if mirror_columns {
                to.iter_mut().rev().zip(values).for_each(|(to, value)| _ = to.write(value));
            } else {
                to.iter_mut().zip(values).for_each(|(to, value)| _ = to.write(value));
            }
        }
    }
}
