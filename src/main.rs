//! The reaperd program; everything is in the library.

use std::process::ExitCode;

fn main() -> ExitCode {
    reaperd::cli::main()
}
