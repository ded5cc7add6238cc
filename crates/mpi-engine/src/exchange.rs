//! The calls: what ranks send each other.

use std::ffi::{c_int, c_void};

use crate::calls::{Element, Word, count};
use crate::error::Error;
use crate::world::World;

/// Bytes of one call of a broadcast.
const BROADCAST_PART: usize = 1 << 30;

impl World {
    /// Sends each rank a part of `send`, and fills `receive` with the part of each rank, in the
    /// order of ranks. Parts lie one behind the other; their lengths are in the counts.
    ///
    /// # Errors
    ///
    /// Fails as all calls do: see [`Error`].
    ///
    /// # Panics
    ///
    /// Panics if there isn't a count for each rank, or they don't add up to the vector's length.
    pub fn all_to_all(
        &self,
        send: &mut Vec<f32>,
        send_counts: &[usize],
        receive: &mut Vec<f32>,
        receive_counts: &[usize],
    ) -> Result<(), Error> {
        self.check(send.len(), send_counts);
        self.check(receive.len(), receive_counts);
        let parts = (Parts::new(send_counts)?, Parts::new(receive_counts)?);
        self.exchange(send, receive, parts)
    }

    /// Sends parts of `send` and receives parts of `receive`.
    fn exchange<T: Element>(
        &self,
        send: &mut Vec<T>,
        receive: &mut Vec<T>,
        mut parts: (Parts, Parts),
    ) -> Result<(), Error> {
        // Open MPI 4 skips the call on a rank without any part, which then is a call behind the
        // others for good. A value to itself keeps it in step.
        let (mut from, mut to) = (std::mem::take(send), std::mem::take(receive));
        let is_idle = parts.0.is_empty() && parts.1.is_empty();
        if is_idle {
            (parts.0.counts[self.rank], parts.1.counts[self.rank]) = (1, 1);
            (from, to) = (vec![T::default()], vec![T::default()]);
        }
        let start = |(send, receive, parts): &mut Exchange<T>, request| {
            let datatype = T::datatype(&self.mpi.handles);
            // SAFETY: counts and offsets lie in the vectors, and `wait` keeps all of it in place
            // until the request is over.
            unsafe {
                (self.mpi.functions.all_to_all)(
                    address(send),
                    parts.0.counts.as_ptr(),
                    parts.0.offsets.as_ptr(),
                    datatype,
                    address_mut(receive),
                    parts.1.counts.as_ptr(),
                    parts.1.offsets.as_ptr(),
                    datatype,
                    self.mpi.handles.world,
                    request,
                )
            }
        };
        (from, to, _) = self.wait("MPI_Ialltoallv", (from, to, parts), start)?;
        if !is_idle {
            (*send, *receive) = (from, to);
        }
        Ok(())
    }

    /// Fills `receive` with what each rank sends, in the order of ranks, one behind the other.
    ///
    /// # Errors
    ///
    /// Fails as all calls do: see [`Error`].
    ///
    /// # Panics
    ///
    /// Panics if there isn't a count for each rank, if they don't add up to the length of
    /// `receive`, or if this rank's isn't that of `send`.
    pub fn all_gather<T: Element>(
        &self,
        send: &mut Vec<T>,
        receive: &mut Vec<T>,
        counts: &[usize],
    ) -> Result<(), Error> {
        self.check(receive.len(), counts);
        assert_eq!(send.len(), counts[self.rank], "this rank's own count");
        let parts = Parts::new(counts)?;
        let (least, most) = (counts.iter().min(), counts.iter().max());
        // Intel MPI 2021.19 never ends a gathering of parts that differ much, if it is polled.
        if least.is_some_and(|least| most > Some(&(least + 1))) {
            let own = Parts::same(parts.counts[self.rank], self.count);
            return self.exchange(send, receive, (own, parts));
        }
        let own = parts.counts[self.rank];
        let memory = (std::mem::take(send), std::mem::take(receive), parts);
        let start = |(send, receive, parts): &mut (Vec<T>, Vec<T>, Parts), request| {
            let datatype = T::datatype(&self.mpi.handles);
            // SAFETY: as in `exchange`.
            unsafe {
                (self.mpi.functions.all_gather)(
                    address(send),
                    own,
                    datatype,
                    address_mut(receive),
                    parts.counts.as_ptr(),
                    parts.offsets.as_ptr(),
                    datatype,
                    self.mpi.handles.world,
                    request,
                )
            }
        };
        (*send, *receive, _) = self.wait("MPI_Iallgatherv", memory, start)?;
        Ok(())
    }

