//! What exists: channels, tokens, drains, sessions and keys; kept in step with the store.
//!
//! Reading (a token's look-up, above all) takes one shared lock for a moment. Changes are made one at a time, queued for
//! the store and then in force; whoever made one waits until it is on the disk, together with others who came meanwhile.

use std::collections::HashMap;
use std::num::NonZeroUsize;
use std::sync::atomic::AtomicUsize;
use std::sync::{Arc, Mutex, PoisonError, RwLock, RwLockReadGuard, RwLockWriteGuard};

use chrono::{DateTime, Utc};
use logplex_core::{Batch, Teller};
use sha2::{Digest, Sha256};
use subtle::ConstantTimeEq;
use tokio::time::Instant;
use tracing::error;
use uuid::Uuid;

use self::tokens::set_tokens;
use crate::channel::{Channel, Producer, Token, TokenState};
use crate::checkpoint::Checkpoint;
use crate::destination::{Destination, DestinationError};
use crate::drain::{Drain, DrainContext};
use crate::history::Shelf;
use crate::mailbox::lock;
use crate::store::{ChannelRecord, Store};

mod drains;
mod histories;
mod sessions;
mod tokens;

use drains::REMOVAL_GRACE;
use sessions::Session;
pub(crate) use sessions::SessionUse;
pub(crate) use tokens::{TOKENS_MAX, Which};

