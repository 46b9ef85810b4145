//! The collector with a reader that is held at a gate.
use std::{
    collections::BTreeMap,
    sync::{
        atomic::{AtomicU64, Ordering},
        mpsc::sync_channel,
    },
};

use anyhow::anyhow;
use tokio::time::timeout;

use super::*;

const PATIENCE: Duration = Duration::from_secs(10);

/// A model that says by its losses which reading it is.
fn model(reading: u64) -> Model {
    Model { losses: BTreeMap::from([("reading".to_owned(), reading)]), ..Model::empty() }
}

fn reading(outcome: &Outcome) -> Result<u64, &str> {
    outcome.as_ref().map(|model| model.losses["reading"]).map_err(String::as_str)
}

async fn ask(collector: &Collector) -> Outcome {
    timeout(PATIENCE, collector.snapshot()).await.unwrap()
}

async fn until_ready(collector: &Collector) {
    timeout(PATIENCE, collector.readiness.clone().wait_for(Result::is_ok)).await.unwrap().unwrap();
}

/// A reader that counts its readings, from 1.
fn counting() -> (ReadModel, Arc<AtomicU64>) {
    let count = Arc::new(AtomicU64::new(0));
    let mine = Arc::clone(&count);
    (Box::new(move || Ok(model(mine.fetch_add(1, Ordering::SeqCst) + 1))), count)
}

#[tokio::test]
async fn it_becomes_ready_without_being_asked() {
    let (read, count) = counting();
    let collector = Collector::start(read, None).unwrap();
    until_ready(&collector).await;
    assert_eq!(collector.ready(), Ok(()));
    assert_eq!(count.load(Ordering::SeqCst), 1);
}

#[tokio::test]
async fn every_request_after_an_answer_is_a_new_reading() {
    let collector = Collector::start(counting().0, None).unwrap();
    until_ready(&collector).await;
    for expected in 2..5 {
        assert_eq!(reading(&ask(&collector).await), Ok(expected));
    }
}

#[tokio::test]
async fn clients_that_ask_during_a_reading_share_the_next_one() {
    let (began, beginning) = sync_channel(100);
    let (open, gate) = sync_channel::<()>(100);
    let (mut read, count) = counting();
    let gated: ReadModel = Box::new(move || {
        began.send(())?;
        gate.recv()?;
        read()
    });
    let collector = Collector::start(gated, None).unwrap();
    beginning.recv_timeout(PATIENCE).unwrap();
    // The first reading is under way: it is too old for all of these.
    let clients: Vec<_> = (0..50).map(|_| collector.snapshot()).collect();
    open.send(()).unwrap();
    beginning.recv_timeout(PATIENCE).unwrap();
    let late = collector.snapshot();
    open.send(()).unwrap();
    for client in clients {
        assert_eq!(reading(&timeout(PATIENCE, client).await.unwrap()), Ok(2));
    }
    open.send(()).unwrap();
    assert_eq!(reading(&timeout(PATIENCE, late).await.unwrap()), Ok(3));
    assert_eq!(count.load(Ordering::SeqCst), 3);
}

#[tokio::test]
async fn a_client_that_hangs_up_disturbs_nobody() {
    let collector = Collector::start(counting().0, None).unwrap();
    drop(collector.snapshot());
    ask(&collector).await.unwrap();
}

#[tokio::test]
async fn a_failure_is_one_line_with_its_causes_and_the_next_reading_may_succeed() {
    let mut outcomes = [Err(anyhow!("no\nmap").context("cannot read")), Ok(model(7))].into_iter();
    let (open, gate) = sync_channel::<()>(2);
    let read: ReadModel = Box::new(move || {
        gate.recv()?;
        outcomes.next().unwrap_or_else(|| Err(anyhow!("nothing left")))
    });
    let collector = Collector::start(read, None).unwrap();
    assert_eq!(collector.ready(), Err("nothing has been read yet".to_owned()));
    open.send(()).unwrap();
    let failed = |ready: &Readiness| *ready == Err("cannot read: no map".to_owned());
    timeout(PATIENCE, collector.readiness.clone().wait_for(failed)).await.unwrap().unwrap();
    open.send(()).unwrap();
    assert_eq!(reading(&ask(&collector).await), Ok(7));
    drop(open);
    assert!(ask(&collector).await.is_err());
    assert_eq!(collector.ready(), Ok(()), "ready once is ready");
}

#[tokio::test]
async fn a_reader_that_panics_ends_the_collector_and_everybody_learns_it() {
    let collector = Collector::start(Box::new(|| panic!("on purpose")), None).unwrap();
    timeout(PATIENCE, collector.ended()).await.unwrap();
    assert_eq!(reading(&ask(&collector).await), Err(ENDED));
    assert_eq!(collector.ready(), Err(ENDED.to_owned()));
}

#[tokio::test]
async fn the_thread_ends_with_the_collector() {
    let collector = Collector::start(counting().0, Some(Duration::from_secs(3600))).unwrap();
    let ended = collector.ended();
    drop(collector);
    timeout(PATIENCE, ended).await.unwrap();
}

#[tokio::test]
async fn ticks_read_without_being_asked() {
    let (read, count) = counting();
    let _collector = Collector::start(read, Some(Duration::from_millis(2))).unwrap();
    let three = async {
        while count.load(Ordering::SeqCst) < 3 {
            tokio::time::sleep(Duration::from_millis(2)).await;
        }
    };
    timeout(PATIENCE, three).await.unwrap();
}

struct Resting {
    read: ReadModel,
    rests: Arc<AtomicU64>,
}

impl Reader for Resting {
    fn read(&mut self) -> anyhow::Result<Model> {
        self.read.read()
    }

    fn rest(&mut self) {
        self.rests.fetch_add(1, Ordering::SeqCst);
    }
}

#[tokio::test]
async fn a_reader_may_rest_after_each_reading() {
    let ((read, count), rests) = (counting(), Arc::new(AtomicU64::new(0)));
    let reader = Box::new(Resting { read, rests: Arc::clone(&rests) });
    let collector = Collector::start_reader(reader, None).unwrap();
    ask(&collector).await.unwrap();
    // The thread has ended when nobody can ask it any more, and not before.
    let ended = collector.ended();
    drop(collector);
    timeout(PATIENCE, ended).await.unwrap();
    assert_eq!((rests.load(Ordering::SeqCst), count.load(Ordering::SeqCst)), (2, 2));
}

#[track_caller]
fn check_tick(elapsed_ms: u64, interval_ms: u64, expected_ms: Option<u64>) {
    let next = next_tick(Duration::from_millis(elapsed_ms), Duration::from_millis(interval_ms));
    assert_eq!(next, expected_ms.map(Duration::from_millis));
}

#[test]
fn ticks_stay_on_their_grid_and_missed_ones_are_skipped() {
    check_tick(0, 1000, Some(1000));
    check_tick(1, 1000, Some(1000));
    check_tick(1000, 1000, Some(2000));
    check_tick(1015, 1000, Some(2000));
    check_tick(4999, 1000, Some(5000));
    check_tick(17, 0, None);
}
