//! A network whose layers the recipe lists, from training to its explanations.

use crate::support::Place;

const RECIPE: &str = "name = 'listed'\ndevice = 'cpu'\n[data]\ntrain = 'phantom'\n\
                      validation = 0.2\nimage_size = [30, 26]\ncolor = 'grayscale'\n[model]\n\
                      architecture = 'layers'\nactivation = 'elu'\ninit = 'glorot_uniform'\n\
                      norm_epsilon = 1e-3\nnorm_momentum = 0.01\npooling = 'average'\nhidden = 8\n\
                      [[model.layers]]\nconv = 4\nkernel = 5\nstride = 2\nbatch_norm = true\n\
                      activation = 'silu'\n[[model.layers]]\naverage_pool = 2\nstride = 1\n\
                      padding = 'same'\n[[model.layers]]\ndropout = 0.1\n[[model.layers]]\n\
                      separable_conv = 6\npadding = 'valid'\n[[model.layers]]\nmax_pool = 2\n\
                      [train]\nepochs = 2\nbatch_size = 32\n";

#[test]
fn a_listed_network_trains_resumes_evaluates_and_explains() {
    let place = Place::new();
    place.write("listed.toml", RECIPE);
    let trained = place.done("train --config listed.toml --out whole");
    let summary = trained.out + &trained.err;
    for row in [
        "backbone.blocks.0.0.conv",
        "backbone.blocks.0.0.norm",
        "backbone.blocks.0.1.pool",
        "backbone.blocks.1.0.depthwise",
    ] {
        assert!(summary.contains(row), "{summary}");
    }
    place.done("train --config listed.toml --out parts --set train.epochs=1");
    place.done("train --resume parts --set train.epochs=2");
    assert!(
        place.result("whole") == place.result("parts"),
        "one epoch and a resume to two are two epochs"
    );
    place.done("evaluate --checkpoint whole");
    place.classes("images", &[2, 2]);
    let explained = place.done("explain --checkpoint whole images --device cpu");
    assert!((explained.out + &explained.err).contains("grad-cam of backbone.blocks.1 (6x5)"));
    // The weights of one run are the frozen first layers of another.
    let tuned =
        "[train]\nepochs = 1\nphases = [{ epochs = 1, freeze = 'blocks:1' }]\nbatch_size = 32\n";
    let recipe = RECIPE.split("[train]").next().expect("a start").replace(
        "[model]\n",
        "[model]\nweights = 'whole/best/model.safetensors'\n",
    );
    place.write("tuned.toml", &(recipe + tuned));
    place.done("train --config tuned.toml --out tuned");
}

#[test]
fn a_small_cnn_written_as_a_list_learns_the_same() {
    let place = Place::with_recipe("epochs = 2");
    place.done("train --config small.toml --out short --set model.batch_norm=true");
    let block = |channels: usize| {
        format!(
            "[[model.layers]]\nconv = {channels}\nbatch_norm = true\n[[model.layers]]\n\
             max_pool = 2\n"
        )
    };
    let text = place
        .read("small.toml")
        .replace("channels = [4, 8]", "architecture = 'layers'")
        + &block(4)
        + &block(8);
    place.write("listed.toml", &text);
    place.done("train --config listed.toml --out listed");
    assert_eq!(place.result("short").2, place.result("listed").2);
}
