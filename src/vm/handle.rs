//! The handle of a VM: its directory, and what leads to it. It says what runs, and not what was done to it: the machine's
//! own file, the journal and the network's file are read when they are asked for. All that is kept is one connection to the
//! guest, which the stages of a command share.

use crate::machine::VmDir;
use crate::monitor::Client;
use crate::monitor::events::{Event, JournalError, read_all};
use crate::network::plan::VmEnd;
use crate::network::{self, NetDir, NetPlan, Network};
use crate::ssh::{Kept, Session, Ssh};
use crate::wait::Watch;
use camino::Utf8PathBuf;
use host::dirs::Dirs;
use host::failure::{Exit, Failure};
use host::names::{HostName, IfName};
use std::sync::Arc;
use std::time::Duration;

/// A VM, as the commands reach it.
#[derive(Clone, Debug)]
pub struct Vm {
    dirs: Dirs,
    host: HostName,
    dir: VmDir,
    net: IfName,
    end: VmEnd,
    kept: Kept,
}

impl Vm {
    /// The VM of a host in the network of a plan; neither has to be there yet.
    pub fn of(dirs: &Dirs, host: &HostName, net: &NetPlan) -> Self {
        let (dir, end) = (VmDir::of(dirs, host), net.vm.clone());
        Self { dirs: dirs.clone(), host: host.clone(), dir, net: net.name.clone(), end, kept: Kept::default() }
    }

    /// The mirrored host.
    pub fn host(&self) -> &HostName {
        &self.host
    }

    /// Its directory.
    pub fn dir(&self) -> &VmDir {
        &self.dir
    }

    /// Its end of the network: the address and the card.
    pub fn end(&self) -> &VmEnd {
        &self.end
    }

    /// The directory of its network.
    pub fn net_dir(&self) -> NetDir {
        NetDir::of(&self.dirs, &self.net)
    }

    /// The DHCP server's leases.
    pub fn leases(&self) -> Utf8PathBuf {
        self.net_dir().leases()
    }

    /// Its monitor.
    pub fn client(&self) -> Client {
        Client::new(&self.dir)
    }

    /// The network that it is in, which must be up.
    pub fn network(&self) -> Result<Network, Failure> {
        network::open(&self.dirs, &self.net)?.ok_or_else(|| {
            Failure::new(Exit::Lost, format!("the network {} of the VM is gone", self.net))
                .next(format!("remove the VM with `boma-qemu down {}`", self.host))
        })
    }

    /// The way into the guest.
    pub fn ssh(&self) -> Result<Ssh, Failure> {
        Ok(Ssh::new(&self.dir, self.network()?.enter_bound()))
    }

    /// The connection that the stages share ([`Kept::session`]).
    pub async fn session(&self, limit: Duration) -> Result<Arc<Session>, Failure> {
        Ok(self.kept.session(&self.ssh()?, limit).await?)
    }

    /// The place of that connection.
    pub fn kept(&self) -> &Kept {
        &self.kept
    }

    /// The journal so far.
    pub fn events(&self) -> Result<Vec<Event>, JournalError> {
        read_all(&self.dir.events())
    }

    /// The number of the journal's last event.
    pub fn last_event(&self) -> Result<u64, JournalError> {
        Ok(self.events()?.last().map_or(0, |event| event.seq))
    }

    /// A watch on the machine from now on.
    pub fn watch(&self) -> Result<Watch, Failure> {
        Ok(Watch::since(&self.dir, self.last_event()?)?)
    }
}
