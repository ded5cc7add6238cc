//! Damaged images, files that promise more than they hold, and formats that aren't read: named,
//! counted, listed, and never the program's end.

use std::{fs, io::Cursor};

use serde_json::Value;

use crate::support::{Place, json};

/// A JPEG of 40x32, with tiles of levels of its own for each number.
fn jpeg(number: u32) -> Vec<u8> {
    let mut state = number.wrapping_mul(7919) + 11;
    let mut draw = || {
        state = state.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
        (state >> 24) as u8
    };
    let tiles: Vec<[u8; 3]> = (0..20).map(|_| [draw(), draw(), draw()]).collect();
    let image = image::RgbImage::from_fn(40, 32, |x, y| {
        let [red, green, blue] = tiles[(y / 8 * 5 + x / 8) as usize];
        image::Rgb([
            red,
            green.saturating_add(x as u8),
            blue.saturating_sub(y as u8),
        ])
    });
    let mut bytes = Cursor::new(Vec::new());
    image
        .write_to(&mut bytes, image::ImageFormat::Jpeg)
        .expect("memory");
    bytes.into_inner()
}

fn put(place: &Place, path: &str, bytes: &[u8]) {
    let path = place.path(path);
    fs::create_dir_all(path.parent().expect("inside")).expect("created");
    fs::write(path, bytes).expect("written");
}

/// Rows of a list of the run without its head, sorted: path and split.
fn rows(place: &Place, list: &str) -> Vec<[String; 2]> {
    let mut reader =
        csv::Reader::from_path(place.path(list)).unwrap_or_else(|error| panic!("{list}: {error}"));
    assert_eq!(
        reader.headers().expect("a head"),
        ["path", "reason", "split", "class"].as_slice()
    );
    let mut rows: Vec<_> = reader
        .records()
        .map(|row| row.expect("a row"))
        .map(|row| [row[0].to_owned(), row[2].to_owned()])
        .collect();
    rows.sort();
    rows
}

/// Two classes to train and to test on. A training image has no end, one of both parts is cut off.
fn damaged_place() -> Place {
    let place = Place::new();
    for (first, name) in [(0, "a"), (100, "b")] {
        for number in 0..9 {
            let of_test = jpeg(first + number + 20);
            put(
                &place,
                &format!("train/{name}/{number}.jpg"),
                &jpeg(first + number),
            );
            put(&place, &format!("test/{name}/{number}.jpg"), &of_test);
        }
    }
    let whole = jpeg(12);
    put(&place, ENDLESS, &whole[..whole.len() - 2]);
    let cut = |number: u32| jpeg(number)[..jpeg(number).len() * 9 / 10].to_vec();
    put(&place, CUT, &cut(113));
    put(&place, CUT_TEST, &cut(133));
    place.recipe("test = \"test\"", "epochs = 1");
    place
}

const ENDLESS: &str = "train/a/endless.jpg";
const CUT: &str = "train/b/cut.jpg";
const CUT_TEST: &str = "test/b/cut.jpg";
const TRAIN: &str = "train --config small.toml --out";

#[test]
fn damaged_images_are_skipped_and_listed_unless_they_are_wished() {
    let place = damaged_place();
    let ran = place.done(&format!("{TRAIN} skipped"));
    ran.tells(&format!(
        "2 images can't be decoded and are skipped (1 train, 1 test); the first: {CUT}: "
    ));
    // The reason says what other programs do.
    ran.tells("as data.on_bad_image = \"repair\" does");
    ran.tells(&format!(
        "1 image's file is damaged and is used as far as it can be read; the first: {ENDLESS}: its \
         end-of-image"
    ));
    let skipped = [[CUT_TEST, "test"], [CUT, "train"]].map(|row| row.map(str::to_owned));
    assert!(
        rows(&place, "skipped/skipped.csv") == skipped
            && rows(&place, "skipped/damaged.csv").len() == 1
    );
    assert!(!place.path("skipped/evaluation/test/damaged.csv").exists());
    let stopped = place.run(&format!("{TRAIN} never --set data.on_bad_image=error"));
    stopped.exits(1, "cut.jpg");
    assert!(!place.path("never").exists(), "{}", stopped.err);
}

