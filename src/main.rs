//! The `emberlens` program: arguments in, an exit code out.

#![forbid(unsafe_code)]

fn main() -> std::process::ExitCode {
    heap::keep_large_blocks();
    emberlens::cli::main()
}
