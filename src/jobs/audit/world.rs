//! What the conditions of an audit are about: this host, the image, and the machine that is booted from it when the first
//! condition asks for it.

use super::Wanted;
use super::aside::Aside;
use super::machine::{Ended, Machine};
use crate::audit::condition::{Condition, Phase};
use crate::audit::host::{self, Site, User};
use crate::audit::image::BootPath;
use crate::audit::outcome::Seen;
use crate::audit::schedule::World;
use crate::jobs::Context;
use ::host::failure::{Exit, Failure};
use ::host::programs;
use camino::Utf8PathBuf;
use evidence::report::RunFolder;

/// The real world.
pub(super) struct Real<'a> {
    ctx: Context<'a>,
    site: Site,
    image: Aside,
    machine: Machine<'a>,
    /// Why the image is not booted, once that was looked at.
    unbootable: Option<Option<String>>,
}

impl<'a> Real<'a> {
    /// Nothing is looked at or made yet.
    pub(super) fn new(ctx: Context<'a>, wanted: &'a Wanted, folder: &RunFolder) -> Result<Self, Failure> {
        let user = User::own().map_err(|why| Failure::new(Exit::Host, format!("cannot tell who this is: {why}")))?;
        let build = wanted.profile.build.clone().zip(wanted.profile.build_folder(ctx.dirs));
        let site = Site {
            dirs: ctx.dirs.clone(),
            user,
            path: programs::path(),
            build,
            image: wanted.image.clone(),
            evidence: folder.path().to_owned(),
        };
        let image = Aside::of(wanted.image.clone(), wanted.profile.pxe_set(ctx.dirs));
        Ok(Self { ctx, site, image, machine: Machine::new(ctx, wanted, folder.clone()), unbootable: None })
    }

    /// The image, if it is one.
    pub(super) fn image(&mut self) -> Option<Utf8PathBuf> {
        self.image.path().ok()
    }

    /// What each firmware would boot of it.
    pub(super) async fn boot_paths(&mut self) -> Vec<BootPath> {
        self.image.boot_paths().await
    }

    /// What the machine was made of, if there was one.
    pub(super) fn machine(&self) -> Option<String> {
        self.machine.described()
    }

    /// Keep what the machine leaves as evidence, and remove it unless it is to stay.
    pub(super) async fn end(self, keep: bool) -> Result<Ended, Failure> {
        self.machine.end(keep).await
    }
}

impl Real<'_> {
    /// Why the image is not booted at all; it is looked at once.
    async fn unbootable(&mut self) -> Option<String> {
        if self.unbootable.is_none() {
            self.unbootable = Some(self.image.unbootable().await);
        }
        self.unbootable.clone().flatten()
    }
}

impl World for Real<'_> {
    async fn look(&mut self, condition: &Condition) -> Seen {
        match condition.phase {
            Phase::Host => {
                let progress = self.ctx.progress;
                host::look(&self.site, condition, &mut |line| progress.output(line)).await
            }
            Phase::Image => self.image.look(condition).await,
            Phase::Runtime => match self.image.path() {
                Ok(image) => match self.unbootable().await {
                    None => self.machine.look(condition, &image).await,
                    Some(why) => Seen::unknown(why),
                },
                Err(why) => Seen::unknown(why),
            },
        }
    }
}
