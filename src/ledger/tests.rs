//! The ledger on both databases. PostgreSQL is tested when there is one.

use std::{
    path::PathBuf,
    sync::{
        Arc,
        atomic::{AtomicBool, AtomicU64, Ordering},
    },
    time::Duration,
};

mod server;

use super::{
    LedgerGauges, LedgerSettings, LedgerState, LedgerWriter, queue, retention, rollup, row::*,
    row_writer::RowWriter, schema, settings::LedgerPatience, spool::Spool, writer,
};
use crate::database::{
    Connection, Database, DatabaseSettings, DatabaseUrl, Insert, RowBatch, tests::Scratch,
};

/// A folder of one test, removed when dropped.
#[derive(Debug)]
pub(super) struct Folder(pub(super) PathBuf);

impl Folder {
    pub(super) fn new() -> Self {
        static NEXT: AtomicU64 = AtomicU64::new(0);
        let number = NEXT.fetch_add(1, Ordering::Relaxed);
        let folder = std::env::temp_dir().join(format!("thalweg-ledger-{}-{number}", std::process::id()));
        std::fs::create_dir_all(&folder).unwrap();
        Self(folder)
    }
}

impl Drop for Folder {
    fn drop(&mut self) {
        let _ = std::fs::remove_dir_all(&self.0);
    }
}

/// Rows a minute apart.
pub(super) fn rows(ids: &mut RowIds, from: i64, count: i64) -> Vec<Row<'static>> {
    let row = |minute: i64| {
        let at = minute * 60_000_000;
        Row {
            request_id: Some("the same".into()),
            model: Some(format!("m{}", minute % 3).into()),
            provider: Some("p".into()),
            outcome: Some("ok".into()),
            status: Some(200),
            tokens_in: Some(10),
            tokens_out: Some(minute),
            cost: Some(7),
            total_us: Some(minute * 1000),
            ttft_us: (minute % 2 == 0).then_some(minute * 100),
            ..Row::new(ids.make(at), at)
        }
    };
    (from..from + count).map(row).collect()
}

pub(super) fn batch(ids: &mut RowIds, from: i64, count: i64) -> RowBatch {
    rows(ids, from, count).into_iter().collect()
}

/// Requests, output and cost by rows, by hours and by days.
pub(super) async fn counted(database: &Database) -> [Vec<i64>; 3] {
    let mut counted = [const { Vec::new() }; 3];
    for (place, sql) in counted.iter_mut().zip(counting()) {
        let found = database.fetch(sql, Vec::new()).await.unwrap();
        *place = (0..3).map(|column| found[0].int(column).unwrap().unwrap()).collect();
    }
    counted
}

async fn counted_in(connection: &mut Connection) -> [Vec<i64>; 3] {
    let mut counted = [const { Vec::new() }; 3];
    for (place, sql) in counted.iter_mut().zip(counting()) {
        let found = connection.fetch(sql, Vec::new()).await.unwrap();
        *place = (0..3).map(|column| found[0].int(column).unwrap().unwrap()).collect();
    }
    counted
}

fn counting() -> [String; 3] {
    let sums = "CAST(COALESCE(SUM(tokens_out), 0) AS BIGINT), CAST(COALESCE(SUM(cost), 0) AS BIGINT)";
    [
        format!("SELECT CAST(COUNT(*) AS BIGINT), {sums} FROM requests"),
        format!(
            "SELECT CAST(COALESCE(SUM(requests), 0) AS BIGINT), {sums} FROM rollups WHERE span = {}",
            rollup::HOUR
        ),
        format!(
            "SELECT CAST(COALESCE(SUM(requests), 0) AS BIGINT), {sums} FROM rollups WHERE span = {}",
            rollup::DAY
        ),
    ]
}

