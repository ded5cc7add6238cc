//! What a process of a job does: the other side of the tests.

use std::io::Write;
use std::time::Duration;
use std::{env, fmt, io, panic, thread};

use mpi_engine::{Error, World, abort};

/// Names the job that a process is started for.
pub(crate) const JOB: &str = "MPI_ENGINE_JOB";
/// Seconds of patience.
pub(crate) const PATIENCE: &str = "MPI_ENGINE_PATIENCE";

/// Writes a line of its own, whoever else writes.
fn say(line: fmt::Arguments<'_>) {
    let line = format!("{line}\n");
    let mut out = io::stdout().lock();
    out.write_all(line.as_bytes()).expect("written");
    out.flush().expect("flushed");
}

/// Does the part of a rank in a job, and ends the process.
pub(crate) fn run(job: &str) {
    let world = match World::from_launcher() {
        Ok(Some(world)) => world,
        Ok(None) => return say(format_args!("alone")),
        Err(error) => end(&error),
    };
    if let Ok(patience) = env::var(PATIENCE) {
        world.set_patience(Duration::from_secs_f64(patience.parse().expect("a number")));
    }
    let (rank, count) = (world.rank(), world.count());
    let result = match job {
        "check" => check(&world),
        "vary" => vary(&world),
        "hold" => hold(&world),
        "late" => late(&world),
        "relay" => relay(&world),
        "panic" => {
            panic::set_hook(Box::new(|_| abort(3)));
            // Rank 1 panics on another thread than the one that waits for rank 0.
            let worker = thread::Builder::new().name("worker".into());
            let worker = worker.spawn(move || assert_ne!(rank, 1, "rank 1 panics"));
            worker.expect("started");
            if rank == 0 {
                thread::sleep(Duration::from_secs(3600));
            }
            world.barrier()
        }
        "abort" if rank == 1 => {
            say(format_args!("rank 1 has no disk left"));
            abort(4)
        }
        "leave" if rank == 1 => std::process::exit(5),
        "abort" | "leave" => world.barrier(),
        "time" => time(&world),
        _ => unreachable!("{job}"),
    };
    if let Err(error) = result {
        end(&error);
    }
    let local = world.local();
    say(format_args!(
        "rank {rank} of {count}, {} of {} on {}, {}: done",
        local.rank,
        local.count,
        world.hosts()[rank],
        world.library()
    ));
    if let Err(error) = world.finalize() {
        end(&error);
    }
}

fn end(error: &Error) -> ! {
    say(format_args!("error: {error}"));
    abort(1)
}

/// A value that tells who sent it to whom, and where it lay.
fn value(from: usize, to: usize, index: usize) -> f32 {
    (from * 10_000 + to * 1_000 + index) as f32
}

/// All calls, with parts that are uneven, empty, or larger than what is sent at once.
fn check(world: &World) -> Result<(), Error> {
    let (rank, count) = (world.rank(), world.count());
    for length in [0, 1, 3, 300_000] {
        // The part from rank a to rank b.
        let part = |from: usize, to: usize| ((from + 2 * to) % 3) * length;
        let sizes = |of: &dyn Fn(usize) -> usize| (0..count).map(of).collect::<Vec<_>>();
        let values = |from, to| (0..part(from, to)).map(move |index| value(from, to, index));

        let send_counts = sizes(&|to| part(rank, to));
        let receive_counts = sizes(&|from| part(from, rank));
        let mut send: Vec<_> = (0..count).flat_map(|to| values(rank, to)).collect();
        let mut receive = vec![0.0; receive_counts.iter().sum()];
        world.all_to_all(&mut send, &send_counts, &mut receive, &receive_counts)?;
        let expected: Vec<_> = (0..count).flat_map(|from| values(from, rank)).collect();
        assert!(receive == expected, "all_to_all of {length}");
        assert_eq!(send.len(), send_counts.iter().sum::<usize>());

        let counts = sizes(&|from| part(from, 0));
        let mut send: Vec<_> = values(rank, 0).collect();
        let mut receive = vec![0.0; counts.iter().sum()];
        world.all_gather(&mut send, &mut receive, &counts)?;
        let expected: Vec<_> = (0..count).flat_map(|from| values(from, 0)).collect();
        assert!(receive == expected, "all_gather of {length}");

        let mut send: Vec<_> = values(rank, 0).map(|value| value as u8).collect();
        let mut receive = vec![0; counts.iter().sum()];
        world.all_gather(&mut send, &mut receive, &counts)?;
        let expected: Vec<_> = expected.iter().map(|&value| value as u8).collect();
        assert!(receive == expected, "all_gather of {length} bytes");

        let first: Vec<_> = (0..length).map(|index| (index * 7) as u8).collect();
        let mut bytes = if rank == 0 {
            first.clone()
        } else {
            vec![0; length]
        };
        world.broadcast(&mut bytes)?;
        assert!(bytes == first, "broadcast of {length}");
    }
    let mut flags = [0, rank as u8, 200 - rank as u8];
    world.max(&mut flags)?;
    assert_eq!(flags, [0, count as u8 - 1, 200]);
    world.max(&mut [])?;
    world.barrier()?;
    assert_eq!(world.hosts().len(), count);
    Ok(())
}