/// Why a change was refused.
#[derive(Debug, thiserror::Error)]
pub(crate) enum HubError {
    #[error("not found")]
    NotFound,
    #[error("already exists")]
    Exists,
    #[error("maximum number of drains reached")]
    TooManyDrains,
    #[error("maximum number of tokens reached")]
    TooManyTokens,
    #[error("too many sessions; wait for some to expire")]
    TooManySessions,
    #[error("invalid drain URL")]
    Destination(#[from] DestinationError),
    #[error("the store failed")]
    Store(#[from] anyhow::Error),
}

type Sha = [u8; 32];

/// SHA-256: what secrets are looked up and compared by, so that time tells nothing of them.
pub(crate) fn hash(secret: &str) -> Sha {
    Sha256::digest(secret.as_bytes()).into()
}

/// See the module's text.
#[derive(Debug)]
pub(crate) struct Hub {
    store: Store,
    pub(crate) shelf: Arc<Shelf>,
    /// Held while histories are written or removed, so that nothing is written of a channel that is no more.
    storing: Mutex<()>,
    registry: RwLock<Registry>,
    /// Held while one change is queued for the store and made to the registry.
    changing: Mutex<()>,
    /// Channels whose checkpoints the ticker keeps up to date.
    watched: Mutex<Vec<Arc<Channel>>>,
    /// Drains that were removed and go on sending for a short time, with their channels.
    leaving: Mutex<Vec<(Arc<Channel>, Arc<Drain>)>>,
    drain_context: Arc<DrainContext>,
    /// The most drains with a URL that a channel may have.
    max_drains: NonZeroUsize,
    repeats_in_all: Arc<AtomicUsize>,
}

#[derive(Debug, Default)]
struct Registry {
    channels: HashMap<Arc<str>, Registered>,
    tokens: HashMap<Sha, Arc<Token>>,
    sessions: HashMap<Uuid, Session>,
    key_hashes: Vec<Sha>,
    /// The highest drain id ever given.
    last_drain: u64,
}

#[derive(Debug)]
struct Registered {
    channel: Arc<Channel>,
    record: ChannelRecord,
}

/// What the tokens of each name of a channel share.
type States = HashMap<Arc<str>, Arc<Mutex<TokenState>>>;

impl Registry {
    /// Takes a channel's tokens out. Returns what those of each name shared.
    fn forget_tokens(&mut self, record: &ChannelRecord) -> States {
        let forgotten = record.tokens.iter().filter_map(|token| self.tokens.remove(&hash(&token.id)));
        forgotten
            .inspect(|token| token.forget())
            .map(|token| (token.name.clone(), token.state.clone()))
            .collect()
    }
}

impl Hub {
    /// Reads everything back from the store, and tells drains what an earlier process left untold.
    pub(crate) fn open(
        store: Store,
        shelf: Shelf,
        drain_context: Arc<DrainContext>,
        max_drains: NonZeroUsize,
    ) -> anyhow::Result<Hub> {
        let hub = Hub {
            store,
            shelf: Arc::new(shelf),
            storing: Mutex::new(()),
            registry: RwLock::default(),
            changing: Mutex::new(()),
            watched: Mutex::default(),
            leaving: Mutex::default(),
            drain_context,
            max_drains,
            repeats_in_all: Arc::default(),
        };
        for channel in hub.store.channels() {
            let (id, record, checkpoint) = channel?;
            let checkpoint = match checkpoint.map(|record| Checkpoint::decode(&record)) {
                Some(Ok(checkpoint)) => checkpoint,
                None => Checkpoint::default(),
                Some(Err(error)) => {
                    error!(channel = id, %error, "checkpoint damaged; what the last process lost is not known");
                    Checkpoint::default()
                }
            };
            let channel = hub.new_channel(&id, &checkpoint);
            for drain in &record.drains {
                let Some(url) = &drain.url else { continue };
                match Destination::parse(url) {
                    Ok(destination) => hub.install(&channel, drain, destination, checkpoint.untold(drain.id)),
                    Err(error) => {
                        error!(channel = id, drain = drain.token, %error, "stored drain not usable")
                    }
                }
            }
            hub.register(channel, record);
        }
        let (loaded, now) = (hub.store.load()?, Utc::now());
        for (id, session) in loaded.sessions {
            match Uuid::parse_str(&id) {
                Ok(uuid) if session.expires > now => {
                    drop(hub.write_registry().sessions.insert(uuid, Session::new(session)))
                }
                _ => hub.store.put_session(&id, None)?,
            }
        }
        hub.store.commit()?;
        let mut registry = hub.write_registry();
        registry.key_hashes = loaded.key_hashes;
        registry.last_drain = loaded.last_drain;
        drop(registry);
        hub.shelf.say();
        Ok(hub)
    }

    fn new_channel(&self, id: &str, checkpoint: &Checkpoint) -> Arc<Channel> {
        Arc::new(Channel::new(id.into(), self.store.clone(), self.shelf.clone(), checkpoint))
    }

    fn registry(&self) -> RwLockReadGuard<'_, Registry> {
        self.registry.read().unwrap_or_else(PoisonError::into_inner)
    }

    fn write_registry(&self) -> RwLockWriteGuard<'_, Registry> {
        self.registry.write().unwrap_or_else(PoisonError::into_inner)
    }

    /// Makes a channel's record what counts. Tokens whose name was there before go on with its counts.
    fn register(&self, channel: Arc<Channel>, mut record: ChannelRecord) {
        // Most channels have one token and few drains; room for more would be most of what an idle one takes.
        record.tokens.shrink_to_fit();
        record.drains.shrink_to_fit();
        let mut registry = self.write_registry();
        let replaced = registry.channels.remove(&channel.id);
        let mut states =
            replaced.map(|replaced| registry.forget_tokens(&replaced.record)).unwrap_or_default();
        for token in &record.tokens {
            let new = || Arc::new(Mutex::new(TokenState::new(self.repeats_in_all.clone())));
            let state = states.entry(token.name.clone()).or_insert_with(new).clone();
            registry.tokens.insert(hash(&token.id), Arc::new(Token::new(token, channel.clone(), state)));
        }
        registry.channels.insert(channel.id.clone(), Registered { channel, record });
    }

    // === Keys ===

    /// Whether `key` is one of ours.
    pub(crate) fn knows_key(&self, key: &str) -> bool {
        let given = hash(key);
        let registry = self.registry();
        registry.key_hashes.iter().fold(false, |found, known| found | bool::from(known.ct_eq(&given)))
    }

