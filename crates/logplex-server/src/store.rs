//! The embedded store: channels with their tokens and drains, sessions, API keys, checkpoints.
//!
//! Configuration is written through to the disk before a request is answered; changes of channels that come at the
//! same time wait for the disk together. Checkpoints are handed to the operating system, which is what survives
//! `kill -9`; after a power cut they may be seconds old.
//!
//! One record a channel holds its tokens and drains, so that they cannot disagree; one more holds its
//! checkpoint ([`crate::checkpoint`]).

use std::os::unix::fs::DirBuilderExt;
use std::path::Path;
use std::sync::{Arc, Mutex};

use anyhow::{Context, bail};
use chrono::{DateTime, Utc};
use fjall::{Database, Keyspace, KeyspaceCreateOptions, PersistMode};
use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};

use crate::mailbox::lock;

/// The layout of the records below. A store with a newer one is refused.
const SCHEMA: u32 = 1;

/// Buffers of the store; configuration is small, so is what it may cost.
const CACHE_BYTES: u64 = 1024 * 1024;
const MEMTABLE_BYTES: u64 = 1024 * 1024;

/// A channel's configuration.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct ChannelRecord {
    pub(crate) tokens: Vec<TokenRecord>,
    pub(crate) drains: Vec<DrainRecord>,
}

/// A token: the right to write to its channel.
#[derive(Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct TokenRecord {
    pub(crate) id: Arc<str>,
    pub(crate) name: Arc<str>,
    /// When it ends, if another one has taken its place.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) until: Option<DateTime<Utc>>,
}

impl TokenRecord {
    pub(crate) fn is_over(&self, now: DateTime<Utc>) -> bool {
        self.until.is_some_and(|until| until <= now)
    }
}

impl std::fmt::Debug for TokenRecord {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("TokenRecord")
            .field("name", &self.name)
            .field("until", &self.until)
            .finish_non_exhaustive()
    }
}

/// A drain; without a URL it is only reserved.
#[derive(Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct DrainRecord {
    pub(crate) id: u64,
    pub(crate) token: String,
    pub(crate) url: Option<String>,
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub(crate) paused: bool,
}

impl std::fmt::Debug for DrainRecord {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("DrainRecord")
            .field("id", &self.id)
            .field("token", &self.token)
            .finish_non_exhaustive()
    }
}

/// A tail session as it was asked for. All that it says of messages must hold for those it shows.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub(crate) struct SessionRecord {
    pub(crate) channel: String,
    pub(crate) expires: DateTime<Utc>,
    pub(crate) num: u32,
    pub(crate) tail: bool,
    /// One source, one process: the original's form.
    pub(crate) source: Option<String>,
    pub(crate) ps: Option<String>,
    pub(crate) sources: Vec<String>,
    pub(crate) exclude_sources: Vec<String>,
    pub(crate) processes: Vec<String>,
    pub(crate) exclude_processes: Vec<String>,
    /// 0 (emergency) to 7 (debug).
    pub(crate) min_severity: Option<u8>,
    /// Lists of error codes, such as `H12,R*`.
    pub(crate) codes: Vec<String>,
    /// Regular expressions.
    pub(crate) grep: Vec<String>,
    pub(crate) exclude: Vec<String>,
    pub(crate) since: Option<DateTime<Utc>>,
    pub(crate) until: Option<DateTime<Utc>>,
}

/// What is read back at the start, beside channels.
#[derive(Debug, Default)]
pub(crate) struct Loaded {
    pub(crate) sessions: Vec<(String, SessionRecord)>,
    /// SHA-256 of each API key.
    pub(crate) key_hashes: Vec<[u8; 32]>,
    /// The highest drain id ever given.
    pub(crate) last_drain: u64,
}

/// A channel as it was stored: its id, its configuration and its checkpoint.
pub(crate) type LoadedChannel = (String, ChannelRecord, Option<Vec<u8>>);

/// A handle on the store; clones share it.
#[derive(Clone)]
pub(crate) struct Store(Arc<Inner>);

struct Inner {
    database: Database,
    records: Keyspace,
    queued: Mutex<Queued>,
    /// How many of the queued changes were written; held while more are. `None` once that failed.
    written: Mutex<Option<u64>>,
}

/// Changes in their order that wait for [`Store::commit`].
#[derive(Default)]
struct Queued {
    changes: Vec<Change>,
    /// How many there ever were.
    count: u64,
}

/// A record's key, and the record unless it is to go.
type Change = (String, Option<Vec<u8>>);

impl std::fmt::Debug for Store {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Store").finish_non_exhaustive()
    }
}

