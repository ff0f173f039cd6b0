use std::cell::{Cell, RefCell};
use std::collections::HashSet;

use proptest::prelude::*;
use rand::{RngExt, SeedableRng, rngs::StdRng};
use slipway_shell::CancellationToken;
use tokio::time::{Instant, sleep};

use super::fake::{Engine, Fate, Way};
use super::*;

const APP: &str = "web";

pub(super) fn who(token: &str) -> Who {
    Who {
        owner: format!("{token}@ci"),
        build_url: None,
        deploy_id: format!("deploy-{token}"),
        token: token.to_owned(),
        process: None,
    }
}

pub(super) fn generation(number: u64, token: &str) -> Generation {
    let labels = generation::labels(APP, Timestamp::UNIX_EPOCH, &who(token));
    Generation::read(APP, &generation::name(APP, number), None, &labels).unwrap()
}

fn way(engine: &Engine) -> Way<'_, impl Fn() -> Fate> {
    Way { engine, fate: || Fate::Done(1, 1) }
}

async fn take<'a, L: Leases>(
    leases: &'a L,
    token: &str,
    wait: u64,
) -> std::result::Result<Lease<'a, L>, LockError> {
    let never = CancellationToken::new();
    acquire(leases, APP, &who(token), Duration::from_secs(wait), &mut |_| (), &never).await
}

fn lost(result: std::result::Result<(), LockError>) -> Lost {
    match result {
        Err(LockError::Lost(lost)) => lost,
        other => panic!("{other:?}"),
    }
}

#[tokio::test(start_paused = true)]
async fn it_is_held_for_as_long_as_the_work_takes() {
    let engine = Engine::new();
    let host = way(&engine);
    let lease = take(&host, "a", 0).await.unwrap();
    let work = async {
        sleep(Duration::from_secs(100)).await;
        let Err(LockError::Held { held, .. }) = take(&host, "b", 3).await else { panic!() };
        assert_eq!((held.owner.as_str(), held.deploy_id.as_str()), ("a@ci", "deploy-a"));
        assert!(held.age.as_secs() >= 103 && held.renewed.as_secs() <= 5 && !held.dead);
        lease.check().await.unwrap();
        7
    };
    assert_eq!(lease.hold(work).await, 7);
    lease.release().await.unwrap();
    assert_eq!(engine.tokens(), []);
    assert_eq!(look(&host, APP).await.unwrap(), None);
    take(&host, "b", 0).await.unwrap();
}

#[tokio::test(start_paused = true)]
async fn a_holder_that_died_is_replaced() {
    let engine = Engine::new();
    let host = way(&engine);
    drop(take(&host, "a", 0).await.unwrap());
    assert!(matches!(take(&host, "b", 0).await, Err(LockError::Held { .. })));
    let (begun, told) = (Instant::now(), RefCell::new(Vec::new()));
    let lease = acquire(
        &host,
        APP,
        &who("b"),
        Duration::from_secs(30),
        &mut |held| told.borrow_mut().push(held.owner.clone()),
        &CancellationToken::new(),
    )
    .await
    .unwrap();
    assert!(begun.elapsed() < Duration::from_secs(23));
    assert_eq!(told.into_inner(), ["a@ci"], "each holder is told once");
    assert!(engine.tokens().iter().all(|(_, token)| token == "b"));
    lease.check().await.unwrap();
}

#[tokio::test(start_paused = true)]
async fn one_that_died_on_this_machine_is_replaced_at_once() {
    let engine = Engine::new();
    let host = way(&engine);
    let (mut child, process) = process::tests::child();
    let dying = Who { process: Some(process), ..who("a") };
    let never = CancellationToken::new();
    drop(acquire(&host, APP, &dying, Duration::ZERO, &mut |_| (), &never).await.unwrap());
    assert!(matches!(take(&host, "b", 0).await, Err(LockError::Held { .. })));
    child.kill().unwrap();
    child.wait().unwrap();
    assert!(look(&host, APP).await.unwrap().unwrap().dead);
    take(&host, "b", 0).await.unwrap();
}

#[tokio::test(start_paused = true)]
async fn a_broken_lock_is_noticed_and_left_to_the_next() {
    let engine = Engine::new();
    let host = way(&engine);
    let lease = take(&host, "a", 0).await.unwrap();
    lease.hold(sleep(Duration::from_secs(9))).await;
    assert_eq!(break_lock(&host, APP).await.unwrap().unwrap().owner, "a@ci");
    assert_eq!(break_lock(&host, APP).await.unwrap(), None);
    assert_eq!(lost(lease.check().await), Lost::Broken { app: APP.into() });
    assert_eq!(engine.tokens(), []);

    let next = take(&host, "b", 0).await.unwrap();
    assert_eq!(lost(lease.check().await), Lost::Broken { app: APP.into() });
    let theirs = engine.tokens();
    lease.release().await.unwrap();
    assert_eq!(engine.tokens(), theirs, "a lease that was lost takes nothing along");
    next.check().await.unwrap();
}