    /// Accepts a key that the operator brought, for this run.
    pub(crate) fn accept_key(&self, key: &str) {
        self.write_registry().key_hashes.push(hash(key));
    }

    /// Makes a key if there is none. It is returned this once; only its hash is kept.
    pub(crate) fn first_key(&self) -> anyhow::Result<Option<String>> {
        if !self.registry().key_hashes.is_empty() {
            return Ok(None);
        }
        let key = format!("lpk_{}{}", Uuid::new_v4().simple(), Uuid::new_v4().simple());
        self.store.add_key_hash(&hash(&key))?;
        self.store.commit()?;
        self.accept_key(&key);
        Ok(Some(key))
    }

    // === Channels and tokens ===

    pub(crate) fn channel(&self, id: &str) -> Option<Arc<Channel>> {
        self.registry().channels.get(id).map(|registered| registered.channel.clone())
    }

    /// A channel's configuration.
    pub(crate) fn record(&self, id: &str) -> Option<ChannelRecord> {
        self.registry().channels.get(id).map(|registered| registered.record.clone())
    }

    pub(crate) fn channels(&self) -> Vec<Arc<Channel>> {
        self.registry().channels.values().map(|registered| registered.channel.clone()).collect()
    }

    /// The first `most` channels whose ids come after `after`, in the order of their ids, and whether there
    /// are more.
    pub(crate) fn list_channels(&self, after: &str, most: usize) -> (Vec<(Arc<str>, ChannelRecord)>, bool) {
        // Sorted outside the lock, for which ingest waits.
        let registry = self.registry();
        let mut ids: Vec<Arc<str>> = registry.channels.keys().filter(|id| &***id > after).cloned().collect();
        drop(registry);
        ids.sort_unstable();
        let more = ids.len() > most;
        ids.truncate(most);
        let with_record = |id: Arc<str>| self.record(&id).map(|record| (id, record));
        (ids.into_iter().filter_map(with_record).collect(), more)
    }

    /// Creates a channel or sets its tokens: missing names are made, names not given are removed, the rest
    /// keep their ids. Returns the record and whether the channel is new.
    pub(crate) fn put_channel(&self, id: &str, names: &[String]) -> Result<(ChannelRecord, bool), HubError> {
        let changing = lock(&self.changing);
        let existing = self.record(id);
        let is_new = existing.is_none();
        let mut record = existing.unwrap_or_default();
        set_tokens(&mut record, names);
        self.put_record(id, &record)?;
        drop(changing);
        self.store.commit()?;
        Ok((record, is_new))
    }

    /// Creates a channel that must not be there yet.
    pub(crate) fn create_channel(&self, id: &str, names: &[String]) -> Result<ChannelRecord, HubError> {
        let changing = lock(&self.changing);
        if self.record(id).is_some() {
            return Err(HubError::Exists);
        }
        let mut record = ChannelRecord::default();
        set_tokens(&mut record, names);
        self.put_record(id, &record)?;
        drop(changing);
        self.store.commit()?;
        Ok(record)
    }

    /// Makes a channel, or replaces its record. The caller holds `changing`.
    fn put_record(&self, id: &str, record: &ChannelRecord) -> Result<(), HubError> {
        self.store.put_channel(id, Some(record))?;
        let channel = self.channel(id).unwrap_or_else(|| self.new_channel(id, &Checkpoint::default()));
        self.register(channel, record.clone());
        Ok(())
    }

