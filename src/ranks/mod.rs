//! What the processes of a job do together: they are its ranks, as MPI calls them. A process by
//! itself is a job of one, for which all of this costs nothing.
//!
//! Everything that is added up is added in an order that doesn't know ranks (`tree.rs`), so that
//! any number of them gives the same bytes.

mod same;
#[cfg(test)]
pub mod threads;
pub mod tree;

use std::{fmt, ops::Range, rc::Rc, time::Duration};

use mpi_engine::World;

use self::tree::Tree;

/// Time to wait for a process that works by itself, as long as it takes.
const ENDLESS: Duration = Duration::from_secs(30 * 24 * 60 * 60);

/// Most bytes that all processes together gather at once; MPI counts to 2^31.
const GATHERED: usize = 1 << 30;

/// The processes of a job.
#[derive(Clone)]
pub enum Ranks {
    /// This process is the job.
    Alone,
    /// Processes that a launcher started, joined by MPI.
    Mpi(Rc<World>),
    /// Threads of a test.
    #[cfg(test)]
    Threads(Rc<threads::Member>),
}

/// An error of another process, or of the way to it.
#[derive(Debug, thiserror::Error)]
pub enum RanksError {
    /// A process doesn't answer, or there is none where one was expected.
    #[error(transparent)]
    Engine(#[from] mpi_engine::Error),
    /// Two processes of a job differ in what must be the same.
    #[error(
        "rank {rank} on host {host} has {what} that rank 0 doesn't have: found {found}, expected \
         {expected}; a job needs the same {what} on each host"
    )]
    Differs {
        /// The rank that differs from rank 0.
        rank: usize,
        /// Its host.
        host: String,
        /// What differs.
        what: String,
        /// What the rank has.
        found: String,
        /// What rank 0 has.
        expected: String,
    },
}

impl fmt::Debug for Ranks {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(formatter, "rank {} of {}", self.rank(), self.count())
    }
}

impl Ranks {
    /// Joins the job whose launcher started this process; a process that was started by itself is
    /// alone. To be called first in a program: MPI reads the environment and starts threads.
    ///
    /// # Errors
    /// Returns an error if a launcher says that it started several processes and they can't find
    /// each other.
    pub fn join() -> Result<Self, RanksError> {
        let world = World::from_launcher()?;
        Ok(match world {
            Some(world) if world.count() > 1 => Self::Mpi(Rc::new(world)),
            // The launcher of a single process wants it to take part until its end.
            Some(world) => {
                world.finalize()?;
                Self::Alone
            }
            None => Self::Alone,
        })
    }

    /// Returns the number of this process, counted from 0.
    pub fn rank(&self) -> usize {
        match self {
            Self::Alone => 0,
            Self::Mpi(world) => world.rank(),
            #[cfg(test)]
            Self::Threads(member) => member.rank,
        }
    }

    /// Returns the number of processes.
    pub fn count(&self) -> usize {
        match self {
            Self::Alone => 1,
            Self::Mpi(world) => world.count(),
            #[cfg(test)]
            Self::Threads(member) => member.count(),
        }
    }

    /// Whether this process is rank 0, which owns the run folder and speaks for all.
    pub fn is_first(&self) -> bool {
        self.rank() == 0
    }

    /// Whether there are other processes.
    pub fn are_several(&self) -> bool {
        self.count() > 1
    }

    /// Returns the number of this process among those on its machine, and how many they are.
    pub fn local(&self) -> (usize, usize) {
        match self {
            Self::Alone => (0, 1),
            Self::Mpi(world) => {
                let local = world.local();
                (local.rank, local.count)
            }
            #[cfg(test)]
            Self::Threads(member) => (member.rank, member.count()),
        }
    }

    /// Returns the name of the host that `rank` runs on.
    pub fn host(&self, rank: usize) -> &str {
        match self {
            Self::Mpi(world) => &world.hosts()[rank],
            _ => "localhost",
        }
    }

    /// Returns this process's share of `count` things that follow each other.
    pub fn share(&self, count: usize) -> Range<usize> {
        share(count, self.rank(), self.count())
    }

