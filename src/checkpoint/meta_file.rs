//! `meta.json` as text: written with a digest of each field, so that a changed one can be named,
//! and refused if a field was changed or is impossible.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};

use super::{
    check::check,
    fault::{Fault, shown},
    meta::{DIGESTS, FORMAT, Meta, OLDEST},
};
use crate::base::io::files::sha256_hex;

/// Metadata with the digests of its fields.
#[derive(Serialize)]
struct Sealed<'a> {
    #[serde(flatten)]
    meta: &'a Meta,
    digests: BTreeMap<String, String>,
}

impl Meta {
    /// Returns the content of `meta.json`.
    pub(super) fn to_text(&self) -> Vec<u8> {
        // Digests are of the fields as they will be read: a number may have another type after a
        // round trip, and then another text.
        let plain = serde_json::to_vec(self).expect("plain values are JSON");
        let fields: Map<String, Value> = serde_json::from_slice(&plain).expect("a struct is a map");
        let digests = fields
            .iter()
            .map(|(field, value)| (field.clone(), digest(value)))
            .collect();
        pretty(&Sealed {
            meta: self,
            digests,
        })
    }

    /// Parses and checks the content of `meta.json`.
    ///
    /// # Errors
    /// Returns the field and what is wrong with it.
    pub(super) fn from_text(text: &[u8]) -> Result<Self, Fault> {
        // The format is read first: the fields of another format may not parse at all.
        #[derive(Deserialize)]
        struct Format {
            format: u64,
        }
        if let Ok(Format { format }) = serde_json::from_slice(text)
            && !(u64::from(OLDEST)..=u64::from(FORMAT)).contains(&format)
        {
            return Err(Fault::Version(format));
        }
        let meta: Self = from_json(text)?;
        match (check_digests(&meta, text), check(&meta)) {
            // The digests tell which field was changed, the bounds why its value is impossible.
            // Where both name one field, the bounds say more.
            (Err(changed), Err(bounds)) if bounds.field() == changed.field() => Err(bounds),
            (Err(fault), _) | (Ok(()), Err(fault)) => Err(fault),
            (Ok(()), Ok(())) => Ok(meta),
        }
    }
}

/// Checks that each field has the digest that it was written with.
fn check_digests(meta: &Meta, text: &[u8]) -> Result<(), Fault> {
    let mut fields: Map<String, Value> =
        serde_json::from_slice(text).map_err(|error| Fault::of("", "", &error.to_string()))?;
    let Some(digests) = fields.remove(DIGESTS) else {
        return if meta.format > OLDEST {
            Err(Fault::missing(DIGESTS))
        } else {
            Ok(())
        };
    };
    let Value::Object(digests) = digests else {
        return Err(Fault::of(
            DIGESTS,
            &shown(&digests),
            "the SHA-256 of every field",
        ));
    };
    if let Some(field) = digests.keys().find(|field| !fields.contains_key(*field)) {
        return Err(Fault::missing(field));
    }
    for (field, value) in &fields {
        match digests.get(field).map(Value::as_str) {
            Some(Some(expected)) if expected == digest(value) => {}
            Some(Some(expected)) => {
                let start: String = expected.chars().take(12).collect();
                let expected = format!(
                    "what was written, whose SHA-256 begins with {start}; it was changed since"
                );
                return Err(Fault::of(field, &shown(value), &expected));
            }
            Some(None) => {
                return Err(Fault::of(
                    &format!("{DIGESTS}.{field}"),
                    &shown(&digests[field]),
                    "a SHA-256",
                ));
            }
            None => {
                return Err(Fault::of(
                    field,
                    &shown(value),
                    "no such field; it was added since",
                ));
            }
        }
    }
    Ok(())
}

/// Returns the SHA-256 of a value's compact JSON.
fn digest(value: &Value) -> String {
    sha256_hex(&serde_json::to_vec(value).expect("a value is JSON"))
}

/// Parses JSON. A fault names the field that doesn't fit.
///
/// # Errors
/// Returns the field that doesn't fit.
pub(super) fn from_json<T: for<'a> Deserialize<'a>>(text: &[u8]) -> Result<T, Fault> {
    let reader = &mut serde_json::Deserializer::from_slice(text);
    let value = serde_path_to_error::deserialize(&mut *reader).map_err(|error| {
        let path = error.path().to_string();
        Fault::Unreadable {
            field: if path == "." { String::new() } else { path },
            reason: error.inner().to_string(),
        }
    })?;
    reader.end().map_err(|error| Fault::Unreadable {
        field: String::new(),
        reason: error.to_string(),
    })?;
    Ok(value)
}