#[test]
fn damaged_images_are_used_as_far_as_they_go_where_that_is_wished_and_all_of_them_are_listed() {
    let place = damaged_place();
    let ran = place.done(&format!("{TRAIN} repaired --set data.on_bad_image=repair"));
    ran.tells("3 images' files are damaged and are used as far as they can be read (");
    ran.tells("1 test); the first: train/a/endless.jpg");
    assert!(
        !place.path("repaired/skipped.csv").exists() && !ran.err.contains("can't be decoded"),
        "{}",
        ran.err
    );
    let listed = rows(&place, "repaired/damaged.csv");
    let listed: Vec<_> = listed.iter().map(|[path, _]| path.as_str()).collect();
    assert_eq!(listed, [CUT_TEST, ENDLESS, CUT]);
    let split = place.read("repaired/split.csv");
    assert_eq!(split.lines().count(), 1 + 20 + 19);
    let of_test = rows(&place, "repaired/evaluation/test/damaged.csv");
    assert_eq!(of_test.len(), 1);
    let report = place.read("repaired/report.html");
    assert!(
        report.contains("are damaged and were used as far as they can be read")
            && report.contains(CUT)
    );
}

#[test]
fn a_network_takes_damaged_images_as_it_was_trained() {
    let place = damaged_place();
    place.done(&format!("{TRAIN} skipped"));
    place.done(&format!("{TRAIN} repaired --set data.on_bad_image=repair"));
    let predict = |run: &str| {
        let line = format!("predict --checkpoint {run} {CUT_TEST} --device cpu");
        place.run(&line)
    };
    predict("skipped").exits(1, "error: the JPEG is cut off");
    let words = "warning: damaged, used as far as it can be read: test/b/cut.jpg";
    predict("repaired").exits(0, words);
    let evaluated = place.done("evaluate --checkpoint repaired --json --device cpu");
    let evaluated = evaluated.json();
    let damaged = evaluated["damaged"].as_array().map(Vec::len);
    assert_eq!((&evaluated["images"], damaged), (&Value::from(19), Some(1)));
    place.done("train --resume repaired --set train.epochs=2");
    // What decoding may take changes nothing, repaired images do.
    let resume = "train --resume skipped --set";
    place.done(&format!(
        "{resume} train.epochs=2 --set data.decode_memory_mb=128"
    ));
    let refused = place.run(&format!(
        "{resume} train.epochs=3 --set data.on_bad_image=repair"
    ));
    refused.exits(2, "train/b/cut.jpg is new");
}

#[test]
fn an_inspection_tells_how_far_damaged_images_go() {
    let ran = damaged_place().done("inspect train");
    ran.prints("can't be decoded: train/b/cut.jpg: the JPEG is cut off");
    ran.prints(
        "damaged, used as far as it can be read: train/a/endless.jpg: its end-of-image marker is \
         missing",
    );
    ran.prints(
        "1 image's file is damaged and is used as far as it can be read; the first: \
         train/a/endless.jpg",
    );
}

/// A GIF of one pixel, said to be larger, after comments.
fn gif(width: u16, height: u16, comments: usize) -> Vec<u8> {
    let sides = [width.to_le_bytes(), height.to_le_bytes()].concat();
    let comment = [&[0x21, 0xFE, 0xFF][..], &[b'x'; 255], &[0]].concat();
    [
        b"GIF89a",
        &sides[..],
        b"\x80\0\0\xFF\0\0\0\xFF\0",
        &comment.repeat(comments),
        b"\x2C\0\0\0\0\x01\0\x01\0\0\x02\x02\x44\x01\0;",
    ]
    .concat()
}

/// A square BMP of two colors, packed as runs.
fn bitmap(side: i32, packed: &[u8]) -> Vec<u8> {
    let size = [side.to_le_bytes(), side.to_le_bytes()].concat();
    let head = [
        &40u32.to_le_bytes()[..],
        &size,
        &[1, 0, 8, 0, 1, 0, 0, 0],
        &[0; 12],
        &2u32.to_le_bytes(),
        &[0; 4],
    ]
    .concat();
    [
        b"BM\0\0\0\0\0\0\0\0\x3E\0\0\0",
        &head[..],
        &[0, 0, 0, 0, 255, 255, 255, 0],
        packed,
    ]
    .concat()
}

