//! What distributions' own tools say of the packages.

use anyhow::Result;

use super::Files;

pub(crate) fn run(_files: &Files) -> Result<()> {
    Ok(())
}