#[tokio::test(start_paused = true)]
async fn work_goes_on_under_a_lost_lock_and_is_told_when_it_asks() {
    let engine = Engine::new();
    let host = way(&engine);
    let lease = take(&host, "a", 0).await.unwrap();
    let work = async {
        break_lock(&host, APP).await.unwrap();
        let _other = take(&host, "b", 0).await.unwrap();
        sleep(Duration::from_secs(19)).await;
        lost(lease.check().await)
    };
    let by = "b@ci".to_owned();
    assert_eq!(lease.hold(work).await, Lost::Taken { app: APP.into(), by });
}

#[tokio::test(start_paused = true)]
async fn a_cut_that_nobody_used_is_survived() {
    let (engine, cut) = (Engine::new(), Cell::new(false));
    let fate = || if cut.get() { Fate::Refused } else { Fate::Done(1, 1) };
    let host = Way { engine: &engine, fate };
    let lease = take(&host, "a", 0).await.unwrap();
    cut.set(true);
    lease.hold(sleep(Duration::from_secs(300))).await;
    assert!(matches!(lease.check().await, Err(LockError::Host(_))));
    cut.set(false);
    lease.check().await.unwrap();
    assert!(matches!(take(&host, "b", 0).await, Err(LockError::Held { .. })));
}

#[tokio::test(start_paused = true)]
async fn a_cut_that_somebody_used_is_not() {
    let (engine, cut) = (Engine::new(), Cell::new(false));
    let fate = || if cut.get() { Fate::Refused } else { Fate::Done(1, 1) };
    let ours = Way { engine: &engine, fate };
    let theirs = way(&engine);
    let lease = take(&ours, "a", 0).await.unwrap();
    cut.set(true);
    let next = lease.hold(take(&theirs, "b", 30)).await.unwrap();
    cut.set(false);
    assert!(matches!(lost(lease.check().await), Lost::Taken { .. }));
    next.check().await.unwrap();
}

#[tokio::test(start_paused = true)]
async fn a_clock_that_is_set_back_holds_nobody_for_long() {
    let engine = Engine::new();
    let host = way(&engine);
    drop(take(&host, "a", 0).await.unwrap());
    engine.set.set(-86_400);
    let lease = take(&host, "b", 30).await.unwrap();
    lease.hold(sleep(Duration::from_secs(60))).await;
    lease.check().await.unwrap();
}

#[tokio::test(start_paused = true)]
async fn a_clock_that_is_set_does_not_end_a_lease_that_is_renewed() {
    let engine = Engine::new();
    let host = way(&engine);
    let lease = take(&host, "a", 0).await.unwrap();
    for seconds in [-86_400, 86_400] {
        engine.set.set(seconds);
        lease.hold(sleep(Duration::from_secs(6))).await;
        assert!(matches!(lease.hold(take(&host, "b", 50)).await, Err(LockError::Held { .. })));
        lease.check().await.unwrap();
    }
}

#[tokio::test(start_paused = true)]
async fn names_of_volumes_without_labels_are_passed_over() {
    let engine = Engine::new();
    let first = 1_800_000_000_000;
    engine.corpses.replace([0, 1, 3, 4].map(|n| first + n).to_vec());
    let host = way(&engine);
    let lease = take(&host, "a", 0).await.unwrap();
    lease.hold(sleep(Duration::from_secs(30))).await;
    lease.check().await.unwrap();
}

#[tokio::test(start_paused = true)]
async fn of_many_at_once_one_gets_a_free_lock() {
    for _ in 0..50 {
        let engine = Engine::new();
        let fate = || Fate::Done(rand::random_range(0..20), rand::random_range(0..20));
        let host = Way { engine: &engine, fate };
        let tokens = ["a", "b", "c", "d"];
        let all = futures_util::future::join_all(tokens.map(|token| take(&host, token, 0))).await;
        assert_eq!(all.iter().filter(|one| one.is_ok()).count(), 1);
    }
}

#[tokio::test(start_paused = true)]
async fn a_signal_ends_the_wait_and_leaves_nothing() {
    let engine = Engine::new();
    let host = way(&engine);
    let lease = take(&host, "a", 0).await.unwrap();
    let cancelled = CancellationToken::new();
    let wait = Duration::from_secs(300);
    let b = who("b");
    let mut waiting = |_: &Held| cancelled.cancel();
    let result = acquire(&host, APP, &b, wait, &mut waiting, &cancelled).await;
    assert!(matches!(result, Err(LockError::Interrupted)));
    assert!(engine.tokens().iter().all(|(_, token)| token == "a"));
    lease.check().await.unwrap();
}

