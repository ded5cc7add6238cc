//! The images of a run.

use super::{folders, order, reading};
use crate::import::{
    arguments::Import,
    keras::{layers::Layers, runs::Run, sources::Source},
};

/// The images of a run.
pub(in crate::import::keras) struct Data<'t> {
    pub(in crate::import::keras) train: Source<'t>,
    pub(in crate::import::keras) validation: Option<Source<'t>>,
}

pub(in crate::import::keras) fn import<'t>(
    import: &mut Import<'t>,
    run: &Run<'t>,
    layers: &Layers,
) -> Data<'t> {
    let train = run.last().source.clone();
    reading::seed(import, &train);
    folders::train_folder(import, &train);
    let test = folders::test_source(import, run, &train);
    let validation = folders::validation(import, run, &train, test.as_ref());
    if let Some(test) = &test {
        folders::test_folder(import, &train, test);
    }
    reading::reading(import, run, &train, layers);
    if let Some(validation) = &validation {
        order::compare(import, validation);
    }
    order::order(import, run, &train);
    Data { train, validation }
}
