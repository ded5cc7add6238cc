//! Tar files of images: packed, indexed, trained on, resumed and measured like the folder that they
//! were made of.

use std::fs;

use crate::support::Place;

/// A recipe with a test set, on folders `train` and `test`, and the folders as shards.
fn with_shards(train: &str) -> Place {
    let place = Place::with_recipe(train);
    place.classes("test", &[5, 4]);
    place.recipe("test = \"test\"\ncache = \"off\"", train);
    let packed = place.done("shard train --out packed/train --size 7 --seed 3");
    packed.prints("Wrote 30 images to 5 shards: packed/train");
    packed.prints("--set data.train=packed/train");
    place.done("shard test --out packed/test --size 4");
    place
}

/// The rows of `split.csv`, without what stands in front of the image's own path and without the
/// paths of copies.
fn rows(place: &Place, run: &str) -> Vec<String> {
    let row = |line: &str| {
        let (line, _) = line.rsplit_once(',').expect("a last column");
        let from = line.find(".tar/").map_or(line.find('/'), |at| Some(at + 4));
        line[from.unwrap_or(0)..].to_owned()
    };
    place
        .read(&format!("{run}/split.csv"))
        .lines()
        .map(row)
        .collect()
}

#[test]
fn a_folder_and_its_shards_give_the_same_weights() {
    let place = with_shards("epochs = 3");
    place.done("train --config small.toml --out folder");
    let shards = "--set data.train=packed/train --set data.test=packed/test";
    place.done(&format!("train --config small.toml --out shards {shards}"));
    assert!(place.result("folder") == place.result("shards"));
    assert_eq!(rows(&place, "folder"), rows(&place, "shards"));
    // Whatever way the shards are named, and however they are kept.
    let pattern = "--set data.train=packed/train/shard-{000000..000004}.tar --set data.cache=disk";
    place.done(&format!(
        "train --config small.toml --out pattern {pattern}"
    ));
    assert!(place.result("folder") == place.result("pattern"));
    let list = "--set data.train=packed/train/index.csv --set data.cache=memory";
    place.done(&format!("train --config small.toml --out list {list}"));
    assert!(place.result("folder") == place.result("list"));
    // The validation images are found again, and so is one that is named.
    place.done("evaluate --checkpoint shards --split val --out val");
    place.done("evaluate --checkpoint shards --data packed/test/*.tar --out test");
    assert_eq!(place.read("test/predictions.csv").lines().count(), 1 + 9);
    let drafted = place.done("train packed --out drafted --dry-run");
    drafted.tells("Found 9 images belonging to 2 classes. (test");
    let first = place.read("shards/split.csv");
    let first = first.lines().nth(1).and_then(|line| line.split(',').next());
    let first = first.expect("an image");
    assert!(first.contains(".tar/a/"), "{first}");
    place
        .done(&format!("predict --checkpoint shards {first}"))
        .prints(first);
}

#[test]
fn a_run_on_a_folder_goes_on_with_its_shards() {
    let place = with_shards("epochs = 3");
    place.done("train --config small.toml --out whole");
    place.done("train --config small.toml --out part --set train.epochs=1");
    let shards = "--set train.epochs=3 --set data.train=packed/train --set data.test=packed/test";
    place.done(&format!("train --resume part {shards}"));
    assert!(place.result("whole") == place.result("part"));
}

#[test]
fn packing_keeps_the_files_and_can_be_repeated() {
    let place = with_shards("epochs = 1");
    let mut names = Vec::new();
    for number in 0..5 {
        let file = fs::File::open(place.path(&format!("packed/train/shard-{number:06}.tar")));
        let mut tar = tar::Archive::new(file.expect("opened"));
        for member in tar.entries().expect("a tar file") {
            let mut member = member.expect("whole");
            let name = member.path().expect("a name").display().to_string();
            let mut bytes = Vec::new();
            std::io::Read::read_to_end(&mut member, &mut bytes).expect("read");
            if name.ends_with(".cls") {
                assert_eq!(bytes, if name.starts_with('a') { b"0" } else { b"1" });
            } else {
                assert!(bytes == place.bytes(&format!("train/{name}")), "{name}");
                names.push(name);
            }
        }
    }
    assert_eq!(names.len(), 30);
    assert!(!names.is_sorted());
    assert_eq!(place.read("packed/train/classes.txt"), "a\nb\n");
    place.done("shard train --out again --size 7 --seed 3");
    place.done("shard packed/train --out packed-again --size 7 --seed 3");
    for file in ["shard-000000.tar", "shard-000004.tar", "index.csv"] {
        let [first, again, packed] = ["packed/train", "again", "packed-again"]
            .map(|folder| place.bytes(&format!("{folder}/{file}")));
        assert!(first == again && first == packed, "{file}");
    }
    let used = place.run("shard train --out again");
    used.exits(2, "the folder isn't empty and is left as it is");
}

