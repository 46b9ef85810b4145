//! What to do about what the model says: in the words of the server that it concerns.
pub mod application;
