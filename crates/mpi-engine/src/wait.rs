//! Waiting for the other ranks, and the roll call when it takes too long.
//!
//! A dead collective call can't say who is missing. So a rank that has waited for its whole
//! patience tells rank 0, and rank 0 asks all ranks where they are. Those that wait in a call look
//! for such a question now and then, and answer; who doesn't answer is missing. Nothing is sent
//! and nothing is looked for in a call that takes less than [`FIRST_LOOK`].

use std::ffi::c_int;
use std::mem::ManuallyDrop;
use std::thread;
use std::time::{Duration, Instant};

use crate::calls::{Status, Word, checked};
use crate::error::Error;
use crate::world::World;

/// Tests before a waiting rank sleeps between them: ranks that spin take the cores from those that
/// work, and a sleep costs more than a small call.
const EAGER_TESTS: u32 = 200;

/// Tests between two sleeps: each moves a piece of a long message, of which MPICH has about 30 KB
/// on their way; with one test a turn 10 MB took 80 ms in place of 25.
const TESTS_A_TURN: u32 = 16;

/// A sleep is so small a share of the time waited, between these bounds.
const SLEEP_SHARE: u32 = 2000;
const SHORTEST_SLEEP: Duration = Duration::from_micros(50);
const LONGEST_SLEEP: Duration = Duration::from_millis(1);

/// Messages of other ranks are looked for after this time of waiting, and then at this interval.
const FIRST_LOOK: Duration = Duration::from_millis(200);
const LOOK_INTERVAL: Duration = Duration::from_millis(100);

/// Rank 0's question, which carries its call.
const WHERE: c_int = 1;
/// A rank's answer, or its call for help: see [`Message`].
const HERE: c_int = 2;

/// What ranks tell rank 0: their number, the call of the question that is answered (0 if rank 0
/// didn't ask), their own call, counted from 1, and for how many milliseconds they have waited in
/// it. A question has the same form.
type Message = [u64; 4];

/// The state of a wait.
struct Wait {
    call: u64,
    start: Instant,
    next_look: Duration,
    /// Whether rank 0 has been told that this rank's patience is over.
    has_called: bool,
    /// Of what rank 0 knows, the longest that a rank has waited.
    longest: Duration,
    /// Rank 0's roll: who has answered, and until when answers count.
    roll: Option<(Vec<bool>, Instant)>,
}

impl Wait {
    fn new(call: u64, start: Instant) -> Self {
        Self {
            call,
            start,
            next_look: FIRST_LOOK,
            has_called: false,
            longest: Duration::ZERO,
            roll: None,
        }
    }
}

impl World {
    /// Starts a call and waits until it is over. `memory` is all that MPI may touch meanwhile; it
    /// is handed back, or left to MPI for good if the call fails.
    pub(crate) fn wait<M>(
        &self,
        function: &'static str,
        memory: M,
        start: impl FnOnce(&mut M, *mut Word) -> c_int,
    ) -> Result<M, Error> {
        if self.is_over.get() {
            return Err(Error::Over);
        }
        let mut memory = ManuallyDrop::new(memory);
        let mut request = 0;
        self.calls.set(self.calls.get() + 1);
        let begin = Instant::now();
        let result = checked(function, start(&mut memory, &raw mut request))
            .and_then(|()| self.finish(&mut request, begin));
        self.waited.set(self.waited.get() + begin.elapsed());
        match result {
            Ok(()) => Ok(ManuallyDrop::into_inner(memory)),
            Err(error) => {
                self.is_over.set(true);
                Err(error)
            }
        }
    }

    /// Tests a request until it is over, or patience is.
    fn finish(&self, request: &mut Word, start: Instant) -> Result<(), Error> {
        for _ in 0..EAGER_TESTS {
            if self.mpi.test(request)? {
                return Ok(());
            }
            thread::yield_now();
        }
        let mut wait = Wait::new(self.calls.get(), start);
        loop {
            for _ in 0..TESTS_A_TURN {
                if self.mpi.test(request)? {
                    return Ok(());
                }
            }
            let waited = start.elapsed();
            thread::sleep((waited / SLEEP_SHARE).clamp(SHORTEST_SLEEP, LONGEST_SLEEP));
            if waited >= wait.next_look {
                wait.next_look = waited + LOOK_INTERVAL;
                if self.is_leaving.get() {
                    self.look_at_the_time(&wait)?;
                } else if self.rank == 0 {
                    self.look_as_first(&mut wait)?;
                } else {
                    self.look(&mut wait)?;
                }
            }
        }
    }

    /// Receives the messages that nobody has read, all ranks being here: some libraries don't
    /// finalize with a message on its way. Those of a roll call that ended well are left over.
    pub(crate) fn receive_rest(&self) -> Result<(), Error> {
        self.is_leaving.set(true);
        let ones = vec![1; self.count];
        let mut expected = vec![0.0; self.count];
        self.all_to_all(&mut self.sent.take(), &ones, &mut expected, &ones)?;
        let expected = expected.iter().sum::<f32>() as usize;
        let wait = Wait::new(self.calls.get(), Instant::now());
        while self.received.get() < expected {
            for tag in [WHERE, HERE] {
                self.next_message(tag)?;
            }
            self.look_at_the_time(&wait)?;
            thread::yield_now();
        }
        Ok(())
    }

