//! The functions of an MPI library and the constants of its binary interface, of which there are
//! three: Open MPI's, that of MPICH (Intel MPI and others have it too), and MPI 5's standard one.

use std::ffi::{c_char, c_int, c_void};
use std::path::Path;
use std::sync::OnceLock;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;
use std::{process, thread};

use libloading::Library;

use crate::error::Error;

/// A handle of MPI: a pointer, or an int in the low half. The calling conventions of x86-64 and
/// AArch64 pass an int in a register whose other half nobody reads, and a function that writes an
/// int into a word of zeros leaves the same number there (little endian).
pub(crate) type Word = usize;

/// Whether handles are as [`Word`] has them.
pub(crate) const IS_SUPPORTED: bool = cfg!(all(
    unix,
    target_pointer_width = "64",
    target_endian = "little"
));

/// Types that can be sent.
pub trait Element: Copy + Default + private::Sealed {}

impl Element for f32 {}
impl Element for u8 {}

pub(crate) mod private {
    use super::{Handles, Word};

    pub trait Sealed {
        /// Returns MPI's name of the type.
        fn datatype(handles: &Handles) -> Word;
    }

    impl Sealed for f32 {
        fn datatype(handles: &Handles) -> Word {
            handles.float
        }
    }

    impl Sealed for u8 {
        fn datatype(handles: &Handles) -> Word {
            handles.uint8
        }
    }
}

/// The constants of a binary interface.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Handles {
    pub(crate) world: Word,
    pub(crate) float: Word,
    pub(crate) uint8: Word,
    pub(crate) max: Word,
    pub(crate) info_null: Word,
    pub(crate) thread_funneled: c_int,
    pub(crate) type_shared: c_int,
    pub(crate) any_source: c_int,
}

/// Of MPICH since 3.1, and of all that keep to its binary interface.
const MPICH: Handles = Handles {
    world: 0x4400_0000,
    float: 0x4c00_040a,
    uint8: 0x4c00_013b,
    max: 0x5800_0001,
    info_null: 0x1c00_0000,
    thread_funneled: 1,
    type_shared: 1,
    any_source: -2,
};

/// Of the MPI 5.0 standard, chapter "Application Binary Interface".
const STANDARD: Handles = Handles {
    world: 0x101,
    float: 0x210,
    uint8: 0x241,
    max: 0x23,
    info_null: 0x130,
    thread_funneled: 1024,
    type_shared: 221,
    any_source: -1,
};

impl Handles {
    fn new(library: &Library, path: &Path) -> Result<Self, String> {
        let name = path.canonicalize().unwrap_or_else(|_| path.to_owned());
        // Asked of the name, as a standard interface may lie upon a library with its own.
        let is_standard = name
            .file_name()
            .is_some_and(|name| name.to_string_lossy().contains("mpi_abi"));
        if is_standard {
            return Ok(STANDARD);
        }
        // Open MPI's handles are the addresses of its variables.
        let Ok(world) = symbol::<Word>(library, "ompi_mpi_comm_world") else {
            return Ok(MPICH);
        };
        Ok(Self {
            world,
            float: symbol(library, "ompi_mpi_float")?,
            uint8: symbol(library, "ompi_mpi_uint8_t")?,
            max: symbol(library, "ompi_mpi_op_max")?,
            info_null: symbol(library, "ompi_mpi_info_null")?,
            thread_funneled: 1,
            type_shared: 0,
            any_source: -1,
        })
    }
}

/// A status, which nobody reads: longer than that of any library, as the constants for "none" are
/// not the same in all.
pub(crate) type Status = [u64; 32];

/// Where MPI's answer is a name, its longest is this in no library.
const MOST_TEXT: usize = 16 * 1024;

/// Declares the functions as fields and loads them.
macro_rules! functions {
    ($($field:ident = $name:literal ($($argument:ty),*);)*) => {
        /// The functions of a library, as the standard declares them.
        pub(crate) struct Functions {
            $(pub(crate) $field: unsafe extern "C" fn($($argument),*) -> c_int,)*
        }

        impl Functions {
            fn new(library: &Library) -> Result<Self, String> {
                Ok(Self { $($field: symbol(library, $name)?,)* })
            }
        }
    };
}

