//! A PostgreSQL of one test, which is stopped and started. It shows how a real server treats its connections
//! then, which a proxy would only imitate.

use std::{
    path::PathBuf,
    process::{Command, Stdio},
};

use super::*;
use crate::base::free_port::free_port;

struct Server {
    folder: Folder,
    bin: PathBuf,
    port: u16,
    /// PostgreSQL refuses to run as root: the tests run it as another user then.
    as_postgres: bool,
}

impl Server {
    /// `None`: PostgreSQL's programs are not installed.
    fn new() -> Option<Self> {
        let versions = std::fs::read_dir("/usr/lib/postgresql").into_iter().flatten().flatten();
        let mut bins: Vec<PathBuf> = versions.map(|version| version.path().join("bin")).collect();
        bins.retain(|bin| bin.join("initdb").exists());
        bins.sort();
        let Some(bin) = bins.pop() else {
            eprintln!("no PostgreSQL here (initdb): the test that stops one is left out");
            return None;
        };
        let own = Command::new("id").arg("-u").output().unwrap();
        let as_postgres = own.stdout.starts_with(b"0\n");
        let server = Self { folder: Folder::new(), bin, port: free_port(), as_postgres };
        if as_postgres {
            assert!(Command::new("chown").arg("postgres").arg(&server.folder.0).status().unwrap().success());
        }
        let made = server.run("initdb", &["-U", "thalweg", "-A", "trust"]);
        assert!(made, "initdb");
        Some(server)
    }

    fn run(&self, program: &str, arguments: &[&str]) -> bool {
        let program = self.bin.join(program);
        let mut command = if self.as_postgres {
            let mut command = Command::new("runuser");
            command.args(["-u", "postgres", "--"]).arg(program);
            command
        } else {
            Command::new(program)
        };
        command.arg("-D").arg(self.folder.0.join("data")).args(arguments);
        // A folder that this user may enter.
        let command = command.current_dir("/").stdout(Stdio::null()).stderr(Stdio::null());
        command.status().unwrap().success()
    }

    fn start(&self) {
        let sockets = self.folder.0.display().to_string();
        let options = format!(
            "-p {} -c listen_addresses=127.0.0.1 -c unix_socket_directories={sockets} -c fsync=off",
            self.port
        );
        let log = format!("{sockets}/data/log");
        let started = self.run("pg_ctl", &["-w", "-l", &log, "-o", &options, "start"]);
        assert!(started, "PostgreSQL does not start");
    }

    fn stop(&self, how: &str) {
        self.run("pg_ctl", &["-w", "-m", how, "stop"]);
    }

    fn settings(&self) -> DatabaseSettings {
        let url = format!("postgres://thalweg@127.0.0.1:{}/postgres", self.port);
        DatabaseSettings::new(DatabaseUrl::Postgres(crate::base::Secret::new(url)))
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        self.stop("immediate");
    }
}

/// Books ten rows every few milliseconds until the stop flag is set; returns the number of rows.
fn book_on(writer: Arc<LedgerWriter>, stop: Arc<AtomicBool>) -> std::thread::JoinHandle<i64> {
    std::thread::spawn(move || {
        let (mut ids, mut booked) = (RowIds::default(), 0);
        while !stop.load(Ordering::Relaxed) {
            writer.book(batch(&mut ids, booked, 10));
            booked += 10;
            std::thread::sleep(Duration::from_millis(3));
        }
        booked
    })
}

/// The server is stopped in both of its ways while rows keep coming: none is lost, none is doubled.
#[tokio::test]
async fn postgres_is_stopped_and_started() {
    let Some(server) = Server::new() else { return };
    server.start();
    let folder = Folder::new();
    let gauges = LedgerGauges::default();
    let (writer, thread) = writer::start(impatient(&folder), server.settings(), gauges.clone()).unwrap();
    let (writer, stop) = (Arc::new(writer), Arc::<AtomicBool>::default());
    let booking = book_on(Arc::clone(&writer), Arc::clone(&stop));
    let until = async |what: &str, wanted: &dyn Fn(&LedgerState) -> bool| {
        let begun = std::time::Instant::now();
        while !wanted(&gauges.read()) {
            assert!(begun.elapsed() < Duration::from_secs(120), "{what} never came: {:?}", gauges.read());
            tokio::time::sleep(Duration::from_millis(2)).await;
        }
    };
    for how in ["fast", "immediate"] {
        let before = gauges.read();
        until("the database", &|now| now.written > before.written + 100).await;
        server.stop(how);
        until("the spool", &|now| !now.up && now.spooled > before.spooled + 100).await;
        server.start();
        until("the replay", &|now| now.up && now.waiting_bytes == 0 && now.replayed > before.replayed).await;
    }
    stop.store(true, Ordering::Relaxed);
    let booked = booking.join().unwrap();
    drop(writer);
    thread.join().unwrap();
    assert_eq!(gauges.read().lost, 0);
    let database = Database::open(&server.settings(), &[]).await.unwrap();
    let [by_rows, by_hours, by_days] = counted(&database).await;
    database.close().await;
    assert_eq!((by_rows[0], &by_rows, &by_rows), (booked, &by_hours, &by_days));
    // Each row is there once, unchanged.
    assert_eq!(by_rows[1], (0..booked).sum::<i64>());
}
