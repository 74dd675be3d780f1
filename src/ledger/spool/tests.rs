use std::{
    fs::{self, File, OpenOptions},
    path::Path,
};

use super::{file::with, *};
use crate::ledger::{row::RowIds, tests::Folder};

fn rows(from: i64, count: i64) -> Vec<Row<'static>> {
    let mut ids = RowIds::default();
    (from..from + count).map(|at| Row { model: Some("m".into()), ..Row::new(ids.make(at), at) }).collect()
}

fn drain(spool: &mut Spool) -> Vec<Row<'static>> {
    let mut all = Vec::new();
    while let Some(mut rows) = spool.peek().unwrap() {
        all.append(&mut rows);
        spool.advance().unwrap();
    }
    all
}

#[test]
fn gives_rows_back_in_order_and_after_a_restart() {
    let folder = Folder::new();
    let path = folder.0.join("s");
    let (first, second) = (rows(0, 3), rows(3, 2));
    let mut spool = Spool::new(path.clone(), 1 << 20);
    assert!(spool.peek().unwrap().is_none() && !path.exists());
    assert_eq!(spool.append(&first).unwrap(), SpoolState::Appended);
    assert_eq!(spool.peek().unwrap().unwrap(), first);
    spool.advance().unwrap();
    assert_eq!(fs::metadata(&path).unwrap().len(), 0, "emptied when all is done");
    spool.append(&first).unwrap();
    spool.append(&second).unwrap();
    drop(spool);
    let mut spool = Spool::new(path, 1 << 20);
    spool.recover().unwrap();
    assert_eq!(drain(&mut spool), [first, second].concat());
    assert!(spool.is_empty());
}

#[test]
fn a_torn_or_damaged_tail_costs_no_whole_record() {
    let folder = Folder::new();
    let path = folder.0.join("s");
    let whole = rows(0, 3);
    let mut spool = Spool::new(path.clone(), 1 << 20);
    spool.append(&whole).unwrap();
    let good = fs::metadata(&path).unwrap().len() as usize;
    spool.append(&rows(3, 2)).unwrap();
    drop(spool);
    let bytes = fs::read(&path).unwrap();
    // A file of its own for each case.
    for cut in good..bytes.len() {
        let path = folder.0.join(format!("cut-{cut}"));
        fs::write(&path, &bytes[..cut]).unwrap();
        let mut spool = Spool::new(path.clone(), 1 << 20);
        spool.recover().unwrap();
        // New records stand behind the whole ones.
        let next = rows(9, 1);
        spool.append(&next).unwrap();
        assert_eq!(drain(&mut spool), [whole.clone(), next].concat(), "{cut}");
    }
    for flipped in good..bytes.len() {
        let mut damaged = bytes.clone();
        damaged[flipped] ^= 1;
        let path = folder.0.join(format!("flipped-{flipped}"));
        fs::write(&path, &damaged).unwrap();
        let mut spool = Spool::new(path.clone(), 1 << 20);
        spool.recover().unwrap();
        let all = drain(&mut spool);
        assert_eq!(all, whole, "{flipped}");
        assert_eq!(fs::read(with(&path, ".damaged")).unwrap(), damaged[good..]);
    }
}

/// A name that is too long stands for a full disk.
#[test]
fn a_tail_that_cannot_be_put_aside_stops_no_append() {
    let folder = Folder::new();
    let path = folder.0.join("s".repeat(250));
    let whole = rows(0, 3);
    Spool::new(path.clone(), 1 << 20).append(&whole).unwrap();
    let garbage = [fs::read(&path).unwrap(), vec![7; 100]].concat();
    fs::write(&path, garbage).unwrap();
    let mut spool = Spool::new(path, 1 << 20);
    spool.recover().unwrap();
    let next = rows(9, 1);
    spool.append(&next).unwrap();
    assert_eq!(drain(&mut spool), [whole, next].concat());
    assert_eq!(fs::read_dir(&folder.0).unwrap().count(), 1);
}

#[test]
fn is_bounded() {
    let folder = Folder::new();
    let mut spool = Spool::new(folder.0.join("s"), 1000);
    let mut kept = 0;
    while spool.append(&rows(kept, 1)).unwrap() == SpoolState::Appended {
        kept += 1;
    }
    assert!((1..20).contains(&kept) && spool.waiting() <= 1000);
    assert_eq!(drain(&mut spool).len() as i64, kept);
    assert_eq!(spool.append(&rows(0, 1)).unwrap(), SpoolState::Appended);
}

#[test]
fn a_full_disk_leaves_no_half_record() {
    let folder = Folder::new();
    let path = folder.0.join("s");
    let mut spool = Spool::new(path.clone(), 1 << 20);
    spool.append(&rows(0, 1)).unwrap();
    // A read-only descriptor stands for a disk that refuses writes.
    let file = &mut spool.file.as_mut().unwrap().file;
    let writable = std::mem::replace(file, File::open(&path).unwrap());
    assert!(spool.append(&rows(1, 1)).is_err());
    spool.file.as_mut().unwrap().file = writable;
    let next = rows(2, 1);
    spool.append(&next).unwrap();
    assert_eq!(drain(&mut spool)[1..], next);
}

