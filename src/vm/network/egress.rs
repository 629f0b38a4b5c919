//! Cutting a running guest off from the outside, and giving back what it had.

use super::dir::NetDir;
use super::plan::Egress;
use super::{NetError, Network, nft, read_json};
use host::cmd::Cmd;
use host::dirs::write_private;
use host::lock::Lock;

impl Network {
    /// What the guest may reach now.
    pub fn egress(&self) -> Egress {
        if self.cut { Egress::None } else { self.plan.egress }
    }

    /// Whether the guest has been cut off since the network was made.
    pub fn is_cut(&self) -> bool {
        self.cut
    }

    /// Cut the guest off from everything outside, names included, or put back the filters that the network was
    /// started with; never any others. DHCP, the bridge and the controller side stay. The change is one
    /// transaction of nft's and is in force for connections that stand, too; the folder never says less than
    /// what is open.
    pub fn set_egress(&mut self, egress: Egress) -> Result<(), NetError> {
        if self.plan.egress == Egress::None {
            return Err(NetError::NoWayOut { asked: egress });
        }
        let dir = self.dir();
        let who = format!("pid {}, which changes what the guest reaches", std::process::id());
        let _lock = Lock::take(&dir.lock(), &who)?;
        let cut = egress == Egress::None;
        // Opened only once it is told, told as shut only once it is.
        if !cut {
            self.save(&dir, cut)?;
        }
        let prefix = self.enter_net_admin();
        let nft = Cmd::new(&prefix[0]).args(&prefix[1..]).args(["nft", "-f", "-"]);
        nft.stdin(nft::swap(&self.plan, cut)).run().map_err(NetError::Command)?;
        if cut {
            self.save(&dir, cut)?;
        }
        Ok(())
    }

    fn save(&mut self, dir: &NetDir, cut: bool) -> Result<(), NetError> {
        // Somebody else may have changed it since it was read.
        *self = Network { cut, ..read_json(&dir.ready())? };
        // Plain data with string keys: serialising it cannot fail.
        Ok(write_private(&dir.ready(), serde_json::to_vec_pretty(self).unwrap_or_default())?)
    }
}