/// Calls with parts of random lengths, of all magnitudes and often zero.
fn vary(world: &World) -> Result<(), Error> {
    let (rank, count) = (world.rank(), world.count());
    let mut state = 1u64;
    // The same numbers on all ranks.
    let mut random = move |below: usize| {
        state = state
            .wrapping_mul(6_364_136_223_846_793_005)
            .wrapping_add(1);
        (state >> 33) as usize % below
    };
    for _ in 0..60 {
        let mut length = || [0, random(4), random(300), random(20_000), random(400_000)][random(5)];
        let lengths: Vec<Vec<usize>> = (0..count)
            .map(|_| (0..count).map(|_| length()).collect())
            .collect();
        let send_counts = &lengths[rank];
        let receive_counts: Vec<_> = lengths.iter().map(|lengths| lengths[rank]).collect();
        let mut send = vec![rank as f32; send_counts.iter().sum()];
        let mut receive = vec![-1.0; receive_counts.iter().sum()];
        world.all_to_all(&mut send, send_counts, &mut receive, &receive_counts)?;
        let parts = receive_counts.iter().enumerate();
        let expected = parts.flat_map(|(from, &length)| vec![from as f32; length]);
        assert!(
            receive.into_iter().eq(expected),
            "all_to_all of {lengths:?}"
        );

        for counts in [
            lengths[0].clone(),
            even(length(), count),
            even(count - 1, count),
        ] {
            let mut send = vec![rank as f32; counts[rank]];
            let mut receive = vec![-1.0; counts.iter().sum()];
            world.all_gather(&mut send, &mut receive, &counts)?;
            let parts = counts.iter().enumerate();
            let expected = parts.flat_map(|(from, &length)| vec![from as f32; length]);
            assert!(receive.into_iter().eq(expected), "all_gather of {counts:?}");
        }
    }
    Ok(())
}

/// Cuts a length into parts that differ by one at most.
fn even(length: usize, count: usize) -> Vec<usize> {
    (0..count)
        .map(|part| length * (part + 1) / count - length * part / count)
        .collect()
}

/// Works for ever, a call every ten milliseconds.
fn hold(world: &World) -> Result<(), Error> {
    say(format_args!(
        "rank {} is process {}",
        world.rank(),
        std::process::id()
    ));
    loop {
        world.barrier()?;
        thread::sleep(Duration::from_millis(10));
    }
}

/// Ranks come to a call one after the other, the last within the patience of the first but one.
fn late(world: &World) -> Result<(), Error> {
    let rank = world.rank();
    thread::sleep(Duration::from_millis(500) * rank as u32);
    world.barrier()?;
    // Rank 0 is the last one.
    thread::sleep(Duration::from_millis(500) * (world.count() - rank) as u32);
    world.barrier()
}

/// Rank 0 is ahead by a call of the others, which wait for the last rank: it never comes.
fn relay(world: &World) -> Result<(), Error> {
    if world.rank() + 1 == world.count() {
        thread::sleep(Duration::from_secs(3600));
    }
    let mut bytes = vec![0; 4];
    world.broadcast(&mut bytes)?;
    world.barrier()
}

/// Prints what calls of several sizes take.
fn time(world: &World) -> Result<(), Error> {
    let count = world.count();
    for length in [0, 1, 1 << 10, 1 << 17, 2_621_440] {
        let counts = even(length, count);
        let own = counts[world.rank()];
        let mut send = vec![1.0; length];
        let mut receive = vec![0.0; own * count];
        let mut whole = vec![0.0; length];
        let mut part = vec![1.0; own];
        let mut times = Vec::new();
        for _ in 0..21 {
            world.barrier()?;
            let start = std::time::Instant::now();
            world.all_to_all(&mut send, &counts, &mut receive, &vec![own; count])?;
            world.all_gather(&mut part, &mut whole, &counts)?;
            times.push(start.elapsed());
        }
        times.sort();
        if world.rank() == 0 {
            say(format_args!("{length} values: {:?}", times[10]));
        }
    }
    Ok(())
}
