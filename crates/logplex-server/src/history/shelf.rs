//! Where histories rest on the disk: an embedded store of its own, so that whatever happens to it costs history and
//! nothing else.
//!
//! A record holds some consecutive messages of one channel; its key is the channel's id, its epoch and the number of
//! the first message. Records are written once a second for all channels together and handed to the operating system,
//! which is what survives `kill -9`. What the engine's checksums or our own reading refuse is left where it is,
//! counted, and no longer looked at; a store that cannot be opened is set aside as `history.damaged`.

use std::collections::VecDeque;
use std::ops::Range;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};
use std::time::Duration;

use anyhow::{Context, anyhow, bail};
use bytes::Bytes;
use chrono::DateTime;
use fjall::{Database, Keyspace, KeyspaceCreateOptions, PersistMode};
use logplex_core::{Batch, Chunk, Part};
use tokio::sync::{Notify, OwnedSemaphorePermit, Semaphore};
use tracing::{error, info};

use super::sequences;
use crate::codes::LineBudget;

/// Buffers of the store.
const CACHE_BYTES: u64 = 4 * 1024 * 1024;
const MEMTABLE_BYTES: u64 = 4 * 1024 * 1024;
/// The least that the engine takes.
const JOURNAL_BYTES: u64 = 64 * 1024 * 1024;

/// A record is ended when it has this many bytes.
const RECORD_BYTES: usize = 256 * 1024;

/// A run in a record: when it was received, how many messages and how many bytes.
const RUN_HEAD: usize = 8 + 4 + 4;

/// How many histories may be held in memory that were read back for one reader each, and how long another one waits.
const READS: usize = 64;
const READ_WAIT: Duration = Duration::from_secs(5);

/// What histories may take in all; no memory means no history.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct ShelfLimits {
    pub(crate) memory: usize,
    pub(crate) disk: u64,
}

impl ShelfLimits {
    pub(crate) const fn mebibytes(memory: u32, disk: u32) -> ShelfLimits {
        ShelfLimits { memory: (memory as usize) << 20, disk: (disk as u64) << 20 }
    }
}

/// See the module's text. Calls that touch the disk block, but for [`Shelf::read`].
#[derive(Debug)]
pub(crate) struct Shelf {
    limits: ShelfLimits,
    engine: Option<Engine>,
    memory: AtomicUsize,
    stored: AtomicU64,
    damaged: AtomicU64,
    reads: Arc<Semaphore>,
    /// What the lines take that are kept for their codes.
    pub(crate) code_lines: LineBudget,
    /// Rung when histories should leave memory before the second is over.
    pub(crate) crowded: Notify,
}

#[derive(Clone)]
struct Engine {
    database: Database,
    records: Keyspace,
}

impl std::fmt::Debug for Engine {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Engine").finish_non_exhaustive()
    }
}

impl Engine {
    fn open(dir: &Path) -> anyhow::Result<Engine> {
        let open = || -> Result<Engine, fjall::Error> {
            let database = Database::builder(dir)
                .cache_size(CACHE_BYTES)
                .max_journaling_size(JOURNAL_BYTES)
                .manual_journal_persist(true)
                .worker_threads(1)
                .open()?;
            let options = || KeyspaceCreateOptions::default().max_memtable_size(MEMTABLE_BYTES);
            let records = database.keyspace("records", options)?;
            Ok(Engine { database, records })
        };
        // The engine trusts its own files' structure more than a damaged one deserves.
        match catch_unwind(AssertUnwindSafe(open)) {
            Ok(opened) => Ok(opened?),
            Err(_panic) => bail!("its files are not what they should be"),
        }
    }

    fn open_or_set_aside(dir: &Path) -> (Option<Engine>, u64) {
        let first = match Engine::open(dir) {
            Ok(engine) => return (Some(engine), 0),
            Err(error) => error,
        };
        let aside = PathBuf::from(format!("{}.damaged", dir.display()));
        let fresh = || -> anyhow::Result<Engine> {
            if aside.exists() {
                std::fs::remove_dir_all(&aside)?;
            }
            std::fs::rename(dir, &aside)?;
            Engine::open(dir)
        };
        match fresh() {
            Ok(engine) => {
                error!(error = format!("{first:#}"), aside = %aside.display(), "stored histories are damaged and were set aside");
                (Some(engine), 1)
            }
            Err(second) => {
                error!(
                    error = format!("{first:#}"),
                    also = format!("{second:#}"),
                    "histories cannot be stored; they end with this process"
                );
                (None, 1)
            }
        }
    }
}

/// What is to be stored of one channel.
#[derive(Debug)]
pub(crate) struct Write {
    records: Vec<(Vec<u8>, Vec<u8>)>,
    pub(crate) bytes: u64,
    /// The number of the first message.
    pub(crate) first: u64,
}

