//! The `emberlens` program: arguments in, an exit code out.

fn main() -> std::process::ExitCode {
    emberlens::cli::main()
}