#[tokio::test]
async fn rows_and_sums_agree_and_a_replay_changes_nothing() {
    for scratch in Scratch::each().await {
        let mut ids = RowIds::default();
        let mut row_writer = RowWriter::open(&scratch.settings).await.unwrap();
        let database = Database::open(&scratch.settings, &[]).await.unwrap();
        let first = batch(&mut ids, 1, 150);
        assert_eq!(row_writer.write(&first, false).await.unwrap(), 150);
        let sums: i64 = (1..=150).sum();
        assert_eq!(
            counted(&database).await,
            [vec![150, sums, 1050], vec![150, sums, 1050], vec![150, sums, 1050]]
        );
        // All rows again, then some of them with new ones.
        assert_eq!(row_writer.write(&first, true).await.unwrap(), 0);
        let mut mixed = first.clone().split_off(100);
        mixed.append(&mut batch(&mut ids, 2000, 3));
        assert_eq!(row_writer.write(&mixed, true).await.unwrap(), 3);
        let [by_rows, by_hours, by_days] = counted(&database).await;
        assert_eq!((by_rows[0], &by_rows, &by_rows), (153, &by_hours, &by_days));
        // Rows that are wrongly taken for new are an error, and the transaction is rolled back.
        assert!(row_writer.write(&mixed, false).await.is_err());
        assert_eq!(counted(&database).await[1], by_hours);
        row_writer.close().await;
        database.close().await;
    }
}

/// The version before knows no additions. It writes and reads beside this one, and starts again after it.
#[tokio::test]
async fn the_version_before_shares_the_database() {
    for scratch in Scratch::each().await {
        let mut before = Connection::open(&scratch.settings).await.unwrap();
        before.migrate(&schema::SCHEMA).await.unwrap();
        let own = rollup::insert();
        let is_added = |name: &str| ["translated", "reused", "tokens_saved"].contains(&name);
        let columns: Vec<_> = own.columns.iter().copied().filter(|(name, _)| !is_added(name)).collect();
        let conflict = "ON CONFLICT (span, start, model, provider, principal, key_id, outcome) DO UPDATE SET \
                        requests = rollups.requests + excluded.requests";
        let sums = Insert::new("rollups", columns, conflict);
        let mut ids = RowIds::default();
        let mut write = async |ids: &mut RowIds, minute: i64| {
            let row = rows(ids, minute, 1).remove(0);
            let sql = "INSERT INTO requests (id, at, outcome) VALUES ($1, $2, 'ok')";
            before.run(sql, vec![row.id.0.to_vec().into(), row.at.into()]).await.unwrap();
            let cells = rollup::cells(rollup::roll_up(&std::iter::once(row).collect()));
            let width = own.columns.len();
            let kept = cells.chunks(width).flat_map(|cells| {
                let pairs = own.columns.iter().zip(cells);
                pairs.filter(|((name, _), _)| !is_added(name)).map(|(_, cell)| cell.clone())
            });
            before.insert(&sums, kept.collect()).await.unwrap();
        };
        write(&mut ids, 1).await;
        let mut row_writer = RowWriter::open(&scratch.settings).await.unwrap();
        let mut translated = rows(&mut ids, 1, 1);
        translated[0].dialects = Some("messages>chat".into());
        row_writer.write(&translated.into_iter().collect(), false).await.unwrap();
        write(&mut ids, 1).await;
        before.close().await;
        let mut again = Connection::open(&scratch.settings).await.unwrap();
        again.migrate(&schema::SCHEMA).await.unwrap();
        let sql = "SELECT CAST(SUM(requests) AS BIGINT), CAST(SUM(translated) AS BIGINT) FROM rollups WHERE span = 3600";
        let found = again.fetch(sql, Vec::new()).await.unwrap();
        assert_eq!([0, 1].map(|column| found[0].int(column).unwrap()), [Some(3), Some(1)]);
        again.close().await;
        row_writer.close().await;
    }
}

#[tokio::test]
async fn a_row_is_read_as_it_was_written() {
    for scratch in Scratch::each().await {
        let mut row_writer = RowWriter::open(&scratch.settings).await.unwrap();
        let database = Database::open(&scratch.settings, &[]).await.unwrap();
        let mut row = rows(&mut RowIds::default(), 7, 1).remove(0);
        row.user_agent = Some(cut("curl\0é"));
        row_writer.write(&std::iter::once(row.clone()).collect(), false).await.unwrap();
        let columns: Vec<&str> = Row::COLUMNS.iter().map(|(name, _)| *name).collect();
        let sql = format!("SELECT id, at, {} FROM requests", columns.join(", "));
        let found = database.fetch(sql, Vec::new()).await.unwrap();
        let cells = row.cells();
        assert_eq!(found[0].0.len(), cells.len());
        for (at, cell) in cells.iter().enumerate() {
            match cell {
                crate::database::Cell::Int(value) => assert_eq!(found[0].int(at).unwrap(), *value, "{at}"),
                crate::database::Cell::Text(value) => {
                    assert_eq!(found[0].text(at).unwrap(), value.as_deref(), "{at}");
                }
                crate::database::Cell::Blob(value) => {
                    assert_eq!(found[0].blob(at).unwrap(), value.as_deref(), "{at}");
                }
            }
        }
        row_writer.close().await;
        database.close().await;
    }
}

