//! Who leaves, and who never does. The clock stands still unless a test moves it.
use std::time::Duration;

use tokio::time::{advance, timeout};

use super::*;

fn client(address: &str) -> Client {
    Client::at(address.parse().unwrap())
}

/// Who was told to leave.
async fn leaving(places: &[Option<Place>]) -> Vec<usize> {
    let mut leaving = Vec::new();
    for (index, place) in places.iter().enumerate() {
        let Some(place) = place else { continue };
        if timeout(Duration::ZERO, place.given_up()).await.is_ok() {
            leaving.push(index);
        }
    }
    leaving
}

/// Clients come in this order, one a second, each to a place; those in `answered` are being answered when one more comes.
async fn check(clients: &[&str], answered: &[usize], comes: &str, leaves: Option<usize>) {
    let all = Places::new(clients.len());
    let mut places = Vec::new();
    for address in clients {
        places.push(Some(all.take(client(address)).await));
        advance(Duration::from_secs(1)).await;
    }
    answered.iter().for_each(|index| places[*index].as_ref().unwrap().is_answered());
    let newcomer = tokio::spawn({
        let (all, client) = (Arc::clone(&all), client(comes));
        async move { all.take(client).await }
    });
    tokio::task::yield_now().await;
    assert!(!newcomer.is_finished(), "nobody has left yet");
    assert_eq!(leaving(&places).await, Vec::from_iter(leaves), "{clients:?} {answered:?} {comes}");
    if let Some(index) = leaves {
        places[index] = None;
        newcomer.await.unwrap();
    } else {
        newcomer.abort();
    }
}

#[tokio::test(start_paused = true)]
async fn the_client_with_the_most_waiting_connections_loses_its_oldest() {
    let (scraper, flood) = ("192.0.2.1", "192.0.2.9");
    check(&[scraper, flood, flood, flood], &[], flood, Some(1)).await;
    check(&[scraper, flood, flood, flood], &[], scraper, Some(1)).await;
    check(&[flood, scraper, flood], &[0], scraper, Some(1)).await;
    check(&["2001:db8::1", "2001:db8:0:1::1", "2001:db8::2"], &[], flood, Some(0)).await;
    check(&["::ffff:192.0.2.9", scraper, flood], &[], scraper, Some(0)).await;
}

#[tokio::test(start_paused = true)]
async fn among_equals_the_oldest_leaves() {
    check(&["192.0.2.1", "192.0.2.2", "192.0.2.3"], &[], "192.0.2.4", Some(0)).await;
    check(&["192.0.2.1", "192.0.2.2", "192.0.2.3"], &[0], "192.0.2.4", Some(1)).await;
}

#[tokio::test(start_paused = true)]
async fn whoever_is_being_answered_stays_and_leaves_as_soon_as_he_is_not() {
    check(&["192.0.2.1", "192.0.2.2"], &[0, 1], "192.0.2.3", None).await;
    let all = Places::new(1);
    let place = all.take(client("192.0.2.1")).await;
    place.is_answered();
    let newcomer = tokio::spawn({
        let all = Arc::clone(&all);
        async move { all.take(client("192.0.2.2")).await }
    });
    tokio::task::yield_now().await;
    place.waits();
    timeout(Duration::from_secs(1), place.given_up()).await.unwrap();
    drop(place);
    timeout(Duration::from_secs(1), newcomer).await.unwrap().unwrap();
}

#[tokio::test(start_paused = true)]
async fn one_newcomer_costs_one_place() {
    let all = Places::new(3);
    let mut places = Vec::new();
    for _ in 0..3 {
        places.push(Some(all.take(Client::default()).await));
        advance(Duration::from_secs(1)).await;
    }
    let newcomer = tokio::spawn({
        let all = Arc::clone(&all);
        async move { all.take(Client::default()).await }
    });
    for _ in 0..5 {
        tokio::task::yield_now().await;
        places.iter().flatten().for_each(Place::waits);
    }
    assert_eq!(leaving(&places).await, [0]);
    places[0] = None;
    newcomer.await.unwrap();
}
