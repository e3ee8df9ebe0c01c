//! Tokens: looked up by every request, and made, rotated and removed without one being refused in between.

use std::collections::HashSet;
use std::sync::Arc;

use chrono::{DateTime, TimeDelta, Utc};
use uuid::Uuid;

use super::{Hub, HubError, Registered, hash};
use crate::channel::Token;
use crate::store::{ChannelRecord, TokenRecord};

/// The most tokens of a channel, old ones included: each costs a record in memory and store.
pub(crate) const TOKENS_MAX: usize = 1000;

/// Which tokens of a name.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Which {
    All,
    /// Those that another has taken the place of.
    Replaced,
}

impl Hub {
    /// One token of each name of each channel: those of one name share their counts.
    pub(crate) fn tokens(&self) -> Vec<Arc<Token>> {
        let registry = self.registry();
        let mut seen = HashSet::with_capacity(registry.tokens.len());
        let first = |token: &&Arc<Token>| seen.insert(Arc::as_ptr(&token.state));
        registry.tokens.values().filter(first).cloned().collect()
    }

    /// As [`Hub::tokens`], of one channel.
    pub(crate) fn tokens_of(&self, channel: &str) -> Vec<Arc<Token>> {
        let registry = self.registry();
        let Some(registered) = registry.channels.get(channel) else { return Vec::new() };
        let mut seen = HashSet::new();
        let first = registered.record.tokens.iter().filter(|token| seen.insert(&token.name));
        first.filter_map(|token| registry.tokens.get(&hash(&token.id)).cloned()).collect()
    }

    /// The token with this secret, if it may still be used.
    pub(crate) fn token(&self, id: &str) -> Option<Arc<Token>> {
        self.registry().tokens.get(&hash(id)).filter(|token| token.is_valid()).cloned()
    }

    /// Adds a token.
    pub(crate) fn add_token(&self, channel: &str, name: &str) -> Result<TokenRecord, HubError> {
        let token = new_token(name);
        self.change(channel, |record| push_token(record, token.clone()))?;
        Ok(token)
    }

    /// Makes a token of this name that takes the place of what is there, which stays valid for `grace`.
    /// Returns the new one and when the old one ends.
    pub(crate) fn rotate_token(
        &self,
        channel: &str,
        name: &str,
        grace: TimeDelta,
    ) -> Result<(TokenRecord, DateTime<Utc>), HubError> {
        let token = new_token(name);
        let until = Utc::now() + grace;
        self.change(channel, |record| {
            let mut found = false;
            for old in record.tokens.iter_mut().filter(|token| &*token.name == name) {
                found = true;
                // One that was replaced before keeps the end it was given then.
                old.until.get_or_insert(until);
            }
            if found { push_token(record, token.clone()) } else { Err(HubError::NotFound) }
        })?;
        Ok((token, until))
    }

    /// Removes tokens of this name. Returns how many these were.
    pub(crate) fn remove_tokens(&self, channel: &str, name: &str, which: Which) -> Result<usize, HubError> {
        let (_channel, removed) = self.change(channel, |record| {
            let before = record.tokens.len();
            record
                .tokens
                .retain(|token| &*token.name != name || (which == Which::Replaced && token.until.is_none()));
            match before - record.tokens.len() {
                0 => Err(HubError::NotFound),
                removed => Ok(removed),
            }
        })?;
        Ok(removed)
    }

    /// Forgets tokens whose time is over.
    pub(crate) fn expire_tokens(&self, now: DateTime<Utc>) -> Result<(), HubError> {
        let registry = self.registry();
        let has_expired = |(_, registered): &(_, &Registered)| {
            registered.record.tokens.iter().any(|token| token.is_over(now))
        };
        let ids: Vec<Arc<str>> =
            registry.channels.iter().filter(has_expired).map(|(id, _)| id.clone()).collect();
        drop(registry);
        for id in ids {
            let changed = self.change(&id, |record| {
                forget_expired(record, now);
                Ok(())
            });
            match changed {
                // Removed in the meantime: its tokens went with it.
                Ok(_) | Err(HubError::NotFound) => {}
                Err(problem) => return Err(problem),
            }
        }
        Ok(())
    }
}

/// Makes the tokens of a record those of `names`: missing ones are made, those not named are removed, the rest
/// stay as they are, with what they replaced.
pub(super) fn set_tokens(record: &mut ChannelRecord, names: &[String]) {
    let before = std::mem::take(&mut record.tokens);
    for name in names {
        if record.tokens.iter().any(|token| &*token.name == name.as_str()) {
            continue;
        }
        let kept: Vec<TokenRecord> =
            before.iter().filter(|token| &*token.name == name.as_str()).cloned().collect();
        if kept.is_empty() { record.tokens.push(new_token(name)) } else { record.tokens.extend(kept) }
    }
}

fn new_token(name: &str) -> TokenRecord {
    TokenRecord { id: format!("t.{}", Uuid::new_v4()).into(), name: name.into(), until: None }
}

fn push_token(record: &mut ChannelRecord, token: TokenRecord) -> Result<(), HubError> {
    if record.tokens.len() >= TOKENS_MAX {
        return Err(HubError::TooManyTokens);
    }
    record.tokens.push(token);
    Ok(())
}

fn forget_expired(record: &mut ChannelRecord, now: DateTime<Utc>) {
    record.tokens.retain(|token| !token.is_over(now));
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn tokens_are_forgotten_once_their_time_is_over() {
        let until = Utc::now();
        let old = TokenRecord { until: Some(until), ..new_token("a") };
        let mut record =
            ChannelRecord { tokens: vec![old, new_token("a"), new_token("b")], drains: Vec::new() };
        let names = |record: &ChannelRecord| {
            record.tokens.iter().map(|token| token.name.clone()).collect::<Vec<_>>().join(" ")
        };
        forget_expired(&mut record, until - TimeDelta::seconds(1));
        assert_eq!(names(&record), "a a b");
        forget_expired(&mut record, until);
        assert_eq!(names(&record), "a b");
    }

    #[test]
    fn a_set_of_names_keeps_what_is_named_with_what_it_replaced() {
        let old = TokenRecord { until: Some(Utc::now()), ..new_token("a") };
        let (current, gone) = (new_token("a"), new_token("b"));
        let mut record =
            ChannelRecord { tokens: vec![old.clone(), gone, current.clone()], drains: Vec::new() };
        set_tokens(&mut record, &["c".to_owned(), "a".to_owned(), "c".to_owned()]);
        let [made, kept @ ..] = record.tokens.as_slice() else { panic!("{record:?}") };
        assert_eq!((&*made.name, kept), ("c", &[old, current][..]));
    }
}
