//! The hub's drains: added, changed, paused and removed, and their channels told how they fare.

use std::sync::Arc;
use std::time::Duration;

use chrono::{DateTime, Utc};
use logplex_core::outlet::{ProbeStep, Request, probe};
use logplex_core::{Batch, Frames, Gap};
use tokio::time::Instant;
use tracing::{error, info};
use uuid::Uuid;

use super::{Hub, HubError};
use crate::channel::{Channel, Producer};
use crate::destination::{Destination, DestinationError};
use crate::drain::Drain;
use crate::mailbox::lock;
use crate::store::{ChannelRecord, DrainRecord};

/// How long a removed drain may go on sending what it holds.
pub(super) const REMOVAL_GRACE: Duration = Duration::from_secs(10);

impl Hub {
    /// Puts a drain to work, and has it told what an earlier process left untold.
    pub(super) fn install(
        &self,
        channel: &Arc<Channel>,
        record: &DrainRecord,
        destination: Destination,
        untold: Option<(Gap, Gap)>,
    ) {
        let drain = Drain::new(record.id, &record.token, destination, self.drain_context.clone());
        if record.paused {
            drain.pause();
        }
        if let Some((reader, for_channel)) = untold {
            info!(drain = record.token, untold = reader.total(), "telling what the last process could not");
            drain.mailbox.with_ledger(|ledger| ledger.inherit(reader, for_channel));
            drain.start();
        }
        if channel.add_drain(drain) {
            lock(&self.watched).push(channel.clone());
        }
    }

    /// Adds a drain, or reserves its token if there is no URL yet.
    pub(crate) fn add_drain(&self, channel: &str, url: Option<&str>) -> Result<DrainRecord, HubError> {
        let destination = url.map(|url| self.destination(url)).transpose()?;
        let id = self.next_drain_id()?;
        let token = format!("d.{}", Uuid::new_v4());
        let drain = DrainRecord { id, token, url: url.map(str::to_owned), paused: false };
        let (channel, ()) = self.change(channel, |record| {
            if let Some(url) = url {
                self.check_room(record, url, None)?;
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
        let destination = self.destination(url)?;
        let (channel, drain) = self.change(channel, |record| {
            let at = record.drains.iter().position(|drain| drain.id == id).ok_or(HubError::NotFound)?;
            self.check_room(record, url, Some(id))?;
            record.drains[at].url = Some(url.to_owned());
            Ok(record.drains[at].clone())
        })?;
        match channel.drain(id) {
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
            drain.remove(Instant::now() + REMOVAL_GRACE);
            lock(&self.leaving).push((channel.clone(), drain));
        }
        Ok(())
    }

    /// Whether `url` may be given to the drain `own`, or to a new one.
    fn check_room(&self, record: &ChannelRecord, url: &str, own: Option<u64>) -> Result<(), HubError> {
        let with_url = || record.drains.iter().filter(|drain| drain.url.is_some());
        if with_url().any(|drain| drain.url.as_deref() == Some(url) && Some(drain.id) != own) {
            return Err(HubError::Exists);
        }
        // One that only changes its URL takes no more room, even where the limit was lowered since.
        let is_new = with_url().all(|drain| Some(drain.id) != own);
        if is_new && with_url().count() >= self.max_drains.get() {
            return Err(HubError::TooManyDrains);
        }
        Ok(())
    }

    /// Pauses or resumes a drain of this channel, over restarts too.
    pub(crate) fn pause_drain(&self, channel: &str, id: u64, paused: bool) -> Result<Arc<Drain>, HubError> {
        // The order under way is the order in the store: no other change comes between the two.
        let changing = lock(&self.changing);
        let (channel, ()) = self.change_locked(channel, |record| {
            let drain = record.drains.iter_mut().find(|drain| drain.id == id && drain.url.is_some());
            drain.ok_or(HubError::NotFound)?.paused = paused;
            Ok(())
        })?;
        let drain = channel.drain(id).ok_or(HubError::NotFound)?;
        if paused {
            drain.pause()
        } else {
            drain.resume()
        }
        drop(changing);
        self.store.commit()?;
        Ok(drain)
    }

    /// Checks a drain's URL, and that the bundle it names is configured.
    fn destination(&self, url: &str) -> Result<Destination, DestinationError> {
        let destination = Destination::parse(url)?;
        match &destination.ca {
            Some(name) if !self.drain_context.ca_outlets.contains_key(name) => {
                let mut known: Vec<_> = self.drain_context.ca_outlets.keys().cloned().collect();
                known.sort();
                Err(DestinationError::UnknownCa { name: name.clone(), known })
            }
            _ => Ok(destination),
        }
    }

    /// Looks whether what a drain would send to is there; sends it nothing but an empty request.
    pub(crate) async fn verify_drain(&self, url: &str) -> Result<Vec<ProbeStep>, HubError> {
        let destination = self.destination(url)?;
        let empty = Request::new(Vec::new(), 0);
        Ok(probe(&destination.endpoint, &self.drain_context.outlet(&destination), &empty).await)
    }

    // === What channels are told ===

    pub(super) fn copy_notices(&self, channel: &Arc<Channel>, at_once: bool, now: DateTime<Utc>) {
        for drain in channel.drains() {
            self.tell_of(channel, &drain, at_once, now);
        }
    }

    /// Tells channels what drains could not send that were removed and have ended.
    pub(super) fn tell_of_leavers(&self, now: DateTime<Utc>) {
        let ended: Vec<_> = lock(&self.leaving).extract_if(.., |(_, drain)| drain.has_ended()).collect();
        for (channel, drain) in ended {
            self.tell_of(&channel, &drain, true, now);
        }
    }

    /// Tells a channel how a drain fares and what it missed, if that is due.
    fn tell_of(&self, channel: &Arc<Channel>, drain: &Drain, at_once: bool, now: DateTime<Utc>) {
        let messages = drain.words_for_channel(at_once, now);
        if messages.is_empty() {
            return;
        }
        let frames = Frames::from_messages(&messages);
        match Batch::read_back(&frames.wire(0..messages.len()), now) {
            Ok(batch) => self.publish(channel, Arc::new(batch), Producer::Notice, now),
            Err(error) => error!(drain = drain.token, %error, "notice not readable"),
        }
    }

    /// The order to stop: drains send until `deadline` and count the rest as lost.
    pub(crate) fn stop_drains(&self, deadline: Instant) {
        for channel in self.channels() {
            for drain in channel.drains() {
                drain.stop(deadline);
            }
        }
        for (_, drain) in lock(&self.leaving).iter() {
            drain.stop(deadline);
        }
    }

    /// Tells tails what their channels' drains could not send, at once: they are about to end. Where nobody
    /// reads, the copy is left to the next start, whose history outlives this one.
    pub(crate) fn copy_last_notices(&self, now: DateTime<Utc>) {
        for channel in self.channels().into_iter().filter(|channel| channel.has_tails()) {
            self.copy_notices(&channel, true, now);
        }
        self.tell_of_leavers(now);
    }
}
