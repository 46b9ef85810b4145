//! The model as JSON, for `/api/v1/snapshot` and `snapshot --json`.
//!
//! An envelope with a version, so that a reader knows what it holds: within a version fields are
//! only added. Integers keep all their digits.
use std::io;

use schemars::{JsonSchema, generate::SchemaSettings};
use serde::{Deserialize, Serialize};

use super::BuildInfo;
use crate::model::{Model, audit::report::AuditReport, methods::CounterMethod};

/// The version of [`Snapshot`]'s JSON form.
pub const SNAPSHOT_VERSION: u32 = 1;

/// What is written and can be read back; the model borrowed in the one case, owned in the other.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct Snapshot<M = Model, B = BuildInfo> {
    /// [`SNAPSHOT_VERSION`] of the writer.
    pub version: u32,
    /// What wrote it, and on what.
    pub build: B,
    /// Everything that is known.
    pub model: M,
    /// What `check` alone says.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub check: Option<Check>,
}

/// What `check` says beside the model.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct Check {
    /// By which method each number is counted under this plan.
    pub methods: Vec<CounterMethod>,
    /// What no port accounts for, by the daemon that runs, or else by the command itself.
    pub audit: AuditReport,
}

/// Writes the JSON schema of what [`write()`] writes.
///
/// # Errors
/// Those of the writer.
pub fn write_schema(writer: &mut impl io::Write) -> io::Result<()> {
    // What is written, in which no field is left out, and not what would be accepted.
    let settings = SchemaSettings::draft2020_12().for_serialize();
    let schema = settings.into_generator().into_root_schema_for::<Snapshot>();
    serde_json::to_writer_pretty(&mut *writer, &schema)?;
    writer.write_all(b"\n")
}

/// Writes the snapshot with indentation and a final line break.
///
/// # Errors
/// Those of the writer.
pub fn write(model: &Model, build: &BuildInfo, writer: &mut impl io::Write) -> io::Result<()> {
    write_snapshot(model, build, None, writer)
}

/// The same with what `check` says beside it.
///
/// # Errors
/// Those of the writer.
pub fn write_check(
    model: &Model,
    build: &BuildInfo,
    check: Check,
    writer: &mut impl io::Write,
) -> io::Result<()> {
    write_snapshot(model, build, Some(check), writer)
}

fn write_snapshot(
    model: &Model,
    build: &BuildInfo,
    check: Option<Check>,
    writer: &mut impl io::Write,
) -> io::Result<()> {
    let snapshot = Snapshot { version: SNAPSHOT_VERSION, build, model, check };
    serde_json::to_writer_pretty(&mut *writer, &snapshot)?;
    writer.write_all(b"\n")
}
