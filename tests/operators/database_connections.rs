//! `pool_size` + `max_overflow` bound the connections to the database of the whole process: ledger, keys and
//! statistics together (CASES C9). PostgreSQL is tested when `THALWEG_TEST_POSTGRES` holds its URL.

use std::{
    collections::BTreeSet,
    path::PathBuf,
    time::{Duration, Instant},
};

use thalweg::{
    base::Secret,
    database::{Connection, ConnectionBound, DatabaseSettings, DatabaseUrl},
    ledger::{Price, Prices},
};

use super::statistics::{ADMIN, plan};
use crate::{
    client::{Call, Client, Version},
    gateway::Gateway,
    upstream::{Speaks, Upstream, script},
};

/// How long a server's process may outlive its connection on a busy machine.
const MAX_EXCESS: Duration = Duration::from_millis(500);
const REQUESTS: u64 = 120;

/// A database of one test, and its open connections.
enum WatchedDatabase {
    Sqlite(PathBuf),
    Postgres { name: String, server: Connection },
}

impl WatchedDatabase {
    async fn each() -> Vec<(Self, DatabaseUrl)> {
        let name = format!("thalweg_bound_{}_{}", std::process::id(), crate::client::call::next_id());
        let name = name.replace('-', "_").to_lowercase();
        let folder = std::env::temp_dir().join(&name);
        std::fs::create_dir_all(&folder).unwrap();
        let file = folder.join("t.db");
        let mut found = vec![(Self::Sqlite(folder), DatabaseUrl::Sqlite(file))];
        if let Ok(url) = std::env::var("THALWEG_TEST_POSTGRES") {
            let server = DatabaseUrl::Postgres(Secret::new(url.clone()));
            let mut server = Connection::open(&DatabaseSettings::new(server)).await.unwrap();
            server.run(format!("CREATE DATABASE {name}"), Vec::new()).await.unwrap();
            let base = url.rsplit_once('/').unwrap().0;
            let url = DatabaseUrl::Postgres(Secret::new(format!("{base}/{name}")));
            found.push((Self::Postgres { name, server }, url));
        }
        found
    }

    /// The connections that are open: descriptors of the file, or the server's processes.
    async fn open(&mut self) -> BTreeSet<i64> {
        match self {
            Self::Sqlite(folder) => {
                let file = folder.join("t.db");
                let links = std::fs::read_dir("/proc/self/fd").unwrap().flatten();
                links
                    .filter(|link| std::fs::read_link(link.path()).is_ok_and(|target| target == file))
                    .filter_map(|link| link.file_name().to_str()?.parse().ok())
                    .collect()
            }
            Self::Postgres { name, server } => {
                let sql = format!(
                    "SELECT CAST(pid AS BIGINT) FROM pg_stat_activity WHERE datname = '{name}' AND backend_type = 'client backend'"
                );
                let rows = server.fetch(sql, Vec::new()).await.unwrap();
                rows.iter().filter_map(|row| row.int(0).unwrap()).collect()
            }
        }
    }

    async fn remove(self) {
        match self {
            Self::Sqlite(folder) => std::fs::remove_dir_all(folder).unwrap(),
            Self::Postgres { name, mut server } => {
                server.run(format!("DROP DATABASE {name} WITH (FORCE)"), Vec::new()).await.unwrap();
                server.close().await;
            }
        }
    }
}

/// A file of one gateway.
fn spool() -> PathBuf {
    let name = format!("thalweg-bound-{}-{}.spool", std::process::id(), crate::client::call::next_id());
    std::env::temp_dir().join(name)
}

async fn ask(client: &mut Client, call: Call) {
    let answer = client.send(call).await;
    assert_eq!(answer.status, 200);
    assert!(answer.collect().await.complete);
}

/// Waits until the rows of all requests are in the database.
async fn all_written(gateway: &Gateway) {
    let written = tokio::time::timeout(Duration::from_secs(30), async {
        while gateway.ledger().written < REQUESTS {
            tokio::time::sleep(Duration::from_millis(1)).await;
        }
    });
    assert!(written.await.is_ok(), "{:?}", gateway.ledger());
    assert_eq!(gateway.ledger().lost, 0);
}

