//! What the conditions of an audit are about: this host, the image, and the machine that is booted from it when the first
//! condition asks for it.

use super::Wanted;
use super::aside::Aside;
use super::machine::{Ended, Machine};
use crate::audit::condition::{Condition, Phase};
use crate::audit::host::{self, Site, User};
use crate::audit::image::{BootPath, BootsAs};
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
    /// How the image is booted or why it is not, once that was looked at.
    boots_as: Option<Result<BootsAs, String>>,
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
        Ok(Self { ctx, site, image, machine: Machine::new(ctx, wanted, folder.clone()), boots_as: None })
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
    /// How the image is booted; it is looked at once.
    async fn boots_as(&mut self) -> Result<BootsAs, String> {
        if let Some(known) = &self.boots_as {
            return known.clone();
        }
        self.boots_as.insert(self.image.boots_as().await).clone()
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
                Ok(image) => match self.boots_as().await {
                    Ok(boots_as) => self.machine.look(condition, &image, boots_as).await,
                    Err(why) => Seen::unknown(why),
                },
                Err(why) => Seen::unknown(why),
            },
        }
    }
}
