//! What `preview` shows is what training sees.

use burn::tensor::Device;
use emberlens::{config, data::load_for_training, train::Session};

use crate::support::Place;

/// Images of 20 rows are magnified so that they have 96 at least.
const FACTOR: u32 = 5;
/// From the corner of the mosaic to the first row of pixels: a gap and two lines of text.
const LEFT: u32 = 6;
const TOP: u32 = 6 + 24;

#[test]
fn the_pixels_of_an_epoch_are_those_that_it_trains_on() {
    let place = Place::new();
    place.classes("train", &[9, 8]);
    place.recipe("", "epochs = 9");
    let config = config::load(
        &place.path("small.toml"),
        &[format!(
            "data.train={:?}",
            place.path("train").display().to_string()
        )],
    );
    let config = config.expect("a recipe");
    let data = load_for_training(&config.data, config.seed, &|_| (), &|_| ()).expect("images");
    let session = Session::start(config, &data, &Device::flex()).expect("a session");

    let image = 11;
    let view = session.datasets.training_view(&session.config, 6);
    let draw = view
        .draws
        .iter()
        .position(|draw| draw.image == image)
        .expect("each image is drawn");
    let trained_on = view.batch(draw..draw + 1).expect("an image").images;
    let path = data.train.images[image].path.display().to_string();
    let line = "preview --config small.toml --epoch 7 --epochs 1 --out seen.png --image";
    place.done(&(line, path.as_str()));

    let seen = image::open(place.path("seen.png"))
        .expect("an image")
        .to_rgb8();
    assert_eq!(
        seen.dimensions(),
        (6 + 2 * (24 * FACTOR + 6), 6 + 24 + 20 * FACTOR + 6),
        "the original beside one epoch"
    );
    let mut differing = 0;
    for (index, value) in trained_on.iter().enumerate() {
        let (channel, row, column) = (index / 480, index as u32 / 24 % 20, index as u32 % 24);
        let at = |left: u32| seen.get_pixel(left + column * FACTOR, TOP + row * FACTOR)[channel];
        assert_eq!(
            at(LEFT + 24 * FACTOR + 6),
            (value * 255.0).round() as u8,
            "channel {channel}, row {row}, column {column}"
        );
        differing += usize::from(at(LEFT) != at(LEFT + 24 * FACTOR + 6));
    }
    assert!(differing > 100, "the epoch's image is not the original");
}

#[test]
fn an_image_that_is_not_trained_on_and_a_file_that_is_there_are_refused() {
    let place = Place::new();
    place.classes("train", &[9, 8]);
    place.classes("val", &[2, 2]);
    place.recipe("validation = \"val\"", "");
    let refused = |image: &str, message: &str| {
        let ran = place.run(&format!(
            "preview --config small.toml --image {image} --out x.png"
        ));
        ran.exits(1, message);
    };
    refused(
        "val/a/000.png",
        "the image is for validation, where nothing is augmented",
    );
    refused(
        "nothing.png",
        "the image is not among those of data.train that can be read: nothing.png",
    );
    place.write("mine.png", "mine");
    let ran = place.run("preview --config small.toml --out mine.png");
    ran.exits(2, "the file already exists");
    assert_eq!(place.read("mine.png"), "mine");
    assert!(!place.path("x.png").exists());
}
