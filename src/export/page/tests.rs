//! The engine compared with the program, without a browser.

use std::io::Cursor;

use burn::{
    module::Module as _,
    tensor::{Device, Tensor, TensorData},
};
use image::{DynamicImage, ImageFormat};
use page_engine::Engine;
use pixel_sampling::Image;

use super::*;
use crate::{
    architecture::Architecture,
    config::{Color, Hidden, Interpolation, Pooling, Resize},
    data::{
        Whitening,
        pixels::{
            decode::{Pixels, decode},
            resize::resize,
        },
    },
    export::onnx::tests::meta,
    nn::{
        infer::read,
        networks::{build, classifier::probabilities},
    },
};

/// The architecture of this name.
fn named(name: &str) -> Architecture {
    let found = Architecture::all().find(|architecture| architecture.name() == name);
    found.expect("an architecture")
}

/// A color image, neither square nor symmetric.
fn image(width: u32, height: u32) -> DynamicImage {
    image::RgbImage::from_fn(width, height, |x, y| {
        let noise = (x * 7919 + y * 104_729 + x * y * 31) % 97;
        let wave = (f64::from(x) / 9.0).sin() * 60.0 + f64::from(y) * 1.5;
        image::Rgb([noise as u8, (wave + 80.0) as u8, (x * 3 % 256) as u8])
    })
    .into()
}

fn file(image: &DynamicImage, format: ImageFormat) -> Vec<u8> {
    let mut bytes = Cursor::new(Vec::new());
    image.write_to(&mut bytes, format).expect("encoded");
    bytes.into_inner()
}

/// The network's input by the program.
fn input(meta: &Meta, pixels: Pixels) -> Tensor<4> {
    let [channels, height, width] = meta.design.input;
    let levels = Pixels {
        bytes: resize(&pixels, [height, width], meta.resize, meta.interpolation),
        height,
        width,
        ..pixels
    };
    let levels = levels.into_color(meta.color);
    let mut values = Vec::new();
    let image = Image::new(&levels, [height, width, channels]).expect("fits");
    meta.normalize.write(image, &mut values);
    let images = TensorData::new(values, [1, channels, height, width]);
    Tensor::from_data(images, &Device::flex())
}

/// The probabilities of the program.
fn expected(meta: &Meta, network: &Classifier, pixels: Pixels) -> Vec<f32> {
    let frozen = network.frozen(0..network.num_groups());
    let logits = network.forward_head(frozen.forward(input(meta, pixels))) / meta.temperature;
    read(probabilities(logits, meta.design.output)).expect("read")
}

#[track_caller]
fn assert_alike(case: &str, found: &[f32], expected: &[f32], bound: f32) {
    assert_eq!(found.len(), expected.len(), "{case}");
    for (found, expected) in found.iter().zip(expected) {
        assert!(
            (found - expected).abs() <= bound,
            "{case}: {found}, not {expected}"
        );
    }
}

/// Compares the engine with the program on images of odd sizes, with weights of 32 and of 16 bits.
fn compare(case: &str, meta: &Meta, bounds: [f32; 2]) {
    let network = build(&meta.design, 3, &Device::flex());
    let bytes = |half| model_of(meta, &network, half).expect("a model");
    for (half, bound) in [(false, bounds[0]), (true, bounds[1])] {
        let mut engine = Engine::new(&bytes(half)).expect("read back");
        for (width, height) in [(97, 61), (30, 77), (3, 2)] {
            let file = file(&image(width, height), ImageFormat::Png);
            engine.open(&file).expect("decoded");
            let pixels = decode(&file, meta.color).expect("decoded");
            let expected = expected(meta, &network, pixels);
            let found = engine.probabilities().expect("numbers");
            assert_alike(
                &format!("{case} {width}x{height} {half}"),
                &found,
                &expected,
                bound,
            );
        }
    }
}

