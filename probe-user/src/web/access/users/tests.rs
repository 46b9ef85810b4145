//! Who is let in, how often that is dear, and what a flood of guesses costs.
use std::time::Duration;

use super::*;

/// As cheap as a hash may be.
fn hash(password: &str) -> Arc<str> {
    Arc::from(bcrypt::hash(password, LEAST_COST).unwrap())
}

fn users() -> Users {
    let hashes = [("alice", "wonderland"), ("bob", "")].map(|(name, word)| (name.to_owned(), hash(word)));
    Users::new(hashes.into_iter().collect()).unwrap()
}

fn headers(value: &str) -> HeaderMap {
    let mut headers = HeaderMap::new();
    headers.insert(AUTHORIZATION, value.parse().unwrap());
    headers
}

fn basic(text: impl AsRef<[u8]>) -> HeaderMap {
    headers(&format!("Basic {}", STANDARD.encode(text)))
}

async fn check(headers: HeaderMap, expected: bool) {
    let users = users();
    for _ in 0..3 {
        assert_eq!(users.admit(&headers).await, expected, "{headers:?}");
    }
}

#[tokio::test]
async fn a_users_password_opens_and_nothing_else_does() {
    check(basic("alice:wonderland"), true).await;
    check(headers(&format!("bAsIc  {}", STANDARD.encode("alice:wonderland"))), true).await;
    check(basic("bob:"), true).await;
    check(basic("alice:"), false).await;
    check(basic("alice:Wonderland"), false).await;
    check(basic("alice:wonderland\0"), false).await;
    check(basic("bob:wonderland"), false).await;
    check(basic("carol:wonderland"), false).await;
    check(basic("carol:"), false).await;
    check(basic(":"), false).await;
    check(basic("alice"), false).await;
    check(basic(b"\xff:wonderland"), false).await;
    check(headers("Basic !!!"), false).await;
    check(headers("Basic"), false).await;
    check(headers("Bearer abc"), false).await;
    check(HeaderMap::new(), false).await;
}

#[tokio::test]
async fn a_right_password_is_checked_once_however_many_ask_at_once() {
    let dear = Arc::from(bcrypt::hash("wonderland", 12).unwrap());
    let users = Arc::new(Users::new([("alice".to_owned(), dear)].into_iter().collect()).unwrap());
    let ask = || {
        let users = Arc::clone(&users);
        tokio::spawn(async move { users.admit(&basic("alice:wonderland")).await })
    };
    let begun = Instant::now();
    assert!(ask().await.unwrap());
    let first = begun.elapsed();
    let begun = Instant::now();
    for asked in [(); 50].map(|()| ask()) {
        assert!(asked.await.unwrap());
    }
    assert!(begun.elapsed() < first, "{first:?} once, then {:?} for 50", begun.elapsed());
    // A neighbour of the right one is not taken for it.
    assert!(!users.admit(&basic("alice:wonderlan")).await);
}

#[tokio::test]
async fn after_a_wrong_password_the_next_check_waits_even_if_the_client_has_gone() {
    let users = users();
    let wrong = basic("alice:guess");
    let gone = tokio::time::timeout(Duration::ZERO, users.admit(&wrong)).await;
    assert!(gone.is_err(), "a check ended at once");
    assert_eq!(users.turn.available_permits(), 0, "the check goes on");
    // And gives the turn back: others are checked.
    assert!(tokio::time::timeout(Duration::from_secs(10), users.admit(&basic("bob:"))).await.unwrap());
}

#[test]
fn somebody_who_does_not_exist_is_as_dear_as_the_dearest() {
    let hashes = [("a", 4), ("b", 6), ("c", 5)]
        .map(|(name, cost)| (name.to_owned(), Arc::from(bcrypt::hash("x", cost).unwrap())));
    let users = Users::new(hashes.into_iter().collect()).unwrap();
    assert_eq!(cost_of(&users.nobodys_hash), Ok(6));
    assert!(!bcrypt::verify("", &users.nobodys_hash).unwrap());
}

#[test]
fn only_hashes_that_can_be_checked_in_time_are_accepted() {
    let check = |hash: &str, expected: Result<u32, &str>| {
        let actual = cost_of(hash);
        assert_eq!(actual.as_ref().ok().copied(), expected.ok(), "{hash}");
        if let (Err(actual), Err(expected)) = (&actual, expected) {
            assert!(actual.starts_with(expected) && actual.contains("htpasswd"), "{actual}");
        }
    };
    let tail = ".".repeat(53);
    check(&format!("$2y$10${tail}"), Ok(10));
    check(&format!("$2a$16${tail}"), Ok(16));
    check(&format!("$2b$17${tail}"), Err("has cost 17"));
    check(&format!("$2b$03${tail}"), Err("has cost 3"));
    check(&format!("$1$10${tail}"), Err("is no bcrypt hash"));
    check("wonderland", Err("is no bcrypt hash"));
    check("{SHA}5en6G6MezRroT3XKqkdPOmY/BfQ=", Err("is no bcrypt hash"));
}
