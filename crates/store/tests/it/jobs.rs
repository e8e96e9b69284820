use domain::{JobId, JobState, Timestamp};
use store::jobs::{self, Claim, Claimed, NewJob, Repeat, Shares, Unique};
use store::{Store, Tx};

use crate::{on_every_database, read, write};

const LEASE_MS: i64 = 60_000;

const fn job(body: &'static str, run_at: i64) -> NewJob<'static> {
    NewJob {
        id: JobId::from_uuid(uuid::Uuid::nil()),
        kind: "k",
        body,
        lane: None,
        share: None,
        unique: None,
        run_at: Timestamp(run_at),
        at: Timestamp(0),
    }
}

async fn enqueue(store: &Store, job: NewJob<'static>) -> JobId {
    write(store, move |tx| jobs::enqueue(tx, &NewJob { id: JobId::new(), ..job })).await
}

async fn claim(store: &Store, limit: u32, now: i64, lease_ms: i64) -> Vec<Claimed> {
    claim_of("k", store, limit, now, lease_ms).await
}

async fn claim_of(kind: &'static str, store: &Store, limit: u32, now: i64, lease_ms: i64) -> Vec<Claimed> {
    let wanted = Claim { kind, limit, now: Timestamp(now), lease_ms, share_places: 2 };
    write(store, move |tx| {
        let mut shares = Shares::now(tx)?;
        jobs::claim(tx, wanted, &mut shares)
    })
    .await
}

fn bodies(claimed: &[Claimed]) -> Vec<&str> {
    claimed.iter().map(|job| job.body.as_str()).collect()
}

async fn count(store: &Store, state: JobState) -> usize {
    read(store, move |tx| jobs::list(tx, state, 100)).await.len()
}

async fn fenced(store: &Store, job: &Claimed, change: fn(&mut Tx, JobId, i64) -> Result<bool, store::StoreError>) -> bool {
    let (id, fence) = (job.id, job.fence);
    write(store, move |tx| change(tx, id, fence)).await
}

#[test]
fn due_jobs_are_claimed_once_and_in_the_order_of_their_time() {
    on_every_database(async |store| {
        for (body, run_at) in [("b", 20), ("a", 10), ("later", 31), ("c", 30)] {
            enqueue(&store, job(body, run_at)).await;
        }
        assert_eq!(read(&store, jobs::next_due).await, Some(Timestamp(10)));
        let kinds = async |now| read(&store, move |tx| jobs::due_kinds(tx, &["other", "k"], Timestamp(now))).await;
        assert_eq!((kinds(9).await, kinds(10).await), (vec![], vec!["k"]));
        assert_eq!(bodies(&claim(&store, 2, 30, LEASE_MS).await), ["a", "b"]);
        assert_eq!(bodies(&claim(&store, 9, 30, LEASE_MS).await), ["c"]);
        assert_eq!(bodies(&claim(&store, 9, 30, LEASE_MS).await), [""; 0]);
        assert_eq!(read(&store, jobs::next_due).await, Some(Timestamp(31)));
        assert_eq!(read(&store, |tx| jobs::next_after(tx, Timestamp(30))).await, Some(Timestamp(31)));
        assert_eq!(read(&store, |tx| jobs::next_after(tx, Timestamp(31))).await, None);
        assert_eq!(claim_of("other", &store, 9, 99, LEASE_MS).await, []);
    });
}

#[test]
fn whoever_lost_a_job_changes_nothing_any_more() {
    on_every_database(async |store| {
        enqueue(&store, job("a", 1)).await;
        let first = claim(&store, 1, 1, 0).await.remove(0);
        // Its lease is over at once, by the database's clock; whatever the time in which jobs are due.
        assert_eq!(read(&store, jobs::next_due).await, Some(Timestamp(0)));
        let second = claim(&store, 1, -1, LEASE_MS).await.remove(0);
        assert_eq!((first.attempt, second.attempt, first.id == second.id), (1, 2, true));
        assert!(!fenced(&store, &first, |tx, id, fence| jobs::hold(tx, id, fence, LEASE_MS)).await);
        assert!(!fenced(&store, &first, jobs::complete).await);
        fenced(&store, &first, |tx, id, fence| jobs::bury(tx, id, fence, Timestamp(9), "no").map(|()| true)).await;
        fenced(&store, &first, |tx, id, fence| jobs::retry(tx, id, fence, Timestamp(9), "no").map(|()| true)).await;
        fenced(&store, &first, |tx, id, fence| jobs::release(tx, id, fence, Timestamp(9)).map(|()| true)).await;
        assert_eq!(count(&store, JobState::Running).await, 1);
        assert!(fenced(&store, &second, |tx, id, fence| jobs::hold(tx, id, fence, LEASE_MS)).await);
        assert!(fenced(&store, &second, jobs::complete).await);
        assert!(!fenced(&store, &second, jobs::complete).await);
        assert_eq!(read(&store, jobs::next_due).await, None);
    });
}

#[test]
fn a_lane_keeps_its_order_also_while_its_first_job_waits_for_another_try() {
    on_every_database(async |store| {
        for (body, lane) in [("a1", "a"), ("b1", "b"), ("a2", "a"), ("b2", "b")] {
            enqueue(&store, NewJob { lane: Some(lane), ..job(body, 1) }).await;
        }
        let first = claim(&store, 9, 1, LEASE_MS).await;
        assert_eq!(bodies(&first), ["a1", "b1"]);
        fenced(&store, &first[0], |tx, id, fence| jobs::retry(tx, id, fence, Timestamp(50), "not yet").map(|()| true)).await;
        assert!(fenced(&store, &first[1], jobs::complete).await);
        assert_eq!(bodies(&claim(&store, 9, 10, LEASE_MS).await), ["b2"]);
        let again = claim(&store, 9, 50, LEASE_MS).await;
        assert_eq!((bodies(&again), again[0].attempt), (vec!["a1"], 2));
        fenced(&store, &again[0], |tx, id, fence| jobs::bury(tx, id, fence, Timestamp(51), "never").map(|()| true)).await;
        assert_eq!(bodies(&claim(&store, 9, 51, LEASE_MS).await), ["a2"], "a dead job holds up nobody");
    });
}

#[test]
fn a_share_has_two_places_and_takes_nobody_elses() {
    on_every_database(async |store| {
        for (body, share) in [("a1", "a"), ("a2", "a"), ("a3", "a"), ("a4", "a"), ("b1", "b")] {
            enqueue(&store, NewJob { share: Some(share), ..job(body, 1) }).await;
        }
        enqueue(&store, job("free", 2)).await;
        let first = claim(&store, 4, 2, LEASE_MS).await;
        assert_eq!(bodies(&first), ["a1", "a2", "b1", "free"], "what waits for a place has none of the others");
        assert_eq!(bodies(&claim(&store, 9, 2, LEASE_MS).await), [""; 0]);
        assert!(fenced(&store, &first[0], jobs::complete).await);
        fenced(&store, &first[1], |tx, id, fence| jobs::retry(tx, id, fence, Timestamp(50), "not yet").map(|()| true)).await;
        assert_eq!(bodies(&claim(&store, 9, 2, 0).await), ["a3", "a4"], "one that waits for another try has no place");
        // Their holder is dead: its leases have ended at once.
        assert_eq!(bodies(&claim(&store, 9, 2, LEASE_MS).await), ["a3", "a4"], "the dead have no places either");
        assert_eq!(bodies(&claim(&store, 9, 60, LEASE_MS).await), [""; 0]);
    });
}

#[test]
fn of_those_that_wait_there_is_one_for_each_key() {
    on_every_database(async |store| {
        let with = |body, run_at, at, repeat| NewJob {
            unique: Some(Unique { key: "x", repeat }),
            at: Timestamp(at),
            ..job(body, run_at)
        };
        let first = enqueue(&store, with("1", 100, 0, Repeat::Keep)).await;
        assert_eq!(enqueue(&store, with("2", 50, 10, Repeat::Keep)).await, first);
        let waiting = async || read(&store, |tx| jobs::waiting(tx, "k", "x")).await;
        assert_eq!(waiting().await.map(|job| (job.id, job.run_at)), Some((first, Timestamp(100))));
        assert_eq!(enqueue(&store, with("3", 200, 20, Repeat::PushBack { at_most_ms: 250 })).await, first);
        assert_eq!(waiting().await.map(|job| job.run_at), Some(Timestamp(200)));
        enqueue(&store, with("4", 300, 30, Repeat::PushBack { at_most_ms: 250 })).await;
        assert_eq!(waiting().await.map(|job| job.run_at), Some(Timestamp(250)), "it cannot be pushed back for ever");
        enqueue(&store, with("5", 10, 40, Repeat::Replace)).await;
        let running = claim(&store, 9, 10, LEASE_MS).await;
        assert_eq!(bodies(&running), ["5"]);
        // One that runs may have read what there was before, so another one waits.
        enqueue(&store, with("6", 20, 50, Repeat::Keep)).await;
        assert_eq!(count(&store, JobState::Waiting).await, 1);
        // And takes its place when it has to be tried again.
        fenced(&store, &running[0], |tx, id, fence| jobs::retry(tx, id, fence, Timestamp(99), "no").map(|()| true)).await;
        assert_eq!(bodies(&claim(&store, 9, 99, LEASE_MS).await), ["6"]);
        enqueue(&store, NewJob { kind: "other", ..with("7", 1, 60, Repeat::Keep) }).await;
        assert!(write(&store, |tx| jobs::cancel(tx, "k", "x")).await, "also while it runs");
        assert!(!write(&store, |tx| jobs::cancel(tx, "k", "x")).await);
        assert_eq!((count(&store, JobState::Waiting).await, count(&store, JobState::Running).await), (1, 0));
    });
}

#[test]
fn a_dead_job_can_be_looked_at_and_tried_anew() {
    on_every_database(async |store| {
        let key = Some(Unique { key: "x", repeat: Repeat::Keep });
        let id = enqueue(&store, NewJob { unique: key, ..job("a", 1) }).await;
        let claimed = claim(&store, 1, 1, LEASE_MS).await.remove(0);
        assert!(write(&store, move |tx| jobs::revive(tx, id, Timestamp(2))).await.is_none(), "it is not dead");
        fenced(&store, &claimed, |tx, id, fence| jobs::bury(tx, id, fence, Timestamp(7), "It is over.").map(|()| true)).await;
        let dead = read(&store, |tx| jobs::list(tx, JobState::Dead, 9)).await;
        assert_eq!(dead.len(), 1);
        assert_eq!((dead[0].id, dead[0].run_at, dead[0].attempts), (id, Timestamp(7), 1));
        assert_eq!(dead[0].error.as_deref(), Some("It is over."));
        // Its key is free, and reviving it takes nobody's place.
        enqueue(&store, NewJob { unique: key, ..job("b", 1) }).await;
        let revived = write(&store, move |tx| jobs::revive(tx, id, Timestamp(8))).await.unwrap();
        assert_eq!((revived.state, revived.attempts, revived.run_at), (JobState::Waiting, 0, Timestamp(8)));
        assert_eq!(bodies(&claim(&store, 9, 8, LEASE_MS).await), ["b", "a"]);
    });
}

#[test]
fn a_job_that_was_given_back_has_all_its_attempts() {
    on_every_database(async |store| {
        enqueue(&store, job("a", 1)).await;
        let claimed = claim(&store, 1, 1, LEASE_MS).await.remove(0);
        fenced(&store, &claimed, |tx, id, fence| jobs::release(tx, id, fence, Timestamp(2)).map(|()| true)).await;
        let again = claim(&store, 1, 2, LEASE_MS).await.remove(0);
        assert_eq!((again.attempt, again.fence > claimed.fence), (1, true));
        write(&store, jobs::end_leases).await;
        assert_eq!(claim(&store, 1, 0, LEASE_MS).await.len(), 1, "its holder is gone");
    });
}

#[test]
fn a_job_exists_only_if_its_cause_does() {
    on_every_database(async |store| {
        let failed: Result<(), store::StoreError> = store
            .write(|tx| {
                jobs::enqueue(tx, &NewJob { id: JobId::new(), ..job("a", 1) })?;
                Err(store::StoreError::Duplicate)
            })
            .await;
        assert!(failed.is_err());
        assert_eq!(count(&store, JobState::Waiting).await, 0);
    });
}
