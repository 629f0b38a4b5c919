//! What the conditions of an audit are about: this host, the image, and the machine that is booted from it when the first
//! condition asks for it.

use super::Wanted;
use super::machine::{Ended, Machine};
use crate::audit::condition::{Condition, Phase};
use crate::audit::host::{self, Site, User};
use crate::audit::image::{self, Image};
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
    image: Image,
    machine: Machine<'a>,
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
        let image = Image::named(wanted.image.clone());
        Ok(Self { ctx, site, image, machine: Machine::new(ctx, wanted, folder.clone()) })
    }

    /// The image, if it is one.
    pub(super) fn image(&mut self) -> Option<Utf8PathBuf> {
        self.image.path().ok().map(ToOwned::to_owned)
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

impl World for Real<'_> {
    async fn look(&mut self, condition: &Condition) -> Seen {
        match condition.phase {
            Phase::Host => {
                let progress = self.ctx.progress;
                host::look(&self.site, condition, &mut |line| progress.output(line)).await
            }
            Phase::Image => image::look(&mut self.image, condition),
            Phase::Runtime => match self.image.path() {
                Ok(image) => {
                    let image = image.to_owned();
                    self.machine.look(condition, &image).await
                }
                Err(why) => Seen::unknown(why),
            },
        }
    }
}