/// A running ledger with its settings.
struct Running {
    writer: LedgerWriter,
    thread: std::thread::JoinHandle<()>,
    gauges: LedgerGauges,
    settings: LedgerSettings,
}

impl Running {
    fn start(database: &DatabaseSettings, settings: LedgerSettings) -> Self {
        let gauges = LedgerGauges::default();
        let (writer, thread) = writer::start(settings.clone(), database.clone(), gauges.clone()).unwrap();
        Self { writer, thread, gauges, settings }
    }

    /// Waits by polling, because the gauges notify no reader.
    async fn until(&self, what: &str, wanted: impl Fn(&LedgerState) -> bool) {
        let reached = async {
            while !wanted(&self.gauges.read()) {
                tokio::time::sleep(Duration::from_millis(2)).await;
            }
        };
        let outcome = tokio::time::timeout(Duration::from_secs(120), reached).await;
        assert!(outcome.is_ok(), "{what} never came: {:?}", self.gauges.read());
    }

    /// Ends the ledger as the process does.
    fn end(self) -> LedgerState {
        drop(self.writer);
        self.thread.join().unwrap();
        self.gauges.read()
    }
}

/// A ledger that waits for a busy machine as long as it takes.
fn at(folder: &Folder) -> LedgerSettings {
    const HOUR: Duration = Duration::from_secs(3600);
    let patience = LedgerPatience { spool_after: HOUR, write: HOUR, lock: HOUR, connect: HOUR, finish: HOUR };
    LedgerSettings { patience, ..impatient(folder) }
}

/// A ledger that takes its rows to the spool as soon as the program does.
fn impatient(folder: &Folder) -> LedgerSettings {
    LedgerSettings {
        spool: Some(folder.0.join("spool")),
        batch_delay: Duration::from_millis(5),
        ..LedgerSettings::default()
    }
}

#[tokio::test]
async fn rows_arrive_soon_and_the_last_ones_at_the_end() {
    for scratch in Scratch::each().await {
        let folder = Folder::new();
        let ledger = Running::start(&scratch.settings, at(&folder));
        let mut ids = RowIds::default();
        ledger.writer.book(batch(&mut ids, 0, 10));
        ledger.until("the first", |now| now.written == 10).await;
        for round in 1..100 {
            ledger.writer.book(batch(&mut ids, 10 * round, 10));
        }
        let state = ledger.end();
        assert_eq!((state.written, state.spooled, state.lost, state.waiting), (1000, 0, 0, 0));
        assert!(state.up && state.queries > 0 && state.query > Duration::ZERO);
        assert!(!folder.0.join("spool").exists());
        let database = Database::open(&scratch.settings, &[]).await.unwrap();
        let [by_rows, by_hours, by_days] = counted(&database).await;
        assert_eq!((by_rows[0], &by_rows, &by_rows), (1000, &by_hours, &by_days));
        database.close().await;
    }
}

/// S3.6, R27: another connection holds the lock. No row waits in memory for it, and none is lost or doubled.
#[tokio::test]
async fn a_locked_database_costs_no_row() {
    let (scratch, folder) = (Scratch::sqlite(), Folder::new());
    let ledger = Running::start(&scratch.settings, impatient(&folder));
    let mut ids = RowIds::default();
    ledger.writer.book(batch(&mut ids, 0, 10));
    ledger.until("the first", |now| now.written == 10 && now.waiting_bytes == 0).await;
    // A busy machine may have spooled the first rows, too.
    let before = ledger.gauges.read().spooled;
    let mut other = Connection::open(&scratch.settings).await.unwrap();
    other.run("BEGIN EXCLUSIVE", Vec::new()).await.unwrap();
    ledger.writer.book(batch(&mut ids, 10, 10));
    ledger.until("the spool", |now| now.spooled >= before + 10 && !now.up).await;
    ledger.writer.book(batch(&mut ids, 20, 10));
    ledger.until("more in the spool", |now| now.spooled == before + 20).await;
    other.run("COMMIT", Vec::new()).await.unwrap();
    ledger.until("the replay", |now| now.written == 30 && now.up && now.waiting_bytes == 0).await;
    ledger.writer.book(batch(&mut ids, 30, 10));
    let state = ledger.end();
    assert_eq!((state.written, state.lost), (40, 0));
    assert!(state.spooled >= 20 && state.replayed == state.spooled, "{state:?}");
    let [by_rows, by_hours, by_days] = counted_in(&mut other).await;
    assert_eq!((by_rows[0], &by_rows, &by_rows), (40, &by_hours, &by_days));
}