    /// Gives all ranks the bytes of rank 0. The vectors must have the same length on all ranks.
    ///
    /// # Errors
    ///
    /// Fails as all calls do: see [`Error`].
    pub fn broadcast(&self, bytes: &mut Vec<u8>) -> Result<(), Error> {
        for first in (0..bytes.len()).step_by(BROADCAST_PART) {
            let length = BROADCAST_PART.min(bytes.len() - first);
            let start = |bytes: &mut Vec<u8>, request| {
                let handles = &self.mpi.handles;
                let part = address_mut(&mut bytes[first..first + length]);
                // SAFETY: the part is in the vector, which `wait` keeps in place until the request
                // is over. Its length is below 2^31.
                unsafe {
                    (self.mpi.functions.broadcast)(
                        part,
                        length as c_int,
                        handles.uint8,
                        0,
                        handles.world,
                        request,
                    )
                }
            };
            *bytes = self.wait("MPI_Ibcast", std::mem::take(bytes), start)?;
        }
        Ok(())
    }

    /// Replaces each flag by the largest that any rank has in its place.
    ///
    /// # Errors
    ///
    /// Fails as all calls do: see [`Error`].
    pub fn max(&self, flags: &mut [u8]) -> Result<(), Error> {
        let length = count(flags.len())?;
        if flags.is_empty() {
            return Ok(());
        }
        let memory = (flags.to_vec(), vec![0; flags.len()]);
        let start = |(send, receive): &mut (Vec<u8>, Vec<u8>), request| {
            let handles = &self.mpi.handles;
            // SAFETY: both vectors have the length, and `wait` keeps them in place until the
            // request is over.
            unsafe {
                (self.mpi.functions.all_reduce)(
                    address(send),
                    address_mut(receive),
                    length,
                    handles.uint8,
                    handles.max,
                    handles.world,
                    request,
                )
            }
        };
        let (_, largest) = self.wait("MPI_Iallreduce", memory, start)?;
        flags.copy_from_slice(&largest);
        Ok(())
    }

    /// Waits until all ranks are here.
    ///
    /// # Errors
    ///
    /// Fails as all calls do: see [`Error`].
    pub fn barrier(&self) -> Result<(), Error> {
        self.wait("MPI_Ibarrier", (), |(), request| {
            // SAFETY: the communicator is the library's own, and there is no memory.
            unsafe { (self.mpi.functions.barrier)(self.mpi.handles.world, request) }
        })
    }

    fn check(&self, length: usize, counts: &[usize]) {
        assert_eq!(counts.len(), self.count, "a count for each rank");
        assert_eq!(
            counts.iter().sum::<usize>(),
            length,
            "the sum of the counts"
        );
    }
}

/// What an exchange among all ranks keeps in place.
type Exchange<T> = (Vec<T>, Vec<T>, (Parts, Parts));

/// Parts of a vector.
struct Parts {
    counts: Vec<c_int>,
    offsets: Vec<c_int>,
}

impl Parts {
    /// The same part for each rank, which is the whole vector.
    fn same(length: c_int, count: usize) -> Self {
        Self {
            counts: vec![length; count],
            offsets: vec![0; count],
        }
    }

    fn is_empty(&self) -> bool {
        self.counts.iter().all(|&count| count == 0)
    }

    /// Parts that lie one behind the other.
    fn new(counts: &[usize]) -> Result<Self, Error> {
        count(counts.iter().sum())?;
        let counts: Vec<_> = counts.iter().map(|&part| part as c_int).collect();
        let offsets = counts.iter().scan(0, |end, part| {
            let first = *end;
            *end += part;
            Some(first)
        });
        Ok(Self {
            offsets: offsets.collect(),
            counts,
        })
    }
}

/// An empty vector's own pointer is a small number, which can be one of MPI's constants ("in
/// place" is 1 for Open MPI and in the standard); nothing is read or written here.
static NOTHING: Word = 0;

fn address<T>(values: &[T]) -> *const c_void {
    match values {
        [] => (&raw const NOTHING).cast(),
        values => values.as_ptr().cast(),
    }
}

fn address_mut<T>(values: &mut [T]) -> *mut c_void {
    match values {
        [] => (&raw const NOTHING).cast_mut().cast(),
        values => values.as_mut_ptr().cast(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn parts_lie_one_behind_the_other() {
        let parts = Parts::new(&[3, 0, 2]).unwrap();
        assert_eq!(
            (parts.counts, parts.offsets),
            (vec![3, 0, 2], vec![0, 3, 3])
        );
        assert!(Parts::new(&[1 << 30, 1 << 30]).is_err());
    }

    #[test]
    fn an_empty_vector_is_no_constant_of_mpi() {
        let mut empty: Vec<u8> = Vec::new();
        assert!(empty.as_ptr().addr() < 16, "else there is nothing to do");
        assert!(address(&empty).addr() > 4096);
        assert!(address_mut(&mut empty).addr() > 4096);
        assert_eq!(address(&[1.0f32]).addr() % 4, 0);
    }
}
