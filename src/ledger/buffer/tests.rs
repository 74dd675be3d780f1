use tokio::time::sleep;

use super::*;
use crate::ledger::{row::RowIds, tests::Folder};

fn spool_after() -> Duration {
    LedgerSettings::default().patience.spool_after
}

/// With at most `batch_rows` rows in a batch.
fn buffer(folder: &Folder, spool_size: u64, batch_rows: usize) -> Buffer {
    let gauges = LedgerGauges::default();
    let queue = Arc::new(RowQueue::new(gauges.clone()));
    let settings = LedgerSettings { batch_rows, batch_delay: spool_after(), ..LedgerSettings::default() };
    Buffer::new(queue, gauges, Spool::new(folder.0.join("s"), spool_size), &settings)
}

fn rows(count: usize) -> RowBatch {
    let mut ids = RowIds::default();
    (0..count).map(|_| Row::new(ids.make(0), 0)).collect()
}

/// Neither a kill nor a full queue loses rows while the database takes long.
#[tokio::test(start_paused = true)]
async fn rows_are_spooled_while_the_database_is_slow() {
    let folder = Folder::new();
    let mut buffer = buffer(&folder, 1 << 30, 3);
    let queue = Arc::clone(&buffer.queue);
    queue.push(rows(3));
    buffer.take();
    let batch = buffer.next().unwrap();
    buffer
        .watch(async {
            queue.push(rows(5));
            sleep(spool_after() + spool_after() / 2).await;
        })
        .await;
    assert_eq!((buffer.gauges.read().spooled, buffer.held.len(), buffer.queue.len()), (8, 0, 0));
    buffer.written(batch, WriteResult::default());
    buffer
        .watch(async {
            for _ in 0..5 {
                queue.push(rows(MAX_QUEUED_ROWS - 1));
                while queue.len() > 0 {
                    sleep(Duration::from_millis(1)).await;
                }
            }
        })
        .await;
    let state = buffer.gauges.read();
    let kept = state.spooled as usize + buffer.held.len();
    assert_eq!((state.lost, kept), (0, 8 + 5 * (MAX_QUEUED_ROWS - 1)));
    assert!(buffer.outages.last_report().is_none(), "nothing was lost");
}

/// Each batch is quick, but there are many: the last of them are on the disk in time all the same.
#[tokio::test(start_paused = true)]
async fn rows_behind_many_short_batches_are_spooled() {
    let folder = Folder::new();
    let mut buffer = buffer(&folder, 1 << 30, 1);
    buffer.queue.push(rows(10));
    buffer.take();
    for batches in 1_usize.. {
        let batch = buffer.next().unwrap();
        buffer.watch(sleep(spool_after() / 4 + Duration::from_millis(1))).await;
        buffer.written(batch, WriteResult::default());
        if buffer.held.is_empty() {
            // During the eighth, `batch_delay` and `spool_after()` were over.
            assert_eq!(batches, 8);
            break;
        }
    }
    assert!(buffer.gauges.read().spooled > 0);
}

/// Rows that the queue has no room for are counted once, and reported.
#[tokio::test(start_paused = true)]
async fn rows_lost_by_the_queue_are_reported() {
    let folder = Folder::new();
    let mut buffer = buffer(&folder, 1 << 30, 1);
    let queue = Arc::clone(&buffer.queue);
    buffer
        .watch(async {
            queue.push(rows(MAX_QUEUED_ROWS + 5));
            sleep(spool_after() + spool_after() / 2).await;
        })
        .await;
    assert_eq!(buffer.gauges.read().lost, 5);
    assert!(buffer.outages.last_report().is_some());
}

/// A full spool is no reason to lose rows that the database may still take.
#[tokio::test(start_paused = true)]
async fn a_full_spool_leaves_rows_in_memory_while_the_database_works() {
    let folder = Folder::new();
    let mut buffer = buffer(&folder, 10, 1);
    let queue = Arc::clone(&buffer.queue);
    buffer
        .watch(async {
            queue.push(rows(5));
            sleep(spool_after() + spool_after() / 2).await;
        })
        .await;
    assert_eq!((buffer.gauges.read().lost, buffer.held.len()), (0, 5));
    buffer.stash();
    assert_eq!((buffer.gauges.read().lost, buffer.held.len()), (5, 0));
}

/// Refused rows of a batch that was spooled while it was written are counted once, by the replay.
#[tokio::test(start_paused = true)]
async fn a_refused_row_of_a_spooled_batch_is_lost_once() {
    let folder = Folder::new();
    let mut buffer = buffer(&folder, 1 << 30, 10);
    buffer.queue.push(rows(10));
    buffer.take();
    let batch = buffer.next().unwrap();
    buffer.watch(sleep(2 * spool_after())).await;
    assert_eq!(buffer.gauges.read().spooled, 10);
    buffer.written(batch, WriteResult { new: 8, lost: 2 });
    assert_eq!(buffer.gauges.read().lost, 0);
    let replay = buffer.next_spooled().unwrap();
    buffer.written(replay, WriteResult { new: 0, lost: 2 });
    assert_eq!((buffer.gauges.read().written, buffer.gauges.read().lost), (8, 2));
    // The next batch, which is not spooled, counts as ever.
    buffer.queue.push(rows(3));
    buffer.take();
    let batch = buffer.next().unwrap();
    buffer.written(batch, WriteResult { new: 2, lost: 1 });
    assert_eq!(buffer.gauges.read().lost, 3);
}

/// A burst that is followed by a few rows now and then.
#[tokio::test(start_paused = true)]
async fn room_of_a_burst_is_given_back_while_rows_still_come() {
    let folder = Folder::new();
    let mut buffer = buffer(&folder, 1 << 30, MAX_QUEUED_ROWS);
    // Lent, as the settlement thread lends its own: it changes places with the others.
    let mut lent = RowBatch::default();
    let mut round = async |count| {
        lent.append(&mut rows(count));
        buffer.queue.push(&mut lent);
        buffer.take();
        while let Some(batch) = buffer.next() {
            buffer.written(batch, WriteResult::default());
        }
        buffer.trim(false);
        tokio::time::advance(TRIM_INTERVAL / 2).await;
        [buffer.held.room(), buffer.batch.room(), buffer.queue.room()]
    };
    for _ in 0..6 {
        round(10_000).await;
    }
    assert!(round(10_000).await.iter().sum::<usize>() >= 10_000, "it is kept in busy times");
    for _ in 0..6 {
        round(10).await;
    }
    let room = round(10).await;
    assert!(room.iter().all(|room| *room <= 40), "{room:?}");
    buffer.trim(true);
    assert_eq!([buffer.held.room(), buffer.batch.room(), buffer.queue.room()], [0; 3]);
}
