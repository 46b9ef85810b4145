//! Times single steps of the same kind, for what an ordinary one costs.
//!
//! Of a thousand connections to a bare kernel three in four cost the same, to ten instructions. The others come upon the
//! kernel's timer, a page for a slab or the end of a grace period, which takes up to two hundred thousand, now in this
//! batch and now in the next. So a mean moves by 300 from batch to batch and the median by none, and it is the median
//! that shows what is added to each connection.

use std::time::Instant;

use anyhow::Result;

use super::statistics::median;

/// Steps of one kind.
pub(super) struct Stopwatch(Vec<f64>);

impl Stopwatch {
    /// Without room for so many it would have to ask for memory in between.
    pub(super) fn for_steps(count: u32) -> Self {
        Self(Vec::with_capacity(usize::try_from(count).unwrap_or_default()))
    }

    /// Runs a step. In a machine that counts instructions its clock's nanoseconds are instructions.
    pub(super) fn time<T>(&mut self, step: impl FnOnce() -> Result<T>) -> Result<T> {
        let started = Instant::now();
        let result = step();
        self.0.push(started.elapsed().as_secs_f64() * 1e9);
        result
    }

    /// Instructions of an ordinary step.
    pub(super) fn of_a_step(self) -> f64 {
        median(&self.0).unwrap_or_default()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_timer_of_the_kernel_does_not_count() {
        let mut steps = vec![100.0; 11];
        steps.extend([110.0; 8]);
        steps.push(20_000.0);
        assert_eq!(Stopwatch(steps).of_a_step(), 100.0);
    }

    #[test]
    fn a_step_that_fails_says_so() {
        let mut stopwatch = Stopwatch::for_steps(1);
        assert_eq!(stopwatch.time(|| Ok(7)).unwrap(), 7);
        assert!(stopwatch.time(|| -> Result<()> { anyhow::bail!("no") }).is_err());
    }
}
