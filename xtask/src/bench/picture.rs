//! Pictures for the documentation, as SVG.

use std::fs;

use anyhow::{Context as _, Result};
use plotters::coord::Shift;
use plotters::prelude::*;

use crate::workspace;

/// What plotters fails with.
pub(super) type Drawn<T> = std::result::Result<T, Box<dyn std::error::Error>>;

/// A part of a picture.
pub(super) type Area<'a> = DrawingArea<SVGBackend<'a>, Shift>;

/// The picture that is drawn on a white sheet of so many points.
pub(super) fn on_white(size: (u32, u32), draw: impl FnOnce(&Area<'_>) -> Drawn<()>) -> Drawn<String> {
    let mut picture = String::new();
    {
        let sheet = SVGBackend::with_string(&mut picture, size).into_drawing_area();
        sheet.fill(&WHITE)?;
        draw(&sheet)?;
        sheet.present()?;
    }
    Ok(picture)
}

/// Writes one to its place in the repository.
pub(super) fn write(place: &str, picture: Drawn<String>) -> Result<()> {
    let picture = picture.map_err(|error| anyhow::anyhow!("cannot draw {place}: {error}"))?;
    fs::write(workspace::root().join(place), picture).with_context(|| format!("cannot write {place}"))
}
