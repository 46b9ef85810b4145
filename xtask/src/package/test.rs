//! `cargo xtask package test`: the package for Debian on a Debian system of its own, from its installation to its end, and
//! on the days between that are bad.
//!
//! The tests are a script ([`system::SCRIPT`]) that systemd starts as the system's only other service. The system runs
//! in namespaces of this machine, which is quick, and on a kernel of the lab, which has all controllers and nobody else.

mod machine;
mod native;
mod system;

use anyhow::Result;

use self::system::System;
use super::{Release, deb_of, folder, make};
use crate::libtest::{Follower, Results};
use crate::{AlreadyReported, setup, workspace};

/// Installs, runs, upgrades, breaks and removes the package for Debian: on this machine, and on kernels of the lab
#[derive(clap::Args)]
pub(crate) struct Arguments {
    /// Kernels of the lab to try it on
    #[arg(long = "kernel", value_name = "LINE", default_value = "6.12")]
    kernels: Vec<String>,
    /// Leave the lab out
    #[arg(long)]
    no_vm: bool,
    /// Leave this machine out
    #[arg(long)]
    no_native: bool,
    /// Show everything that the machines say
    #[arg(long)]
    verbose: bool,
    /// Take the packages that were made last
    #[arg(long)]
    keep: bool,
}

pub(crate) fn run(arguments: &Arguments) -> Result<()> {
    anyhow::ensure!(workspace::is_root(), "package test: installing packages takes root");
    let first = Release::current(1)?;
    if !arguments.keep {
        make(&first)?;
    }
    let (first, second) = (folder().join(first.deb_name()), deb_of(&Release::current(2)?)?);
    let source = setup::debian_system::provide()?;
    let system = System { source: &source, first: &first, second: &second };
    let mut results = Results::default();
    if !arguments.no_native {
        println!("package test: in namespaces of this machine");
        let mut follower = Follower::default();
        native::run(&system, |line| {
            println!("{line}");
            follower.line(line);
        })?;
        results += follower.end();
    }
    if !arguments.no_vm {
        for label in &arguments.kernels {
            results += machine::run(&system, label, arguments.verbose)?;
        }
    }
    println!("{results}");
    if results.counts.failed > 0 || results.counts.passed == 0 { Err(AlreadyReported.into()) } else { Ok(()) }
}
