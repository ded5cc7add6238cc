//! The server as clients meet it: a real process on a free port, spoken to over sockets.

#![cfg(unix)]

use std::{
    io::{BufRead, BufReader, Read, Write},
    net::TcpStream,
    process::{Child, Stdio},
    time::{Duration, Instant},
};

use base64::{Engine, prelude::BASE64_STANDARD};
use nix::{
    sys::signal::{Signal, kill},
    unistd::Pid,
};
use serde_json::{Value, json};

use crate::support::{Place, json};

/// A server with a small trained network. Ends with the test.
struct Served {
    place: Place,
    child: Child,
    port: u16,
}

/// An answer.
#[derive(Debug)]
struct Answer {
    status: u16,
    head: String,
    body: String,
}

impl Answer {
    fn json(&self) -> Value {
        json(&self.body)
    }

    #[track_caller]
    fn fails(&self, status: u16, words: &str) {
        assert_eq!(self.status, status, "{self:?}");
        let error = self.json()["error"].as_str().map(str::to_owned);
        assert!(error.is_some_and(|error| error.contains(words)), "{self:?}");
    }
}

/// A run with dense layers wide enough for the order of a sum to show in its last digits.
fn trained() -> Place {
    let place = Place::with_recipe("epochs = 1");
    place.done(
        "train --config small.toml --out run --set model.channels=[16] --set model.hidden=128",
    );
    place
}

impl Served {
    fn new(options: &str) -> Self {
        Self::of(trained(), options)
    }

    fn of(place: Place, options: &str) -> Self {
        let line = format!("serve run --port 0 --device cpu {options}");
        let mut child = place
            .command(&line)
            .stderr(Stdio::piped())
            .spawn()
            .expect("started");
        let mut lines = BufReader::new(child.stderr.take().expect("piped")).lines();
        let port = lines
            .find_map(|line| {
                let line = line.expect("read");
                let (_, rest) = line.split_once("http://127.0.0.1:")?;
                rest.split(';').next()?.parse().ok()
            })
            .expect("the server says where it is");
        // A closed pipe would be an error of the server's.
        let rest = std::thread::Builder::new().spawn(move || lines.for_each(drop));
        rest.expect("a thread");
        Self { place, child, port }
    }

    fn connect(&self) -> TcpStream {
        let stream = TcpStream::connect(("127.0.0.1", self.port)).expect("connected");
        let timeout = Some(Duration::from_secs(60));
        stream.set_read_timeout(timeout).expect("set");
        stream
    }

    fn ask(&self, method: &str, path: &str, headers: &[&str], body: &[u8]) -> Answer {
        let mut stream = self.connect();
        let mut head = format!("{method} {path} HTTP/1.1\r\nConnection: close\r\n");
        if !headers.iter().any(|header| header.starts_with("Host:")) {
            head += &format!("Host: localhost:{}\r\n", self.port);
        }
        if !headers
            .iter()
            .any(|header| header.starts_with("Content-Length:"))
        {
            head += &format!("Content-Length: {}\r\n", body.len());
        }
        for header in headers {
            head += &format!("{header}\r\n");
        }
        stream.write_all((head + "\r\n").as_bytes()).expect("sent");
        // The server may answer before it has read all of it.
        let _ = stream.write_all(body);
        answer(stream)
    }

    fn get(&self, path: &str) -> Answer {
        self.ask("GET", path, &[], &[])
    }

    fn post(&self, path: &str, body: &[u8]) -> Answer {
        self.ask("POST", path, &[], body)
    }

    /// Expects that the server still answers.
    #[track_caller]
    fn still_serves(&self) {
        let image = self.place.bytes("train/a/000.png");
        assert_eq!(self.post("/predict", &image).status, 200);
    }

    /// The most memory that the server has had.
    #[cfg(target_os = "linux")]
    fn peak_mb(&self) -> usize {
        let status = std::fs::read_to_string(format!("/proc/{}/status", self.child.id()));
        let status = status.expect("read");
        let line = status.lines().find_map(|line| line.strip_prefix("VmHWM:"));
        let kib = line.and_then(|line| line.trim().strip_suffix(" kB")?.parse::<usize>().ok());
        kib.expect("a number") / 1024
    }

    fn signal(&self, signal: Signal) {
        let pid = i32::try_from(self.child.id()).expect("a pid");
        kill(Pid::from_raw(pid), signal).expect("sent");
    }
}

