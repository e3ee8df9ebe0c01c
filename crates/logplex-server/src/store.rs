//! The embedded store: channels with their tokens and drains, sessions, API keys, checkpoints.
//!
//! Configuration is written through to the disk before a request is answered. Checkpoints are handed to the
//! operating system, which is what survives `kill -9`; after a power cut they may be seconds old.
//!
//! One record a channel holds its tokens and drains, so that they cannot disagree; one more holds its
//! checkpoint ([`crate::checkpoint`]).

use std::os::unix::fs::DirBuilderExt;
use std::path::Path;

use anyhow::{Context, bail};
use chrono::{DateTime, Utc};
use fjall::{Database, Keyspace, KeyspaceCreateOptions, PersistMode};
use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};

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
    pub(crate) id: String,
    pub(crate) name: String,
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

/// What is read back at the start.
#[derive(Debug, Default)]
pub(crate) struct Loaded {
    pub(crate) channels: Vec<(String, ChannelRecord)>,
    pub(crate) sessions: Vec<(String, SessionRecord)>,
    pub(crate) checkpoints: Vec<(String, Vec<u8>)>,
    /// SHA-256 of each API key.
    pub(crate) key_hashes: Vec<[u8; 32]>,
    /// The highest drain id ever given.
    pub(crate) last_drain: u64,
}

/// A handle on the store; clones share it.
#[derive(Clone)]
pub(crate) struct Store {
    database: Database,
    records: Keyspace,
}

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
            Ok(Store { database, records })
        };
        let store = open().with_context(|| {
            format!("cannot open the store in {dir:?}; if another server uses it, give this one its own --data-dir")
        })?;
        match store.records.get("schema")? {
            Some(version) if &*version != SCHEMA.to_string().as_bytes() => bail!(
                "the store in {dir:?} has schema {}, this server knows {SCHEMA}; use the version that wrote it",
                String::from_utf8_lossy(&version)
            ),
            Some(_) => {}
            None => store.write("schema", Some(SCHEMA.to_string().as_bytes()))?,
        }
        Ok(store)
    }

    /// Reads everything back.
    pub(crate) fn load(&self) -> anyhow::Result<Loaded> {
        let mut loaded = Loaded::default();
        for entry in self.records.iter() {
            let (key, value) = entry.into_inner()?;
            let key = String::from_utf8_lossy(&key).into_owned();
            let Some((kind, id)) = key.split_once(':') else { continue };
            match kind {
                "channel" => loaded.channels.push((id.to_owned(), decode(&key, &value)?)),
                "session" => loaded.sessions.push((id.to_owned(), decode(&key, &value)?)),
                "checkpoint" => loaded.checkpoints.push((id.to_owned(), value.to_vec())),
                "last" => loaded.last_drain = decode(&key, &value)?,
                "key" => loaded.key_hashes.push(decode(&key, &value)?),
                _ => {}
            }
        }
        Ok(loaded)
    }

    /// Writes a channel's configuration, or removes it with its checkpoint.
    pub(crate) fn put_channel(&self, id: &str, record: Option<&ChannelRecord>) -> anyhow::Result<()> {
        if record.is_none() {
            self.records.remove(format!("checkpoint:{id}"))?;
        }
        self.put(&format!("channel:{id}"), record)
    }

    /// Writes or removes a session.
    pub(crate) fn put_session(&self, id: &str, record: Option<&SessionRecord>) -> anyhow::Result<()> {
        self.put(&format!("session:{id}"), record)
    }

    /// Writes a session anew without waiting for the disk.
    pub(crate) fn renew_session(&self, id: &str, record: &SessionRecord) -> anyhow::Result<()> {
        self.records.insert(format!("session:{id}"), serde_json::to_vec(record)?)?;
        Ok(self.database.persist(PersistMode::Buffer)?)
    }

    /// Adds an API key by its SHA-256.
    pub(crate) fn add_key_hash(&self, hash: &[u8; 32]) -> anyhow::Result<()> {
        self.put(&format!("key:{}", uuid::Uuid::new_v4()), Some(hash))
    }

    /// Writes the highest drain id ever given.
    pub(crate) fn put_last_drain(&self, id: u64) -> anyhow::Result<()> {
        self.put("last:drain", Some(&id))
    }

    /// Writes a channel's checkpoint without waiting for the disk.
    pub(crate) fn put_checkpoint(&self, channel: &str, record: &[u8]) -> anyhow::Result<()> {
        self.records.insert(format!("checkpoint:{channel}"), record)?;
        Ok(self.database.persist(PersistMode::Buffer)?)
    }

    /// Waits until everything written is on the disk.
    pub(crate) fn sync(&self) -> anyhow::Result<()> {
        Ok(self.database.persist(PersistMode::SyncAll)?)
    }

    fn put<T: Serialize>(&self, key: &str, value: Option<&T>) -> anyhow::Result<()> {
        match value {
            Some(value) => self.write(key, Some(&serde_json::to_vec(value)?)),
            None => self.write(key, None),
        }
    }

    fn write(&self, key: &str, value: Option<&[u8]>) -> anyhow::Result<()> {
        match value {
            Some(value) => self.records.insert(key, value)?,
            None => self.records.remove(key)?,
        }
        self.sync()
    }
}

fn decode<T: DeserializeOwned>(key: &str, value: &[u8]) -> anyhow::Result<T> {
    serde_json::from_slice(value).with_context(|| format!("the store's record {key} is damaged"))
}
