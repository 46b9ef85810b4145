//! The two globals that the user side fills in before loading. Frozen `.rodata`:
//! the verifier knows their values and drops the branches that they switch off.
use probe_common::{kernel_offsets::KernelOffsets, settings::Settings};

/// Where the running kernel keeps its fields.
#[unsafe(no_mangle)]
pub(crate) static KERNEL_OFFSETS: KernelOffsets = KernelOffsets::UNSET;

/// What the user side decided.
#[unsafe(no_mangle)]
pub(crate) static SETTINGS: Settings = Settings::UNSET;

/// Reads one field of a global. Volatile: the compiler sees only the zeros of the object file.
macro_rules! global {
    ($global:ident . $($field:tt)+) => {{
        // SAFETY: a field of a static that is never written after loading.
        unsafe { core::ptr::read_volatile(&raw const $crate::settings::$global.$($field)+) }
    }};
}
pub(crate) use global;