#[test]
fn two_processes_share_a_place_and_orphans_are_adopted() {
    let folder = Folder::new();
    let path = folder.0.join("s");
    let (mut one, mut two) = (Spool::new(path.clone(), 1 << 20), Spool::new(path, 1 << 20));
    one.append(&rows(0, 1)).unwrap();
    two.append(&rows(1, 2)).unwrap();
    assert!(folder.0.join("s.2").exists());
    assert!(!one.adopt().unwrap(), "its owner lives");
    drop(two);
    assert_eq!(drain(&mut one).len(), 1);
    assert!(one.adopt().unwrap());
    assert_eq!(drain(&mut one).len(), 2);
    assert!(!one.adopt().unwrap());
    // Recovering alone creates no file.
    let mut three = Spool::new(folder.0.join("t"), 1 << 20);
    three.recover().unwrap();
    assert!(!folder.0.join("t").exists());
}

/// Replayed records make room wherever they lie in the file: they never count against the limit.
#[test]
fn waiting_bytes_are_bounded_and_replayed_ones_are_not() {
    let folder = Folder::new();
    let path = folder.0.join("s");
    let size = record::encode(&rows(0, 1)).unwrap().len() as u64;
    let limit = 4 * size + size / 2;
    let mut spool = Spool::new(path.clone(), limit);
    let mut ids = RowIds::default();
    let one = |at: i64, ids: &mut RowIds| vec![Row { model: Some("m".into()), ..Row::new(ids.make(at), at) }];
    let mut waiting = std::collections::VecDeque::new();
    for at in 0..50 {
        let rows = one(at % 10, &mut ids);
        assert_eq!(spool.append(&rows).unwrap(), SpoolState::Appended, "{at}");
        waiting.push_back(rows);
        if waiting.len() == 4 {
            assert_eq!(spool.append(&one(1, &mut ids)).unwrap(), SpoolState::Full);
            // In the middle of a replay, as in operation.
            assert_eq!(spool.peek().unwrap(), waiting.front().cloned());
            spool.advance().unwrap();
            waiting.pop_front();
        }
        assert!(fs::metadata(&path).unwrap().len() <= 2 * limit);
    }
    assert_eq!(fs::read_dir(&folder.0).unwrap().count(), 1, "nothing is left beside it");
    // The renewed file is the one that is locked, and the one that a start finds.
    let mut other = Spool::new(path.clone(), limit);
    other.append(&rows(0, 1)).unwrap();
    assert!(folder.0.join("s.2").exists());
    drop((spool, other));
    let mut spool = Spool::new(path, limit);
    spool.recover().unwrap();
    assert!(drain(&mut spool).ends_with(&Vec::from(waiting).concat()));
}

/// A file that another program has changed is put aside, and new rows are kept.
#[test]
fn a_damaged_file_is_put_aside() {
    type Harm = fn(&Path);
    let harms: [(&str, Harm); 4] = [
        ("emptied", |path| fs::write(path, "").unwrap()),
        ("cut", |path| OpenOptions::new().write(true).open(path).unwrap().set_len(30).unwrap()),
        ("garbled", |path| {
            let mut bytes = fs::read(path).unwrap();
            bytes[40] ^= 1;
            fs::write(path, bytes).unwrap();
        }),
        ("taken away", |path| fs::remove_file(path).unwrap()),
    ];
    for (case, harm) in harms {
        for appended_first in [true, false] {
            let folder = Folder::new();
            let path = folder.0.join("s");
            let mut spool = Spool::new(path.clone(), 1 << 20);
            let (first, next, last) = (rows(0, 3), rows(3, 2), rows(5, 1));
            spool.append(&first).unwrap();
            harm(&path);
            if appended_first {
                spool.append(&next).unwrap();
            }
            let mut seen = drain(&mut spool);
            assert!(spool.is_empty());
            spool.append(&last).unwrap();
            drop(spool);
            let mut spool = Spool::new(path.clone(), 1 << 20);
            spool.recover().unwrap();
            seen.append(&mut drain(&mut spool));
            match (case, appended_first) {
                // The rows are still in the open file.
                ("taken away", true) => assert_eq!(seen, [first, next, last].concat()),
                ("taken away", false) => assert_eq!(seen, [first, last].concat()),
                // The rows stood behind the damage.
                ("garbled", _) | (_, false) => assert_eq!(seen, last, "{case}"),
                _ => assert_eq!(seen, [next, last].concat(), "{case}"),
            }
            let aside = folder.0.join("s.damaged").exists();
            assert_eq!(aside, case != "taken away", "{case}");
        }
    }
}

/// A copy of the descriptor, as a process has that is just being started, does not keep the lock.
#[test]
fn a_copy_of_the_file_keeps_no_lock() {
    let folder = Folder::new();
    let path = folder.0.join("s");
    let mut spool = Spool::new(path.clone(), 1 << 20);
    spool.append(&rows(0, 3)).unwrap();
    let copy = spool.file.as_ref().unwrap().file.try_clone().unwrap();
    drop(spool);
    let mut spool = Spool::new(path, 1 << 20);
    spool.recover().unwrap();
    assert_eq!(drain(&mut spool).len(), 3);
    drop(copy);
}