functions! {
    abort = "MPI_Abort" (Word, c_int);
    all_gather = "MPI_Iallgatherv" (
        *const c_void, c_int, Word, *mut c_void, *const c_int, *const c_int, Word, Word, *mut Word
    );
    all_reduce = "MPI_Iallreduce" (
        *const c_void, *mut c_void, c_int, Word, Word, Word, *mut Word
    );
    all_to_all = "MPI_Ialltoallv" (
        *const c_void, *const c_int, *const c_int, Word,
        *mut c_void, *const c_int, *const c_int, Word, Word, *mut Word
    );
    barrier = "MPI_Ibarrier" (Word, *mut Word);
    broadcast = "MPI_Ibcast" (*mut c_void, c_int, Word, c_int, Word, *mut Word);
    finalize = "MPI_Finalize" ();
    init = "MPI_Init_thread" (*mut c_int, *mut *mut *mut c_char, c_int, *mut c_int);
    library_version = "MPI_Get_library_version" (*mut c_char, *mut c_int);
    probe = "MPI_Iprobe" (c_int, c_int, Word, *mut c_int, *mut Status);
    processor_name = "MPI_Get_processor_name" (*mut c_char, *mut c_int);
    rank = "MPI_Comm_rank" (Word, *mut c_int);
    receive = "MPI_Recv" (*mut c_void, c_int, Word, c_int, c_int, Word, *mut Status);
    send = "MPI_Isend" (*const c_void, c_int, Word, c_int, c_int, Word, *mut Word);
    size = "MPI_Comm_size" (Word, *mut c_int);
    split_type = "MPI_Comm_split_type" (Word, c_int, c_int, Word, *mut Word);
    test = "MPI_Test" (*mut Word, *mut c_int, *mut Status);
}

/// Returns the address of a symbol, as a function or a word.
fn symbol<T: Copy>(library: &Library, name: &str) -> Result<T, String> {
    const { assert!(size_of::<T>() == size_of::<Word>()) };
    // SAFETY: the types are those of the MPI standard (functions) or plain addresses (words).
    let found = unsafe { library.get::<T>(name.as_bytes()) };
    found
        .map(|symbol| *symbol)
        .map_err(|_| format!("it has no {name}"))
}

/// An opened library.
pub(crate) struct Mpi {
    pub(crate) functions: Functions,
    pub(crate) handles: Handles,
    path: String,
}

/// What [`abort`] needs, from the moment on at which MPI runs.
static RUNNING: OnceLock<(unsafe extern "C" fn(Word, c_int) -> c_int, Word)> = OnceLock::new();
static IS_FINALIZED: AtomicBool = AtomicBool::new(false);

/// MPICH's launcher ends a job without reading what the processes wrote last.
const LAST_WORDS: Duration = Duration::from_millis(200);

/// Ends all processes of the job with an exit code, at once, wherever they are; a process without
/// a job ends itself. It may be called anywhere, in a panic hook for example; what was printed
/// must be flushed before, as the launcher's own messages don't say why.
pub fn abort(code: i32) -> ! {
    if let Some((function, world)) = RUNNING.get() {
        thread::sleep(LAST_WORDS);
        if !IS_FINALIZED.load(Ordering::SeqCst) {
            // SAFETY: MPI was initialized and not finalized. From another thread than MPI's it is
            // more than the library promised to take, when nothing else is left to do.
            unsafe { function(*world, code) };
        }
    }
    process::exit(code)
}

impl Mpi {
    /// Takes the functions of an opened library, which stays open for good: MPI can't be unloaded.
    pub(crate) fn new(library: Library, path: &Path) -> Result<Self, Error> {
        let parts = Handles::new(&library, path)
            .and_then(|handles| Ok((handles, Functions::new(&library)?)));
        let (handles, functions) = parts.map_err(|problem| Error::NotUsable {
            path: path.display().to_string(),
            problem,
        })?;
        std::mem::forget(library);
        Ok(Self {
            functions,
            handles,
            path: path.display().to_string(),
        })
    }

    /// Returns the path or name under which the library was opened.
    pub(crate) fn path(&self) -> &str {
        &self.path
    }

    /// Returns whose library it is and its version; MPI needn't be initialized for this.
    pub(crate) fn version(&self) -> Result<String, Error> {
        let text = text("MPI_Get_library_version", self.functions.library_version)?;
        Ok(short_version(&text))
    }

    /// Returns the name of this process's host.
    pub(crate) fn host(&self) -> Result<String, Error> {
        text("MPI_Get_processor_name", self.functions.processor_name)
    }

    /// Initializes MPI.
    pub(crate) fn init(&self) -> Result<(), Error> {
        let mut provided = 0;
        let (argc, argv) = (std::ptr::null_mut(), std::ptr::null_mut());
        // SAFETY: no arguments are handed over, as the standard allows, and `provided` is an int.
        // It is not looked at: the only threads that call MPI are this one and one that aborts.
        let code = unsafe {
            (self.functions.init)(argc, argv, self.handles.thread_funneled, &raw mut provided)
        };
        checked("MPI_Init_thread", code)?;
        RUNNING.get_or_init(|| (self.functions.abort, self.handles.world));
        Ok(())
    }