/// For so long after a check nobody else passes one: what [`Lease::check`] promises.
const GOOD: Duration = Duration::from_secs(10);

/// Who passed a check when it ended, or gave the lock up.
#[derive(Debug)]
struct Event {
    at: Instant,
    token: String,
    ours: bool,
}

/// One that deploys again and again, and dies or is cut off now and then.
async fn deployer(engine: &Engine, name: &str, seed: u64, journal: &RefCell<Vec<Event>>) {
    let rng = RefCell::new(StdRng::seed_from_u64(seed));
    let cut = Cell::new(Instant::now());
    let fate = || {
        let mut rng = rng.borrow_mut();
        if cut.get() > Instant::now() {
            return Fate::Refused;
        }
        match rng.random_range(0..200) {
            0 => Fate::Refused,
            1 => Fate::Unanswered,
            2 => Fate::Late(rng.random_range(0..40)),
            3 => Fate::Done(rng.random_range(0..12_000), 1),
            4 => Fate::Done(1, rng.random_range(0..12_000)),
            5 => {
                cut.set(Instant::now() + Duration::from_secs(rng.random_range(1..60)));
                Fate::Unanswered
            }
            _ => Fate::Done(rng.random_range(0..30), rng.random_range(0..30)),
        }
    };
    let host = Way { engine, fate };
    let pause = |most: u64| {
        let millis = rng.borrow_mut().random_range(0..most);
        sleep(Duration::from_millis(millis))
    };
    let note = |token: &str, ours| {
        let event = Event { at: Instant::now(), token: token.to_owned(), ours };
        journal.borrow_mut().push(event);
    };
    for turn in 0..6 {
        let token = format!("{name}{turn}");
        pause(3_000).await;
        let Ok(lease) = take(&host, &token, 40).await else {
            pause(60_000).await;
            continue;
        };
        note(&token, true);
        let work = async {
            for _ in 0..3 {
                pause(12_000).await;
                match lease.check().await {
                    Ok(()) => note(&token, true),
                    Err(LockError::Lost(_)) => break,
                    Err(_) => {}
                }
            }
        };
        lease.hold(work).await;
        // What a holder that ends or dies did before is over.
        note(&token, false);
        let dies = rng.borrow_mut().random_range(0..3) == 0;
        if !dies {
            let _ = lease.release().await;
        }
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(40))]
    #[test]
    fn no_two_have_it_at_the_same_moment(seed: u64) {
        let runtime =
            tokio::runtime::Builder::new_current_thread().enable_time().start_paused(true).build().unwrap();
        runtime.block_on(async {
            let (engine, journal) = (Engine::new(), RefCell::default());
            let one = |name, n| deployer(&engine, name, seed.wrapping_add(n), &journal);
            tokio::join!(one("a", 1), one("b", 2), one("c", 3));
            let mut last: Option<Event> = None;
            let mut holders = HashSet::new();
            for event in journal.into_inner() {
                if !event.ours {
                    last.take_if(|last| last.token == event.token);
                    continue;
                }
                if let Some(last) = &last {
                    let apart = event.at - last.at;
                    assert!(last.token == event.token || apart >= GOOD, "{last:?} and {event:?}");
                }
                holders.insert(event.token.clone());
                last = Some(event);
            }
            assert!(!holders.is_empty(), "nobody ever got it");
            // Whatever happened, it is free in the end.
            sleep(Duration::from_secs(45)).await;
            look(&way(&engine), APP).await.unwrap();
            sleep(LEASE + Duration::from_secs(1)).await;
            take(&way(&engine), "z", 0).await.unwrap();
        });
    }

    /// A break takes the lock from its holder, whatever that is doing at the moment.
    #[test]
    fn a_break_is_noticed_by_the_next_check(at in 0_u64..9_000, there in 0_u64..40, back in 0_u64..40) {
        let runtime =
            tokio::runtime::Builder::new_current_thread().enable_time().start_paused(true).build().unwrap();
        runtime.block_on(async {
            let engine = Engine::new();
            let slow = Way { engine: &engine, fate: || Fate::Done(there, back) };
            let lease = take(&slow, "a", 0).await.unwrap();
            let work = async {
                sleep(Duration::from_millis(at)).await;
                break_lock(&way(&engine), APP).await.unwrap();
                lost(lease.check().await);
            };
            lease.hold(work).await;
            assert_eq!(engine.tokens(), []);
        });
    }
}