impl Drop for Served {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

fn answer(mut stream: TcpStream) -> Answer {
    let mut bytes = Vec::new();
    // After an early answer, the system may cut the connection.
    let _ = stream.read_to_end(&mut bytes);
    let text = String::from_utf8_lossy(&bytes).into_owned();
    let (head, body) = text.split_once("\r\n\r\n").unwrap_or((&text, ""));
    let status = head
        .split(' ')
        .nth(1)
        .and_then(|status| status.parse().ok());
    Answer {
        status: status.unwrap_or(0),
        head: head.to_lowercase(),
        body: body.to_owned(),
    }
}

/// A form with a file for each of `files`.
fn form(files: &[(&str, &[u8])]) -> Vec<u8> {
    let mut body = Vec::new();
    for (name, bytes) in files {
        let head = format!(
            "--mark\r\nContent-Disposition: form-data; name=\"image\"; filename=\"{name}\"\r\n\r\n"
        );
        body.extend_from_slice(head.as_bytes());
        body.extend_from_slice(bytes);
        body.extend_from_slice(b"\r\n");
    }
    body.extend_from_slice(b"--mark--\r\n");
    body
}

#[test]
fn a_run_of_folds_answers_by_the_mean_of_its_networks() {
    let place = Place::with_recipe("epochs = 1");
    place.done("train --config small.toml --out run --folds 3");
    let image = "train/a/003.png";
    let predicted = place.done(&format!(
        "predict --checkpoint run {image} --format jsonl --device cpu"
    ));
    let explained = place.done(&format!(
        "explain --checkpoint run {image} --format jsonl --device cpu"
    ));
    let explained = explained.json();
    let served = Served::of(place, "");
    let image = served.place.bytes(image);
    let answer = served.post("/predict", &image);
    assert_eq!(probabilities(&answer.body), probabilities(&predicted.out));
    let answer = served.post("/explain", &image).json();
    for key in ["class", "evidence", "peak", "border", "words"] {
        assert_eq!(answer[key], explained[key], "{key}");
    }
}

const FORM: &str = "Content-Type: multipart/form-data; boundary=mark";

/// The probabilities in a text, as they are written there.
fn probabilities(text: &str) -> Vec<String> {
    text.split("\"probabilities\":{")
        .skip(1)
        .map(|rest| rest.split('}').next().expect("an end").to_owned())
        .collect()
}

#[test]
fn answers_are_those_of_predict_in_every_format() {
    let place = trained();
    let image = image::open(place.path("train/a/003.png"))
        .expect("read")
        .to_rgb8();
    std::fs::create_dir(place.path("new")).expect("created");
    let names = [
        "a.png", "b.jpg", "c.bmp", "d.gif", "e.tiff", "f.webp", "g.ppm",
    ];
    for name in names {
        image
            .save(place.path(&format!("new/{name}")))
            .expect("saved");
    }
    place.done("calibrate run --coverage 0.5 --novelty 0.4");
    let files = names.map(|name| format!("new/{name}")).join(" ");
    let predicted = place.done(&format!(
        "predict --checkpoint run {files} --format jsonl --device cpu"
    ));
    let expected = probabilities(&predicted.out);
    let served = Served::of(place, "");
    let bytes = names.map(|name| served.place.bytes(&format!("new/{name}")));
    for (bytes, line) in bytes.iter().zip(predicted.out.lines()) {
        let found = served.post("/predict", bytes);
        assert_eq!(found.status, 200, "{found:?}");
        let line = json(line);
        let json = found.json()["predictions"][0].clone();
        for key in [
            "label",
            "probability",
            "probabilities",
            "set",
            "novelty_p_value",
            "unlike",
        ] {
            assert_eq!(json[key], line[key], "{key}");
        }
    }
    let files: Vec<_> = names
        .into_iter()
        .zip(&bytes)
        .map(|(name, bytes)| (name, &bytes[..]))
        .collect();
    let all = served.ask("POST", "/predict?abstain=true", &[FORM], &form(&files));
    assert_eq!(
        probabilities(&all.body),
        expected,
        "digit by digit, in a batch"
    );
    assert_eq!(all.json()["predictions"][3]["name"], "d.gif");
}

#[test]
fn many_clients_get_equal_answers() {
    let served = Served::new("--max-images 16");
    let images: Vec<_> = (0..10)
        .map(|index| served.place.bytes(&format!("train/b/{index:03}.png")))
        .collect();
    let expected: Vec<_> = images
        .iter()
        .map(|image| served.post("/predict", image).body)
        .collect();
    std::thread::scope(|scope| {
        for client in 0..12 {
            let (served, images, expected) = (&served, &images, &expected);
            scope.spawn(move || {
                for turn in 0..20 {
                    let index = (client + turn) % images.len();
                    let found = served.post("/predict", &images[index]);
                    assert_eq!((found.status, &found.body), (200, &expected[index]));
                }
            });
        }
    });
    let metrics = served.get("/metrics").body;
    for line in [
        "emberlens_images_total 250\n",
        "emberlens_requests_total{path=\"/predict\",status=\"200\"} 250\n",
        "emberlens_images_under_way 0\n",
    ] {
        assert!(metrics.contains(line), "{line}: {metrics}");
    }
}

#[test]
fn what_is_no_image_or_damaged_is_told_in_the_words_of_predict() {
    let served = Served::new("--max-body 1");
    let png = served.place.bytes("train/a/000.png");
    served.post("/predict", b"").fails(400, "no body");
    served
        .post("/predict", b"hello")
        .fails(415, "isn't a known image format");
    served
        .post("/predict", &png[..png.len() / 3])
        .fails(422, "the file is cut off");
    // A header that claims 60,000 x 60,000 pixels; the checksum of the chunk is skipped over.
    let bomb = [
        b"BM".as_slice(),
        &[0; 12],
        &[40, 0, 0, 0],
        &60_000u32.to_le_bytes(),
    ];
    let bomb = [
        &bomb.concat(),
        &60_000u32.to_le_bytes()[..],
        &[1, 0, 24, 0],
        &[0; 24],
    ]
    .concat();
    served.post("/predict", &bomb).fails(422, "bomb");
    served
        .post("/predict", &vec![7; 3 << 20])
        .fails(413, "limit");
    // A length that contradicts the chunks doesn't count.
    served
        .ask(
            "POST",
            "/predict",
            &["Transfer-Encoding: chunked", "Content-Length: 9"],
            b"0\r\n\r\n",
        )
        .fails(400, "no body");
    served.post("/predict?path=/etc", &png).fails(400, "path");
    served.get("/predict").fails(405, "method");
    served.get("/nowhere").fails(404, "openapi.json");
    served.still_serves();
}

#[test]
fn what_is_wrong_with_a_form_is_told_by_the_image() {
    let served = Served::new("--max-images 4");
    let png = served.place.bytes("train/a/000.png");
    let two = form(&[("a.png", &png), ("b.png", b"text")]);
    served
        .ask("POST", "/predict", &[FORM], &two)
        .fails(415, "image 2 of 2: ");
    served
        .ask("POST", "/predict", &[FORM], &two[..two.len() / 2])
        .fails(400, "the form can't be read");
    served
        .ask(
            "POST",
            "/predict",
            &["Content-Type: multipart/form-data"],
            &two,
        )
        .fails(400, "the form can't be read");
    served
        .ask(
            "POST",
            "/predict",
            &[FORM],
            &form(&[("a.png", &png[..]); 5]),
        )
        .fails(413, "found 5 images, expected at most 4");
    served
        .post("/predict?abstain=true", &png)
        .fails(400, "calibrate");
    served.still_serves();
}

#[test]
fn only_who_means_this_server_is_answered() {
    let served = Served::new("--allow-host model.example");
    let port = served.port;
    let ask = |headers: &[&str]| served.ask("GET", "/health", headers, &[]);
    ask(&["Host: evil.example"]).fails(421, "--allow-host");
    ask(&["Host: a", "Host: b"]).fails(400, "Host");
    for host in ["model.example", "LOCALHOST:1", "[::1]:5", "10.0.0.7"] {
        assert_eq!(ask(&[&format!("Host: {host}")]).status, 200, "{host}");
    }
    ask(&["Origin: http://evil.example"]).fails(403, "pages of other servers");
    ask(&["Origin: null"]).fails(403, "pages of other servers");
    let own = ask(&[&format!("Origin: http://localhost:{port}")]);
    assert_eq!(own.status, 200);
    assert!(!own.head.contains("access-control"), "{own:?}");
    let page = served.get("/");
    assert!(page.head.contains("default-src 'none'"), "{page:?}");
    assert!(page.body.contains("small"), "{page:?}");
}

#[test]
fn slow_clients_are_cut_off_and_the_others_served() {
    let served = Served::new("--header-timeout 0.4 --body-timeout 0.6 --max-connections 220");
    let start = Instant::now();
    let mut waiting = Vec::new();
    for index in 0..200 {
        let mut stream = served.connect();
        let sent = match index % 2 {
            0 => "",
            _ => "GET / HTTP/1.1\r\nHost: loc",
        };
        stream.write_all(sent.as_bytes()).expect("sent");
        waiting.push(stream);
    }
    served.still_serves();
    let mut slow = served.connect();
    let head = "POST /predict HTTP/1.1\r\nHost: localhost\r\nContent-Length: 100\r\n\r\nabc";
    slow.write_all(head.as_bytes()).expect("sent");
    answer(slow).fails(408, "0.6 seconds");
    for mut stream in waiting {
        let mut rest = Vec::new();
        // Ends because the server hangs up.
        let _ = stream.read_to_end(&mut rest);
    }
    assert!(start.elapsed() < Duration::from_secs(20));
    served.still_serves();
    // A body that ends early.
    let mut stream = served.connect();
    stream.write_all(head.as_bytes()).expect("sent");
    stream.shutdown(std::net::Shutdown::Write).expect("shut");
    assert!([0, 400].contains(&answer(stream).status));
    served.still_serves();
}

#[test]
fn too_much_at_once_is_refused_and_may_come_again() {
    let served = Served::new("--max-images 1");
    let png = served.place.bytes("train/a/000.png");
    let (mut done, mut busy) = (0, 0);
    std::thread::scope(|scope| {
        let ask = || {
            let ask = || served.post("/explain", &png);
            (0..10).map(|_| ask()).collect::<Vec<_>>()
        };
        let clients: Vec<_> = (0..8).map(|_| scope.spawn(ask)).collect();
        for found in clients
            .into_iter()
            .flat_map(|client| client.join().expect("asked"))
        {
            match found.status {
                200 => done += 1,
                429 => {
                    assert!(found.head.contains("retry-after: 1"), "{found:?}");
                    busy += 1;
                }
                _ => panic!("{found:?}"),
            }
        }
    });
    assert!(done > 0 && busy > 0, "{done} {busy}");
    served.still_serves();
}

#[test]
#[cfg(target_os = "linux")]
fn bodies_that_never_end_take_no_more_than_their_bound() {
    let served = Served::new("--max-body 1 --max-connections 220 --body-timeout 60");
    served.still_serves();
    let before = served.peak_mb();
    let head = "POST /predict HTTP/1.1\r\nHost: localhost\r\nContent-Length: 1048576\r\n\r\n";
    let almost = vec![0; (1 << 20) - 1];
    let clients: Vec<_> = (0..200)
        .map(|_| {
            let mut stream = served.connect();
            stream.write_all(head.as_bytes()).expect("sent");
            // Those that are refused may be cut off while they send.
            let _ = stream.write_all(&almost);
            stream
        })
        .collect();
    served
        .post("/predict", &[1; 9])
        .fails(429, "try again in a second");
    // Sixteen of them are held, and buffers of the others.
    let taken = served.peak_mb() - before;
    assert!((12..64).contains(&taken), "{taken} MB");
    drop(clients);
    // The server learns that they are gone before it is asked.
    while !served
        .get("/metrics")
        .body
        .contains("emberlens_connections 1\n")
    {
        std::thread::sleep(Duration::from_millis(10));
    }
    served.still_serves();
}

#[test]
fn a_signal_ends_it_after_what_has_arrived() {
    for (signal, code) in [(Signal::SIGTERM, 143), (Signal::SIGINT, 130)] {
        let mut served = Served::new("");
        let png = served.place.bytes("train/a/000.png");
        let mut under_way = served.connect();
        let head = format!(
            "POST /predict HTTP/1.1\r\nHost: localhost\r\nContent-Length: {}\r\n\r\n",
            png.len()
        );
        under_way.write_all(head.as_bytes()).expect("sent");
        under_way.write_all(&png[..20]).expect("sent");
        let _idle = served.connect();
        // The request has arrived once others after it are answered.
        served.still_serves();
        served.signal(signal);
        std::thread::sleep(Duration::from_millis(200));
        assert!(TcpStream::connect(("127.0.0.1", served.port)).is_err());
        under_way.write_all(&png[20..]).expect("sent");
        assert_eq!(answer(under_way).status, 200);
        let status = served.child.wait().expect("ended");
        assert_eq!(status.code(), Some(code));
    }
}

#[test]
fn images_are_explained() {
    let served = Served::new("");
    let png = served.place.bytes("train/b/000.png");
    let shown = served.post("/explain?class=b", &png).json();
    assert_eq!(shown["class"], "b");
    // Another method where Grad-CAM finds nothing.
    let method = shown["method"].as_str().expect("a name");
    assert!(
        ["grad-cam", "grad-cam++", "layer-cam", "occlusion"].contains(&method),
        "{shown}"
    );
    assert!(
        shown["words"]
            .as_str()
            .is_some_and(|words| words.contains("evidence for b")),
        "{shown}"
    );
    let overlay = BASE64_STANDARD.decode(shown["overlay"].as_str().expect("a text"));
    let overlay = image::load_from_memory(&overlay.expect("base64")).expect("a PNG");
    assert!(overlay.width() > overlay.height(), "image and map");
    served
        .post("/explain?class=x", &png)
        .fails(400, "found the unknown class x, expected one of a, b");
}

#[test]
fn kserves_protocol_is_spoken() {
    let served = Served::new("");
    let get = |path: &str| served.get(path).json();
    assert_eq!(get("/v2")["name"], "emberlens");
    assert_eq!(get("/v2/health/live"), json!({"live": true}));
    assert_eq!(get("/v2/health/ready"), json!({"ready": true}));
    assert_eq!(
        get("/v2/models/small/ready"),
        json!({"name": "small", "ready": true})
    );
    let model = get("/v2/models/small");
    assert_eq!(model["inputs"][0]["shape"], json!([-1, -1, -1, 3]));
    served.get("/v2/models/other").fails(404, "small");
    let png = served.place.bytes("train/a/001.png");
    let plain = probabilities(&served.post("/predict", &png).body);
    let infer = |body: Value| served.post("/v2/models/small/infer", body.to_string().as_bytes());
    let file = infer(
        json!({"id": "7", "inputs": [{"name": "file", "datatype": "BYTES",
        "shape": [2], "data": [BASE64_STANDARD.encode(&png), BASE64_STANDARD.encode(&png)]}]}),
    );
    let levels = image::load_from_memory(&png).expect("a PNG").to_rgb8();
    let nested: Vec<Vec<[u8; 3]>> = levels
        .rows()
        .map(|row| row.map(|pixel| pixel.0).collect())
        .collect();
    let image = infer(json!({"inputs": [{"name": "image", "datatype": "UINT8",
        "shape": [1, 22, 26, 3], "data": nested}], "outputs": [{"name": "probabilities"}]}));
    let values: Vec<_> = plain[0]
        .split(',')
        .map(|pair| pair.split_once(':').expect("a value").1)
        .collect();
    let data = |count: usize| format!("\"data\":[{}]", vec![values.join(","); count].join(","));
    assert!(
        file.body.contains(&data(2)) && file.body.contains("\"id\":\"7\""),
        "{file:?}"
    );
    assert_eq!(file.json()["outputs"][1]["datatype"], "BYTES");
    assert!(image.body.contains(&data(1)), "{image:?}");
    assert_eq!(image.json()["outputs"].as_array().map(Vec::len), Some(1));
    for (shape, data) in [
        (json!([1, 2, 2, 3]), json!([1, 2])),
        (json!([1, 0, 2, 3]), json!([])),
        (json!([1, 1, 1, 3]), json!([1, 2, 256])),
        (json!([1, u64::MAX, 8, 3]), json!([1, 2, 3])),
    ] {
        let found = infer(json!({"inputs": [{"name": "image", "datatype": "UINT8",
            "shape": shape, "data": data}]}));
        assert_eq!(found.status, 400, "{found:?}");
    }
    infer(json!({"inputs": []})).fails(400, "expected one input");
    served.still_serves();
}

#[test]
fn its_description_names_every_path() {
    let served = Served::new("");
    let described = served.get("/openapi.json").json();
    assert_eq!(described["info"]["version"], env!("CARGO_PKG_VERSION"));
    let paths = described["paths"].as_object().expect("paths").keys();
    for path in paths.clone() {
        let path = path.replace("{model}", "small");
        assert_ne!(served.get(&path).status, 404, "{path}");
    }
    assert_eq!(paths.count(), 12);
}

#[test]
fn a_run_that_cannot_be_served_is_refused_before_listening() {
    let place = trained();
    place.run("serve nowhere --port 0").exits(1, "nowhere");
    place
        .run("serve run --port 0 --host 203.0.113.7 --device cpu")
        .exits(1, "can't listen at 203.0.113.7:0");
    place
        .run("serve run --body-timeout 0")
        .exits(2, "expected seconds above 0");
    let long = "train --config small.toml --out long --set train.epochs=100000";
    let mut training = place
        .command(long)
        .stderr(Stdio::null())
        .stdout(Stdio::null())
        .spawn()
        .expect("started");
    while !place.path("long/history.csv").exists() {
        std::thread::sleep(Duration::from_millis(10));
    }
    let refused = place.run("serve long --port 0 --device cpu");
    training.kill().expect("killed");
    training.wait().expect("ended");
    refused.exits(2, "long");
    let model = place.path("run/best/model.safetensors");
    let mut bytes = std::fs::read(&model).expect("read");
    let last = bytes.len() - 1;
    bytes[last] ^= 1;
    std::fs::write(&model, bytes).expect("written");
    place
        .run("serve run --port 0 --device cpu")
        .exits(1, "best");
}