/// A square gray TIFF whose strip isn't there.
fn tiff(side: u32, compression: u32) -> Vec<u8> {
    let tags: [(u16, u32); 9] = [
        (256, side),
        (257, side),
        (258, 8),
        (259, compression),
        (262, 1),
        (273, 8),
        (277, 1),
        (278, side),
        (279, 1 << 28),
    ];
    let entry = |(tag, value): (u16, u32)| {
        let long = [4, 0, 1, 0, 0, 0];
        [&tag.to_le_bytes()[..], &long, &value.to_le_bytes()].concat()
    };
    let entries: Vec<u8> = tags.into_iter().flat_map(entry).collect();
    [b"II*\0\x08\0\0\0\x09\0", &entries[..], &[0; 4]].concat()
}

/// Files that promise more than they hold, or more than decoding may take, by name.
fn bombs() -> Vec<(&'static str, Vec<u8>)> {
    let small = jpeg(0);
    let mut markers = small.windows(2);
    let frame = markers.position(|marker| marker == [0xFF, 0xC0]);
    let frame = frame.expect("a frame") + 5;
    let with_sides = |sides: [u8; 4]| [&small[..frame], &sides, &small[frame + 4..]].concat();
    let comment = [&[0xFF, 0xFE, 0xFF, 0xFF][..], &[0; 65_533]]
        .concat()
        .repeat(6);
    // 13,000 each: 0x32C8.
    let large = with_sides([0x32, 0xC8, 0x32, 0xC8]);
    let padded = [&large[..2], &comment, &large[2..]].concat();
    vec![
        ("frame.jpg", with_sides([0x75, 0x30, 0x75, 0x30])),
        ("short.jpg", large),
        ("padded.jpg", padded.clone()),
        ("padded-again.jpg", padded),
        ("tiny.gif", gif(13_370, 13_370, 0)),
        ("padded.gif", gif(13_000, 13_000, 300)),
        ("runs.bmp", bitmap(13_370, b"\0\x01")),
        ("lines.bmp", bitmap(11_000, &[0; 40_000])),
        ("plain.ppm", b"P6 13000 13000 255\n0123456789".to_vec()),
        (
            "letters.pgm",
            [b"P2 13000 13000 255\n".as_slice(), &b"1 ".repeat(50)].concat(),
        ),
        ("plain.tif", tiff(13_000, 1)),
        ("packed.tif", tiff(13_000, 8)),
        ("bits.tif", tiff(4_000_000_000, 1)),
    ]
}

#[test]
fn files_that_promise_more_than_they_hold_are_named_and_end_nothing() {
    let place = Place::new();
    place.classes("data", &[6, 6]);
    let bombs = bombs();
    bombs
        .iter()
        .for_each(|(name, bytes)| put(&place, &format!("data/a/{name}"), bytes));
    // As long as it says, and all of it a hole.
    put(&place, "data/a/hole.jpg", &jpeg(1));
    fs::OpenOptions::new()
        .write(true)
        .open(place.path("data/a/hole.jpg"))
        .and_then(|file| file.set_len(6 << 30))
        .expect("a hole");
    let mut command = place.command("inspect data --json");
    command.env("EMBERLENS_DECODE_MEMORY_MB", "64");
    if cfg!(target_os = "linux") {
        // Less address space than a single one of them would take.
        let program = command.get_program().to_owned();
        let arguments: Vec<_> = command.get_args().map(ToOwned::to_owned).collect();
        let mut limited = std::process::Command::new("sh");
        limited
            .args(["-c", "ulimit -v 1000000; exec \"$0\" \"$@\""])
            .arg(program)
            .args(arguments)
            .current_dir(place.path("."));
        limited
            .env("XDG_CACHE_HOME", place.path("cache"))
            .env("EMBERLENS_DECODE_MEMORY_MB", "64")
            .env("RAYON_NUM_THREADS", "4");
        command = limited;
    }
    let output = command.output().expect("the program starts");
    let (out, err) = (
        String::from_utf8_lossy(&output.stdout),
        String::from_utf8_lossy(&output.stderr),
    );
    assert!(output.status.success(), "{err}");
    let found = json(&out);
    assert_eq!(found["images"], 12);
    let unreadable = found["unreadable"].as_array().expect("a list");
    for name in bombs.iter().map(|(name, _)| *name).chain(["hole.jpg"]) {
        let row = unreadable.iter().find(|row| {
            row["path"]
                .as_str()
                .is_some_and(|path| path.ends_with(&format!("/{name}")))
        });
        let reason = row
            .and_then(|row| row["reason"].as_str())
            .unwrap_or_else(|| panic!("{name} isn't among {unreadable:?}"));
        let is_told = [
            "decompression bomb",
            "don't fit into",
            "that decoding may take",
            "ends before",
        ]
        .iter()
        .any(|part| reason.contains(part));
        assert!(is_told, "{name}: {reason}");
    }
    assert_eq!(unreadable.len(), bombs.len() + 1);
}