impl Shelf {
    /// Opens the store in `dir`, unless there is to be no history. What is wrong with it never stops the start.
    pub(crate) fn open(dir: &Path, limits: ShelfLimits) -> Shelf {
        let (engine, damaged) =
            if limits.memory == 0 { (None, 0) } else { Engine::open_or_set_aside(&dir.join("history")) };
        Shelf {
            limits,
            engine,
            memory: AtomicUsize::new(0),
            stored: AtomicU64::new(0),
            damaged: AtomicU64::new(damaged),
            reads: Arc::new(Semaphore::new(READS)),
            code_lines: LineBudget::default(),
            crowded: Notify::new(),
        }
    }

    pub(crate) fn is_on(&self) -> bool {
        self.limits.memory > 0
    }

    /// Whether there is a store.
    pub(crate) fn stores(&self) -> bool {
        self.engine.is_some()
    }

    /// Counts memory that a history took or freed. Returns by how much all of them are over the limit.
    pub(crate) fn count_memory(&self, change: isize) -> usize {
        let before = match change >= 0 {
            true => self.memory.fetch_add(change.unsigned_abs(), Ordering::Relaxed),
            false => self.memory.fetch_sub(change.unsigned_abs(), Ordering::Relaxed),
        };
        let memory = before.saturating_add_signed(change);
        if change > 0 && memory > self.high_water() {
            self.crowded.notify_one();
        }
        memory.saturating_sub(self.limits.memory)
    }

    fn high_water(&self) -> usize {
        self.limits.memory / 8 * 7
    }

    /// How much memory is to be freed, so that there is room for a while.
    pub(crate) fn to_free(&self) -> usize {
        let memory = self.memory();
        if memory > self.high_water() { memory - self.limits.memory / 4 * 3 } else { 0 }
    }

    /// How many bytes of histories are in memory.
    pub(crate) fn memory(&self) -> usize {
        self.memory.load(Ordering::Relaxed)
    }

    /// How many bytes of histories are stored.
    pub(crate) fn stored(&self) -> u64 {
        self.stored.load(Ordering::Relaxed)
    }

    /// How many records, or whole stores, were not readable.
    pub(crate) fn damaged(&self) -> u64 {
        self.damaged.load(Ordering::Relaxed)
    }

    /// Counts what a channel has stored.
    pub(crate) fn count_stored(&self, before: u64, after: u64) {
        self.stored.fetch_add(after, Ordering::Relaxed);
        self.stored.fetch_sub(before, Ordering::Relaxed);
    }

    /// How many bytes of stored histories are to be removed.
    pub(crate) fn to_remove(&self) -> u64 {
        let stored = self.stored();
        if stored > self.limits.disk { stored - self.limits.disk / 10 * 9 } else { 0 }
    }

    /// Frees what files hold of records that were replaced or removed, if they are over the limit by it.
    pub(crate) fn compact(&self) -> anyhow::Result<()> {
        let Some(engine) = &self.engine else { return Ok(()) };
        if engine.records.disk_space() > self.limits.disk {
            engine.records.major_compact()?;
        }
        Ok(())
    }

    /// Writes records; [`Shelf::hand_over`] makes them outlive the process.
    pub(crate) fn write(&self, write: &mut Write) -> anyhow::Result<()> {
        let Some(engine) = &self.engine else { bail!("there is no store for it") };
        for (key, value) in write.records.drain(..) {
            engine.records.insert(key, value)?;
        }
        Ok(())
    }

    /// Hands what was written to the operating system.
    pub(crate) fn hand_over(&self) -> anyhow::Result<()> {
        match &self.engine {
            Some(engine) => Ok(engine.database.persist(PersistMode::Buffer)?),
            None => Ok(()),
        }
    }

    /// Waits until everything written is on the disk.
    pub(crate) fn sync(&self) -> anyhow::Result<()> {
        match &self.engine {
            Some(engine) => Ok(engine.database.persist(PersistMode::SyncAll)?),
            None => Ok(()),
        }
    }

    /// Removes a channel's records that hold only numbers below `cut`. Returns where the rest begins and how many
    /// bytes went.
    pub(crate) fn trim(
        &self,
        id: &str,
        epoch: u64,
        stored: Range<u64>,
        cut: u64,
    ) -> anyhow::Result<(u64, u64)> {
        let Some(engine) = &self.engine else { return Ok((stored.start, 0)) };
        let range = key(id, epoch, stored.start)..=key(id, epoch, cut);
        let mut before: Option<(Vec<u8>, u64)> = None;
        let mut gone = 0;
        for entry in engine.records.range(range) {
            let (key, value) = entry.into_inner()?;
            // A record ends where the next one begins, so this one's place shows that the one before may go.
            if let Some((key, bytes)) = before.replace((key.to_vec(), value.len() as u64)) {
                engine.records.remove(key)?;
                gone += bytes;
            }
        }
        Ok((before.and_then(|(key, _)| number(&key)).unwrap_or(stored.start), gone))
    }