/// A slow database: rows of a slow statement are spooled while it runs. A process that is killed then does
/// not lose them, and they are in the database once.
#[tokio::test]
async fn a_slow_database_costs_no_row_of_a_process_that_is_killed() {
    let (scratch, folder) = (Scratch::sqlite(), Folder::new());
    let usual = impatient(&folder).patience.spool_after;
    let patience = LedgerPatience { spool_after: usual, ..at(&folder).patience };
    let ledger = Running::start(&scratch.settings, LedgerSettings { patience, ..at(&folder) });
    let mut ids = RowIds::default();
    ledger.writer.book(batch(&mut ids, 0, 10));
    ledger.until("the first", |now| now.written == 10 && now.waiting_bytes == 0).await;
    let before = ledger.gauges.read().spooled;
    let mut other = Connection::open(&scratch.settings).await.unwrap();
    other.run("BEGIN EXCLUSIVE", Vec::new()).await.unwrap();
    let mut handed_in = 10;
    let state = loop {
        ledger.writer.book(batch(&mut ids, handed_in, 10));
        handed_in += 10;
        tokio::time::sleep(Duration::from_millis(10)).await;
        let state = ledger.gauges.read();
        if state.spooled > before {
            break state;
        }
    };
    assert!(state.up, "it is slow, not away");
    // The spool as a killed process leaves it.
    let left = folder.0.join("copy");
    std::fs::copy(folder.0.join("spool"), &left).unwrap();
    let mut spool = Spool::new(left, u64::MAX);
    spool.recover().unwrap();
    assert!(spool.peek().unwrap().unwrap().len() >= 10);
    other.run("COMMIT", Vec::new()).await.unwrap();
    ledger.until("all of it", |now| now.written == handed_in as u64 && now.waiting_bytes == 0).await;
    assert_eq!(ledger.end().lost, 0);
    let [by_rows, by_hours, by_days] = counted_in(&mut other).await;
    assert_eq!((by_rows[0], &by_rows, &by_rows), (handed_in, &by_hours, &by_days));
}

/// The database cannot be opened: rows wait in the spool over a restart.
#[tokio::test]
async fn spooled_rows_are_replayed_after_a_restart() {
    for scratch in Scratch::each().await {
        let folder = Folder::new();
        let nowhere = DatabaseSettings::new(DatabaseUrl::Sqlite(folder.0.join("missing/t.db")));
        let mut ids = RowIds::default();
        let ledger = Running::start(&nowhere, at(&folder));
        ledger.writer.book(batch(&mut ids, 0, 5));
        ledger.until("the spool", |now| now.spooled == 5).await;
        ledger.writer.book(batch(&mut ids, 5, 5));
        let (state, first) = (ledger.end(), folder.0.join("spool"));
        assert_eq!((state.written, state.spooled, state.lost), (0, 10, 0));
        // A cut record behind the others, as a crash leaves it.
        let mut file = std::fs::OpenOptions::new().append(true).open(&first).unwrap();
        std::io::Write::write_all(&mut file, &[7; 50]).unwrap();
        // Half of them are in the database already, as after a connection that broke during the commit.
        let mut row_writer = RowWriter::open(&scratch.settings).await.unwrap();
        let mut spool = Spool::new(first.clone(), u64::MAX);
        spool.recover().unwrap();
        let half = spool.peek().unwrap().unwrap();
        row_writer.write(&half.into_iter().collect(), false).await.unwrap();
        drop(spool);
        let ledger = Running::start(&scratch.settings, at(&folder));
        ledger.until("the replay", |now| now.replayed == 10).await;
        ledger.end();
        assert_eq!(std::fs::metadata(&first).unwrap().len(), 0);
        let [by_rows, by_hours, by_days] = counted_in(row_writer.connection()).await;
        assert_eq!((by_rows[0], &by_rows, &by_rows), (10, &by_hours, &by_days));
        row_writer.close().await;
    }
}