/// Completions and statistics, from several clients at once.
async fn keep_busy(gateway: &Gateway) {
    let statistics = || Call::get("/stats?since=1h").header("authorization", &format!("Bearer {ADMIN}"));
    let asking = async |mut client: Client| {
        for _ in 0..6 {
            ask(&mut client, statistics()).await;
        }
    };
    let completing = async |mut client: Client| {
        for _ in 0..REQUESTS / 2 {
            ask(&mut client, Call::whole()).await;
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
    };
    let mut clients = Vec::new();
    for _ in 0..5 {
        clients.push(gateway.client(Version::H1).await);
    }
    let [one, two, three, four, five] = clients.try_into().ok().unwrap();
    tokio::join!(asking(one), asking(two), asking(three), completing(four), completing(five));
}

/// Fails if there are more than `max` connections for longer than the server needs to end one.
async fn watch(watched: &mut WatchedDatabase, max: usize, most: &mut usize) {
    let mut excess: Option<Instant> = None;
    loop {
        let open = watched.open().await;
        *most = open.len().max(*most);
        excess = (open.len() > max).then(|| excess.unwrap_or_else(Instant::now));
        assert!(excess.is_none_or(|since| since.elapsed() < MAX_EXCESS), "{max}: {open:?}");
        tokio::time::sleep(Duration::from_millis(3)).await;
    }
}

#[tokio::test]
async fn the_process_has_no_more_connections_than_its_settings_allow() {
    for max in [1, 2, 4] {
        for (mut watched, url) in WatchedDatabase::each().await {
            let upstream = Upstream::always(Speaks::H1, script::json(200, script::COMPLETION));
            let settings =
                DatabaseSettings { url: url.clone(), read_url: None, connections: ConnectionBound::new(max) };
            let spool = spool();
            let gateway = plan(&[&upstream]).with(|plan| {
                plan.database = Some(settings);
                plan.ledger.spool = Some(spool.clone());
                let price = Price { input: 1_000_000, output: 1_000_000, ..Price::default() };
                plan.prices = Prices::new([("m".to_owned(), price)]);
                plan.tokens[0].limits.allowance.budget = Some(1 << 40);
                plan.ledger.batch_delay = Duration::from_millis(1);
            });
            let gateway = gateway.start().await;
            let mut most = 0;
            tokio::select! {
                () = keep_busy(&gateway) => {}
                () = watch(&mut watched, max as usize, &mut most) => {}
            }
            assert!(most >= 1, "the connections are seen");
            all_written(&gateway).await;
            gateway.stop().await;
            let _ = std::fs::remove_file(spool);
            let mut reading = Connection::open(&DatabaseSettings::new(url)).await.unwrap();
            let sql = "SELECT CAST(SUM(spent) AS BIGINT), (SELECT CAST(SUM(cost) AS BIGINT) FROM requests) FROM api_key_spending";
            let rows = reading.fetch(sql, Vec::new()).await.unwrap();
            let [spent, cost] = [0, 1].map(|column| rows[0].int(column).unwrap());
            assert!(spent.is_some() && spent == cost, "{spent:?} {cost:?}");
            reading.close().await;
            watched.remove().await;
        }
    }
}

/// CASES E9: each transaction is on another connection of the server's, which has names of statements of
/// other clients.
#[tokio::test]
async fn gateways_behind_a_pooler_in_transaction_mode() {
    let Ok(pooler) = std::env::var("THALWEG_TEST_PGBOUNCER") else {
        eprintln!("THALWEG_TEST_PGBOUNCER is not set: the test behind a pooler is left out");
        return;
    };
    for (number, parameter) in ["", "?pgbouncer=true"].into_iter().enumerate() {
        let (mut watched, url) = WatchedDatabase::each().await.pop().unwrap();
        let WatchedDatabase::Postgres { name, .. } = &watched else { panic!("no PostgreSQL") };
        let pooled = || {
            let url = format!("{}/{name}{parameter}", pooler.rsplit_once('/').unwrap().0);
            DatabaseSettings::new(DatabaseUrl::Postgres(Secret::new(url)))
        };
        let upstream = Upstream::always(Speaks::H1, script::json(200, script::COMPLETION));
        let mut gateways = Vec::new();
        for _ in 0..2 {
            let spool = spool();
            let gateway = plan(&[&upstream]).with(|plan| {
                plan.database = Some(pooled());
                let price = Price { input: 1_000_000, output: 1_000_000, ..Price::default() };
                plan.prices = Prices::new([("m".to_owned(), price)]);
                plan.tokens[0].limits.allowance.budget = Some(1 << 40);
                plan.ledger.batch_delay = Duration::from_millis(1);
                plan.ledger.spool = Some(spool.clone());
            });
            gateways.push((gateway.start().await, spool));
        }
        let [one, two] = gateways.try_into().ok().unwrap();
        tokio::join!(keep_busy(&one.0), keep_busy(&two.0));
        for (gateway, spool) in [one, two] {
            all_written(&gateway).await;
            gateway.stop().await;
            let _ = std::fs::remove_file(spool);
        }
        assert!(watched.open().await.len() <= 3, "the pooler's own connections");
        let mut reading = Connection::open(&DatabaseSettings::new(url)).await.unwrap();
        let sql = "SELECT CAST(SUM(spent) AS BIGINT), (SELECT CAST(SUM(cost) AS BIGINT) FROM requests), \
                   (SELECT CAST(SUM(requests) AS BIGINT) FROM rollups WHERE span = 3600) FROM api_key_spending";
        let rows = reading.fetch(sql, Vec::new()).await.unwrap();
        let [spent, cost, requests] = [0, 1, 2].map(|column| rows[0].int(column).unwrap());
        assert!(spent.is_some() && spent == cost, "{number}: {spent:?} {cost:?}");
        let made = 2 * i64::try_from(REQUESTS).unwrap();
        assert_eq!(requests, Some(made), "{number}");
        reading.close().await;
        watched.remove().await;
    }
}