    fn look_at_the_time(&self, wait: &Wait) -> Result<(), Error> {
        let waited = wait.start.elapsed();
        if waited < self.patience.get() {
            return Ok(());
        }
        Err(Error::Stuck { waited })
    }

    /// How long rank 0 waits for answers.
    fn grace(&self) -> Duration {
        (self.patience.get() / 10).clamp(Duration::from_secs(1), Duration::from_secs(5))
    }

    /// Rank 0: calls the roll when it or another rank has waited too long, and reads the answers.
    fn look_as_first(&self, wait: &mut Wait) -> Result<(), Error> {
        wait.longest = wait.longest.max(wait.start.elapsed());
        while let Some([rank, asked, call, waited]) = self.next_message(HERE)? {
            match &mut wait.roll {
                Some((here, _)) if asked == wait.call => here[rank as usize] = true,
                // A call for help from an earlier call: that one is over, or this rank's own
                // patience will end it.
                _ if asked != 0 || call < wait.call => continue,
                _ => {}
            }
            wait.longest = wait.longest.max(Duration::from_millis(waited));
        }
        let waited = wait.longest;
        if let Some((here, until)) = &wait.roll {
            if here.iter().all(|&is_here| is_here) {
                return Err(Error::Stuck { waited });
            }
            if Instant::now() >= *until {
                let ranks: Vec<_> = (0..self.count).filter(|&rank| !here[rank]).collect();
                let hosts = ranks.iter().map(|&rank| self.hosts[rank].clone()).collect();
                return Err(Error::Missing {
                    ranks,
                    hosts,
                    waited,
                });
            }
        } else if waited >= self.patience.get() {
            for rank in 1..self.count {
                self.send(rank, WHERE, [0, wait.call, wait.call, 0])?;
            }
            let mut here = vec![false; self.count];
            here[0] = true;
            wait.roll = Some((here, Instant::now() + self.grace()));
        }
        Ok(())
    }

    /// Another rank: answers rank 0's question, and calls for help when it has waited too long.
    fn look(&self, wait: &mut Wait) -> Result<(), Error> {
        let waited = wait.start.elapsed();
        let answer = |asked| {
            [
                self.rank as u64,
                asked,
                wait.call,
                waited.as_millis() as u64,
            ]
        };
        while let Some([_, asked, ..]) = self.next_message(WHERE)? {
            self.send(0, HERE, answer(asked))?;
        }
        if waited >= self.patience.get() + 3 * self.grace() {
            let host = self.hosts[0].clone();
            return Err(Error::Patience { host, waited });
        }
        if waited >= self.patience.get() && !wait.has_called {
            self.send(0, HERE, answer(0))?;
            wait.has_called = true;
        }
        Ok(())
    }

    /// Sends a message, whose few bytes stay with MPI: it is sent when something is wrong.
    fn send(&self, rank: usize, tag: c_int, message: Message) -> Result<(), Error> {
        let handles = &self.mpi.handles;
        let message: &'static Message = Box::leak(Box::new(message));
        let mut request = 0;
        // SAFETY: the message lives for ever, and the rank is one of the world's.
        let code = unsafe {
            (self.mpi.functions.send)(
                message.as_ptr().cast(),
                size_of::<Message>() as c_int,
                handles.uint8,
                rank as c_int,
                tag,
                handles.world,
                &raw mut request,
            )
        };
        checked("MPI_Isend", code)?;
        self.sent.borrow_mut()[rank] += 1.0;
        Ok(())
    }

    /// Receives a message of a kind, if one has arrived.
    fn next_message(&self, tag: c_int) -> Result<Option<Message>, Error> {
        let handles = &self.mpi.handles;
        let functions = &self.mpi.functions;
        let mut has_arrived = 0;
        let mut status: Status = [0; 32];
        let any = handles.any_source;
        // SAFETY: the communicator is the library's own, and both results have room.
        let code = unsafe {
            (functions.probe)(
                any,
                tag,
                handles.world,
                &raw mut has_arrived,
                &raw mut status,
            )
        };
        checked("MPI_Iprobe", code)?;
        if has_arrived == 0 {
            return Ok(None);
        }
        let mut message: Message = [0; 4];
        // SAFETY: the message has the length of all with these tags, and has arrived, so that
        // there is nothing to wait for.
        let code = unsafe {
            (functions.receive)(
                message.as_mut_ptr().cast(),
                size_of::<Message>() as c_int,
                handles.uint8,
                any,
                tag,
                handles.world,
                &raw mut status,
            )
        };
        checked("MPI_Recv", code)?;
        self.received.set(self.received.get() + 1);
        Ok(Some(message))
    }
}
