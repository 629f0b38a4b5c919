//! Receiving over HTTP in a way that can be stopped at any moment.
//!
//! The blocking client runs in a thread of its own and hands over pieces; the caller looks at them and
//! at the user's wish to stop. The thread ends by itself: every wait in it is bounded.

use super::error::{ImageError, Patience};
use super::watch::Watch;
use host::presence::ignore;
use std::io::Read;
use std::ops::ControlFlow;
use std::sync::mpsc::{RecvTimeoutError, SyncSender, sync_channel};
use std::time::Duration;
use ureq::tls::{RootCerts, TlsConfig};

/// How often the user's wish is looked at.
const LOOK: Duration = Duration::from_millis(100);

/// What is asked for.
#[derive(Clone, Debug)]
pub(super) struct Request {
    /// The address.
    pub address: String,
    /// The first byte wanted.
    pub offset: u64,
    /// What tells that the file is still the same (`If-Range`); without it, an offset is not sent.
    pub validator: Option<String>,
    /// Whether only https is spoken, also where the server leads elsewhere.
    pub https_only: bool,
}

/// What comes, in this order: one head, bytes, and an end.
#[derive(Debug)]
pub(super) enum Piece {
    /// Status and the headers that matter.
    Head(Head),
    /// Some of the body.
    Bytes(Vec<u8>),
    /// The body came to its end.
    End,
    /// The server leads to this address, which is not https.
    Insecure(String),
    /// The connection did not come about, broke off, or gave nothing for too long.
    Broke(String),
}

/// The head of an answer.
#[derive(Debug)]
pub(super) struct Head {
    /// The HTTP status.
    pub status: u16,
    /// Content-Range.
    pub range: Option<String>,
    /// Content-Length.
    pub length: Option<u64>,
    /// What identifies this version of the file, see [`super::range::validator`].
    pub validator: Option<String>,
}

/// Ask, and give each piece to `take` until it breaks or the last piece has been given.
pub(super) fn receive<T>(
    request: &Request,
    patience: Patience,
    watch: &dyn Watch,
    mut take: impl FnMut(Piece) -> ControlFlow<T>,
) -> Result<T, ImageError> {
    // Bounded, so that a fast network does not fill the memory of a slow disk.
    let (sender, pieces) = sync_channel(16);
    let asked = request.clone();
    std::thread::spawn(move || ask(&asked, patience, &sender));
    loop {
        if watch.stopped() {
            return Err(ImageError::Stopped { doing: format!("fetching {}", request.address) });
        }
        let piece = match pieces.recv_timeout(LOOK) {
            Ok(piece) => piece,
            Err(RecvTimeoutError::Timeout) => continue,
            Err(RecvTimeoutError::Disconnected) => Piece::Broke("the transfer ended without a word".into()),
        };
        if let ControlFlow::Break(result) = take(piece) {
            return Ok(result);
        }
    }
}

/// The thread: it ends when the caller no longer listens.
fn ask(request: &Request, patience: Patience, sender: &SyncSender<Piece>) {
    let last = stream(request, patience, sender).map_or_else(|last| last, |()| Piece::End);
    ignore(sender.send(last), "the caller no longer listens");
}

fn stream(request: &Request, patience: Patience, sender: &SyncSender<Piece>) -> Result<(), Piece> {
    let mut call = agent(patience, request.https_only).get(&request.address);
    if let (Some(validator), true) = (&request.validator, request.offset > 0) {
        call = call.header("Range", format!("bytes={}-", request.offset)).header("If-Range", validator);
    }
    let mut response = call.call().map_err(|error| match error {
        ureq::Error::RequireHttpsOnly(address) => Piece::Insecure(address),
        other => Piece::Broke(other.to_string()),
    })?;
    let header = |name: &str| response.headers().get(name).and_then(|value| value.to_str().ok()).map(str::to_owned);
    let head = Head {
        status: response.status().as_u16(),
        range: header("content-range"),
        length: header("content-length").and_then(|text| text.parse().ok()),
        validator: super::range::validator(header("etag").as_deref(), header("last-modified").as_deref()),
    };
    let is_body = matches!(head.status, 200 | 206);
    if sender.send(Piece::Head(head)).is_err() || !is_body {
        return Ok(());
    }
    let mut body = response.body_mut().as_reader();
    loop {
        let mut buffer = vec![0; 64 << 10];
        match body.read(&mut buffer).map_err(|e| Piece::Broke(e.to_string()))? {
            0 => return Ok(()),
            n => buffer.truncate(n),
        }
        if sender.send(Piece::Bytes(buffer)).is_err() {
            return Ok(());
        }
    }
}

/// A client that trusts what the system trusts and waits no longer than patience allows.
fn agent(patience: Patience, https_only: bool) -> ureq::Agent {
    let tls = TlsConfig::builder().root_certs(RootCerts::PlatformVerifier).build();
    ureq::Agent::config_builder()
        .tls_config(tls)
        .http_status_as_error(false)
        .https_only(https_only)
        .user_agent("boma-qemu")
        .timeout_resolve(Some(patience.connect))
        .timeout_connect(Some(patience.connect))
        .timeout_recv_response(Some(patience.stall))
        .timeout_per_read(Some(patience.stall))
        .timeout_per_write(Some(patience.stall))
        .build()
        .into()
}

/// The status that an address answers with, asked for within `limit`; or why there is none. Blocks.
pub fn status_of(address: &str, limit: Duration) -> Result<u16, String> {
    let patience = Patience { connect: limit, stall: limit, attempts: 1 };
    // An audit may ask for any address: what comes is not used.
    let call = agent(patience, false).get(address).config().timeout_global(Some(limit)).build();
    call.call().map(|response| response.status().as_u16()).map_err(|error| error.to_string())
}
