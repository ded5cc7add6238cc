//! Compares with Pillow's results (`scripts/reference/resize.py`), which must be equal in every
//! pixel value.

use isa::Isa;
use resampling::{Filter, Image, resize};
use safetensors::SafeTensors;

const GOLDEN: &[u8] = include_bytes!("golden.safetensors");
const SIZE: [usize; 2] = [83, 107];

fn source(channels: &[usize]) -> Vec<u8> {
    let level = |row: usize, column: usize, channel: usize| {
        (row * 37 + column * 91 + channel * 53 + row * column * 7) % 256 / (1 + row / 6 % 3)
    };
    let place = |at: usize| {
        (
            at / channels.len() / SIZE[1],
            at / channels.len() % SIZE[1],
            channels[at % channels.len()],
        )
    };
    (0..SIZE[0] * SIZE[1] * channels.len())
        .map(place)
        .map(|(row, column, channel)| level(row, column, channel) as u8)
        .collect()
}

#[test]
fn every_level_is_pillows() {
    let file = SafeTensors::deserialize(GOLDEN).expect("whole");
    let filters = [
        ("nearest", Filter::Nearest),
        ("bilinear", Filter::Bilinear),
        ("bicubic", Filter::Bicubic),
        ("lanczos", Filter::Lanczos),
        ("box", Filter::Box),
        ("hamming", Filter::Hamming),
    ];
    let mut seen = 0;
    for (name, view) in file.iter() {
        let words: Vec<_> = name.split(' ').collect();
        let filter = filters
            .iter()
            .find(|(name, _)| *name == words[0])
            .expect("a filter")
            .1;
        let channels: &[usize] = if words[1] == "rgb" { &[0, 1, 2] } else { &[1] };
        let size = [words[2], words[3]].map(|side| side.parse().expect("a number"));
        let part =
            [words[4], words[5], words[6], words[7]].map(|edge| edge.parse().expect("a number"));
        let bytes = source(channels);
        let image = Image {
            bytes: &bytes,
            height: SIZE[0],
            width: SIZE[1],
            channels: channels.len(),
        };
        for isa in Isa::available() {
            assert_eq!(
                isa.as_best(|| resize(image, part, size, filter)),
                view.data(),
                "{name} {isa:?}"
            );
        }
        seen += 1;
    }
    assert_eq!(seen, 78);
}

#[test]
fn a_flat_image_stays_flat_at_any_size() {
    let filters = [
        Filter::Nearest,
        Filter::Box,
        Filter::Bilinear,
        Filter::Hamming,
        Filter::Bicubic,
        Filter::Lanczos,
    ];
    for (height, width) in [(1, 1), (1, 500), (300, 1), (7, 9), (65, 129)] {
        for size in [[1, 1], [3, 200], [200, 3], [64, 8]] {
            for filter in filters {
                let bytes = vec![201; height * width * 3];
                let found = resize(
                    Image {
                        bytes: &bytes,
                        height,
                        width,
                        channels: 3,
                    },
                    [0.0, 0.0, height as f32, width as f32],
                    size,
                    filter,
                );
                assert!(
                    found.len() == size[0] * size[1] * 3 && found.iter().all(|level| *level == 201),
                    "{height}x{width} {size:?} {filter:?}"
                );
            }
        }
    }
}

#[test]
#[should_panic(expected = "within its image")]
fn a_part_beyond_the_image_is_refused() {
    resize(
        Image {
            bytes: &[0; 12],
            height: 3,
            width: 4,
            channels: 1,
        },
        [0.0, 0.0, 3.5, 4.0],
        [2, 2],
        Filter::Box,
    );
}
