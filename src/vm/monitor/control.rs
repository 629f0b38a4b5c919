//! The control socket's serving end. Several clients may talk at once, and none of them can do harm:
//! requests are bounded in length and time, and a client that never reads is let go.

use super::wire::{Ask, LONGEST_REQUEST, Refusal, Reply, Request};
use crate::qmp::lines::{Line, Lines};
use host::deadline::PROBE_PERIOD;
use host::presence::ignore;
use serde_json::Value;
use std::sync::Arc;
use std::time::Duration;
use tokio::io::AsyncWriteExt;
use tokio::net::unix::OwnedWriteHalf;
use tokio::net::{UnixListener, UnixStream};
use tokio::sync::{Semaphore, mpsc, oneshot};
use tokio::time::timeout;

/// Connections at once.
const CLIENTS_MAX: usize = 32;
/// The time that a client may be silent, and the time that it has to take an answer.
const SILENCE_LIMIT: Duration = Duration::from_secs(60);
const WRITE_LIMIT: Duration = Duration::from_secs(5);

/// A request on its way to the one who can answer it.
pub(crate) struct Order {
    pub(crate) ask: Ask,
    pub(crate) reply: oneshot::Sender<Result<Value, Refusal>>,
}

/// Serve clients for ever.
pub(crate) async fn serve(listener: UnixListener, orders: mpsc::Sender<Order>) {
    let places = Arc::new(Semaphore::new(CLIENTS_MAX));
    loop {
        match listener.accept().await {
            Ok((mut stream, _)) => match places.clone().try_acquire_owned() {
                Ok(place) => {
                    let orders = orders.clone();
                    tokio::spawn(async move {
                        talk(stream, orders).await;
                        drop(place);
                    });
                }
                Err(_) => {
                    let outcome = Err(Refusal::Crowded { clients: CLIENTS_MAX });
                    // A fresh socket has room for this line, so it need not be waited for.
                    let line = line(&Reply { id: None, outcome });
                    ignore(
                        timeout(PROBE_PERIOD, stream.write_all(&line)).await,
                        "whoever is one too many is let go in any case",
                    );
                }
            },
            // Out of descriptors, say: that passes when a client goes.
            Err(_) => tokio::time::sleep(PROBE_PERIOD).await,
        }
    }
}

async fn talk(stream: UnixStream, orders: mpsc::Sender<Order>) {
    let (read, mut write) = stream.into_split();
    let mut lines = Lines::with_longest(read, LONGEST_REQUEST);
    while let Ok(next) = timeout(SILENCE_LIMIT, lines.next()).await {
        let reply = match next {
            Line::Text(text) => answer(&text, &orders).await,
            Line::TooLong => misread(format!("it is longer than {LONGEST_REQUEST} bytes")),
            Line::End(_) => return,
        };
        if send(&mut write, &reply).await.is_none() {
            return;
        }
    }
}

async fn answer(text: &str, orders: &mpsc::Sender<Order>) -> Reply {
    let Request { id, ask } = match serde_json::from_str(text) {
        Ok(request) => request,
        Err(e) => return misread(e.to_string()),
    };
    let ended = || Refusal::NotRunning { why: "the monitor is ending".into() };
    let (reply, answered) = oneshot::channel();
    let outcome = match orders.send(Order { ask, reply }).await {
        Ok(()) => answered.await.unwrap_or_else(|_| Err(ended())),
        Err(_) => Err(ended()),
    };
    Reply { id: Some(id), outcome }
}

fn misread(why: String) -> Reply {
    Reply { id: None, outcome: Err(Refusal::Request { why }) }
}

fn line(reply: &Reply) -> Vec<u8> {
    // Strings as keys and plain data: this cannot fail; an empty line would be refused by the reader.
    let mut line = serde_json::to_vec(reply).unwrap_or_default();
    line.push(b'\n');
    line
}

async fn send(write: &mut OwnedWriteHalf, reply: &Reply) -> Option<()> {
    timeout(WRITE_LIMIT, write.write_all(&line(reply))).await.ok()?.ok()
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;
    use tokio::io::{AsyncBufReadExt, BufReader};

    /// A server whose orders are all answered with their own text.
    fn server() -> (tempfile::TempDir, std::path::PathBuf) {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("ctl.sock");
        let (orders, mut queue) = mpsc::channel::<Order>(8);
        tokio::spawn(serve(UnixListener::bind(&path).unwrap(), orders));
        tokio::spawn(async move {
            while let Some(order) = queue.recv().await {
                ignore(
                    order.reply.send(Ok(serde_json::to_value(order.ask).unwrap())),
                    "a test whose answer is lost fails by itself",
                );
            }
        });
        (dir, path)
    }

    async fn exchange(stream: &mut UnixStream, text: &str) -> Reply {
        stream.write_all(text.as_bytes()).await.unwrap();
        let mut line = String::new();
        BufReader::new(stream).read_line(&mut line).await.unwrap();
        serde_json::from_str(&line).unwrap()
    }

    #[tokio::test]
    async fn garbage_is_answered_and_the_connection_goes_on() {
        let (_keep, path) = server();
        let mut client = UnixStream::connect(&path).await.unwrap();
        for bad in ["garbage\n", "{\"id\":1}\n", "{\"id\":1,\"ask\":{\"explode\":{}}}\n", "\n"] {
            let reply = exchange(&mut client, bad).await;
            assert!(matches!(reply, Reply { id: None, outcome: Err(Refusal::Request { .. }) }), "{reply:?}");
        }
        let reply = exchange(&mut client, "{\"id\":7,\"ask\":{\"status\":{}}}\n").await;
        assert_eq!(reply, Reply { id: Some(7), outcome: Ok(json!({"status": {}})) });
    }

    #[tokio::test]
    async fn a_client_that_never_reads_or_never_ends_its_line_harms_no_other() {
        let (_keep, path) = server();
        let mut deaf = UnixStream::connect(&path).await.unwrap();
        let flood = "garbage\n".repeat(100_000);
        ignore(
            timeout(Duration::from_millis(200), deaf.write_all(flood.as_bytes())).await,
            "only what the others get meanwhile is looked at",
        );
        let mut endless = UnixStream::connect(&path).await.unwrap();
        ignore(
            timeout(Duration::from_millis(200), endless.write_all(&vec![b'x'; 4 << 20])).await,
            "only what the others get meanwhile is looked at",
        );
        let mut client = UnixStream::connect(&path).await.unwrap();
        let reply = exchange(&mut client, "{\"id\":7,\"ask\":{\"status\":{}}}\n").await;
        assert_eq!(reply.id, Some(7));
    }

    #[tokio::test]
    async fn one_client_too_many_is_told_so() {
        let (_keep, path) = server();
        let mut clients = Vec::new();
        for id in 0..CLIENTS_MAX {
            let mut client = UnixStream::connect(&path).await.unwrap();
            exchange(&mut client, &format!("{{\"id\":{id},\"ask\":{{\"status\":{{}}}}}}\n")).await;
            clients.push(client);
        }
        let mut late = UnixStream::connect(&path).await.unwrap();
        let reply = exchange(&mut late, "").await;
        assert_eq!(reply.outcome, Err(Refusal::Crowded { clients: CLIENTS_MAX }));
    }
}
