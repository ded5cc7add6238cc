//! What an installed program can do in an empty folder, without a checkout: `demo` and `recipes`.

use crate::support::{Place, root};

#[test]
fn the_demo_trains_and_reports_in_an_empty_folder() {
    let place = Place::new();
    let ran = place.done("demo --out run --set train.epochs=1");
    ran.prints("300 images: accuracy");
    ran.tells("emberlens train IMAGES");
    assert!(place.path("run/report.html").is_file());
    place
        .run("demo --out run")
        .exits(2, "the folder already exists and isn't empty");
}

#[test]
fn recipes_are_listed_and_printed_as_they_are() {
    let place = Place::new();
    let listed = place.done("recipes");
    for name in ["brain_vgg16", "hymenoptera_squeezenet", "phantom"] {
        listed.prints(name);
        let file = root().join(format!("configs/{name}.toml"));
        let text = std::fs::read_to_string(file).expect("a recipe");
        assert_eq!(place.done(&format!("recipes {name}")).out, text);
    }
    let message = "there is no recipe `fantom`; did you mean `phantom`?; `emberlens recipes`";
    place.run("recipes fantom").exits(2, message);
}

#[test]
fn shells_and_man_are_told_of_every_subcommand() {
    let place = Place::new();
    for shell in ["bash", "elvish", "fish", "powershell", "zsh"] {
        let script = place.done(&format!("completions {shell}"));
        script.prints("calibrate");
        script.prints("quick-trials");
    }
    let page = place.done("man");
    page.prints(".TH emberlens 1");
    page.prints("emberlens\\-train(1)");
    place
        .done("man bench step")
        .prints("emberlens\\-bench\\-step");
    let message = "emberlens bench has no subcommand `steps`; `emberlens bench --help`";
    place.run("man bench steps").exits(2, message);
}
