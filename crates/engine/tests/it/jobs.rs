//! Jobs: enqueued with their cause, tried until they are done or dead, completed once.

use std::time::Duration;

use domain::{JobId, JobState, Principal};
use engine::Error;
use engine::jobs::{Repeat, Unique};
use store::StoreError;
use tempfile::tempdir;

use crate::jobs_world::{AT_ONCE, Act, Step, World};

#[tokio::test]
async fn a_job_runs_when_its_cause_has_committed_and_only_then() {
    let directory = tempdir().unwrap();
    let world = World::open(directory.path()).await;
    let (act, queue) = (world.act("no", None, &[Step::Complete]), world.engine.queue());
    let refused: Result<(), StoreError> = world
        .store
        .write(move |tx| {
            queue.enqueue(tx, &act, queue.now(), None)?;
            Err(StoreError::Duplicate)
        })
        .await;
    assert!(refused.is_err());
    world.enqueue("yes", None, &[Step::Complete]).await;
    world.read("end yes 1").await;
    assert_eq!((world.marks().await, world.diary().len()), (1, 2));
    world.close().await;
}

#[tokio::test]
async fn a_job_is_tried_again_after_the_back_off_and_not_before() {
    let directory = tempdir().unwrap();
    let world = World::open(directory.path()).await;
    world.enqueue("a", None, &[Step::Retry, Step::Retry, Step::Complete]).await;
    for (attempt, wait) in [(1, 1000), (2, 60_000)] {
        world.read(&format!("begin a {attempt}")).await;
        world.has(JobState::Waiting, 1).await;
        let waiting = world.jobs(JobState::Waiting).await.remove(0);
        let due_in = waiting.run_at.millis_since(domain::Clock::now(&world.clock));
        assert!((wait..=wait + wait / 20).contains(&due_in), "{due_in} ms after attempt {attempt}");
        assert_eq!((waiting.attempts, waiting.error.as_deref()), (attempt, Some("Not yet.")));
        world.turn_clock(i64::try_from(due_in).unwrap() - 1);
        tokio::time::sleep(Duration::from_millis(50)).await;
        assert_eq!(world.jobs(JobState::Waiting).await.len(), 1);
        world.turn_clock(1);
    }
    world.read("end a 3").await;
    assert_eq!(world.marks().await, 1);
    world.close().await;
}

#[tokio::test]
async fn an_error_may_say_when_to_try_again() {
    let directory = tempdir().unwrap();
    let world = World::open(directory.path()).await;
    world.enqueue("a", None, &[Step::RetryAfter(7), Step::Complete]).await;
    world.read("begin a 1").await;
    world.has(JobState::Waiting, 1).await;
    world.turn_clock(7);
    world.read("end a 2").await;
    world.close().await;
}

#[tokio::test]
async fn a_job_that_fails_for_good_can_be_listed_and_retried() {
    let directory = tempdir().unwrap();
    let world = World::open(directory.path()).await;
    world.enqueue("gone", None, &[Step::Fail]).await;
    world.enqueue("worn out", None, &[Step::Retry, Step::Panic, Step::Retry]).await;
    world.has(JobState::Dead, 1).await;
    for attempt in 1..3 {
        world.read(&format!("begin worn out {attempt}")).await;
        world.has(JobState::Waiting, 1).await;
        world.turn_clock(70_000);
    }
    world.has(JobState::Dead, 2).await;
    let dead = world.jobs(JobState::Dead).await;
    assert_eq!(
        dead.iter().map(|job| (job.attempts, job.error.as_deref())).collect::<Vec<_>>(),
        [(3, Some("Not yet.")), (1, Some("Never."))]
    );
    let retried = world.engine.retry_job(Principal::Owner, dead[0].id).await.unwrap();
    assert_eq!((retried.id, retried.attempts), (dead[0].id, 0));
    // It does what it does first, and so waits once more.
    world
        .until("a second first attempt", async |world| {
            world.diary().iter().filter(|line| *line == "begin worn out 1").count() == 2
        })
        .await;
    assert!(matches!(world.engine.retry_job(Principal::Owner, JobId::new()).await, Err(Error::NotFound)));
    assert_eq!(world.marks().await, 0);
}

#[tokio::test]
async fn a_panic_is_a_failed_attempt_and_harms_no_other_job() {
    let directory = tempdir().unwrap();
    let world = World::open(directory.path()).await;
    world.enqueue("a", None, &[Step::Panic, Step::Complete]).await;
    world.enqueue("b", None, &[Step::Complete]).await;
    world.read("end b 1").await;
    world.read("begin a 1").await;
    world.has(JobState::Waiting, 1).await;
    world.turn_clock(1050);
    world.read("end a 2").await;
    world.close().await;
}

/// How many run at once is counted in the diary.
fn most_at_once(diary: &[String]) -> usize {
    let mut most = 0;
    let mut now: usize = 0;
    for line in diary {
        if line.starts_with("begin") {
            now += 1;
        } else {
            now = now.saturating_sub(1);
        }
        most = most.max(now);
    }
    most
}

