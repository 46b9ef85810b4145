//! `cargo xtask bench`: what the daemon costs, measured beside what others cost, in networks of its own.

mod native;
mod process;
mod spread;
mod stage;
mod table;
mod traffic;
mod user;

use anyhow::Result;

/// Measures what the daemon costs
#[derive(clap::Args)]
pub(crate) struct Arguments {
    #[command(subcommand)]
    what: What,
}

#[derive(clap::Subcommand)]
enum What {
    User(user::Arguments),
    Native(native::Arguments),
}

pub(crate) fn run(arguments: &Arguments) -> Result<()> {
    match &arguments.what {
        What::User(arguments) => user::run(arguments),
        What::Native(arguments) => native::run(arguments),
    }
}
