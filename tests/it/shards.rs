//! Tar files of images: packed, indexed, trained on, resumed and measured like the folder that they
//! were made of.

use std::{
    fs,
    io::{BufRead, BufReader, Write},
    net::{TcpListener, TcpStream},
    path::PathBuf,
    process::Command,
    sync::atomic::{AtomicUsize, Ordering},
    thread,
};

use crate::support::{Place, Ran};

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
    missing.exits(2, "found 1 file that can't be opened, expected none");
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

/// What is wrong with a server.
#[derive(Clone, Copy, Debug, PartialEq)]
enum Fault {
    No,
    /// Each seventh answer is 503.
    Busy,
    /// Each seventh answer ends after half of what it announces.
    Cut,
    /// Ranges are ignored.
    Whole,
    /// After the index was read, other files are there.
    Replaced,
    Denied,
    /// Requests that aren't signed by a key are refused.
    Unsigned,
}

/// Serves the files of a folder and returns its address.
fn server(folder: PathBuf, fault: Fault) -> String {
    let listener = TcpListener::bind("127.0.0.1:0").expect("a port");
    let address = listener.local_addr().expect("an address");
    thread::spawn(move || {
        let count = AtomicUsize::new(0);
        for stream in listener.incoming() {
            // The program may hang up.
            let number = count.fetch_add(1, Ordering::Relaxed);
            let _ = answer(&stream.expect("a connection"), &folder, (fault, number));
        }
    });
    format!("http://{address}")
}

/// Answers one request, the `number`th.
fn answer(
    mut stream: &TcpStream,
    folder: &std::path::Path,
    (fault, number): (Fault, usize),
) -> std::io::Result<()> {
    let (mut path, mut range, mut is_signed) = (String::new(), None, false);
    for line in BufReader::new(stream).lines() {
        let line = line?;
        if let Some(rest) = line.strip_prefix("GET /") {
            path = rest.split(' ').next().unwrap_or_default().to_owned();
        } else if let Some(rest) = line.to_lowercase().strip_prefix("range: bytes=") {
            let ends = rest.split_once('-');
            range = ends.and_then(|(a, b)| Some((a.parse().ok()?, b.parse::<usize>().ok()?)));
        } else if let Some(rest) = line.strip_prefix("authorization: ") {
            is_signed = rest.starts_with("AWS4-HMAC-SHA256 Credential=someone/");
        } else if line.is_empty() {
            break;
        }
    }
    let Ok(file) = fs::read(folder.join(path)) else {
        return stream.write_all(b"HTTP/1.1 404 Not Found\r\nContent-Length: 0\r\n\r\n");
    };
    let is_seventh = number % 7 == 6;
    let is_denied = fault == Fault::Denied || fault == Fault::Unsigned && !is_signed;
    if is_denied || fault == Fault::Busy && is_seventh {
        let status = if is_denied {
            "403 Forbidden"
        } else {
            "503 Busy"
        };
        let head = format!("HTTP/1.1 {status}\r\nConnection: close\r\nContent-Length: 0\r\n\r\n");
        return stream.write_all(head.as_bytes());
    }
    let (first, last) = range.expect("a range");
    let (status, part) = match fault {
        Fault::Whole => ("200 OK", &file[..]),
        _ => ("206 Partial Content", &file[first..=last]),
    };
    let tag = if fault == Fault::Replaced && number > 20 {
        "new"
    } else {
        "old"
    };
    let head = format!(
        "HTTP/1.1 {status}\r\nConnection: close\r\nETag: \"{tag}\"\r\nContent-Length: {}\r\n\
         Content-Range: bytes {first}-{last}/{}\r\n\r\n",
        part.len(),
        file.len()
    );
    stream.write_all(head.as_bytes())?;
    let is_cut = fault == Fault::Cut && is_seventh && part.len() > 1;
    stream.write_all(&part[..if is_cut { part.len() / 2 } else { part.len() }])
}

