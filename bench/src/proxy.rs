//! The limit: a proxy that forwards each body unread, in order, and answers 204 once it is queued.

use std::convert::Infallible;
use std::net::SocketAddr;

use bytes::Bytes;
use http_body_util::{BodyExt, Empty, Full};
use hyper::body::Incoming;
use hyper::service::service_fn;
use hyper::{Request, Response, StatusCode};
use hyper_util::rt::TokioIo;
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::mpsc;

/// Forwards bodies.
#[derive(Debug, clap::Args)]
pub(crate) struct Proxy {
    /// Where to.
    to: SocketAddr,
    /// Bodies that may wait; a producer waits when there are more.
    #[arg(long, default_value_t = 10)]
    queue: usize,
}

impl Proxy {
    pub(crate) fn run(&self) -> anyhow::Result<()> {
        // As many threads as `logplex serve` takes, which is also what suits this best.
        let workers = std::thread::available_parallelism()?.get().div_ceil(2);
        let runtime =
            tokio::runtime::Builder::new_multi_thread().worker_threads(workers).enable_all().build()?;
        runtime.block_on(self.serve())
    }

    async fn serve(&self) -> anyhow::Result<()> {
        let listener = TcpListener::bind("127.0.0.1:0").await?;
        println!("{}", listener.local_addr()?);
        let (queue, bodies) = mpsc::channel(self.queue);
        let serving = async {
            loop {
                let (stream, _peer) = listener.accept().await?;
                stream.set_nodelay(true)?;
                let queue = queue.clone();
                let service = service_fn(move |request| take(request, queue.clone()));
                let connection = hyper::server::conn::http1::Builder::new()
                    .serve_connection(TokioIo::new(stream), service);
                #[expect(clippy::disallowed_methods, reason = "ends with the process")]
                tokio::spawn(connection);
            }
        };
        #[expect(clippy::disallowed_methods, reason = "ends with the process")]
        let forwarding = tokio::spawn(forward(self.to, bodies));
        tokio::select! {
            ended = serving => ended,
            ended = forwarding => ended?,
        }
    }
}

async fn take(
    request: Request<Incoming>,
    queue: mpsc::Sender<Bytes>,
) -> Result<Response<Empty<Bytes>>, Infallible> {
    let mut answer = Response::new(Empty::new());
    let queued = match request.into_body().collect().await {
        Ok(body) => queue.send(body.to_bytes()).await.is_ok(),
        Err(_cut_short) => false,
    };
    *answer.status_mut() = if queued { StatusCode::NO_CONTENT } else { StatusCode::BAD_GATEWAY };
    Ok(answer)
}

async fn forward(to: SocketAddr, mut bodies: mpsc::Receiver<Bytes>) -> anyhow::Result<()> {
    let stream = TcpStream::connect(to).await?;
    stream.set_nodelay(true)?;
    let (mut sender, connection) = hyper::client::conn::http1::handshake(TokioIo::new(stream)).await?;
    #[expect(clippy::disallowed_methods, reason = "ends with the process")]
    tokio::spawn(connection);
    while let Some(body) = bodies.recv().await {
        let request = Request::post("/")
            .header("host", to.to_string())
            .header("content-type", "application/logplex-1")
            .body(Full::new(body))?;
        sender.ready().await?;
        sender.send_request(request).await?.into_body().collect().await?;
    }
    Ok(())
}
