//! A backup is the store at one moment, whole or not there, and for its owner only.

use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::Path;

use tempfile::TempDir;

use super::super::{KeyPurpose, Location, Store, StoreError};
use super::files::{assert_has, fill};
use super::{home, new_room, open};

/// Opens a backup as the store of a server of its own.
async fn restore(backup: &Path, folder: &Path) -> Store {
    fs::copy(backup, folder.join("grandstand.db")).unwrap();
    open(folder).await
}

async fn refusal(location: &Location, file: &Path) -> String {
    match Store::back_up(location, file).await {
        Err(StoreError::Unavailable(cause)) => cause.to_string(),
        other => panic!("expected a refusal, not {other:?}"),
    }
}

#[tokio::test]
async fn a_backup_has_everything_that_was_acknowledged_before_it() {
    let (folder, copies, restored) =
        (TempDir::new().unwrap(), TempDir::new().unwrap(), TempDir::new().unwrap());
    let location = Location::Folder(folder.path().to_owned());
    let store = open(folder.path()).await;
    let rooms = fill(&store).await;
    let key = store.keys(KeyPurpose::ChatToken).await.unwrap().remove(0);
    let backup = copies.path().join("file:copy.db");
    Store::back_up(&location, &backup).await.unwrap();
    assert_eq!(fs::metadata(&backup).unwrap().permissions().mode() & 0o777, 0o600);
    assert_eq!(fs::read_dir(copies.path()).unwrap().count(), 1, "nothing else is left behind");
    store.create_room(&home(), new_room("later")).await.unwrap();
    let restored = restore(&backup, restored.path()).await;
    assert_has(&restored, &rooms).await;
    assert_eq!(*restored.keys(KeyPurpose::ChatToken).await.unwrap()[0].secret, *key.secret);
}

#[tokio::test]
async fn a_stopped_store_can_be_backed_up_too() {
    let (folder, restored) = (TempDir::new().unwrap(), TempDir::new().unwrap());
    let store = open(folder.path()).await;
    let rooms = fill(&store).await;
    store.close().await;
    let backup = restored.path().join("copy.db");
    Store::back_up(&Location::Folder(folder.path().to_owned()), &backup).await.unwrap();
    assert_has(&restore(&backup, restored.path()).await, &rooms).await;
    assert_has(&open(folder.path()).await, &rooms).await;
}

#[tokio::test]
async fn a_backup_is_never_written_over_and_never_half() {
    let (folder, copies) = (TempDir::new().unwrap(), TempDir::new().unwrap());
    let location = Location::Folder(folder.path().to_owned());
    let backup = copies.path().join("copy.db");
    assert!(refusal(&location, &backup).await.contains("there is no store"));
    assert!(refusal(&Location::Memory, &backup).await.contains("`memory:`"));
    let store = open(folder.path()).await;
    fill(&store).await;

    fs::write(&backup, "an older one").unwrap();
    assert!(refusal(&location, &backup).await.contains("exists; name a new file"));
    assert_eq!(fs::read(&backup).unwrap(), b"an older one");
    fs::remove_file(&backup).unwrap();

    let unfinished = copies.path().join("copy.db.unfinished");
    fs::write(&unfinished, "cut off").unwrap();
    assert!(refusal(&location, &backup).await.contains("another backup"));
    fs::remove_file(&unfinished).unwrap();

    assert!(refusal(&location, &copies.path().join("no/such/folder")).await.contains("cannot create"));
    store.close().await;
    fs::write(folder.path().join("grandstand.db"), "no database".repeat(1_000)).unwrap();
    assert!(refusal(&location, &backup).await.contains("cannot copy"));
    assert_eq!(fs::read_dir(copies.path()).unwrap().count(), 0, "what was not finished is removed");
}
