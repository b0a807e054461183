//! What can not be read or written is named, and not touched.

use super::*;

#[test]
fn a_newer_schema_is_refused_and_not_touched() {
    let directory = temporary();
    let store = store_in(directory.path()).unwrap();
    store.db.pragma_update(None, "user_version", 4).unwrap();
    drop(store);
    let file = directory.path().join("turnlane.db");
    let before = fs::read(&file).unwrap();
    let expected = StoreError::Version { found: 4, known: 3 };
    assert_eq!(store_in(directory.path()).unwrap_err(), expected);
    assert_eq!(fs::read(&file).unwrap(), before);
}

#[test]
fn what_is_no_database_of_ours_is_damaged_and_not_touched() {
    let directory = temporary();
    let file = directory.path().join("turnlane.db");
    let foreign = directory.path().join("foreign");
    let other = rusqlite::Connection::open(&foreign).unwrap();
    other.execute_batch("CREATE TABLE t (x)").unwrap();
    drop(other);
    for bytes in [
        b"hello".to_vec(),
        vec![7; 100_000],
        fs::read(&foreign).unwrap(),
    ] {
        fs::write(&file, &bytes).unwrap();
        let error = store_in(directory.path()).unwrap_err();
        assert!(matches!(error, StoreError::Corrupt(_)), "{error:?}");
        assert_eq!(fs::read(&file).unwrap(), bytes);
    }
}

#[test]
fn damage_is_found_where_it_is_met() {
    let directory = temporary();
    let mut store = store_in(directory.path()).unwrap();
    put(&mut store, vec![open("a")]);
    put(
        &mut store,
        (1..500)
            .map(|number| accept(row(number, "a", None)))
            .collect(),
    );
    drop(store);
    let file = directory.path().join("turnlane.db");
    let mut bytes = fs::read(&file).unwrap();
    // Everything but the first page: the header and the tables' definitions stay.
    bytes[4096..].fill(0xa5);
    fs::write(&file, bytes).unwrap();
    let error = store_in(directory.path()).and_then(|mut store| store.snapshot().map(drop));
    assert!(matches!(error, Err(StoreError::Corrupt(_))), "{error:?}");
}

#[test]
fn a_full_disk_is_called_full_and_nothing_is_written_after_it() {
    let directory = temporary();
    let mut store = store_in(directory.path()).unwrap();
    put(&mut store, vec![open("a")]);
    let pages = number(&store, "PRAGMA page_count");
    number(&store, &format!("PRAGMA max_page_count = {}", pages + 5));
    let many = (1..1_000)
        .map(|number| accept(row(number, "a", None)))
        .collect();
    let error = store.apply(many).unwrap_err();
    assert!(
        matches!(&error, StoreError::Full(place) if place.contains("turnlane.db")),
        "{error:?}"
    );
    assert!(matches!(store.commit(), Err(StoreError::Unavailable(_))));
    drop(store);
    let mut store = store_in(directory.path()).unwrap();
    assert!(store.snapshot().unwrap().runs.is_empty());
}
