//! Compares files of every kind with the pixels that libjpeg-turbo decodes from them
//! (`scripts/reference/jpeg.py`), and decodes damaged ones.

use isa::Isa;
use jpeg_pixels::{Error, Jpeg, Pixels};
use proptest::{prelude::*, sample::Index};
use safetensors::{SafeTensors, tensor::TensorView};

const GOLDEN: &[u8] = include_bytes!("golden.safetensors");

/// Damaged files and what libjpeg-turbo decodes from them (`scripts/reference/jpeg_damage.py`).
const DAMAGED: &[u8] = include_bytes!("damaged.safetensors");

fn golden() -> SafeTensors<'static> {
    SafeTensors::deserialize(GOLDEN).expect("whole")
}

fn decode(bytes: &[u8]) -> Result<Pixels, Error> {
    Ok(Jpeg::open(bytes)?.decode()?.pixels)
}

fn file(name: &str) -> &'static [u8] {
    golden()
        .tensor(&format!("{name}.jpg"))
        .expect("present")
        .data()
}

#[test]
fn every_level_is_libjpeg_turbos() {
    let golden = golden();
    let mut seen = 0;
    for (name, view) in golden.iter().filter(|(name, _)| !name.ends_with(".jpg")) {
        let decode = || decode(file(name)).unwrap_or_else(|error| panic!("{name}: {error}"));
        let found = decode();
        for isa in Isa::available() {
            assert!(isa.as_best(decode) == found, "{name} {isa:?}");
        }
        check(name, &found, &view);
        // `repair` decodes whole files as well.
        check(
            name,
            &Jpeg::open(file(name)).and_then(Jpeg::repair).expect(name),
            &view,
        );
        seen += 1;
    }
    assert!(seen > 60, "{seen} files");
}

/// Asserts that the pixels equal the expected red, green and blue.
#[track_caller]
fn check(name: &str, found: &Pixels, view: &TensorView<'_>) {
    let [height, width, _] = view.shape() else {
        panic!("{name}: {:?}", view.shape())
    };
    assert_eq!([found.height, found.width], [*height, *width], "{name}");
    let is_grey = view
        .data()
        .as_chunks::<3>()
        .0
        .iter()
        .all(|[red, green, blue]| red == green && green == blue);
    // Damage can remove the color from an image, which still has three channels then.
    assert!(
        if is_grey {
            found.channels <= 3
        } else {
            found.channels == 3
        },
        "{name}"
    );
    let copies = 3 / found.channels;
    let differs = view
        .data()
        .iter()
        .enumerate()
        .find(|(at, level)| found.bytes[at / copies] != **level);
    assert_eq!(differs, None, "{name}");
}

#[test]
fn of_damaged_files_every_level_is_what_libjpeg_turbo_makes_of_them() {
    let damaged = SafeTensors::deserialize(DAMAGED).expect("whole");
    let (mut seen, mut refused) = (0, 0);
    for (name, view) in damaged.iter().filter(|(name, _)| !name.ends_with(".jpg")) {
        let file = damaged.tensor(&format!("{name}.jpg")).expect("present");
        let jpeg = || Jpeg::open(file.data()).unwrap_or_else(|error| panic!("{name}: {error}"));
        // A file that is read in spite of its damage has the same pixels without repair.
        match jpeg().decode() {
            Ok(decoded) => check(name, &decoded.pixels, &view),
            Err(_) => refused += 1,
        }
        check(
            name,
            &jpeg()
                .repair()
                .unwrap_or_else(|error| panic!("{name}: {error}")),
            &view,
        );
        seen += 1;
    }
    assert_eq!(
        (seen, refused),
        (134, 66),
        "files, and those that are refused without repair"
    );
}

#[test]
fn a_missing_end_marker_is_said_and_of_several_adobe_segments_the_last_counts() {
    for name in [
        "420 quality 75",
        "444 progressive",
        "a scan a component",
        "grey",
    ] {
        let whole = file(name);
        for length in [whole.len() - 2, whole.len() - 1] {
            let found = Jpeg::open(&whole[..length])
                .and_then(Jpeg::decode)
                .expect("all rows are there");
            assert!(
                !found.has_end && Ok(found.pixels) == decode(whole),
                "{name} {length}"
            );
        }
        assert!(
            Jpeg::open(whole)
                .and_then(Jpeg::decode)
                .expect("whole")
                .has_end
        );
    }
    // Without a JFIF segment, Adobe's decides the color space: RGB or YCbCr.
    let whole = file("444 quality 75");
    let start = 4 + usize::from(u16::from_be_bytes([whole[4], whole[5]]));
    let adobe = |transform: u8| [b"\xFF\xEE\0\x0EAdobe\0\x64\0\0\0\0", &[transform][..]].concat();
    let with = |first: u8, second: u8| {
        [&whole[..2], &adobe(first), &adobe(second), &whole[start..]].concat()
    };
    assert_eq!(decode(&with(0, 1)), decode(whole));
    assert_eq!(decode(&with(1, 0)), decode(&with(0, 0)));
    assert_ne!(decode(&with(0, 0)), decode(whole));
    // Too short, and ignored.
    let short = [
        &whole[..2],
        b"\xFF\xEE\0\x0DAdobe\0\x64\0\0\0\0",
        &whole[start..],
    ]
    .concat();
    assert_eq!(decode(&short), decode(whole));
}