impl Store {
    /// Opens or creates the store in `dir`. Blocks on the disk, as every call that writes.
    pub(crate) fn open(dir: &Path) -> anyhow::Result<Store> {
        // Tokens are in it: nobody else may read what we create.
        let created = std::fs::DirBuilder::new().recursive(true).mode(0o700).create(dir);
        created.with_context(|| format!("cannot create the data directory {dir:?}"))?;
        let open = || -> Result<Store, fjall::Error> {
            let database = Database::builder(dir).cache_size(CACHE_BYTES).worker_threads(1).open()?;
            let options = || KeyspaceCreateOptions::default().max_memtable_size(MEMTABLE_BYTES);
            let records = database.keyspace("records", options)?;
            let inner = Inner { database, records, queued: Mutex::default(), written: Mutex::new(Some(0)) };
            Ok(Store(Arc::new(inner)))
        };
        let store = open().with_context(|| {
            format!("cannot open the store in {dir:?}; if another server uses it, give this one its own --data-dir")
        })?;
        match store.0.records.get("schema")? {
            Some(version) if &*version != SCHEMA.to_string().as_bytes() => bail!(
                "the store in {dir:?} has schema {}, this server knows {SCHEMA}; use the version that wrote it",
                String::from_utf8_lossy(&version)
            ),
            Some(_) => {}
            None => {
                store.0.records.insert("schema", SCHEMA.to_string())?;
                store.sync()?;
            }
        }
        Ok(store)
    }

    /// Reads back all channels, in the order of their ids.
    pub(crate) fn channels(&self) -> impl Iterator<Item = anyhow::Result<LoadedChannel>> {
        // One after the other, and each with its checkpoint: all records at once would be a good part of what a
        // server with many channels needs.
        let mut checkpoints = self.all("checkpoint:").peekable();
        self.all("channel:").map(move |entry| {
            let (id, record) = entry?;
            let record = decode("channel", &id, &record)?;
            // Those in between are of channels that are no more.
            let earlier = |entry: &anyhow::Result<Entry>| matches!(entry, Ok((other, _)) if *other < id);
            while checkpoints.next_if(earlier).is_some() {}
            let own = |entry: &anyhow::Result<Entry>| !matches!(entry, Ok((other, _)) if *other > id);
            let checkpoint = checkpoints.next_if(own).transpose()?;
            Ok((id, record, checkpoint.map(|(_, checkpoint)| checkpoint)))
        })
    }

    /// Reads everything else back.
    pub(crate) fn load(&self) -> anyhow::Result<Loaded> {
        let mut loaded = Loaded::default();
        for entry in self.all("session:") {
            let (id, record) = entry?;
            let session = decode("session", &id, &record)?;
            loaded.sessions.push((id, session));
        }
        for entry in self.all("key:") {
            let (id, hash) = entry?;
            loaded.key_hashes.push(decode("key", &id, &hash)?);
        }
        for entry in self.all("last:") {
            let (id, number) = entry?;
            loaded.last_drain = decode("last", &id, &number)?;
        }
        Ok(loaded)
    }

    /// The records whose keys begin with `kind`, by the rest of their keys, in the order of those.
    fn all(&self, kind: &'static str) -> impl Iterator<Item = anyhow::Result<Entry>> {
        self.0.records.prefix(kind).map(move |entry| {
            let (key, value) = entry.into_inner()?;
            Ok((String::from_utf8_lossy(&key[kind.len()..]).into_owned(), value.to_vec()))
        })
    }

    /// Has a channel's configuration written, or removed with its checkpoint, by [`Store::commit`].
    pub(crate) fn put_channel(&self, id: &str, record: Option<&ChannelRecord>) -> anyhow::Result<()> {
        if record.is_none() {
            self.put::<()>(format!("checkpoint:{id}"), None)?;
        }
        self.put(format!("channel:{id}"), record)
    }

    /// Has a session written or removed by [`Store::commit`].
    pub(crate) fn put_session(&self, id: &str, record: Option<&SessionRecord>) -> anyhow::Result<()> {
        self.put(format!("session:{id}"), record)
    }

    /// Has the highest drain id ever given written by [`Store::commit`].
    pub(crate) fn put_last_drain(&self, id: u64) -> anyhow::Result<()> {
        self.put("last:drain".to_owned(), Some(&id))
    }

    /// Has an API key's SHA-256 written by [`Store::commit`].
    pub(crate) fn add_key_hash(&self, hash: &[u8; 32]) -> anyhow::Result<()> {
        self.put(format!("key:{}", uuid::Uuid::new_v4()), Some(hash))
    }