/// The spool of a process that ends is replayed by another that runs.
#[tokio::test]
async fn orphaned_spools_are_found_at_run_time() {
    let (scratch, folder) = (Scratch::sqlite(), Folder::new());
    let ledger = Running::start(&scratch.settings, at(&folder));
    let mut ids = RowIds::default();
    ledger.writer.book(batch(&mut ids, 0, 1));
    ledger.until("the first", |now| now.written == 1).await;
    // The first search for spools is over by now, and found none.
    let mut other = Spool::new(folder.0.join("spool"), u64::MAX);
    other.append(&rows(&mut ids, 1, 5)).unwrap();
    drop(other);
    ledger.until("the orphans", |now| now.written == 6 && now.replayed == 5).await;
    assert_eq!(ledger.end().lost, 0);
}

/// Rows beyond every limit are lost and counted.
#[tokio::test]
async fn lost_rows_are_counted() {
    let folder = Folder::new();
    let nowhere = DatabaseSettings::new(DatabaseUrl::Sqlite(folder.0.join("missing/t.db")));
    let mut ids = RowIds::default();
    let small = LedgerSettings { spool_size: 2000, ..at(&folder) };
    let ledger = Running::start(&nowhere, small);
    for round in 1..=20 {
        ledger.writer.book(batch(&mut ids, round, 1));
        ledger.until("the row", |now| now.spooled + now.lost == round as u64).await;
    }
    let state = ledger.end();
    assert!(state.lost > 0 && state.spooled > 0, "{state:?}");

    // No spool either: memory holds rows up to its limit, and they are lost at the end.
    let unwritable = LedgerSettings { spool: Some(folder.0.join("missing/spool")), ..at(&folder) };
    let ledger = Running::start(&nowhere, unwritable);
    ledger.writer.book(batch(&mut ids, 0, 7));
    ledger.until("memory", |now| now.waiting == 7).await;
    assert_eq!(ledger.gauges.read().lost, 0);
    assert_eq!(ledger.end().lost, 7);
}

/// A database that accepts connections and never answers: new rows are on the disk soon, and no row is lost
/// for lack of room.
#[tokio::test]
async fn rows_are_spooled_while_connecting() {
    let (folder, listener) = (Folder::new(), std::net::TcpListener::bind("127.0.0.1:0").unwrap());
    let silent = format!("postgres://x@{}/x", listener.local_addr().unwrap());
    let silent = DatabaseSettings::new(DatabaseUrl::Postgres(crate::base::Secret::new(silent)));
    // It is waited for as long as the test takes.
    let patience = LedgerPatience { connect: at(&folder).patience.connect, ..LedgerPatience::default() };
    let ledger = Running::start(&silent, LedgerSettings { patience, ..at(&folder) });
    let (connected, _) = listener.accept().unwrap();
    let mut ids = RowIds::default();
    ledger.writer.book(batch(&mut ids, 0, 10));
    ledger.until("the spool", |now| now.spooled == 10).await;
    for round in 1..=3 {
        ledger.writer.book(batch(&mut ids, 0, queue::MAX_QUEUED_ROWS as i64));
        ledger.until("the spool", |now| now.spooled == 10 + round * queue::MAX_QUEUED_ROWS as u64).await;
    }
    drop((connected, listener));
    assert_eq!(ledger.end().lost, 0);
}

/// A row with values that the database refuses is lost and counted; the others are written.
#[tokio::test]
async fn a_row_that_is_refused_is_counted_as_lost() {
    for scratch in Scratch::each().await {
        let folder = Folder::new();
        let mut row_writer = RowWriter::open(&scratch.settings).await.unwrap();
        let refuse = match &scratch.settings.url {
            DatabaseUrl::Sqlite(_) => {
                "CREATE TRIGGER refuse BEFORE INSERT ON requests WHEN NEW.status = 418 \
                 BEGIN SELECT RAISE(ABORT, 'no'); END"
            }
            DatabaseUrl::Postgres(_) => "ALTER TABLE requests ADD CONSTRAINT refuse CHECK (status <> 418)",
        };
        row_writer.connection().run(refuse, Vec::new()).await.unwrap();
        row_writer.close().await;
        let ledger = Running::start(&scratch.settings, at(&folder));
        let mut all = rows(&mut RowIds::default(), 0, 10);
        all[3].status = Some(418);
        all[7].status = Some(418);
        ledger.writer.book(all.into_iter().collect::<RowBatch>());
        ledger.until("the others", |now| now.written == 8 && now.lost == 2).await;
        assert_eq!(ledger.end().lost, 2);
    }
}