    /// Returns the sum of gradients along the tree over the `leaves` batches of a step. `nodes` are
    /// those of this process, each with `len` values; there may be none.
    ///
    /// # Errors
    /// Returns an error if a process doesn't answer.
    pub fn sum(
        &self,
        leaves: usize,
        nodes: &[(Range<usize>, Vec<f32>)],
        len: usize,
    ) -> Result<Vec<f32>, RanksError> {
        let (rank, count) = (self.rank(), self.count());
        // Each process finishes the tree on a slice of the values.
        let slice = |rank: usize| share(len, rank, count);
        let nodes_of = |rank: usize| tree::nodes(share(leaves, rank, count), leaves);
        let mut send = Vec::with_capacity(nodes.len() * len);
        for to in 0..count {
            for (_, values) in nodes {
                send.extend_from_slice(&values[slice(to)]);
            }
        }
        let sent: Vec<usize> = (0..count).map(|to| nodes.len() * slice(to).len()).collect();
        let own = slice(rank).len();
        let received: Vec<usize> = (0..count).map(|from| nodes_of(from).len() * own).collect();
        let mut parts = vec![0.0; received.iter().sum()];
        self.all_to_all((&mut send, &sent), (&mut parts, &received))?;
        drop(send);
        let mut sum = Tree::new(leaves);
        let parts = (0..count)
            .flat_map(nodes_of)
            .zip(parts.chunks_exact(own.max(1)));
        for (node, values) in parts {
            sum.push(node, values.to_vec(), added);
        }
        let mut own = sum.into_sum().unwrap_or_default();
        let counts: Vec<usize> = (0..count).map(|rank| slice(rank).len()).collect();
        let mut all = vec![0.0; len];
        match self {
            Self::Alone => all.copy_from_slice(&own),
            Self::Mpi(world) => world.all_gather(&mut own, &mut all, &counts)?,
            #[cfg(test)]
            Self::Threads(member) => member.all_gather(&own, &mut all),
        }
        Ok(all)
    }

    fn all_to_all(
        &self,
        (send, sent): (&mut Vec<f32>, &[usize]),
        (receive, received): (&mut Vec<f32>, &[usize]),
    ) -> Result<(), RanksError> {
        match self {
            Self::Alone => receive.copy_from_slice(send),
            Self::Mpi(world) => world.all_to_all(send, sent, receive, received)?,
            #[cfg(test)]
            Self::Threads(member) => member.all_to_all(send, sent, receive),
        }
        Ok(())
    }

    /// Returns the bytes of each process, in the order of ranks.
    ///
    /// # Errors
    /// Returns an error if a process doesn't answer.
    pub fn gather(&self, bytes: &[u8]) -> Result<Vec<Vec<u8>>, RanksError> {
        Ok(match self {
            Self::Alone => vec![bytes.to_vec()],
            Self::Mpi(world) => {
                let mut lengths = vec![0; 8 * self.count()];
                let mut own = (bytes.len() as u64).to_le_bytes().to_vec();
                world.all_gather(&mut own, &mut lengths, &vec![8; self.count()])?;
                let lengths: Vec<usize> = lengths
                    .as_chunks()
                    .0
                    .iter()
                    .map(|length| u64::from_le_bytes(*length) as usize)
                    .collect();
                let mut found: Vec<Vec<u8>> = vec![Vec::new(); self.count()];
                let most = GATHERED / self.count();
                let longest = lengths.iter().copied().max().unwrap_or(0);
                for start in (0..longest).step_by(most) {
                    let part = |length: usize| start.min(length)..(start + most).min(length);
                    let counts: Vec<usize> =
                        lengths.iter().map(|length| part(*length).len()).collect();
                    let mut all = vec![0; counts.iter().sum()];
                    let mut own = bytes[part(bytes.len())].to_vec();
                    world.all_gather(&mut own, &mut all, &counts)?;
                    let mut rest = all.as_slice();
                    for (found, count) in found.iter_mut().zip(counts) {
                        let own;
                        (own, rest) = rest.split_at(count);
                        found.extend_from_slice(own);
                    }
                }
                found
            }
            #[cfg(test)]
            Self::Threads(member) => member.gather(bytes),
        })
    }

    /// Returns rank 0's bytes. What the others pass isn't looked at.
    ///
    /// # Errors
    /// Returns an error if a process doesn't answer.
    pub fn tell(&self, bytes: Vec<u8>) -> Result<Vec<u8>, RanksError> {
        Ok(match self {
            Self::Alone => bytes,
            Self::Mpi(world) => {
                let mut length = (bytes.len() as u64).to_le_bytes().to_vec();
                world.broadcast(&mut length)?;
                let length = length
                    .first_chunk()
                    .map_or(0, |length| u64::from_le_bytes(*length));
                let mut bytes = bytes;
                bytes.resize(length as usize, 0);
                world.broadcast(&mut bytes)?;
                bytes
            }
            #[cfg(test)]
            Self::Threads(member) => member.gather(&bytes).swap_remove(0),
        })
    }

    /// Returns the largest value of all processes, so that what one of them decides is decided for
    /// all.
    ///
    /// # Errors
    /// Returns an error if a process doesn't answer.
    pub fn largest(&self, value: u8) -> Result<u8, RanksError> {
        Ok(match self {
            Self::Alone => value,
            Self::Mpi(world) => {
                let mut values = [value];
                world.max(&mut values)?;
                values[0]
            }
            #[cfg(test)]
            Self::Threads(member) => {
                let all = member.gather(&[value]);
                all.into_iter()
                    .map(|values| values[0])
                    .max()
                    .unwrap_or(value)
            }
        })
    }

    /// Whether any process says yes.
    ///
    /// # Errors
    /// Returns an error if a process doesn't answer.
    pub fn any(&self, value: bool) -> Result<bool, RanksError> {
        Ok(self.largest(u8::from(value))? == 1)
    }