/// Returns a value as indented JSON with a final newline, as the files of a checkpoint have it.
pub(super) fn pretty(value: &impl Serialize) -> Vec<u8> {
    let mut text = serde_json::to_vec_pretty(value).expect("plain values are JSON");
    text.push(b'\n');
    text
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    /// A file of an older version, without digests.
    const OLD: &str = r#"{
        "format": 2, "emberlens": "0.1.0", "name": "x", "classes": ["a", "b"],
        "image_size": [24, 20], "color": "grayscale", "resize": "stretch",
        "normalize": { "rescale": 0.00392, "mean": [0.1], "std": [0.30000001192092896] },
        "design": {
            "model": {
                "architecture": "small_cnn", "channels": [4, 8], "pooling": "flatten",
                "hidden": 16, "dropout": 0.2
            },
            "input": [1, 24, 20], "num_classes": 2, "output": "softmax"
        },
        "loss": "cross_entropy", "focal_gamma": 2.0, "epoch": 3,
        "metrics": { "val_loss": 0.25, "loss": null }, "temperature": 1.25
    }"#;

    fn old() -> Value {
        serde_json::from_str(OLD).expect("JSON")
    }

    fn fault(value: &Value) -> String {
        Meta::from_text(&serde_json::to_vec(value).expect("JSON"))
            .expect_err("can't be")
            .to_string()
    }

    #[test]
    fn an_older_checkpoint_is_read_and_gets_digests_when_it_is_written_again() {
        let meta = Meta::from_text(OLD.as_bytes()).expect("an older one");
        let text = Meta {
            format: FORMAT,
            ..meta.clone()
        }
        .to_text();
        assert_eq!(
            Meta {
                format: 2,
                ..Meta::from_text(&text).expect("sealed")
            },
            meta
        );
    }

    #[test]
    fn a_field_that_was_changed_added_or_removed_is_named() {
        let meta = Meta {
            format: FORMAT,
            ..Meta::from_text(OLD.as_bytes()).expect("an older one")
        };
        let sealed: Value = serde_json::from_slice(&meta.to_text()).expect("JSON");
        let fields: Vec<String> = sealed.as_object().expect("a map").keys().cloned().collect();
        for field in &fields {
            let mut changed = sealed.clone();
            changed.as_object_mut().expect("a map").remove(field);
            assert!(
                fault(&changed).contains(&format!("`{field}`")),
                "{field}: {}",
                fault(&changed)
            );
        }
        type Change = fn(&mut Value);
        let changes: [(&str, Change); 6] = [
            ("temperature", |meta| meta["temperature"] = 2.0.into()),
            ("epoch", |meta| meta["epoch"] = 4.into()),
            ("classes", |meta| meta["classes"] = json!(["b", "a"])),
            ("metrics", |meta| meta["metrics"]["val_loss"] = 0.125.into()),
            ("normalize", |meta| {
                meta["normalize"]["mean"][0] = 0.2.into()
            }),
            ("extra", |meta| meta["extra"] = 1.into()),
        ];
        for (field, change) in changes {
            let mut changed = sealed.clone();
            change(&mut changed);
            assert!(
                fault(&changed).contains(&format!("`{field}`: found ")),
                "{field}: {}",
                fault(&changed)
            );
        }
    }

    /// Asserts that a value at a place of the file is refused with these words.
    #[track_caller]
    fn assert_refused(cases: impl IntoIterator<Item = (&'static str, Value, &'static str)>) {
        for (place, value, expected) in cases {
            let mut changed = old();
            changed["design"]["model"]["layers"] = json!([]);
            *changed.pointer_mut(place).expect("a field") = value;
            assert!(
                fault(&changed).contains(expected),
                "{place}: {}",
                fault(&changed)
            );
        }
    }

    #[test]
    fn classes_and_images_that_cannot_be_are_named_with_what_was_expected() {
        assert_refused([
            (
                "/classes",
                json!([]),
                "`classes`: found [], expected two names or more",
            ),
            (
                "/classes",
                json!(["a", "a"]),
                "`classes`: found [\"a\", \"a\"], expected distinct names",
            ),
            (
                "/classes",
                json!(["a", "b", "c"]),
                "`design.num_classes`: found 2, expected 3",
            ),
            (
                "/image_size",
                json!([24, 1_000_000]),
                "`image_size`: found [24, 1000000], expected [height, width], each from 8 to 4096",
            ),
            (
                "/image_size/0",
                json!(-1),
                "`image_size[0]`: found integer `-1`, expected usize",
            ),
            (
                "/color",
                json!("rgb"),
                "`normalize.mean`: found [0.1], expected 3 of them",
            ),
            (
                "/normalize/std",
                json!([0.0]),
                "`normalize.std`: found [0.0], expected numbers above 0",
            ),
            (
                "/normalize/mean",
                json!([null]),
                "`normalize.mean[0]`: found null, expected f32",
            ),
            (
                "/normalize/mean",
                json!([1e39]),
                "`normalize.mean[0]`: number out of range",
            ),
            (
                "/normalize/rescale",
                json!(0.0),
                "`normalize.rescale`: found 0.0",
            ),
        ]);
    }

    #[test]
    fn a_network_that_cannot_be_is_named_with_what_was_expected() {
        assert_refused([
            (
                "/design/input/1",
                json!(25),
                "`design.input`: found [1, 25, 20], expected [1, 24, 20]",
            ),
            (
                "/design/output",
                json!("sigmoid"),
                "`design.output`: found Sigmoid, expected Softmax",
            ),
            (
                "/design/model/channels",
                json!([4, 0]),
                "`design.model.channels`: found [4, 0]",
            ),
            (
                "/design/model/channels",
                json!([4, 4, 4, 4, 4, 4]),
                "expected fewer blocks",
            ),
            (
                "/design/model/dropout",
                json!(1.0),
                "`design.model.dropout`: found 1.0",
            ),
            (
                "/design/model/architecture",
                json!("vgg99"),
                "`design.model.architecture`: found `vgg99`, expected one of",
            ),
        ]);
    }

    #[test]
    fn layers_that_cannot_be_are_named_with_what_was_expected() {
        let layers = |list: Value| json!({ "architecture": "layers", "hidden": 0, "layers": list });
        assert_refused([
            (
                "/design/model/layers",
                json!([{ "conv": 4 }]),
                "`design.model.layers`: found ",
            ),
            (
                "/design/model",
                layers(json!([])),
                "`design.model.layers`: found no layers",
            ),
            (
                "/design/model",
                layers(json!([{ "conv": 4, "stride": 0 }])),
                "`design.model.layers (entry 1).stride`: found 0",
            ),
            (
                "/design/model",
                layers(json!([{ "conv": 65536 }, { "conv": 65536 }])),
                "`design.model.layers`: found convolutions of 38655295488 weights, expected fewer \
                 than 268 million",
            ),
            (
                "/design/model",
                layers(json!([{ "conv": 4 }, { "max_pool": 32 }])),
                "layers for which enough of the image is left",
            ),
            (
                "/design/model",
                layers(json!([{ "conv": 4, "max_pool": 2 }])),
                "expected a table with conv, separable_conv, max_pool",
            ),
        ]);
    }

    #[test]
    fn a_loss_a_temperature_and_an_epoch_that_cannot_be_are_named() {
        assert_refused([
            (
                "/focal_gamma",
                json!(-0.5),
                "`focal_gamma`: found -0.5, expected a number of 0 or more",
            ),
            (
                "/temperature",
                json!(0),
                "`temperature`: found 0.0, expected a number from 0.001 to 1000",
            ),
            (
                "/temperature",
                json!("hot"),
                "`temperature`: found string \"hot\", expected f64",
            ),
            (
                "/epoch",
                json!(1.5),
                "`epoch`: found floating point `1.5`, expected usize",
            ),
        ]);
    }

    #[test]
    fn a_decision_that_cannot_be_and_a_field_twice_are_named() {
        let mut more = old();
        more["threshold"] =
            json!({ "class": "z", "sensitivity": 0.9, "probability": 0.5, "fitted_on": 3 });
        assert!(
            fault(&more).contains("`threshold.class`: found \"z\", expected one of `classes`"),
            "{}",
            fault(&more)
        );
        more["threshold"] = Value::Null;
        more["coverage"] = json!({ "coverage": 0.9, "probability": 1.5, "fitted_on": 3 });
        assert!(
            fault(&more).contains("`coverage.probability`: found 1.5, expected a probability"),
            "{}",
            fault(&more)
        );
        let twice = OLD.replace("\"epoch\": 3", "\"epoch\": 3, \"epoch\": 3");
        assert!(
            Meta::from_text(twice.as_bytes())
                .expect_err("twice")
                .to_string()
                .contains("duplicate field `epoch`")
        );
    }

    #[test]
    fn a_network_larger_than_its_weights_is_refused_before_it_is_built() {
        let mut large = old();
        large["design"]["model"]["hidden"] = json!([1_000_000_000, 1_000_000_000]);
        let large = Meta::from_text(&serde_json::to_vec(&large).expect("JSON"))
            .expect("each number alone is possible");
        let fault = super::super::check::check_size(&large, 40_000)
            .expect_err("too large")
            .to_string();
        assert!(
            fault.starts_with("`design.model`: found ")
                && fault.contains("expected 10000 weights at most"),
            "{fault}"
        );
        let meta = Meta::from_text(OLD.as_bytes()).expect("an older one");
        // 9 * 4 + 9 * 4 * 8 + 6 * 5 * 8 * 16 + 16 * 2 weights.
        assert!(
            super::super::check::check_size(&meta, 4 * 4196).is_ok()
                && super::super::check::check_size(&meta, 4 * 4195).is_err()
        );
    }
}
