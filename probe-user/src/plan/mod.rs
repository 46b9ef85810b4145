//! From facts about the host to what shall be attached where. Pure: no I/O.
pub mod catalogue;
pub mod decide;
pub mod discard_sites;
pub mod hook;
pub mod kernel_types;
pub mod offsets;
pub mod outcome;
pub mod sizes;
#[cfg(test)]
mod test_btf;
pub mod wishes;
