//! The `trunkline` program; everything it does is in the library.

fn main() -> std::process::ExitCode {
    trunkline::cli::main()
}
