//! The image is looked at on a thread of its own: reading is work that never waits, so neither a limit nor a signal would be
//! seen before it ends. Whoever stops waiting ends it; what it had opened goes with it, and the next condition opens it anew.

use crate::audit::condition::Condition;
use crate::audit::image::{self, BootPath, BootsAs, Image, PxeSet};
use crate::audit::outcome::Seen;
use boot_media::medium::{Halt, find_one};
use camino::Utf8PathBuf;
use host::presence::ignore;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;
use tokio::sync::oneshot;

/// How long it may take to read what no condition asks for.
const SHORT: Duration = Duration::from_secs(30);

/// The image of an audit.
pub(super) struct Aside {
    named: Option<Utf8PathBuf>,
    pxe: Option<PxeSet>,
    image: Arc<Mutex<Image>>,
    halt: Halt,
}

/// Ends the looking when it goes, unless it was disarmed.
struct Ends(Option<Halt>);

impl Drop for Ends {
    fn drop(&mut self) {
        if let Some(halt) = self.0.take() {
            halt.halt();
        }
    }
}

impl Aside {
    /// The image that a path or a glob names, or what stands for it.
    pub(super) fn of(named: Option<Utf8PathBuf>, pxe: Option<PxeSet>) -> Self {
        let halt = Halt::default();
        let image = match pxe.clone() {
            Some(set) => Image::over_the_network(set),
            None => Image::named(named.clone(), halt.clone()),
        };
        Self { named, pxe, image: Arc::new(Mutex::new(image)), halt }
    }

    /// Which file it is, or why it is not one.
    pub(super) fn path(&self) -> Result<Utf8PathBuf, String> {
        let named = self.named.as_ref().ok_or(image::UNNAMED)?;
        find_one(named.as_str()).map_err(|error| image::told(&error))
    }

    /// Look at one of its conditions, within its limit.
    pub(super) async fn look(&mut self, condition: &Condition) -> Seen {
        let (asked, limit) = (condition.clone(), condition.limit());
        match self.aside(limit, move |image| image::look(image, &asked)).await {
            Ok(seen) => seen,
            Err(why) => Seen::unknown(why),
        }
    }

    /// How a machine here boots it, or why none can.
    pub(super) async fn boots_as(&mut self) -> Result<BootsAs, String> {
        self.aside(SHORT, Image::boots_as).await.flatten()
    }

    /// What each firmware would boot; nothing if the image was not opened.
    pub(super) async fn boot_paths(&mut self) -> Vec<BootPath> {
        self.aside(SHORT, |image| image.boot_paths()).await.unwrap_or_default()
    }

    /// Do something with the image on a thread of its own. The error says why nothing came of it.
    async fn aside<T: Send + 'static>(
        &mut self,
        limit: Duration,
        work: impl FnOnce(&mut Image) -> T + Send + 'static,
    ) -> Result<T, String> {
        let (answer, comes) = oneshot::channel();
        let image = self.image.clone();
        let work = move || {
            let done = work(&mut image.lock().unwrap_or_else(PoisonError::into_inner));
            ignore(answer.send(done).map_err(|_| "unheard"), "nobody waits for it any more");
        };
        // Not one of the runtime's own threads: those are waited for at the end.
        let thread = std::thread::Builder::new().name("image".into());
        thread.spawn(work).map_err(|error| format!("cannot start a thread to read the image: {error}"))?;
        let mut ends = Ends(Some(self.halt.clone()));
        let why = match tokio::time::timeout(limit, comes).await {
            Ok(Ok(done)) => {
                ends.0 = None;
                return Ok(done);
            }
            Ok(Err(_)) => "the reader of the image panicked: this is a bug in boma-qemu".to_owned(),
            Err(_) => format!("the image was not read within {} s", limit.as_secs()),
        };
        *self = Self::of(self.named.take(), self.pxe.take());
        Err(why)
    }
}
