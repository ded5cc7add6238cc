//! Compares files of every kind with the pixel values that Pillow gives
//! (`scripts/reference/tiff.py`), and decodes damaged ones.

use proptest::{prelude::*, sample::Index};
use safetensors::SafeTensors;
use tiff_pixels::{Error, Pixels, Tiff};

const GOLDEN: &[u8] = include_bytes!("golden.safetensors");

fn golden() -> SafeTensors<'static> {
    SafeTensors::deserialize(GOLDEN).expect("whole")
}

fn decode(bytes: &[u8]) -> Result<Pixels, Error> {
    Tiff::open(bytes)?.decode()
}

fn file(name: &str) -> &'static [u8] {
    golden()
        .tensor(&format!("{name}.tif"))
        .expect("present")
        .data()
}

#[test]
fn every_level_is_pillows() {
    let golden = golden();
    let mut seen = 0;
    for (name, view) in golden.iter().filter(|(name, _)| !name.ends_with(".tif")) {
        let tiff = Tiff::open(file(name)).unwrap_or_else(|error| panic!("{name}: {error}"));
        let found = tiff
            .decode()
            .unwrap_or_else(|error| panic!("{name}: {error}"));
        let [height, width, channels] = view.shape() else {
            panic!("{name}: {:?}", view.shape())
        };
        assert_eq!(
            (tiff.size(), found.channels),
            ([*height, *width], *channels),
            "{name}"
        );
        assert_eq!(found.bytes.len(), view.data().len(), "{name}");
        let differs = found
            .bytes
            .iter()
            .zip(view.data())
            .enumerate()
            .find(|(_, (found, expected))| found != expected);
        assert_eq!(differs, None, "{name}");
        let memory = tiff.memory().expect(name);
        // Enough for the samples and the pixels, and no more than forty times the pixels.
        assert!(
            (found.bytes.len() + height * width..40 * found.bytes.len())
                .contains(&(memory as usize)),
            "{name}: {memory}"
        );
        seen += 1;
    }
    assert_eq!(seen, 90, "files");
}

#[test]
fn headers_tell_size_mode_and_orientation() {
    let tiff = |name: &str| Tiff::open(file(name)).expect("whole");
    assert_eq!(
        (tiff("colours").size(), tiff("colours").orientation()),
        ([19, 27], 1)
    );
    for (name, mode) in [
        ("colours", "Rgb8"),
        ("grey and alpha", "La8"),
        ("16 bits", "L16"),
        ("fractions", "L32F"),
        ("palette", "Palette8"),
    ] {
        assert_eq!(tiff(name).mode(), mode);
    }
}

#[test]
fn what_is_cut_off_is_an_error_at_every_byte_and_what_is_not_read_says_so() {
    for name in ["1 bits, palette", "luma sampled 2x2", "12 bits"] {
        // These files end with their pixels.
        let whole = file(name);
        for length in 0..whole.len() {
            assert!(decode(&whole[..length]).is_err(), "{name} cut at {length}");
        }
    }
    // A raw photograph: DNG's version tag takes the place of the rows per strip.
    let mut raw = file("12 bits").to_vec();
    let at = raw
        .windows(4)
        .position(|bytes| bytes == [22, 1, 4, 0])
        .expect("a tag");
    raw[at..at + 2].copy_from_slice(&50706u16.to_le_bytes());
    assert!(
        decode(&raw)
            .expect_err("not read")
            .to_string()
            .contains("raw photograph")
    );
    // Changes the number of the compression.
    let with = |compression: u16| {
        let mut bytes = file("12 bits").to_vec();
        let at = bytes
            .windows(4)
            .position(|bytes| bytes == [3, 1, 4, 0])
            .expect("a tag");
        bytes[at + 8..at + 10].copy_from_slice(&compression.to_le_bytes());
        decode(&bytes).expect_err("not read").to_string()
    };
    for (compression, name) in [
        (50000, "Zstandard"),
        (34925, "LZMA"),
        (50001, "WebP"),
        (6, "old-style JPEG data"),
        (77, "compression 77"),
    ] {
        assert!(
            with(compression).contains(name) && with(compression).contains("save the image"),
            "{}",
            with(compression)
        );
    }
}

#[test]
fn a_size_that_the_file_cannot_hold_is_refused_before_memory_is_taken() {
    for name in [
        "grey",
        "colours, LZW",
        "colours, PackBits",
        "grey, Deflate and differences",
        "tiles in planes, little endian",
        "grey, JPEG",
    ] {
        let mut bytes = file(name).to_vec();
        for tag in [0, 1] {
            let at = bytes
                .windows(3)
                .position(|bytes| bytes == [tag, 1, 3] || bytes == [tag, 1, 4])
                .expect("a size");
            bytes[at + 8..at + 12].copy_from_slice(&[0x3A, 0x34, 0, 0]);
        }
        assert!(decode(&bytes).is_err(), "{name}");
    }
    // One strip, so that only its size is wrong.
    let mut bytes = file("12 bits").to_vec();
    for tag in [0, 1, 22] {
        let at = bytes
            .windows(4)
            .position(|bytes| bytes == [tag, 1, 4, 0])
            .expect("a size");
        bytes[at + 8..at + 12].copy_from_slice(&[0x3A, 0x34, 0, 0]);
    }
    let reason = decode(&bytes).expect_err("a bomb").to_string();
    assert!(
        reason.contains("13370x13370 pixels don't fit into"),
        "{reason}"
    );
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(4000))]
    /// The pixels have the size in the header, whatever the damage.
    #[test]
    fn damage_is_never_a_panic(
        index: Index,
        damage in prop::collection::vec((any::<Index>(), any::<u8>()), 1..6),
        is_in_head: bool,
    ) {
        let golden = golden();
        let mut names = golden.names();
        names.retain(|name| name.ends_with(".tif"));
        let name = names[index.index(names.len())];
        let mut bytes = golden.tensor(name).expect("present").data().to_vec();
        for (at, byte) in damage {
            let at = at.index(if is_in_head { bytes.len().min(250) } else { bytes.len() });
            bytes[at] = byte;
        }
        let Ok(tiff) = Tiff::open(&bytes) else { return Ok(()) };
        let [height, width] = tiff.size();
        if tiff.memory().is_ok_and(|memory| memory < 64 << 20) && let Ok(pixels) = tiff.decode() {
            prop_assert_eq!(pixels.bytes.len(), height * width * pixels.channels);
        }
    }
}