#[test]
fn a_list_keeps_its_parts_groups_and_weights() {
    let place = with_shards("epochs = 1");
    place.write(
        "train/list.csv",
        "path,label,split,group,weight\na/000.png,x,train,p,1\na/001.png,y,train,q,2\n\
         b/000.png,x,val,,1\nb/001.png,x,train,p,1\n",
    );
    let packed = place.done("shard train/list.csv --out parts --size 2");
    packed.prints("Wrote 3 images to 2 shards: parts/train");
    packed.prints("--set data.train=parts/train/index.csv");
    packed.prints("--set data.validation=parts/val");
    let list = place.read("parts/train/index.csv");
    let fields = |line: &str| {
        line.split(',')
            .take(5)
            .map(str::to_owned)
            .collect::<Vec<_>>()
    };
    let mut lines: Vec<_> = list.lines().map(fields).collect();
    lines.iter_mut().for_each(|line| {
        let name = line[0]
            .rsplit_once(".tar/")
            .map(|(_, name)| name.to_owned());
        line[0] = name.unwrap_or_default();
    });
    assert_eq!(
        lines[1..],
        [
            ["x/a/000.png", "x", "train", "p", "1.0"],
            ["y/a/001.png", "y", "train", "q", "2.0"],
            ["x/b/001.png", "x", "train", "p", "1.0"],
        ]
    );
    place.write("train/list.csv", "path,label\na/000.png,x\na/99.png,y\n");
    let missing = place.run("shard train/list.csv --out more");
    missing.exits(2, "found 1 files that can't be opened, expected none");
    assert!(!place.path("more").exists());
}

#[test]
fn an_index_counts_classes_and_writes_a_list() {
    let place = with_shards("epochs = 1");
    let found = place.done("index packed/train/shard-00000[01].tar");
    found.prints("Found 14 images belonging to 2 classes.");
    place.done("index packed/train --out train.csv");
    let list = place.read("train.csv");
    assert!(list.starts_with("path,label,split,group,weight,start,length\n"));
    let set = "--set data.train=train.csv";
    place.done(&format!("train --config small.toml --out run {set}"));
    place.done("train --config small.toml --out folder");
    assert!(place.result("run") == place.result("folder"));
    // Each line says where the bytes are.
    let fields: Vec<_> = list.lines().nth(1).expect("an image").split(',').collect();
    let (shard, name) = fields[0].split_once(".tar/").expect("in a shard");
    let shard = place.bytes(&format!("{shard}.tar"));
    let [start, length] = [5, 6].map(|at| fields[at].parse::<usize>().expect("a number"));
    assert!(shard[start..start + length] == place.bytes(&format!("train/{name}")));
    let again = place.run("index packed/train --out train.csv");
    again.exits(2, "there is a file of that name");
    place
        .run("index train")
        .exits(2, "found an image that isn't in a tar file");
}

#[test]
fn shards_that_cannot_be_used_are_named() {
    let place = with_shards("epochs = 1");
    let train = |source: &str| {
        place.run(&format!(
            "train --config small.toml --out run --set data.train={source}"
        ))
    };
    let shard = place.bytes("packed/train/shard-000001.tar");
    place.write("bad/x.tar.gz", "");
    fs::write(place.path("bad/cut.tar"), &shard[..3000]).expect("written");
    for (source, words) in [
        (
            "packed/train/shard-{000003..000006}.tar",
            "2 of the 4 names of",
        ),
        (
            "packed/nothing-*.tar",
            "found no tar file: packed/nothing-*.tar",
        ),
        (
            "packed",
            "found the parts test, train in packed, expected classes",
        ),
        ("bad/x.tar.gz", "unpack it with gunzip: bad/x.tar.gz"),
        ("bad/cut.tar", "cut off, damaged or none"),
    ] {
        let ran = train(source);
        assert_ne!(ran.code, Some(0), "{source}");
        ran.tells(words);
    }
    // A shard whose images differ from what a run held back.
    place.done("train --config small.toml --out run --set data.train=packed/train");
    fs::remove_dir_all(place.path("packed/train")).expect("removed");
    let gone = place.run("evaluate --checkpoint run --split val --out val");
    gone.tells("none of the");
}
