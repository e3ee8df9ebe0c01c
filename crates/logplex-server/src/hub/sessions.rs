//! Tail sessions: made with a key, used by whoever has the URL until they expire or are revoked.
//!
//! A session that is in use does not expire, and neither does one that was until a short time ago: a client that
//! comes back to its URL after the server was restarted finds it.

use std::sync::Arc;
use std::sync::atomic::{AtomicI64, AtomicUsize, Ordering};

use chrono::{DateTime, TimeDelta, Utc};
use tokio_util::sync::CancellationToken;
use uuid::Uuid;

use super::{Hub, HubError};
use crate::store::SessionRecord;

/// How long a session's URL works after it was made or last used; the original's number.
const LIFETIME: TimeDelta = TimeDelta::seconds(360);

/// The most sessions that wait to be used or are in use: each costs a record in memory and store.
const SESSIONS_MAX: usize = 100_000;

/// A session and who uses it.
#[derive(Debug)]
pub(super) struct Session {
    record: SessionRecord,
    /// Once it was used.
    users: Option<Arc<Users>>,
}

#[derive(Debug, Default)]
struct Users {
    count: AtomicUsize,
    /// When the last of them went, in seconds since 1970.
    left_at: AtomicI64,
    revoked: CancellationToken,
}

impl Session {
    pub(super) fn new(record: SessionRecord) -> Session {
        Session { record, users: None }
    }

    fn expires(&self, now: DateTime<Utc>) -> DateTime<Utc> {
        let Some(users) = &self.users else { return self.record.expires };
        let used_at = match users.count.load(Ordering::Relaxed) {
            0 => DateTime::from_timestamp(users.left_at.load(Ordering::Relaxed), 0).unwrap_or_default(),
            _ => now,
        };
        self.record.expires.max(used_at + LIFETIME)
    }
}

/// A stream of a session; as long as there is one, the session does not expire.
#[derive(Debug)]
pub(crate) struct SessionUse {
    users: Arc<Users>,
}

impl SessionUse {
    /// Cancelled when the session is revoked.
    pub(crate) fn revoked(&self) -> CancellationToken {
        self.users.revoked.clone()
    }
}

impl Drop for SessionUse {
    fn drop(&mut self) {
        self.users.left_at.store(Utc::now().timestamp(), Ordering::Relaxed);
        self.users.count.fetch_sub(1, Ordering::Relaxed);
    }
}

impl Hub {
    /// Makes a session of an existing channel; its id is what its URL is secret by.
    pub(crate) fn add_session(&self, mut record: SessionRecord) -> Result<Uuid, HubError> {
        let id = Uuid::new_v4();
        record.expires = Utc::now() + LIFETIME;
        let mut registry = self.write_registry();
        if registry.sessions.len() >= SESSIONS_MAX {
            return Err(HubError::TooManySessions);
        }
        registry.sessions.insert(id, Session::new(record.clone()));
        drop(registry);
        self.store.put_session(&id.to_string(), Some(&record))?;
        self.store.commit()?;
        Ok(id)
    }

    /// A session, to be used.
    pub(crate) fn use_session(&self, id: Uuid, now: DateTime<Utc>) -> Option<(SessionRecord, SessionUse)> {
        let mut registry = self.write_registry();
        let session = registry.sessions.get_mut(&id).filter(|session| session.expires(now) > now)?;
        let users = session.users.get_or_insert_default().clone();
        users.count.fetch_add(1, Ordering::Relaxed);
        Some((session.record.clone(), SessionUse { users }))
    }

    /// Revokes the session with this id. Its streams end.
    pub(crate) fn revoke_session(&self, id: Uuid) -> Result<(), HubError> {
        match self.revoke(|other, _| *other == id)? {
            0 => Err(HubError::NotFound),
            _ => Ok(()),
        }
    }

    /// Revokes all sessions of a channel. Returns how many there were.
    pub(crate) fn revoke_sessions(&self, channel: &str) -> Result<usize, HubError> {
        self.revoke(|_, record| record.channel == channel)
    }

    fn revoke(&self, which: impl Fn(&Uuid, &SessionRecord) -> bool) -> Result<usize, HubError> {
        let mut registry = self.write_registry();
        let revoked: Vec<_> =
            registry.sessions.extract_if(|id, session| which(id, &session.record)).collect();
        drop(registry);
        for (id, session) in &revoked {
            if let Some(users) = &session.users {
                users.revoked.cancel();
            }
            self.store.put_session(&id.to_string(), None)?;
        }
        self.store.commit()?;
        Ok(revoked.len())
    }

    /// Forgets sessions whose time is over, and writes down how much longer those go on that are in use.
    pub(crate) fn expire_sessions(&self, now: DateTime<Utc>) -> anyhow::Result<()> {
        let mut renewed = Vec::new();
        let mut registry = self.write_registry();
        let expired: Vec<_> = registry
            .sessions
            .extract_if(|_, session| session.expires(now) <= now)
            .map(|(id, _)| id)
            .collect();
        for (id, session) in &mut registry.sessions {
            let expires = session.expires(now);
            if expires > session.record.expires {
                session.record.expires = expires;
                renewed.push((*id, session.record.clone()));
            }
        }
        drop(registry);
        for id in expired {
            self.store.put_session(&id.to_string(), None)?;
        }
        for (id, record) in renewed {
            self.store.put_session(&id.to_string(), Some(&record))?;
        }
        self.store.commit()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_session_lives_six_minutes_from_its_last_use() {
        let made = DateTime::from_timestamp(1_000_000, 0).unwrap();
        let mut session =
            Session::new(SessionRecord { expires: made + LIFETIME, ..SessionRecord::default() });
        let after = |minutes| made + TimeDelta::minutes(minutes);
        assert_eq!(session.expires(after(5)), after(6));
        let users = Arc::new(Users::default());
        session.users = Some(users.clone());
        users.count.store(1, Ordering::Relaxed);
        assert_eq!(session.expires(after(60)), after(66));
        users.count.store(0, Ordering::Relaxed);
        users.left_at.store(after(60).timestamp(), Ordering::Relaxed);
        assert_eq!(session.expires(after(65)), after(66));
        assert!(session.expires(after(67)) < after(67));
    }
}
