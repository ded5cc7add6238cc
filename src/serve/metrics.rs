//! Counts for Prometheus.

use std::{
    collections::BTreeMap,
    fmt::Write,
    sync::{
        Mutex, PoisonError,
        atomic::{AtomicU64, Ordering},
    },
    time::Duration,
};

/// Upper bounds of the histogram of times, in seconds.
const BOUNDS: [f64; 11] = [
    0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0,
];

/// What has happened since the start.
#[derive(Debug, Default)]
pub(super) struct Metrics {
    batches: AtomicU64,
    images: AtomicU64,
    connections: AtomicU64,
    /// Requests by path and status.
    requests: Mutex<BTreeMap<(String, u16), u64>>,
    /// Times by path.
    times: Mutex<BTreeMap<String, Times>>,
}

/// A histogram of times.
#[derive(Debug, Default)]
struct Times {
    /// Number of times up to each of [`BOUNDS`].
    counts: [u64; BOUNDS.len()],
    count: u64,
    sum: f64,
}

impl Metrics {
    /// Counts a batch of images in the network.
    pub(super) fn batch(&self, images: usize) {
        self.batches.fetch_add(1, Ordering::Relaxed);
        self.images.fetch_add(images as u64, Ordering::Relaxed);
    }

    pub(super) fn connected(&self) {
        self.connections.fetch_add(1, Ordering::Relaxed);
    }

    pub(super) fn disconnected(&self) {
        self.connections.fetch_sub(1, Ordering::Relaxed);
    }

    /// Counts an answer. `path` is that of a route, of which there are few.
    pub(super) fn answered(&self, path: &str, status: u16, time: Duration) {
        let mut requests = self.requests.lock().unwrap_or_else(PoisonError::into_inner);
        *requests.entry((path.to_owned(), status)).or_default() += 1;
        drop(requests);
        let mut times = self.times.lock().unwrap_or_else(PoisonError::into_inner);
        let times = times.entry(path.to_owned()).or_default();
        times.count += 1;
        times.sum += time.as_secs_f64();
        let bounds = times.counts.iter_mut().zip(BOUNDS);
        bounds
            .filter(|(_, bound)| time.as_secs_f64() <= *bound)
            .for_each(|(count, _)| *count += 1);
    }

    /// Returns the metrics in Prometheus's text format. `under_way` is the number of images.
    pub(super) fn text(&self, under_way: usize) -> String {
        let mut text = String::new();
        let of = |counter: &AtomicU64| counter.load(Ordering::Relaxed).to_string();
        let single = [
            (
                "images_total",
                "counter",
                "Images classified.",
                of(&self.images),
            ),
            (
                "batches_total",
                "counter",
                "Batches that they made.",
                of(&self.batches),
            ),
            (
                "images_under_way",
                "gauge",
                "Images being read or waiting.",
                under_way.to_string(),
            ),
            (
                "connections",
                "gauge",
                "Open connections.",
                of(&self.connections),
            ),
        ];
        for (name, kind, help, value) in single {
            text.push_str(&head(name, kind, help));
            text.push_str(&format!("emberlens_{name} {value}\n"));
        }
        text.push_str(&head("requests_total", "counter", "Requests answered."));
        let requests = self.requests.lock().unwrap_or_else(PoisonError::into_inner);
        for ((path, status), count) in requests.iter() {
            let labels = format!("{{path=\"{path}\",status=\"{status}\"}}");
            text.push_str(&format!("emberlens_requests_total{labels} {count}\n"));
        }
        text.push_str(&head("request_seconds", "histogram", "Time to the answer."));
        let times = self.times.lock().unwrap_or_else(PoisonError::into_inner);
        for (path, times) in times.iter() {
            // Writing to a string doesn't fail.
            let _ = times.write(&mut text, path);
        }
        text
    }
}

impl Times {
    fn write(&self, text: &mut String, path: &str) -> std::fmt::Result {
        const NAME: &str = "emberlens_request_seconds";
        for (count, bound) in self.counts.iter().zip(BOUNDS) {
            writeln!(
                text,
                "{NAME}_bucket{{path=\"{path}\",le=\"{bound}\"}} {count}"
            )?;
        }
        let Self { count, sum, .. } = self;
        writeln!(text, "{NAME}_bucket{{path=\"{path}\",le=\"+Inf\"}} {count}")?;
        writeln!(text, "{NAME}_sum{{path=\"{path}\"}} {sum}")?;
        writeln!(text, "{NAME}_count{{path=\"{path}\"}} {count}")
    }
}

fn head(name: &str, kind: &str, help: &str) -> String {
    format!("# HELP emberlens_{name} {help}\n# TYPE emberlens_{name} {kind}\n")
}
