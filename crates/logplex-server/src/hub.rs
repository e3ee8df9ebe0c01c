//! What exists: channels, tokens, drains, sessions and keys; kept in step with the store.
//!
//! Reading (a token's look-up, above all) takes one shared lock for a moment. Every change is written to the
//! store first, one at a time; these calls block on the disk.

use std::collections::HashMap;
use std::sync::atomic::AtomicUsize;
use std::sync::{Arc, Mutex, PoisonError, RwLock, RwLockReadGuard, RwLockWriteGuard};
use std::time::Duration;

use chrono::{DateTime, Utc};
use logplex_core::message::Form;
use logplex_core::{Batch, FrameLimit, Frames, Gap, Origin, Teller};
use sha2::{Digest, Sha256};
use subtle::ConstantTimeEq;
use tokio::time::Instant;
use tracing::{error, info};
use uuid::Uuid;

use crate::channel::{Channel, Producer, Token};
use crate::checkpoint::Checkpoint;
use crate::destination::{Destination, DestinationError};
use crate::drain::{Drain, DrainContext};
use crate::mailbox::lock;
use crate::store::{ChannelRecord, DrainRecord, SessionRecord, Store, TokenRecord};

/// The most drains with a URL that a channel may have; the original's number.
const DRAINS_PER_CHANNEL: usize = 6;

/// How long a session's URL works; the original's number.
const SESSION_LIFETIME: chrono::TimeDelta = chrono::TimeDelta::seconds(360);

/// The most sessions that wait to be used or are in use: each costs a record in memory and store.
const SESSIONS_MAX: usize = 100_000;

/// How long a removed drain may go on sending what it holds.
const REMOVAL_GRACE: Duration = Duration::from_secs(5);

/// Why a change was refused.
#[derive(Debug, thiserror::Error)]
pub(crate) enum HubError {
    #[error("not found")]
    NotFound,
    #[error("already exists")]
    Exists,
    #[error("maximum number of drains reached")]
    TooManyDrains,
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
    registry: RwLock<Registry>,
    /// Held while one change is made to the store and to the registry.
    changing: Mutex<()>,
    /// Channels whose checkpoints the ticker keeps up to date.
    watched: Mutex<Vec<Arc<Channel>>>,
    drain_context: Arc<DrainContext>,
    repeats_in_all: Arc<AtomicUsize>,
}

#[derive(Debug, Default)]
struct Registry {
    channels: HashMap<Arc<str>, Registered>,
    tokens: HashMap<Sha, Arc<Token>>,
    sessions: HashMap<Uuid, SessionRecord>,
    key_hashes: Vec<Sha>,
    /// The highest drain id ever given.
    last_drain: u64,
}

#[derive(Debug)]
struct Registered {
    channel: Arc<Channel>,
    record: ChannelRecord,
}

impl Hub {
    /// Reads everything back from the store, and tells drains what an earlier process left untold.
    pub(crate) fn open(store: Store, drain_context: Arc<DrainContext>) -> anyhow::Result<Hub> {
        let loaded = store.load()?;
        let hub = Hub {
            store,
            registry: RwLock::default(),
            changing: Mutex::new(()),
            watched: Mutex::default(),
            drain_context,
            repeats_in_all: Arc::default(),
        };
        let mut checkpoints: HashMap<String, Vec<u8>> = loaded.checkpoints.into_iter().collect();
        for (id, record) in loaded.channels {
            let channel = Arc::new(Channel::new(id.as_str().into(), hub.store.clone()));
            let checkpoint = match checkpoints.remove(&id).map(|record| Checkpoint::decode(&record)) {
                Some(Ok(checkpoint)) => checkpoint,
                None => Checkpoint::default(),
                Some(Err(error)) => {
                    error!(channel = id, %error, "checkpoint damaged; what the last process lost is not known");
                    Checkpoint::default()
                }
            };
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
        let now = Utc::now();
        for (id, session) in loaded.sessions {
            match Uuid::parse_str(&id) {
                Ok(uuid) if session.expires > now => {
                    drop(hub.write_registry().sessions.insert(uuid, session))
                }
                _ => hub.store.put_session(&id, None)?,
            }
        }
        let mut registry = hub.write_registry();
        registry.key_hashes = loaded.key_hashes;
        registry.last_drain = loaded.last_drain;
        drop(registry);
        Ok(hub)
    }

    fn registry(&self) -> RwLockReadGuard<'_, Registry> {
        self.registry.read().unwrap_or_else(PoisonError::into_inner)
    }