    /// Removes all of a channel.
    pub(crate) fn forget(&self, id: &str) -> anyhow::Result<()> {
        let Some(engine) = &self.engine else { return Ok(()) };
        let prefix = [id.as_bytes(), b"\0"].concat();
        for entry in engine.records.prefix(prefix) {
            engine.records.remove(entry.key()?)?;
        }
        Ok(engine.database.persist(PersistMode::Buffer)?)
    }

    /// Reads a channel's messages with these numbers, and the permit to hold them in memory.
    ///
    /// # Errors
    /// [`ReadError::Damaged`] if nothing will change by trying again.
    pub(crate) async fn read(
        &self,
        id: Arc<str>,
        epoch: u64,
        numbers: Range<u64>,
    ) -> Result<(Vec<Part<Batch>>, OwnedSemaphorePermit), ReadError> {
        let Some(engine) = self.engine.clone() else { return Err(ReadError::Busy) };
        let permit = tokio::time::timeout(READ_WAIT, self.reads.clone().acquire_owned());
        let Ok(Ok(permit)) = permit.await else { return Err(ReadError::Busy) };
        let read = tokio::task::spawn_blocking({
            let id = id.clone();
            move || engine.read(&id, epoch, numbers)
        });
        let read = match read.await {
            Ok(read) => read,
            Err(_panicked) => Err(anyhow!("the engine does not understand its files")),
        };
        match read {
            Ok((parts, 0)) => Ok((parts, permit)),
            Ok((parts, damaged)) => {
                self.damaged.fetch_add(damaged, Ordering::Relaxed);
                error!(
                    channel = &*id,
                    damaged, "records of the stored history are damaged and were left out"
                );
                Ok((parts, permit))
            }
            Err(error) => {
                self.count_damaged(&id, &error);
                Err(ReadError::Damaged)
            }
        }
    }

    /// Counts that a channel's stored history cannot be read.
    pub(crate) fn count_damaged(&self, id: &str, error: &anyhow::Error) {
        self.damaged.fetch_add(1, Ordering::Relaxed);
        error!(channel = id, error = format!("{error:#}"), "the stored history cannot be read");
    }
}

/// Why there is nothing to show.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum ReadError {
    /// Too many read now, or there is no store.
    Busy,
    Damaged,
}

impl Engine {
    /// The messages, oldest first, and how many records were not understood.
    fn read(&self, id: &str, epoch: u64, numbers: Range<u64>) -> anyhow::Result<(Vec<Part<Batch>>, u64)> {
        let mut parts = VecDeque::new();
        let mut damaged = 0;
        for entry in self.records.range(key(id, epoch, numbers.start)..key(id, epoch, numbers.end)) {
            let (key, value) = entry.into_inner()?;
            match number(&key).context("a key is too short").and_then(|first| decode(first, &value)) {
                Ok(read) => parts.extend(read),
                Err(_not_ours) => damaged += 1,
            }
        }
        Ok((parts.into(), damaged))
    }
}

/// Records for what a channel has not stored yet.
pub(crate) fn encode(id: &str, epoch: u64, parts: &[Part<Batch>]) -> Write {
    let first = parts.first().map_or(0, |part| sequences(part).start);
    let mut write = Write { records: Vec::new(), bytes: 0, first };
    let mut end = None;
    for part in parts {
        let numbers = sequences(part);
        let full = write.records.last().is_none_or(|(_, record)| record.len() >= RECORD_BYTES);
        // What a record holds is numbered from its key on.
        if full || end != Some(numbers.start) {
            write.records.push((key(id, epoch, numbers.start), Vec::with_capacity(part.size() + RUN_HEAD)));
        }
        end = Some(numbers.end);
        let Some((_, record)) = write.records.last_mut() else { continue };
        let before = record.len();
        record.extend_from_slice(&part.chunk().received().timestamp_micros().to_le_bytes());
        record.extend_from_slice(&(part.messages() as u32).to_le_bytes());
        record.extend_from_slice(&[0; 4]);
        let start = record.len();
        part.chunk().write_strict(part.range(), record);
        let length = (record.len() - start) as u32;
        record[start - 4..start].copy_from_slice(&length.to_le_bytes());
        write.bytes += (record.len() - before) as u64;
    }
    write
}