    /// Runs `work` in one process of each machine before the others, which find what it left on
    /// disk.
    ///
    /// # Errors
    /// Returns the error of `work`, or an error if a process doesn't answer.
    pub fn first_here<T, E: From<RanksError>>(
        &self,
        work: impl FnOnce() -> Result<T, E>,
    ) -> Result<T, E> {
        if self.local().0 == 0 {
            let found = work()?;
            // Another machine may take longer.
            self.await_first()?;
            return Ok(found);
        }
        self.await_first()?;
        work()
    }

    /// Returns what rank 0 works out by itself, however long that takes.
    ///
    /// # Errors
    /// Returns rank 0's error in rank 0, or an error if a process doesn't answer.
    pub fn told_by_first<E: From<RanksError>>(
        &self,
        work: impl FnOnce() -> Result<Vec<u8>, E>,
    ) -> Result<Vec<u8>, E> {
        if self.is_first() {
            let found = work()?;
            self.largest(0)?;
            return Ok(self.tell(found)?);
        }
        self.await_first()?;
        Ok(self.tell(Vec::new())?)
    }

    /// Waits for all processes as long as it takes. That one is gone, their launcher notices.
    fn await_first(&self) -> Result<(), RanksError> {
        let before = match self {
            Self::Mpi(world) => world.patience(),
            _ => Duration::ZERO,
        };
        self.set_patience(ENDLESS);
        self.largest(0)?;
        self.set_patience(before);
        Ok(())
    }

    /// Sets how long to wait for a process before it is given up.
    pub fn set_patience(&self, patience: Duration) {
        if let Self::Mpi(world) = self {
            world.set_patience(patience);
        }
    }

    /// Returns the time that this process has waited for others.
    pub fn waited(&self) -> Duration {
        match self {
            Self::Mpi(world) => world.waited(),
            _ => Duration::ZERO,
        }
    }

    /// Returns what joins the processes, in words; `None` if this process is alone.
    pub fn engine(&self) -> Option<&str> {
        match self {
            Self::Mpi(world) => Some(world.library()),
            _ => None,
        }
    }

    /// Ends the job of all processes in order, once all have come here.
    ///
    /// # Errors
    /// Returns an error if a process doesn't answer.
    ///
    /// # Panics
    /// Panics if there is another handle on the job.
    pub fn end(self) -> Result<(), RanksError> {
        if let Self::Mpi(world) = self {
            let world = Rc::into_inner(world).expect("the last handle ends the job");
            world.finalize()?;
        }
        Ok(())
    }
}

/// Returns the share of `rank` in `count` things.
fn share(things: usize, rank: usize, count: usize) -> Range<usize> {
    things * rank / count..things * (rank + 1) / count
}

fn added(mut left: Vec<f32>, right: Vec<f32>) -> Vec<f32> {
    for (sum, value) in left.iter_mut().zip(right) {
        *sum += value;
    }
    left
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    /// The nodes of a rank's share of `leaves` gradients with `len` values each.
    fn own_nodes(ranks: &Ranks, leaves: &[Vec<f32>]) -> Vec<(Range<usize>, Vec<f32>)> {
        let mut own = Tree::new(leaves.len());
        for leaf in ranks.share(leaves.len()) {
            own.push(leaf..leaf + 1, leaves[leaf].clone(), added);
        }
        own.into_nodes()
    }

    proptest! {
        /// More ranks than leaves or values, too.
        #[test]
        fn any_number_of_ranks_gives_the_sum_of_one(
            count in 1usize..10,
            leaves in 1usize..12,
            len in 0usize..20,
            seed in any::<u32>(),
        ) {
            let mut state = seed;
            let mut value = || {
                state = state.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
                (state as f32 - 2e9) * 10f32.powi((state % 13) as i32 - 6)
            };
            let gradients: Vec<Vec<f32>> =
                (0..leaves).map(|_| (0..len).map(|_| value()).collect()).collect();
            let sum = |ranks: Ranks| {
                let nodes = own_nodes(&ranks, &gradients);
                let sum = ranks.sum(leaves, &nodes, len).expect("all answer");
                sum.into_iter().map(f32::to_bits).collect::<Vec<_>>()
            };
            let alone = sum(Ranks::Alone);
            prop_assert_eq!(threads::run(count, sum), vec![alone; count]);
        }
    }

    #[test]
    fn ranks_tell_gather_and_agree() {
        let found = threads::run(3, |ranks| {
            let rank = ranks.rank();
            let gathered = ranks.gather(&vec![rank as u8; rank]).expect("all answer");
            let told = ranks.tell(vec![rank as u8 + 7]).expect("all answer");
            let largest = ranks.largest([2, 9, 4][rank]).expect("all answer");
            let any = [rank == 2, false].map(|value| ranks.any(value).expect("all answer"));
            (gathered, told, largest, any)
        });
        let gathered = vec![vec![], vec![1], vec![2, 2]];
        assert_eq!(found, vec![(gathered, vec![7], 9, [true, false]); 3]);
    }
}