#[test]
fn what_fills_time_or_memory_is_known_before() {
    let jpeg = |name: &str| Jpeg::open(file(name)).expect("whole");
    // 61x37 pixels in units of 16x16, sixteen blocks a group: 48 rows of 128 samples for luma, half
    // of both for each chroma component; and the pixels.
    let planes = 48 * 128 + 2 * 24 * 128;
    assert_eq!(jpeg("420 quality 75").memory(false), planes + 61 * 37 * 3);
    assert_eq!(jpeg("420 progressive").memory(false), planes + 2 * planes);
    assert_eq!(jpeg("420 quality 75").memory(true), planes + 2 * planes);
    // One scan repeated 200 times.
    let whole = file("progressive in bands");
    let scan = whole
        .windows(2)
        .rposition(|marker| marker == [0xFF, 0xDA])
        .expect("a scan");
    let (start, last) = (&whole[..scan], &whole[scan..whole.len() - 2]);
    let bomb = [start, &last.repeat(200), &[0xFF, 0xD9]].concat();
    assert!(
        matches!(decode(&bomb), Err(Error::Damaged(what)) if what.contains("more than 100 scans"))
    );
}

#[test]
fn headers_tell_size_components_and_exif() {
    let bytes = file("422 5x150");
    let jpeg = Jpeg::open(bytes).expect("whole");
    assert_eq!(
        (jpeg.size(), jpeg.num_components(), jpeg.exif()),
        ([5, 150], 3, None)
    );
    let with_exif = [&bytes[..2], b"\xFF\xE1\x00\x0AExif\0\0II", &bytes[2..]].concat();
    assert_eq!(
        Jpeg::open(&with_exif).expect("whole").exif(),
        Some(&b"II"[..])
    );
    assert_eq!(decode(&with_exif), decode(bytes));
    assert_eq!(Jpeg::open(file("grey")).expect("whole").num_components(), 1);
    assert_eq!(
        Jpeg::open(file("four inks"))
            .expect("whole")
            .num_components(),
        4
    );
}

#[test]
fn what_is_cut_off_is_an_error_at_every_byte() {
    for name in [
        "420 quality 75",
        "444 progressive",
        "restart each row",
        "a scan a component",
        "grey",
    ] {
        let whole = file(name);
        assert!(whole.ends_with(&[0xFF, 0xD9]));
        for length in 0..whole.len() - 2 {
            assert!(decode(&whole[..length]).is_err(), "{name} cut at {length}");
        }
        // An end-of-image marker doesn't make a file whole if rows are missing.
        let data = whole.len() / 2;
        let patched = [&whole[..data], &[0xFF, 0xD9]].concat();
        assert!(
            decode(&patched).is_err(),
            "{name} with its end put on early"
        );
        assert_eq!(
            decode(&[whole, b"anything"].concat()),
            decode(whole),
            "{name} with something behind it"
        );
    }
}

#[test]
fn what_is_not_read_says_so() {
    let kind = |bytes: &[u8]| Jpeg::open(bytes).err();
    assert_eq!(
        kind(file("arithmetic codes")),
        Some(Error::Unsupported("JPEG with arithmetic codes"))
    );
    assert!(matches!(kind(b"no JPEG"), Some(Error::Damaged(_))));
    assert_eq!(kind(&[0xFF, 0xD8, 0xFF]), Some(Error::CutOff));
    let frame = file("grey")
        .windows(2)
        .position(|marker| marker == [0xFF, 0xC0])
        .expect("a frame");
    for (at, byte, expected) in [(4, 12, "8 bits"), (1, 0xC3, "lossless")] {
        let mut bytes = file("grey").to_vec();
        bytes[frame + at] = byte;
        let error = kind(&bytes)
            .map(|error| error.to_string())
            .unwrap_or_default();
        assert!(error.contains(expected), "{error}");
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(if cfg!(miri) { 3 } else { 2000 }))]
    /// The pixels have the size in the header, whatever the damage.
    #[test]
    fn damage_is_never_a_panic(
        index: Index,
        damage in prop::collection::vec((any::<Index>(), any::<u8>()), 1..6),
    ) {
        let golden = golden();
        let mut names = golden.names();
        names.retain(|name| name.ends_with(".jpg"));
        let name = names[index.index(names.len())];
        let mut bytes = golden.tensor(name).expect("present").data().to_vec();
        for (at, byte) in damage {
            let at = at.index(bytes.len());
            bytes[at] = byte;
        }
        let Ok(jpeg) = Jpeg::open(&bytes) else { return Ok(()) };
        let [height, width] = jpeg.size();
        // Damage can make the image huge, which takes long to decode.
        if height * width > 1 << 20 {
            return Ok(());
        }
        let decoded = jpeg.decode().map(|decoded| decoded.pixels);
        if let Ok(pixels) = decoded.or_else(|_| Jpeg::open(&bytes)?.repair()) {
            prop_assert_eq!([pixels.height, pixels.width], [height, width]);
            prop_assert_eq!(pixels.bytes.len(), height * width * pixels.channels);
        }
    }
}