    /// Removes a channel with its tokens, drains, history and sessions; its drains send what they hold for a short time.
    pub(crate) fn remove_channel(&self, id: &str) -> Result<(), HubError> {
        let _changing = lock(&self.changing);
        let record = self.record(id).ok_or(HubError::NotFound)?;
        self.store.put_channel(id, None)?;
        // Before anyone can make it anew: what that one is reserved may not be removed with what this one was.
        self.store.commit()?;
        let mut registry = self.write_registry();
        registry.forget_tokens(&record);
        let removed = registry.channels.remove(id);
        drop(registry);
        if let Some(removed) = removed {
            for drain in removed.channel.remove_drains(|_| true) {
                drain.remove(Instant::now() + REMOVAL_GRACE);
            }
            let _storing = lock(&self.storing);
            removed.channel.remove();
            if let Err(error) = self.shelf.forget(id) {
                error!(channel = id, error = format!("{error:#}"), "history not removed");
            }
        }
        self.revoke_sessions(id)?;
        Ok(())
    }

    /// Changes a channel's record, and waits until that is on the disk. The change holds from when it is queued, so that
    /// the next one need not wait for the disk; where the store fails, it holds until the end of this process.
    fn change<T>(
        &self,
        id: &str,
        change: impl FnOnce(&mut ChannelRecord) -> Result<T, HubError>,
    ) -> Result<(Arc<Channel>, T), HubError> {
        let changing = lock(&self.changing);
        let changed = self.change_locked(id, change)?;
        drop(changing);
        self.store.commit()?;
        Ok(changed)
    }

    /// As [`Hub::change`], for who holds `changing` and calls [`Store::commit`].
    fn change_locked<T>(
        &self,
        id: &str,
        change: impl FnOnce(&mut ChannelRecord) -> Result<T, HubError>,
    ) -> Result<(Arc<Channel>, T), HubError> {
        let channel = self.channel(id).ok_or(HubError::NotFound)?;
        let mut record = self.record(id).ok_or(HubError::NotFound)?;
        let result = change(&mut record)?;
        self.store.put_channel(id, Some(&record))?;
        self.register(channel.clone(), record);
        Ok((channel, result))
    }

    // === The stream ===

    /// Hands a batch to its channel.
    pub(crate) fn publish(
        &self,
        channel: &Arc<Channel>,
        batch: Arc<Batch>,
        by: Producer,
        now: DateTime<Utc>,
    ) {
        if channel.publish(batch, by, now) {
            lock(&self.watched).push(channel.clone());
        }
    }

    /// Once a second: checkpoints of busy channels, and the channel's copies of their drains' notices.
    pub(crate) fn tick(&self, now: DateTime<Utc>) {
        let watched = std::mem::take(&mut *lock(&self.watched));
        for channel in &watched {
            self.copy_notices(channel, false, now);
        }
        self.store_histories(&watched, now);
        let busy: Vec<_> = watched.into_iter().filter(|channel| channel.tick(&self.store, now)).collect();
        lock(&self.watched).extend(busy);
        self.tell_of_leavers(now);
        self.free_history_memory();
        if self.shelf.to_remove() > 0 {
            self.free_history_disk(now);
        }
    }

    /// Once a minute: what has had its time goes.
    pub(crate) fn expire(&self, now: DateTime<Utc>) -> anyhow::Result<()> {
        self.free_code_lines();
        self.free_history_disk(now);
        if let Err(error) = self.shelf.compact() {
            error!(error = format!("{error:#}"), "stored histories were not compacted");
        }
        self.expire_sessions(now)?;
        Ok(self.expire_tokens(now)?)
    }

    /// Writes histories and the exact numbers that the next start will tell. Returns how many messages those are.
    pub(crate) fn write_final_checkpoints(&self, now: DateTime<Utc>) -> u64 {
        let mut untold = 0;
        let channels = self.channels();
        self.store_histories(&channels, now);
        for channel in channels {
            channel.write_final_checkpoint(&self.store, now);
            for drain in channel.drains() {
                untold += drain.mailbox.ledger().gap(Teller::Reader).total();
            }
        }
        let renewed = self.expire_sessions(now);
        let synced = renewed.and_then(|()| self.shelf.sync()).and_then(|()| self.store.sync());
        if let Err(error) = synced {
            error!(error = format!("{error:#}"), "the store was not synced");
        }
        untold
    }
}
