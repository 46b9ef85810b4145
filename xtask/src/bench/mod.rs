//! `cargo xtask bench`: what the product costs those whom it watches.

mod kernel;

use anyhow::Result;

/// Measures what being watched costs
#[derive(clap::Args)]
pub(crate) struct Arguments {
    #[command(subcommand)]
    what: What,
}

#[derive(clap::Subcommand)]
enum What {
    Kernel(kernel::Arguments),
}

/// The command itself.
pub(crate) fn run(arguments: &Arguments) -> Result<()> {
    match &arguments.what {
        What::Kernel(arguments) => kernel::run(arguments),
    }
}
