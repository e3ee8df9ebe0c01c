//! From pieces of a stream to batches: finds each message's token, and hands consecutive messages of one token to
//! its channel as one batch.

use std::sync::Arc;

use chrono::{DateTime, SecondsFormat, Utc};
use logplex_core::frame::put_frame;
use logplex_core::message::Form;
use logplex_core::{Batch, Chunk, Message, Origin};
use tokio::time::Instant;
use tracing::error;

use super::credential::take_token;
use super::framing::{FRAME_MAX, HEAD_ROOM, Piece};
use crate::channel::{Producer, Token};
use crate::http::App;
use crate::mailbox::lock;
use crate::metrics::Rejection;

/// What RFC 5424, 6.4 puts ahead of a text in UTF-8. It says how the text is written and is no part of it.
const BYTE_ORDER_MARK: &[u8] = b"\xef\xbb\xbf";

/// A batch is handed over once it has this many bytes, whatever was read at once: short lines grow when they get
/// a head.
const BATCH_MAX: usize = 512 * 1024;

/// The front of a line that is cut into several messages.
#[derive(Debug)]
pub(super) struct Front {
    /// What goes ahead of each piece.
    head: Vec<u8>,
    token: String,
}

/// What one read brings. Hand it over with [`Intake::publish`]: nothing of it is kept for the next read.
#[derive(Debug)]
pub(super) struct Intake<'a> {
    app: &'a App,
    /// The token of all messages, if the listener has one.
    bound: Option<&'a str>,
    /// Outlives a read, as a long line may.
    front: &'a mut Option<Front>,
    now: DateTime<Utc>,
    /// The token looked up last, and whose it is; a connection mostly has one.
    known: Option<(String, Option<Arc<Token>>)>,
    /// Messages of the token looked up last, framed.
    frames: Vec<u8>,
    messages: u64,
    /// Room for messages that have to be rewritten.
    spare: Vec<u8>,
    pub(super) accepted: u64,
    pub(super) rejected: u64,
    /// Why the last one was.
    pub(super) rejection: Option<Rejection>,
}

impl<'a> Intake<'a> {
    pub(super) fn new(
        app: &'a App,
        bound: Option<&'a str>,
        front: &'a mut Option<Front>,
        size: usize,
        now: DateTime<Utc>,
    ) -> Intake<'a> {
        Intake {
            app,
            bound,
            front,
            now,
            known: None,
            frames: Vec::with_capacity(size + size / 4),
            messages: 0,
            spare: Vec::new(),
            accepted: 0,
            rejected: 0,
            rejection: None,
        }
    }

    pub(super) fn add(&mut self, piece: Piece<'_>) {
        match piece {
            Piece::Message(message) => self.message(message, false),
            Piece::Front(message) => self.message(message, true),
            Piece::More(text) => {
                let Some(front) = self.front.take() else {
                    return self.reject(Rejection::Unauthorized, 1);
                };
                let message = [&front.head, text].concat();
                self.put(&front.token, &message);
                *self.front = Some(front);
            }
            Piece::TooLong => self.reject(Rejection::TooLarge, 1),
            Piece::CutShort => self.reject(Rejection::Truncated, 1),
        }
    }

    fn message(&mut self, frame: &[u8], is_front: bool) {
        // Only a head can hold a token, and a head begins with `<`: no need to look closer.
        if self.bound.is_none() && !frame.trim_ascii_start().starts_with(b"<") {
            *self.front = None;
            return self.reject(Rejection::Unauthorized, 1);
        }
        let mut spare = std::mem::take(&mut self.spare);
        let (strict, message) = Message::read(frame, self.now, &mut spare);
        let hidden = message.structured_data.and_then(take_token);
        let token = match (self.bound, &hidden) {
            (Some(bound), _) => bound,
            (None, Some((token, _))) => token,
            (None, None) => message.app,
        };
        *self.front =
            is_front.then(|| Front { head: head_of_more(&message, self.now), token: token.to_owned() });
        let unmarked = message.text.strip_prefix(BYTE_ORDER_MARK);
        if hidden.is_some() || unmarked.is_some() {
            let mut clean = Vec::with_capacity(strict.len());
            let structured_data = hidden.as_ref().map(|(_, data)| &data[..]).or(message.structured_data);
            Message { structured_data, text: unmarked.unwrap_or(message.text), ..message }.write(&mut clean);
            self.put(token, &clean);
        } else {
            self.put(token, strict);
        }
        self.spare = spare;
    }

    fn put(&mut self, token: &str, message: &[u8]) {
        if self.known.as_ref().is_none_or(|(known, _)| known != token) {
            self.publish();
            self.known = Some((token.to_owned(), self.app.hub.token(token)));
        }
        if !matches!(self.known, Some((_, Some(_)))) {
            return self.reject(Rejection::Unauthorized, 1);
        }
        // A foreign one may have grown when it was rewritten.
        if message.len() > FRAME_MAX.get() as usize {
            return self.reject(Rejection::TooLarge, 1);
        }
        put_frame(&mut self.frames, [message]);
        self.messages += 1;
        if self.frames.len() >= BATCH_MAX {
            self.publish();
        }
    }

    pub(super) fn reject(&mut self, rejection: Rejection, messages: u64) {
        self.app.syslog.rejections.count_many(rejection, messages);
        self.rejected += messages;
        self.rejection = Some(rejection);
    }

    /// Hands over what was put together.
    pub(super) fn publish(&mut self) {
        let Some((_, Some(token))) = &self.known else { return };
        let token = token.clone();
        let messages = std::mem::take(&mut self.messages);
        if messages == 0 {
            return;
        }
        if let Some(rate) = &self.app.rate
            && !rate.admits(&token.channel.id, messages as usize, Instant::now())
        {
            self.frames.clear();
            token.count_rejected_messages(messages);
            return self.reject(Rejection::OverRate, messages);
        }
        let origin = Origin {
            token_name: &token.name,
            token: &token.id,
            form: Form::Any,
            limit: FRAME_MAX,
            now: self.now,
        };
        let batch = Batch::decode(&self.frames, &origin);
        self.frames.clear();
        match batch {
            Ok(batch) => {
                debug_assert_eq!(batch.count() as u64, messages);
                let mut state = lock(&token.state);
                state.counts.accepted += messages;
                self.app.hub.publish(&token.channel, Arc::new(batch), Producer::Token, self.now);
                drop(state);
                self.app.syslog.accepted(messages);
                self.accepted += messages;
            }
            Err(problem) => {
                error!(%problem, "a batch of syslog messages could not be read back");
                token.count_rejected_messages(messages);
                self.reject(Rejection::Malformed, messages);
            }
        }
    }
}

/// What goes ahead of more of a long line: the head of its front without structured data, or where that is too
/// long what is needed of it.
fn head_of_more(message: &Message<'_>, now: DateTime<Utc>) -> Vec<u8> {
    let mut head = Vec::with_capacity(128);
    let bare = Message { structured_data: None, text: b"", ..*message };
    bare.write(&mut head);
    if head.len() > HEAD_ROOM {
        head.clear();
        let time = now.to_rfc3339_opts(SecondsFormat::Micros, false);
        Message { time: &time, host: "-", app: "token", procid: "-", msgid: "-", ..bare }.write(&mut head);
    }
    head
}