#[tokio::test]
async fn of_one_kind_only_so_many_run_at_once() {
    let directory = tempdir().unwrap();
    let world = World::open(directory.path()).await;
    for number in 0..12 {
        world.enqueue(&number.to_string(), None, &[Step::Take(20)]).await;
    }
    world.until("all", async |world| world.marks().await == 12).await;
    world.until("all", async |world| world.diary().len() == 24).await;
    let most = most_at_once(&world.diary());
    assert!((2..=AT_ONCE as usize).contains(&most), "{most}: {:?}", world.diary());
    world.close().await;
}

#[tokio::test]
async fn a_lane_is_run_in_order() {
    let directory = tempdir().unwrap();
    let world = World::open(directory.path()).await;
    for number in 0..6 {
        for lane in ["a", "b"] {
            let steps = if number == 2 { [Step::RetryAfter(0), Step::Complete] } else { [Step::Take(5), Step::Complete] };
            world.enqueue(&format!("{lane}{number}"), Some(lane), &steps).await;
        }
    }
    world.until("all", async |world| world.marks().await == 12).await;
    world.until("all", async |world| world.diary().iter().filter(|line| line.starts_with("end")).count() == 12).await;
    for lane in ["a", "b"] {
        let diary = world.diary();
        let ended = diary.iter().filter_map(|line| line.strip_prefix("end ")).filter(|name| name.starts_with(lane));
        let names: Vec<_> = ended.filter_map(|line| line.split(' ').next()).map(str::to_owned).collect();
        assert_eq!(names, (0..6).map(|number| format!("{lane}{number}")).collect::<Vec<_>>());
        let of_lane: Vec<_> =
            diary.iter().filter(|line| line.split(' ').nth(1).is_some_and(|n| n.starts_with(lane))).cloned().collect();
        let ended: Vec<_> = of_lane.iter().filter(|line| !line.starts_with("begin") || !line.ends_with("2 1")).cloned().collect();
        assert_eq!(most_at_once(&ended), 1, "{ended:?}");
    }
    world.close().await;
}

#[tokio::test]
async fn a_job_that_is_cancelled_while_it_runs_stores_nothing() {
    let directory = tempdir().unwrap();
    let world = World::open(directory.path()).await;
    for (name, step) in [("hangs", Step::Hang), ("is slow", Step::Take(300))] {
        let act = world.act(name, None, &[step]);
        let unique = Some(Unique { key: name, repeat: Repeat::Keep });
        world.write(move |tx, queue| queue.enqueue(tx, &act, queue.now(), unique)).await;
        world.read(&format!("begin {name} 1")).await;
        assert!(world.write(move |tx, queue| queue.cancel::<Act>(tx, name)).await);
    }
    tokio::time::sleep(Duration::from_millis(700)).await;
    assert_eq!(world.marks().await, 0);
    assert!(!world.diary().iter().any(|line| line.starts_with("end")));
    world.close().await;
}

/// Two nodes, and jobs that take longer than a lease.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn nodes_share_the_queue_and_run_no_job_twice() {
    let directory = tempdir().unwrap();
    let world = World::open(directory.path()).await;
    let other = world.another_engine().await;
    for number in 0..60 {
        let step = if number < 4 { Step::Take(2000) } else { Step::Take(3) };
        world.enqueue(&number.to_string(), None, &[step]).await;
        other.wake_jobs();
    }
    world.until("all", async |world| world.marks().await == 60).await;
    world.until("all", async |world| world.diary().len() == 120).await;
    let mut diary = world.diary();
    diary.sort();
    diary.dedup();
    assert_eq!(diary.len(), 120, "none has begun twice");
    assert!(most_at_once(&world.diary()) > AT_ONCE as usize, "both work");
    other.drain(1000).await;
    world.close().await;
}

#[tokio::test]
async fn what_runs_when_the_program_stops_is_given_back() {
    let directory = tempdir().unwrap();
    let world = World::open(directory.path()).await;
    world.enqueue("a", None, &[Step::Take(60_000)]).await;
    world.read("begin a 1").await;
    world.engine.drain(20).await;
    let waiting = world.jobs(JobState::Waiting).await;
    assert_eq!(waiting.iter().map(|job| job.attempts).collect::<Vec<_>>(), [0]);
    world.enqueue("b", None, &[Step::Complete]).await;
    tokio::time::sleep(Duration::from_millis(50)).await;
    assert_eq!(world.jobs(JobState::Waiting).await.len(), 2, "nothing is begun any more");
}

/// The program dies again and again while a job runs: it is tried as often as any other, and then it is dead.
#[test]
fn a_job_that_brings_the_program_down_is_not_tried_for_ever() {
    let directory = tempdir().unwrap();
    for life in 1..=4 {
        let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(1).enable_all().build().unwrap();
        runtime.block_on(async {
            let world = World::open(directory.path()).await;
            if life == 1 {
                world.enqueue("a", None, &[Step::Hang]).await;
            }
            if life < 4 {
                world.read(&format!("begin a {life}")).await;
            } else {
                world.has(JobState::Dead, 1).await;
                assert_eq!(world.diary().len(), 3);
            }
        });
        // As a crash ends it.
        runtime.shutdown_timeout(Duration::from_secs(5));
    }
}
