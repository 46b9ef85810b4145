//! What goes on beside measuring and answering until somebody asks the daemon to stop.
use std::time::Duration;

use tokio::time::{MissedTickBehavior, interval};

use super::{Collector, Signals, reload::Reload, service_manager, signals::Request};
use crate::web::SnapshotSource;

/// Reads the configuration again when asked to, and tells the service manager that the daemon lives. Returns when
/// the daemon is asked to stop.
pub async fn until_asked_to_stop(
    mut signals: Signals,
    mut reload: Reload,
    collector: Collector,
    status: String,
) {
    let watchdog = service_manager::watchdog_interval();
    let mut ticks = interval(watchdog.unwrap_or(Duration::MAX / 4));
    ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
    loop {
        tokio::select! {
            request = signals.next() => match request {
                Request::Stop => break,
                Request::Reload => {
                    service_manager::reloading();
                    reload.run();
                    service_manager::ready(&status);
                }
            },
            _ = ticks.tick(), if watchdog.is_some() => {
                // A reading that fails is a sign of life, too: a restart would not mend it.
                let _model_or_reason = collector.snapshot().await;
                service_manager::alive();
            }
        }
    }
    service_manager::stopping();
}