#[test]
fn every_architecture_has_the_probabilities_of_the_program() {
    let exported = |found: &Architecture| found.name() != "dinov2_s" && !found.is_autoencoder();
    for architecture in Architecture::all().filter(exported) {
        let layers = "[[layers]]\nconv = 4\nkernel = 5\nactivation = \"gelu\"\nbatch_norm = true\n\
                      [[layers]]\nmax_pool = 3\n[[layers]]\nconv = 6\nactivation = \"elu\"\n";
        let mut meta = meta();
        let side = if architecture.name() == "inception_v3" {
            80
        } else {
            40
        };
        meta.design.input = [3, side, side + 3];
        meta.design.model.architecture = architecture;
        meta.design.model.pooling = Pooling::MaxAverage;
        meta.design.model.hidden = Hidden::One(5);
        meta.design.model.head_norm = true;
        if architecture.is_list() {
            let listed: crate::config::Model = toml::from_str(layers).expect("layers");
            meta.design.model.layers = listed.layers;
        }
        // Deep networks amplify rounding.
        compare(architecture.name(), &meta, [1e-4, 2e-2]);
    }
}

#[test]
fn a_network_with_attention_is_refused() {
    let mut meta = meta();
    meta.design.input = [3, 42, 56];
    meta.design.model.architecture = named("dinov2_s");
    let network = build(&meta.design, 3, &Device::flex());
    let error = model_of(&meta, &network, false).expect_err("attention");
    assert_eq!(
        error.to_string(),
        "found dinov2_s, a network with attention, which a page can't run; use --onnx or --pytorch"
    );
}

#[test]
fn every_way_to_the_input_has_the_levels_of_the_program() {
    let each = [Resize::Stretch, Resize::Pad, Resize::Crop];
    let filters = [
        Interpolation::Nearest,
        Interpolation::Box,
        Interpolation::Bilinear,
        Interpolation::Hamming,
        Interpolation::Bicubic,
        Interpolation::Lanczos,
    ];
    for (resize, filter) in each
        .iter()
        .flat_map(|resize| filters.map(|filter| (resize, filter)))
    {
        let mut meta = meta();
        (meta.resize, meta.interpolation) = (*resize, filter);
        compare(&format!("{resize:?} {filter:?}"), &meta, [2e-6, 1e-3]);
        (meta.color, meta.design.input[0]) = (Color::Grayscale, 1);
        (meta.normalize.mean, meta.normalize.std) = (vec![0.3], vec![0.2]);
        compare(&format!("{resize:?} {filter:?} gray"), &meta, [2e-6, 1e-3]);
    }
}