/// What [`encode`] made a record of.
fn decode(mut first: u64, record: &[u8]) -> anyhow::Result<Vec<Part<Batch>>> {
    let mut rest = Bytes::copy_from_slice(record);
    let mut parts = Vec::new();
    while !rest.is_empty() {
        if rest.len() < RUN_HEAD {
            bail!("a run is cut short");
        }
        let head = rest.split_to(RUN_HEAD);
        let (received, head) = head.split_first_chunk().context("a run has a time")?;
        let (count, head) = head.split_first_chunk().context("a run has a count")?;
        let (length, _) = head.split_first_chunk().context("a run has a length")?;
        let received = DateTime::from_timestamp_micros(i64::from_le_bytes(*received)).context("no time")?;
        let (count, length) = (u32::from_le_bytes(*count) as usize, u32::from_le_bytes(*length) as usize);
        if rest.len() < length {
            bail!("a run is cut short");
        }
        let batch = Batch::read_back(&rest.split_to(length), received)?;
        if batch.count() != count {
            bail!("a run has another number of messages than it says");
        }
        parts.push(Part::numbered(Arc::new(batch), first));
        first += count as u64;
    }
    Ok(parts)
}

fn key(id: &str, epoch: u64, number: u64) -> Vec<u8> {
    [id.as_bytes(), b"\0", &epoch.to_be_bytes(), &number.to_be_bytes()].concat()
}

fn number(key: &[u8]) -> Option<u64> {
    key.last_chunk().map(|number| u64::from_be_bytes(*number))
}

/// Says at the start what there is.
impl Shelf {
    pub(crate) fn say(&self) {
        if self.is_on() {
            info!(stored_bytes = self.stored(), damaged = self.damaged(), "histories");
        }
    }
}

#[cfg(test)]
mod tests {
    use chrono::Utc;
    use logplex_core::Frames;

    use super::*;

    fn part(count: usize, first: u64) -> Part<Batch> {
        let texts = (0..count).map(|number| {
            format!("<190>1 2026-01-02T03:04:05+00:00 h app web.1 - - line {}", first + number as u64)
        });
        let frames = Frames::from_messages(texts.collect::<Vec<_>>());
        Part::numbered(Batch::read_back(&frames.wire(0..count), Utc::now()).unwrap().into(), first)
    }

    fn numbers(parts: &[Part<Batch>]) -> Vec<u64> {
        parts.iter().flat_map(sequences).collect()
    }

    #[test]
    fn a_record_is_read_as_it_was_written() {
        let mut cut = part(10, 100);
        drop(cut.split_to(3));
        // Behind a hole begins a record of its own.
        let write = encode("app", 7, &[cut, part(5, 110), part(2, 200)]);
        assert_eq!((write.first, write.records.len()), (103, 2));
        let mut read = Vec::new();
        for (key, record) in &write.records {
            read.extend(decode(number(key).unwrap(), record).unwrap());
        }
        assert_eq!(numbers(&read), (103..115).chain(200..202).collect::<Vec<_>>());
        let mut line = String::new();
        read[0].chunk().write_line(0, &mut line);
        assert_eq!(line, "2026-01-02T03:04:05+00:00 app[web.1]: line 103\n");
        assert_eq!(write.bytes, write.records.iter().map(|(_, record)| record.len() as u64).sum::<u64>());
    }

    #[test]
    fn a_torn_record_is_refused() {
        let write = encode("app", 7, &[part(3, 0)]);
        let record = &write.records[0].1;
        for length in 1..record.len() {
            assert!(decode(0, &record[..length]).is_err(), "{length}");
        }
        for at in 0..record.len() {
            let mut damaged = record.clone();
            damaged[at] ^= 0xff;
            // Some bytes may be any; what matters is that none does harm.
            drop(decode(0, &damaged));
        }
    }

    #[test]
    fn records_are_kept_apart_by_channel_and_epoch() {
        let folder = tempfile::tempdir().unwrap();
        let shelf = Shelf::open(folder.path(), ShelfLimits::mebibytes(1, 1));
        for (id, epoch, first) in [("a", 1, 0), ("a", 2, 10), ("ab", 1, 20), ("b", 1, 30)] {
            shelf.write(&mut encode(id, epoch, &[part(2, first)])).unwrap();
        }
        let read = |id, epoch| {
            let (parts, damaged) = shelf.engine.as_ref().unwrap().read(id, epoch, 0..1000).unwrap();
            assert_eq!(damaged, 0);
            numbers(&parts)
        };
        assert_eq!((read("a", 1), read("a", 2), read("ab", 1)), (vec![0, 1], vec![10, 11], vec![20, 21]));
        shelf.forget("a").unwrap();
        assert_eq!((read("a", 1), read("a", 2), read("ab", 1)), (vec![], vec![], vec![20, 21]));
        for first in [32, 34, 36] {
            shelf.write(&mut encode("b", 1, &[part(2, first)])).unwrap();
        }
        // A record goes when all of it is below the cut.
        let (first, gone) = shelf.trim("b", 1, 30..38, 35).unwrap();
        assert_eq!((first, read("b", 1)), (34, vec![34, 35, 36, 37]));
        assert!(gone > 0);
    }
}