#[test]
fn shards_on_a_server_give_the_same_weights_whatever_fails_for_a_moment() {
    let place = with_shards("epochs = 2");
    place.done("train --config small.toml --out folder");
    for (fault, cache, words) in [
        (Fault::No, "off", ""),
        (
            Fault::Busy,
            "memory",
            "repeated, the first because the server answered 503",
        ),
        (
            Fault::Cut,
            "off",
            "repeated, the first because the answer broke off",
        ),
    ] {
        let address = server(place.path("packed"), fault);
        let ran = place.done(&format!(
            "train --config small.toml --out {fault:?} --set data.cache={cache} \
             --set data.train={address}/train/shard-{{000000..000004}}.tar \
             --set data.test={address}/test/shard-{{000000..000002}}.tar"
        ));
        assert!(
            place.result("folder") == place.result(&format!("{fault:?}")),
            "{fault:?}"
        );
        ran.tells(words);
        assert_eq!(
            ran.err.contains("repeated"),
            !words.is_empty(),
            "{}",
            ran.err
        );
        let split = place.read(&format!("{fault:?}/split.csv"));
        assert!(
            split.contains(&format!("\n{address}/train/shard-00000")),
            "{split}"
        );
    }
}

#[test]
fn a_server_that_fails_for_good_ends_the_run_with_the_address() {
    let place = with_shards("epochs = 1");
    for (fault, words) in [
        (Fault::Whole, "Range is ignored"),
        (Fault::Denied, "403 Forbidden; check credentials"),
        (Fault::Replaced, "the file was replaced on the server"),
    ] {
        let address = server(place.path("packed"), fault);
        let ran = place.run(&format!(
            "train --config small.toml --out {fault:?} --set data.on_bad_image=skip \
             --set data.train={address}/train/shard-{{000000..000004}}.tar"
        ));
        assert_eq!(ran.code, Some(1), "{fault:?}: {}", ran.err);
        ran.tells(words);
        ran.tells(&format!("{address}/train/shard-00000"));
    }
    let address = server(place.path("packed"), Fault::No);
    for (source, words) in [
        ("train/shard-{000003..000007}.tar", "train/shard-000005.tar"),
        ("train/*.tar", "the server answered 404"),
        ("train/", "expected addresses of tar files such as"),
    ] {
        let ran = place.run(&format!(
            "train --config small.toml --set data.train={address}/{source}"
        ));
        assert_ne!(ran.code, Some(0), "{source}");
        ran.tells(words);
    }
}

/// A key that nothing else looks like.
const SECRET: &str = "wJalrXUtnFEMI";

#[test]
fn shards_in_a_bucket_are_read_with_the_keys_of_the_environment() {
    let place = with_shards("epochs = 1");
    place.done("train --config small.toml --out folder");
    let train = |out: &str| {
        let mut command = place.command(&format!(
            "train --config small.toml --out {out} \
             --set data.train=s3://packed/train/shard-{{000000..000004}}.tar \
             --set data.test=s3://packed/test/shard-{{000000..000002}}.tar"
        ));
        command.env("AWS_ENDPOINT_URL", server(place.path(""), Fault::Unsigned));
        command
    };
    let ran = |command: &mut Command| Ran::from(command.output().expect("the program starts"));
    let refused = ran(train("refused").env_remove("AWS_ACCESS_KEY_ID"));
    assert_eq!(refused.code, Some(1), "{}", refused.err);
    refused.tells("set AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY, unless the bucket is public");
    let mut signed = train("signed");
    signed.envs([
        ("AWS_ACCESS_KEY_ID", "someone"),
        ("AWS_SECRET_ACCESS_KEY", SECRET),
    ]);
    let signed = ran(&mut signed);
    assert_eq!(signed.code, Some(0), "{}", signed.err);
    assert!(place.result("folder") == place.result("signed"));
    let split = place.read("signed/split.csv");
    assert!(split.contains("\ns3://packed/train/shard-00000"), "{split}");
    let mut folders = vec![place.path("signed"), place.path("cache")];
    while let Some(folder) = folders.pop() {
        for entry in fs::read_dir(folder).expect("a folder") {
            let path = entry.expect("an entry").path();
            if path.is_dir() {
                folders.push(path);
                continue;
            }
            let bytes = fs::read(&path).expect("a file");
            let has_key = bytes
                .windows(SECRET.len())
                .any(|part| part == SECRET.as_bytes());
            assert!(!has_key, "{} has the key", path.display());
        }
    }
}