    fn write_registry(&self) -> RwLockWriteGuard<'_, Registry> {
        self.registry.write().unwrap_or_else(PoisonError::into_inner)
    }

    fn register(&self, channel: Arc<Channel>, record: ChannelRecord) {
        let mut registry = self.write_registry();
        for token in &record.tokens {
            let in_all = self.repeats_in_all.clone();
            registry
                .tokens
                .entry(hash(&token.id))
                .or_insert_with(|| Arc::new(Token::new(&token.id, &token.name, channel.clone(), in_all)));
        }
        registry.channels.insert(channel.id.clone(), Registered { channel, record });
    }

    fn install(
        &self,
        channel: &Arc<Channel>,
        record: &DrainRecord,
        destination: Destination,
        untold: Option<(Gap, Gap)>,
    ) {
        let drain = Drain::new(record.id, &record.token, destination, self.drain_context.clone());
        if let Some((reader, for_channel)) = untold {
            info!(drain = record.token, untold = reader.total(), "telling what the last process could not");
            drain.mailbox.with_ledger(|ledger| ledger.inherit(reader, for_channel));
            drain.start();
        }
        if channel.add_drain(drain) {
            lock(&self.watched).push(channel.clone());
        }
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

    pub(crate) fn tokens(&self) -> Vec<Arc<Token>> {
        self.registry().tokens.values().cloned().collect()
    }

    pub(crate) fn token(&self, id: &str) -> Option<Arc<Token>> {
        self.registry().tokens.get(&hash(id)).cloned()
    }

    /// Creates a channel or sets its tokens: missing names are made, names not given are removed, the rest
    /// keep their ids. Returns the record and whether the channel is new.
    pub(crate) fn put_channel(&self, id: &str, names: &[String]) -> Result<(ChannelRecord, bool), HubError> {
        let _changing = lock(&self.changing);
        let existing = self.record(id);
        let mut record = existing.clone().unwrap_or_default();
        let before = std::mem::take(&mut record.tokens);
        for name in names {
            if record.tokens.iter().any(|token| token.name == *name) {
                continue;
            }
            let kept: Vec<TokenRecord> = before.iter().filter(|token| token.name == *name).cloned().collect();
            if kept.is_empty() { record.tokens.push(new_token(name)) } else { record.tokens.extend(kept) }
        }
        self.store.put_channel(id, Some(&record))?;
        let channel =
            self.channel(id).unwrap_or_else(|| Arc::new(Channel::new(id.into(), self.store.clone())));
        let mut registry = self.write_registry();
        for removed in before.iter().filter(|token| !record.tokens.contains(token)) {
            registry.tokens.remove(&hash(&removed.id));
        }
        drop(registry);
        self.register(channel, record.clone());
        Ok((record, existing.is_none()))
    }

    /// Removes a channel with its tokens and drains; its drains send what they hold for a short time.
    pub(crate) fn remove_channel(&self, id: &str) -> Result<(), HubError> {
        let _changing = lock(&self.changing);
        let record = self.record(id).ok_or(HubError::NotFound)?;
        self.store.put_channel(id, None)?;
        let mut registry = self.write_registry();
        for token in &record.tokens {
            registry.tokens.remove(&hash(&token.id));
        }
        let removed = registry.channels.remove(id);
        drop(registry);
        if let Some(removed) = removed {
            for drain in removed.channel.remove_drains(|_| true) {
                drain.stop(Instant::now() + REMOVAL_GRACE);
            }
        }
        Ok(())
    }

    /// Adds a token.
    pub(crate) fn add_token(&self, channel: &str, name: &str) -> Result<TokenRecord, HubError> {
        let token = new_token(name);
        self.change(channel, |record| {
            record.tokens.push(token.clone());
            Ok(())
        })?;
        Ok(token)
    }

    /// Changes a channel's record in the store, then in the registry.
    fn change<T>(
        &self,
        id: &str,
        change: impl FnOnce(&mut ChannelRecord) -> Result<T, HubError>,
    ) -> Result<(Arc<Channel>, T), HubError> {
        let _changing = lock(&self.changing);
        let channel = self.channel(id).ok_or(HubError::NotFound)?;
        let mut record = self.record(id).ok_or(HubError::NotFound)?;
        let result = change(&mut record)?;
        self.store.put_channel(id, Some(&record))?;
        self.register(channel.clone(), record);
        Ok((channel, result))
    }

    // === Drains ===

    /// Adds a drain, or reserves its token if there is no URL yet.
    pub(crate) fn add_drain(&self, channel: &str, url: Option<&str>) -> Result<DrainRecord, HubError> {
        let destination = url.map(Destination::parse).transpose()?;
        let id = self.next_drain_id()?;
        let drain = DrainRecord { id, token: format!("d.{}", Uuid::new_v4()), url: url.map(str::to_owned) };
        let (channel, ()) = self.change(channel, |record| {
            if url.is_some() {
                check_room(record, url, None)?;
            }
            record.drains.push(drain.clone());
            Ok(())
        })?;
        if let Some(destination) = destination {
            self.install(&channel, &drain, destination, None);
        }
        Ok(drain)
    }

    /// Drain ids are never used again: a checkpoint may still speak of an old one.
    fn next_drain_id(&self) -> anyhow::Result<u64> {
        let _changing = lock(&self.changing);
        let id = self.registry().last_drain + 1;
        self.store.put_last_drain(id)?;
        self.write_registry().last_drain = id;
        Ok(id)
    }

    /// Gives a drain its URL, or another one; what it holds stays held.
    pub(crate) fn set_drain(&self, channel: &str, id: u64, url: &str) -> Result<DrainRecord, HubError> {
        let destination = Destination::parse(url)?;
        let (channel, drain) = self.change(channel, |record| {
            check_room(record, Some(url), Some(id))?;
            let drain = record.drains.iter_mut().find(|drain| drain.id == id).ok_or(HubError::NotFound)?;
            drain.url = Some(url.to_owned());
            Ok(drain.clone())
        })?;
        match channel.drains().iter().find(|drain| drain.id == id) {
            Some(running) => running.redirect(destination),
            None => self.install(&channel, &drain, destination, None),
        }
        Ok(drain)
    }

    /// Removes a drain of this channel; it sends what it holds for a short time.
    pub(crate) fn remove_drain(&self, channel: &str, id: u64) -> Result<(), HubError> {
        let (channel, ()) = self.change(channel, |record| {
            let before = record.drains.len();
            record.drains.retain(|drain| drain.id != id);
            if record.drains.len() == before { Err(HubError::NotFound) } else { Ok(()) }
        })?;
        for drain in channel.remove_drains(|drain| drain.id == id) {
            drain.stop(Instant::now() + REMOVAL_GRACE);
        }
        Ok(())
    }

    // === Sessions ===

    pub(crate) fn add_session(&self, mut session: SessionRecord) -> Result<Uuid, HubError> {
        let now = Utc::now();
        let id = Uuid::new_v4();
        session.expires = now + SESSION_LIFETIME;
        let mut registry = self.write_registry();
        if registry.sessions.len() >= SESSIONS_MAX {
            return Err(HubError::TooManySessions);
        }
        registry.sessions.insert(id, session.clone());
        drop(registry);
        self.store.put_session(&id.to_string(), Some(&session))?;
        Ok(id)
    }

    pub(crate) fn session(&self, id: Uuid, now: DateTime<Utc>) -> Option<SessionRecord> {
        self.registry().sessions.get(&id).filter(|session| session.expires > now).cloned()
    }

    /// Forgets sessions whose time is over.
    pub(crate) fn expire_sessions(&self, now: DateTime<Utc>) -> anyhow::Result<()> {
        let mut expired = Vec::new();
        self.write_registry().sessions.retain(|id, session| {
            let keep = session.expires > now;
            if !keep {
                expired.push(*id);
            }
            keep
        });
        for id in expired {
            self.store.put_session(&id.to_string(), None)?;
        }
        Ok(())
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
        let busy: Vec<_> = watched.into_iter().filter(|channel| channel.tick(&self.store, now)).collect();
        lock(&self.watched).extend(busy);
    }

    fn copy_notices(&self, channel: &Arc<Channel>, at_once: bool, now: DateTime<Utc>) {
        for drain in channel.drains() {
            let messages = drain.words_for_channel(at_once, now);
            if messages.is_empty() {
                continue;
            }
            let origin = Origin {
                token_name: "heroku".into(),
                token: "".into(),
                form: Form::Any,
                limit: FrameLimit::MAX,
                now,
            };
            let frames = Frames::from_messages(&messages);
            match Batch::decode(frames.wire(0..messages.len()), &origin) {
                Ok(batch) => self.publish(channel, Arc::new(batch), Producer::Notice, now),
                Err(error) => error!(drain = drain.token, %error, "notice not readable"),
            }
        }
    }

    /// The order to stop: drains send until `deadline` and count the rest as lost.
    pub(crate) fn stop_drains(&self, deadline: Instant) {
        for channel in self.channels() {
            for drain in channel.drains() {
                drain.stop(deadline);
            }
        }
    }

    /// Tells tails what their channels' drains could not send, at once: they are about to end. Where nobody
    /// reads, the copy is left to the next start, whose history outlives this one.
    pub(crate) fn copy_last_notices(&self, now: DateTime<Utc>) {
        for channel in self.channels().into_iter().filter(|channel| channel.has_tails()) {
            self.copy_notices(&channel, true, now);
        }
    }

    /// Writes the exact numbers that the next start will tell. Returns how many messages those are.
    pub(crate) fn write_final_checkpoints(&self, now: DateTime<Utc>) -> u64 {
        let mut untold = 0;
        for channel in self.channels() {
            channel.write_final_checkpoint(&self.store, now);
            for drain in channel.drains() {
                untold += drain.mailbox.ledger().gap(Teller::Reader).total();
            }
        }
        if let Err(error) = self.store.sync() {
            error!(error = format!("{error:#}"), "the store was not synced");
        }
        untold
    }
}

fn new_token(name: &str) -> TokenRecord {
    TokenRecord { id: format!("t.{}", Uuid::new_v4()), name: name.to_owned() }
}

/// Whether a drain with `url` may be added, or be given to the drain `own`.
fn check_room(record: &ChannelRecord, url: Option<&str>, own: Option<u64>) -> Result<(), HubError> {
    let others = || record.drains.iter().filter(|drain| drain.url.is_some() && Some(drain.id) != own);
    if others().any(|drain| drain.url.as_deref() == url) {
        return Err(HubError::Exists);
    }
    if others().count() >= DRAINS_PER_CHANNEL {
        return Err(HubError::TooManyDrains);
    }
    Ok(())
}
