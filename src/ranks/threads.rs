//! Ranks as threads of one process, for tests of what is above.

use std::{
    rc::Rc,
    sync::{Arc, Barrier, Mutex},
};

use super::Ranks;
use crate::base::io::bytes;

/// One of the threads.
pub struct Member {
    pub(super) rank: usize,
    shared: Arc<Shared>,
}

struct Shared {
    places: Mutex<Vec<Vec<u8>>>,
    barrier: Barrier,
}

/// Runs `work` in `count` threads that are the ranks of a job, and returns what each returned.
pub fn run<T: Send>(count: usize, work: impl Fn(Ranks) -> T + Sync) -> Vec<T> {
    let shared = Arc::new(Shared {
        places: Mutex::new(vec![Vec::new(); count]),
        barrier: Barrier::new(count),
    });
    std::thread::scope(|scope| {
        let threads: Vec<_> = (0..count)
            .map(|rank| {
                let (shared, work) = (Arc::clone(&shared), &work);
                scope.spawn(move || work(Ranks::Threads(Rc::new(Member { rank, shared }))))
            })
            .collect();
        let ended = threads.into_iter().map(|thread| thread.join());
        ended.map(|found| found.expect("no panic")).collect()
    })
}

impl Member {
    pub(super) fn count(&self) -> usize {
        self.shared.places.lock().expect("no panic").len()
    }

    pub(super) fn gather(&self, bytes: &[u8]) -> Vec<Vec<u8>> {
        self.shared.places.lock().expect("no panic")[self.rank] = bytes.to_vec();
        self.shared.barrier.wait();
        let all = self.shared.places.lock().expect("no panic").clone();
        self.shared.barrier.wait();
        all
    }

    pub(super) fn all_gather(&self, send: &[f32], receive: &mut [f32]) {
        let all = self.gather(&bytes::from_f32(send)).concat();
        receive.copy_from_slice(&bytes::to_f32(&all).collect::<Vec<_>>());
    }

    pub(super) fn all_to_all(&self, send: &[f32], sent: &[usize], receive: &mut [f32]) {
        let counts: Vec<f32> = sent.iter().map(|count| *count as f32).collect();
        let all_counts = self.gather(&bytes::from_f32(&counts));
        let all = self.gather(&bytes::from_f32(send));
        let mut found = Vec::new();
        for (counts, values) in all_counts.iter().zip(&all) {
            let counts: Vec<usize> = bytes::to_f32(counts).map(|count| count as usize).collect();
            let start: usize = counts[..self.rank].iter().sum();
            let values: Vec<f32> = bytes::to_f32(values).collect();
            found.extend_from_slice(&values[start..start + counts[self.rank]]);
        }
        receive.copy_from_slice(&found);
    }
}