/// A disk that failed accepts writes again: rows held in memory are written.
#[tokio::test]
async fn rows_wait_in_memory_while_the_disk_fails() {
    let folder = Folder::new();
    let place = folder.0.join("later");
    let database = DatabaseSettings::new(DatabaseUrl::Sqlite(place.join("t.db")));
    let settings = LedgerSettings { spool: Some(place.join("spool")), ..at(&folder) };
    let ledger = Running::start(&database, settings);
    ledger.writer.book(batch(&mut RowIds::default(), 0, 7));
    ledger.until("memory", |now| now.waiting == 7).await;
    std::fs::create_dir(&place).unwrap();
    ledger.until("the database", |now| now.written == 7 && now.waiting == 0).await;
    assert_eq!(ledger.end().lost, 0);
}

#[tokio::test]
async fn the_queue_is_bounded_and_never_waits() {
    let queue = queue::RowQueue::new(LedgerGauges::default());
    let row = Row::new(RowIds::default().make(0), 0);
    let some = |count| std::iter::repeat_n(row.clone(), count).collect::<RowBatch>();
    assert_eq!(queue.push(some(queue::MAX_QUEUED_ROWS - 1)), 0);
    queue.crowded().await;
    assert_eq!(queue.push(some(3)), 2);
    assert_eq!((queue.take().len(), queue.gauges.read().lost), (queue::MAX_QUEUED_ROWS, 2));
}

#[tokio::test]
async fn old_rows_are_deleted_and_their_sums_stay() {
    for scratch in Scratch::each().await {
        let mut row_writer = RowWriter::open(&scratch.settings).await.unwrap();
        let all = batch(&mut RowIds::default(), 0, 5000);
        row_writer.write(&all, false).await.unwrap();
        let mut gone = 0;
        loop {
            match retention::retire_before(row_writer.connection(), 4000 * 60_000_000).await.unwrap() {
                0 => break,
                some => gone += some,
            }
        }
        assert_eq!(gone, 4000);
        let [by_rows, by_hours, by_days] = counted_in(row_writer.connection()).await;
        assert_eq!([by_rows[0], by_hours[0], by_days[0]], [1000, 5000, 5000]);
        row_writer.close().await;
    }
}

/// A proxy before PostgreSQL that can be cut, like a server that is stopped for a while.
struct CuttableProxy {
    open: Arc<AtomicBool>,
    address: std::net::SocketAddr,
    live: Arc<std::sync::Mutex<Vec<std::net::TcpStream>>>,
}

impl CuttableProxy {
    fn to(server: String) -> Self {
        let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
        let proxy = Self {
            open: Arc::new(AtomicBool::new(true)),
            address: listener.local_addr().unwrap(),
            live: Arc::default(),
        };
        let (open, live) = (Arc::clone(&proxy.open), Arc::clone(&proxy.live));
        std::thread::spawn(move || {
            for near in listener.incoming().map_while(Result::ok) {
                if !open.load(Ordering::Relaxed) {
                    continue;
                }
                let far = std::net::TcpStream::connect(&server).unwrap();
                live.lock().unwrap().extend([near.try_clone().unwrap(), far.try_clone().unwrap()]);
                for (mut from, mut to) in [(near.try_clone().unwrap(), far.try_clone().unwrap()), (far, near)]
                {
                    std::thread::spawn(move || {
                        let _ = std::io::copy(&mut from, &mut to);
                        let _ = to.shutdown(std::net::Shutdown::Both);
                    });
                }
            }
        });
        proxy
    }

    fn cut(&self) {
        self.open.store(false, Ordering::Relaxed);
        for stream in self.live.lock().unwrap().drain(..) {
            let _ = stream.shutdown(std::net::Shutdown::Both);
        }
    }
}