#[test]
fn every_normalization_and_output_is_that_of_the_program() {
    let size = 3 * 8 * 9;
    let matrix = (0..size * size)
        .map(|at| {
            if at % (size + 1) == 0 {
                0.5
            } else {
                (at % 7) as f32 * 1e-4
            }
        })
        .collect();
    type Change<'a> = &'a dyn Fn(&mut Meta);
    let changes: [(&str, Change<'_>); 5] = [
        ("caffe", &|meta| {
            meta.normalize.rescale = 1.0;
            meta.normalize.mean = vec![103.9, 116.8, 123.7];
            meta.normalize.std = vec![58.0, 57.0, 57.5];
            meta.normalize.blue_first = true;
        }),
        ("samplewise", &|meta| {
            meta.normalize.samplewise_center = true;
            meta.normalize.samplewise_std = true;
        }),
        ("samplewise_center", &|meta| {
            meta.normalize.samplewise_center = true
        }),
        ("whitening", &|meta| {
            meta.normalize.whitening = Some(Whitening {
                matrix: Vec::clone(&matrix),
            });
        }),
        ("sigmoid", &|meta| {
            meta.design.output = crate::nn::networks::classifier::Output::Sigmoid;
            meta.design.num_classes = 2;
            meta.classes.truncate(2);
            meta.temperature = 1.7;
        }),
    ];
    for (case, change) in changes {
        let mut meta = meta();
        change(&mut meta);
        compare(case, &meta, [2e-6, 1e-3]);
    }
}

#[test]
fn files_are_decoded_to_the_pixels_of_the_program() {
    let color = image(31, 18);
    let alpha: DynamicImage = image::RgbaImage::from_fn(13, 9, |x, y| {
        image::Rgba([(x * 19) as u8, (y * 28) as u8, 77, (x * y * 2) as u8])
    })
    .into();
    let gray16: DynamicImage =
        image::ImageBuffer::from_fn(12, 7, |x, y| image::Luma([(x * 5000 + y * 77) as u16])).into();
    let files = [
        ("jpeg", file(&color, ImageFormat::Jpeg)),
        ("gray jpeg", file(&color.grayscale(), ImageFormat::Jpeg)),
        ("png", file(&color, ImageFormat::Png)),
        ("gray png", file(&color.grayscale(), ImageFormat::Png)),
        ("alpha", file(&alpha, ImageFormat::Png)),
        ("16 bits", file(&gray16, ImageFormat::Png)),
        ("tiff", file(&color, ImageFormat::Tiff)),
    ];
    let turned = (1..=8).map(|number| ("turned", turned_jpeg(&color, number)));
    for (case, file) in files.into_iter().chain(turned) {
        for color in [Color::Rgb, Color::Grayscale] {
            let mut meta = meta();
            (meta.color, meta.design.input[0]) = (color, color.channels());
            meta.normalize.mean = vec![0.0; color.channels()];
            meta.normalize.std = vec![1.0; color.channels()];
            let network = build(&meta.design, 3, &Device::flex());
            let model = model_of(&meta, &network, false).expect("a model");
            let mut engine = Engine::new(&model).expect("read back");
            engine.open(&file).expect("decoded");
            let (size, found) = engine.thumbnail(1000);
            let pixels = decode(&file, color).expect("decoded");
            assert_eq!(size, [pixels.height, pixels.width], "{case} {color:?}");
            let found: Vec<u8> = found
                .chunks_exact(4)
                .flat_map(|pixel| pixel[..3].to_vec())
                .collect();
            assert_eq!(found, pixels.into_color(Color::Rgb), "{case} {color:?}");
        }
    }
    let mut engine = Engine::new(
        &model_of(&meta(), &build(&meta().design, 3, &Device::flex()), true).expect("a model"),
    )
    .expect("read back");
    let whole = file(&color, ImageFormat::Png);
    for damaged in [&whole[..60], b"GIF89a", b"", &whole[..8]] {
        assert!(engine.open(damaged).is_err(), "{} bytes", damaged.len());
    }
}

#[test]
fn maps_are_those_of_grad_cam_by_autodiff() {
    let mut found_evidence = false;
    for name in [
        "small_cnn",
        "resnet18",
        "mobilenet_v3_small",
        "convnext_tiny",
        "densenet121",
    ] {
        let mut meta = meta();
        meta.design.input = [3, 96, 70];
        meta.design.model.architecture = named(name);
        meta.design.model.pooling = Pooling::MaxAverage;
        meta.design.model.hidden = Hidden::One(5);
        let plain = build(&meta.design, 3, &Device::flex());
        let model = build(&meta.design, 3, &Device::flex().autodiff()).freeze();
        let mut engine =
            Engine::new(&model_of(&meta, &plain, false).expect("a model")).expect("read");
        let file = file(&image(97, 61), ImageFormat::Png);
        engine.open(&file).expect("decoded");
        let groups = meta.design.model.network(3).groups_before_map([96, 70]);
        let pixels = decode(&file, Color::Rgb).expect("decoded");
        let values = plain.forward_frozen(0..groups, input(&meta, pixels));
        let [_, channels, height, width] = values.dims();
        let values = Tensor::from_inner(values).require_grad();
        let logits = model.forward_from(groups, values.clone());
        let score = logits.slice([0..1, 1..2]).sum();
        let gradients = values
            .grad(&score.backward())
            .expect("the head depends on its input");
        let weights = gradients.reshape([channels, height * width]).mean_dim(1);
        let values = values.inner().reshape([channels, height * width]);
        let map = read((values * weights).sum_dim(0).clamp_min(0.0)).expect("read");
        let range = [f32::min, f32::max].map(|of| map.iter().copied().reduce(of).expect("some"));
        let scaled = |value: &f32| (value - range[0]) / (range[1] - range[0] + 1e-7);
        let expected: Vec<f32> = map.iter().map(scaled).collect();
        let found = engine.map(1);
        assert_eq!(found.size, [height, width], "{name}");
        found_evidence |= range[1] > 0.0;
        assert_alike(name, &found.values, &expected, 1e-3);
    }
    assert!(found_evidence);
}

#[test]
fn several_models_have_the_mean_of_their_probabilities_and_maps_and_one_twice_is_itself() {
    let meta = meta();
    let file = file(&image(97, 61), ImageFormat::Png);
    let bytes = |seed| {
        let network = build(&meta.design, seed, &Device::flex());
        model_of(&meta, &network, false).expect("a model")
    };
    let found = |seeds: [u64; 2]| {
        let mut engine = Engine::new(&bytes(seeds[0])).expect("read back");
        engine.add(&bytes(seeds[1])).expect("read back");
        engine.open(&file).expect("decoded");
        (engine.probabilities().expect("numbers"), engine.map(1))
    };
    let alone = |seed| {
        let mut engine = Engine::new(&bytes(seed)).expect("read back");
        engine.open(&file).expect("decoded");
        (engine.probabilities().expect("numbers"), engine.map(1))
    };
    assert_eq!(found([3, 3]), alone(3));
    let has_evidence = |seed: &u64| alone(*seed).1.values.iter().any(|value| *value > 0.0);
    let mut seeds = (3..40).filter(has_evidence);
    let seeds = std::array::from_fn(|_| seeds.next().expect("some find evidence"));
    let (both, [first, second]) = (found(seeds), seeds.map(alone));
    let mean = |(a, b): (&f32, &f32)| (a + b) / 2.0;
    let expected: Vec<f32> = first.0.iter().zip(&second.0).map(mean).collect();
    assert_alike("mean", &both.0, &expected, 1e-6);
    assert!(both.1 != first.1 && both.1 != second.1);
}

/// A JPEG with this orientation in its EXIF data.
fn turned_jpeg(image: &DynamicImage, number: u8) -> Vec<u8> {
    let jpeg = file(image, ImageFormat::Jpeg);
    let exif = [
        b"Exif\0\0MM\0\x2A\0\0\0\x08\0\x01\x01\x12\0\x03\0\0\0\x01\0",
        &[number][..],
        &[0; 6],
    ]
    .concat();
    let length = (exif.len() + 2) as u16;
    [
        &jpeg[..2],
        &[0xFF, 0xE1],
        &length.to_be_bytes(),
        &exif,
        &jpeg[2..],
    ]
    .concat()
}

#[test]
fn nothing_in_a_name_becomes_markup_or_ends_a_script() {
    let mut meta = meta();
    let bad = "</script><script>alert(1)</script>".to_owned();
    meta.name.clone_from(&bad);
    meta.classes = vec![bad.clone(); 3];
    let network = build(&meta.design, 3, &Device::flex());
    let checkpoint = Checkpoint {
        meta,
        model: vec![1, 2, 3],
        backbone: None,
    };
    let page = page(&[checkpoint], &[network], true, &[bad]).expect("a page");
    assert!(!page.contains("<script>alert"), "markup from a name");
    assert_eq!(page.matches("</script>").count(), 5);
    assert!(!page.contains("http://") && !page.contains("https://"));
}