    /// Finalizes MPI.
    pub(crate) fn finalize(&self) -> Result<(), Error> {
        IS_FINALIZED.store(true, Ordering::SeqCst);
        // SAFETY: initialized, by this thread, and called once: `World::finalize` takes the world.
        checked("MPI_Finalize", unsafe { (self.functions.finalize)() })
    }

    /// Returns this process's rank in a group of processes, and their number.
    pub(crate) fn place(&self, group: Word) -> Result<(usize, usize), Error> {
        let (mut rank, mut size) = (0, 0);
        // SAFETY: `group` is a communicator of this library, and both results are ints.
        let codes = unsafe {
            [
                (self.functions.rank)(group, &raw mut rank),
                (self.functions.size)(group, &raw mut size),
            ]
        };
        checked("MPI_Comm_rank", codes[0])?;
        checked("MPI_Comm_size", codes[1])?;
        Ok((rank.unsigned_abs() as usize, size.unsigned_abs() as usize))
    }

    /// Returns the group of the processes of the job on this machine.
    pub(crate) fn local_group(&self, rank: usize) -> Result<Word, Error> {
        let handles = &self.handles;
        let mut group = 0;
        // SAFETY: all handles are this library's, and `group` has room for one.
        let code = unsafe {
            (self.functions.split_type)(
                handles.world,
                handles.type_shared,
                count(rank)?,
                handles.info_null,
                &raw mut group,
            )
        };
        checked("MPI_Comm_split_type", code)?;
        Ok(group)
    }

    /// Tests whether a request is over.
    pub(crate) fn test(&self, request: &mut Word) -> Result<bool, Error> {
        let mut is_over = 0;
        let mut status: Status = [0; 32];
        // SAFETY: `request` holds a request of this library, or its "none" once it is over.
        let code = unsafe { (self.functions.test)(request, &raw mut is_over, &raw mut status) };
        checked("MPI_Test", code)?;
        Ok(is_over != 0)
    }
}

/// Turns the code of a function into a result.
pub(crate) fn checked(function: &'static str, code: c_int) -> Result<(), Error> {
    match code {
        0 => Ok(()),
        code => Err(Error::Call { function, code }),
    }
}

/// Returns a number of values as MPI counts them.
pub(crate) fn count(values: usize) -> Result<c_int, Error> {
    c_int::try_from(values).map_err(|_| Error::TooMany(values))
}

/// Calls a function that answers with text.
fn text(
    name: &'static str,
    function: unsafe extern "C" fn(*mut c_char, *mut c_int) -> c_int,
) -> Result<String, Error> {
    let mut bytes = vec![0u8; MOST_TEXT];
    let mut length = 0;
    // SAFETY: there is more room than any library's longest text takes.
    let code = unsafe { function(bytes.as_mut_ptr().cast(), &raw mut length) };
    checked(name, code)?;
    let end = bytes
        .iter()
        .position(|&byte| byte == 0)
        .unwrap_or(MOST_TEXT);
    Ok(String::from_utf8_lossy(&bytes[..end]).trim().to_owned())
}

/// Makes "Open MPI 5.0.11" of what a library says of itself, which may be many lines.
fn short_version(text: &str) -> String {
    let line = text.lines().next().unwrap_or_default();
    let (name, rest) = if let Some(rest) = line.strip_prefix("Open MPI v") {
        ("Open MPI", rest)
    } else if let Some(rest) = line.strip_prefix("Intel(R) MPI Library ") {
        ("Intel MPI", rest)
    } else if let Some((name, rest)) = line.split_once(" Version:") {
        (name, rest)
    } else {
        return line.trim().to_owned();
    };
    let version = rest.split([',', ' ', '\t']).find(|part| !part.is_empty());
    format!("{name} {}", version.unwrap_or("of an unknown version"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_library_is_known_by_name_and_version() {
        let check = |text, expected| assert_eq!(short_version(text), expected);
        check(
            "Open MPI v4.1.4, package: Debian OpenMPI, ident: 4.1.4, repo rev: v4.1.4",
            "Open MPI 4.1.4",
        );
        check(
            "MPICH Version:      5.0.2\nMPICH Release date: 2026",
            "MPICH 5.0.2",
        );
        check("MPICH Version:\t4.0.2\n", "MPICH 4.0.2");
        check(
            "Intel(R) MPI Library 2021.19 for Linux* OS\n",
            "Intel MPI 2021.19",
        );
        check("MVAPICH Version:\t3.0\n", "MVAPICH 3.0");
        check("Another MPI 1.2\nof somebody", "Another MPI 1.2");
        check("", "");
    }

    #[test]
    fn numbers_of_values_end_where_mpi_s_do() {
        assert_eq!(count(2_147_483_647).ok(), Some(c_int::MAX));
        let error = count(2_147_483_648).unwrap_err().to_string();
        assert!(error.starts_with("2147483648 values are more"), "{error}");
    }
}
