//! Whether an address answers.

use crate::audit::outcome::Seen;
use crate::image;
use host::deadline::Deadline;
use host::presence::ignore;

/// Ask in a thread of its own, which ends by itself in time: somebody may want to stop meanwhile.
pub(super) async fn url(url: &str, expect: &[u16], deadline: &Deadline) -> Seen {
    let (tell, hear) = tokio::sync::oneshot::channel();
    let (asked, limit) = (url.to_owned(), deadline.left());
    std::thread::spawn(move || {
        ignore(tell.send(image::status_of(&asked, limit)), "the answer came too late");
    });
    match hear.await {
        Err(_) => Seen::unknown("asking ended without a word"),
        Ok(Err(why)) => Seen::fails("no answer", format!("{url} does not answer: {why}")),
        Ok(Ok(status)) if expect.contains(&status) => Seen::holds(format!("{url} answers with {status}")),
        Ok(Ok(status)) => Seen::fails(status.to_string(), format!("{url} answers with {status}, not with {expect:?}")),
    }
}
