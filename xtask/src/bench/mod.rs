//! `cargo xtask bench`: what the product costs those whom it watches, and what the daemon itself takes, beside others.

mod kernel;
mod loaded;
mod native;
mod netstat;
mod packets;
mod picture;
mod process;
mod spread;
mod stage;
mod table;
mod traffic;
mod user;

use anyhow::Result;

/// Measures what the product costs
#[derive(clap::Args)]
pub(crate) struct Arguments {
    #[command(subcommand)]
    what: What,
}

#[derive(clap::Subcommand)]
enum What {
    Kernel(kernel::Arguments),
    User(user::Arguments),
    Native(native::Arguments),
}

/// The command itself.
pub(crate) fn run(arguments: &Arguments) -> Result<()> {
    match &arguments.what {
        What::Kernel(arguments) => kernel::run(arguments),
        What::User(arguments) => user::run(arguments),
        What::Native(arguments) => native::run(arguments),
    }
}