#[tokio::test]
async fn a_cut_connection_to_postgres_costs_no_row() {
    let Some(scratch) = Scratch::postgres().await else { return };
    let DatabaseUrl::Postgres(url) = &scratch.settings.url else { panic!() };
    let rest = url.expose().split_once('@').unwrap().1;
    let server = rest.split('/').next().unwrap().to_owned();
    let proxy = CuttableProxy::to(server.clone());
    let through = url.expose().replace(&server, &proxy.address.to_string());
    let through = DatabaseSettings::new(DatabaseUrl::Postgres(crate::base::Secret::new(through)));
    let folder = Folder::new();
    let ledger = Running::start(&through, at(&folder));
    let mut ids = RowIds::default();
    for round in 0..3 {
        let before = 40 * round;
        ledger.writer.book(batch(&mut ids, before, 20));
        ledger.until("the database", |now| now.written == before as u64 + 20).await;
        proxy.cut();
        ledger.writer.book(batch(&mut ids, before + 20, 20));
        ledger.until("the spool", |now| now.waiting_bytes > 0).await;
        proxy.open.store(true, Ordering::Relaxed);
        ledger.until("the replay", |now| now.written == before as u64 + 40 && now.waiting_bytes == 0).await;
    }
    assert_eq!(ledger.settings.retention, LedgerSettings::default().retention);
    assert_eq!(ledger.end().lost, 0);
    let database = Database::open(&scratch.settings, &[]).await.unwrap();
    let [by_rows, by_hours, by_days] = counted(&database).await;
    assert_eq!((by_rows[0], &by_rows, &by_rows), (120, &by_hours, &by_days));
    database.close().await;
}

/// A disk of two megabytes, if the tests run as root and may mount one.
struct SmallDisk(Folder);

impl SmallDisk {
    fn new() -> Option<Self> {
        let folder = Folder::new();
        let mounted = std::process::Command::new("mount")
            .args(["-t", "tmpfs", "-o", "size=2m", "tmpfs"])
            .arg(&folder.0)
            .stderr(std::process::Stdio::null())
            .status();
        if mounted.is_ok_and(|status| status.success()) {
            return Some(Self(folder));
        }
        eprintln!("no small disk can be mounted here: the test of a full disk is left out");
        None
    }

    /// Fills the disk.
    fn fill(&self) {
        let mut file = std::fs::File::create(self.0.0.join("filler")).unwrap();
        while std::io::Write::write_all(&mut file, &[1; 4096]).is_ok() {}
    }
}

impl Drop for SmallDisk {
    fn drop(&mut self) {
        let _ = std::process::Command::new("umount").arg("-l").arg(&self.0.0).status();
    }
}

/// The disk is full for database and spool: rows wait in memory and are written once there is room.
#[tokio::test]
async fn a_full_disk_costs_no_row() {
    let Some(disk) = SmallDisk::new() else { return };
    let database = DatabaseSettings::new(DatabaseUrl::Sqlite(disk.0.0.join("t.db")));
    let ledger = Running::start(&database, impatient(&disk.0));
    let mut ids = RowIds::default();
    ledger.writer.book(batch(&mut ids, 0, 100));
    ledger.until("the first", |now| now.written == 100).await;
    disk.fill();
    let mut booked = 100;
    while ledger.gauges.read().up {
        ledger.writer.book(batch(&mut ids, booked, 100));
        booked += 100;
        ledger.until("any answer", |now| now.written as i64 == booked || !now.up).await;
    }
    ledger.writer.book(batch(&mut ids, booked, 100));
    booked += 100;
    ledger.until("memory", |now| now.waiting > 0).await;
    std::fs::remove_file(disk.0.0.join("filler")).unwrap();
    ledger.until("all of them", |now| now.written as i64 == booked && now.waiting_bytes == 0).await;
    assert_eq!(ledger.end().lost, 0);
    let mut connection = Connection::open(&database).await.unwrap();
    let [by_rows, by_hours, by_days] = counted_in(&mut connection).await;
    assert_eq!((by_rows[0], &by_rows, &by_rows), (booked, &by_hours, &by_days));
    let checked = connection.fetch("PRAGMA integrity_check", Vec::new()).await.unwrap();
    assert_eq!(checked[0].text(0).unwrap(), Some("ok"));
    connection.close().await;
}