#[test]
fn more_memory_reads_what_a_smaller_budget_refused_through_the_cache_as_well() {
    let place = Place::new();
    place.classes("train", &[8, 8]);
    // 3000x2500 in colors: 22 MB of pixels.
    image::RgbImage::from_fn(3000, 2500, |x, y| {
        image::Rgb([(x / 12) as u8, (y / 10) as u8, 90])
    })
    .save(place.path("train/a/large.bmp"))
    .expect("written");
    place.recipe("cache = \"disk\"", "epochs = 1");
    let said = |run: &str, megabytes: &str| {
        place
            .done(&format!(
                "train --config small.toml --out {run} --set data.decode_memory_mb={megabytes}"
            ))
            .err
    };
    let refused = said("small", "16");
    assert!(
        refused.contains("train/a/large.bmp: ") && refused.contains("16 MB that decoding may take"),
        "{refused}"
    );
    assert!(
        refused.contains("raise data.decode_memory_mb (or EMBERLENS_DECODE_MEMORY_MB)"),
        "{refused}"
    );
    assert_eq!(place.read("small/split.csv").lines().count(), 17);
    let read = said("large", "256");
    assert!(!read.contains("large.bmp"), "{read}");
    assert_eq!(place.read("large/split.csv").lines().count(), 18);
}

#[test]
fn formats_that_are_not_read_are_named_with_what_to_do_whatever_they_are_called() {
    let place = Place::new();
    place.classes("data", &[6, 6]);
    let dicom = [&[0; 128][..], b"DICM\x02\0"].concat();
    let files: [(&str, &[u8], &str); 5] = [
        (
            "phone.jpg",
            b"\0\0\0\x18ftypheic\0\0\0\0mif1",
            "it is a HEIC image, which can't be read; save it as JPEG or PNG",
        ),
        (
            "scan.png",
            &dicom,
            "it is a DICOM image, which can't be read; convert it with its display window",
        ),
        (
            "page.jpg",
            b"%PDF-1.7\n",
            "it is a PDF document, which can't be read; save its images as PNG",
        ),
        (
            "logo.png",
            b"<svg xmlns='http://www.w3.org/2000/svg'/>",
            "it is an SVG drawing, which can't be read; save it as PNG",
        ),
        (
            "moved.jpg",
            b"<!DOCTYPE html><title>404</title>",
            "it is an HTML page (often left by a failed download), which can't be read; download \
             the image again",
        ),
    ];
    files
        .iter()
        .for_each(|(name, bytes, _)| put(&place, &format!("data/a/{name}"), bytes));
    put(&place, "data/b/film.avif", b"\0\0\0\x20ftypavif\0\0\0\0");
    let said = place.done("inspect data").out;
    for (name, _, words) in files {
        assert!(
            said.contains(&format!("can't be decoded: data/a/{name}: {words}")),
            "{name}: {said}"
        );
    }
    assert!(
        said.contains(
            "1 AVIF image, which can't be read; save it as JPEG or PNG; the first: data/b/film.avif"
        ),
        "{said}"
    );
}
