//! A session over a websocket: a message for each piece, pings, and a close that says why.

use std::ops::ControlFlow;
use std::time::Duration;

use axum::extract::ws::{CloseFrame, Message, Utf8Bytes, WebSocket, close_code};
use futures_util::stream::{SplitSink, SplitStream};
use futures_util::{SinkExt, StreamExt};
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;

use super::feed::{Ending, Feed, Next};

/// A client that takes nothing and answers nothing for this long is gone.
const GONE: Duration = Duration::from_secs(5 * 60);

/// How long a write may still take once the server is stopping.
const LAST_WRITE: Duration = Duration::from_millis(800);

/// How long the answer to a client's close may take: it is a few bytes, and only goes if the client reads.
const PARTING: Duration = Duration::from_millis(100);

/// Serves one websocket until the client goes or there is nothing more to come.
pub(crate) async fn serve(socket: WebSocket, mut feed: Feed, stopped: CancellationToken) {
    let (sink, stream) = socket.split();
    let mut session = Session { sink, stream, heard_at: Instant::now(), stopped };
    loop {
        let next = tokio::select! {
            next = feed.next() => next,
            heard = session.stream.next() => match session.hear(heard) {
                ControlFlow::Continue(()) => continue,
                ControlFlow::Break(()) => return session.part().await,
            },
        };
        let messages = match next {
            Next::Lines(lines) => lines.into_iter().map(|lines| Message::Text(lines.into())).collect(),
            Next::Quiet => vec![Message::Ping("".into())],
            Next::End(ending) => {
                let code = match ending {
                    Ending::Done => close_code::NORMAL,
                    Ending::Stopped => close_code::RESTART,
                    Ending::Revoked => close_code::POLICY,
                };
                return session.close(code).await;
            }
        };
        let took = messages.iter().any(|message| matches!(message, Message::Text(_)));
        if session.write(messages).await.is_break() || session.heard_at.elapsed() > GONE {
            return session.part().await;
        }
        if took {
            session.heard_at = Instant::now();
        }
    }
}

struct Session {
    sink: SplitSink<WebSocket, Message>,
    stream: SplitStream<WebSocket>,
    /// When the client last took or said something.
    heard_at: Instant,
    stopped: CancellationToken,
}

impl Session {
    /// Writes messages while listening, so that a client that goes away is noticed in the middle.
    async fn write(&mut self, messages: Vec<Message>) -> ControlFlow<()> {
        for message in messages {
            let deadline = tokio::time::sleep(GONE);
            tokio::pin!(deadline);
            let mut stopping = false;
            let mut sending = std::pin::pin!(self.sink.send(message));
            loop {
                tokio::select! {
                    biased;
                    sent = &mut sending => match sent {
                        Ok(()) => break,
                        Err(_gone) => return ControlFlow::Break(()),
                    },
                    heard = self.stream.next() => match heard {
                        Some(Ok(Message::Close(_)) | Err(_)) | None => return ControlFlow::Break(()),
                        Some(Ok(_)) => self.heard_at = Instant::now(),
                    },
                    () = self.stopped.cancelled(), if !stopping => {
                        stopping = true;
                        let last = deadline.deadline().min(Instant::now() + LAST_WRITE);
                        deadline.as_mut().reset(last);
                    }
                    () = &mut deadline => return ControlFlow::Break(()),
                }
            }
        }
        ControlFlow::Continue(())
    }

    fn hear(&mut self, heard: Option<Result<Message, axum::Error>>) -> ControlFlow<()> {
        match heard {
            Some(Ok(Message::Close(_)) | Err(_)) | None => ControlFlow::Break(()),
            Some(Ok(_)) => {
                self.heard_at = Instant::now();
                ControlFlow::Continue(())
            }
        }
    }

    /// Answers the client's close, if it sent one (RFC 6455, 5.5.1): the answer waits to be written.
    async fn part(&mut self) {
        drop(tokio::time::timeout(PARTING, self.sink.flush()).await);
    }

    async fn close(&mut self, code: u16) {
        let frame = CloseFrame { code, reason: Utf8Bytes::from_static("") };
        let closing = self.sink.send(Message::Close(Some(frame)));
        // The client may be gone already, or not be reading; then there is nobody to part from.
        drop(tokio::time::timeout(Duration::from_secs(1), closing).await);
    }
}