    fn put<T: Serialize>(&self, key: String, record: Option<&T>) -> anyhow::Result<()> {
        let record = record.map(serde_json::to_vec).transpose()?;
        let mut queued = lock(&self.0.queued);
        queued.changes.push((key, record));
        queued.count += 1;
        Ok(())
    }

    /// Waits until all that was queued before this call is on the disk. Who comes while another writes has his changes
    /// written with those of all others who came meanwhile.
    ///
    /// # Errors
    /// When the store fails; from then on it refuses whatever is to be written, so that nobody takes another's success
    /// for his own.
    pub(crate) fn commit(&self) -> anyhow::Result<()> {
        let own = lock(&self.0.queued).count;
        let mut written = lock(&self.0.written);
        if written.is_some_and(|written| written >= own) {
            return Ok(());
        }
        let mut queued = lock(&self.0.queued);
        let (changes, count) = (std::mem::take(&mut queued.changes), queued.count);
        drop(queued);
        written.take().context("the store failed before and takes no more changes")?;
        for (key, record) in changes {
            match record {
                Some(record) => self.0.records.insert(key, record)?,
                None => self.0.records.remove(key)?,
            }
        }
        self.sync()?;
        *written = Some(count);
        Ok(())
    }

    /// Writes a channel's checkpoint without waiting for the disk.
    pub(crate) fn put_checkpoint(&self, channel: &str, record: &[u8]) -> anyhow::Result<()> {
        self.0.records.insert(format!("checkpoint:{channel}"), record)?;
        Ok(self.0.database.persist(PersistMode::Buffer)?)
    }

    /// Waits until everything written is on the disk.
    pub(crate) fn sync(&self) -> anyhow::Result<()> {
        Ok(self.0.database.persist(PersistMode::SyncAll)?)
    }
}

/// The rest of a record's key, and the record.
type Entry = (String, Vec<u8>);

fn decode<T: DeserializeOwned>(kind: &str, id: &str, record: &[u8]) -> anyhow::Result<T> {
    serde_json::from_slice(record).with_context(|| format!("the store's record {kind}:{id} is damaged"))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn record(name: &str) -> ChannelRecord {
        let token = TokenRecord { id: format!("t.{name}").into(), name: name.into(), until: None };
        ChannelRecord { tokens: vec![token], drains: Vec::new() }
    }

    #[test]
    fn channels_are_read_back_each_with_its_own_checkpoint() {
        let folder = tempfile::tempdir().unwrap();
        let store = Store::open(folder.path()).unwrap();
        for id in ["b", "a-1", "a", "ü", "d"] {
            store.put_channel(id, Some(&record(id))).unwrap();
        }
        store.put_channel("d", None).unwrap();
        store.commit().unwrap();
        // Of channels that are no more, ahead of all, in between and behind all; of `a` there is none.
        for id in ["0", "a-1", "a-2", "b", "c", "ü", "üü"] {
            store.put_checkpoint(id, id.as_bytes()).unwrap();
        }
        drop(store);
        let store = Store::open(folder.path()).unwrap();
        let read: Vec<LoadedChannel> = store.channels().collect::<Result<_, _>>().unwrap();
        let own = |id: &str| (id.to_owned(), record(id), Some(id.as_bytes().to_vec()));
        assert_eq!(read, [("a".to_owned(), record("a"), None), own("a-1"), own("b"), own("ü")]);
    }

    #[test]
    fn a_commit_writes_what_others_have_queued_before() {
        let folder = tempfile::tempdir().unwrap();
        let store = Store::open(folder.path()).unwrap();
        std::thread::scope(|scope| {
            for writer in 0..8 {
                let store = &store;
                scope.spawn(move || {
                    for at in 0..20 {
                        let id = format!("{writer}-{at}");
                        store.put_channel(&id, Some(&record(&id))).unwrap();
                        store.commit().unwrap();
                        let key = format!("channel:{id}");
                        assert!(store.0.records.get(key).unwrap().is_some(), "{id} was not written");
                    }
                });
            }
        });
        assert_eq!(*lock(&store.0.written), Some(160));
        store.put_last_drain(7).unwrap();
        assert_eq!(store.load().unwrap().last_drain, 0, "nobody has waited for it");
        store.commit().unwrap();
        assert_eq!(store.load().unwrap().last_drain, 7);
        // Whoever queued something ahead of a failure, or comes after it, hears of it; and nothing piles up.
        *lock(&store.0.written) = None;
        store.put_last_drain(8).unwrap();
        assert!(store.commit().is_err() && store.commit().is_err());
        assert!(lock(&store.0.queued).changes.is_empty());
    }
}
