//! `top`: how the queues of every port are, live in a terminal.
//!
//! ```text
//! daemon or probe -> readings -> rows -> table -> view      keys -> state
//! ```
//!
//! * `readings` keeps the last models, and says what was counted between them,
//! * `rows` says of each port, and of each listener that shares one, what is shown,
//! * `order` says which row comes first, `columns` what of it has room,
//! * `state` is all that is remembered, and `keys` what a key makes of it,
//! * `view` draws a frame: `header`, `table` or `details`, in `words`,
//! * `live` is the edge: the terminal, the clock, signals, and whoever is read from.
//!
//! Everything but `live` is pure: a frame is a function of the state, and the state one of the models and the keys.
mod columns;
mod details;
mod header;
mod keys;
pub mod live;
mod order;
mod readings;
mod rows;
pub mod state;
mod table;
#[cfg(test)]
mod tests;
pub mod view;
mod words;
