//! The user side of tcp-backlog-probe: from kernel hooks, sock_diag and /proc to numbers that say which
//! listening sockets lose connections. docs/ARCHITECTURE.md is the map; the binary only calls [`cli`].
pub mod advice;
pub mod cli;
pub mod config;
pub mod daemon;
pub mod host;
pub mod kernel;
pub mod logging;
pub mod metrics;
pub mod model;
pub mod netns;
pub mod plan;
pub mod prove;
pub mod readers;
pub mod render;
pub mod sample;
pub mod sorted;
pub mod top;
pub mod web;
