//! Bringing a fault, and undoing it.

use super::{Clock, Fault, FaultError, Switch, clock};
use crate::machine::VmDir;
use crate::monitor::Client;
use crate::monitor::events::{Asked, What};
use crate::network::{Egress, Network};
use crate::ssh::Ssh;
use serde::Serialize;
use serde_json::{Value, json};
use std::time::Duration;

/// The time that one QMP command has.
const QMP_LIMIT: Duration = Duration::from_secs(10);

/// What a fault works on.
pub struct Site<'a> {
    /// The VM's folder.
    pub vm: &'a VmDir,
    /// The way into the guest.
    pub ssh: &'a Ssh,
    /// The network that it is in.
    pub network: Network,
}

/// A fault that was brought or undone.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Brought {
    /// What was asked for.
    pub fault: Fault,
    /// The last event before it: what it caused comes after.
    pub since: u64,
    /// The event that says so.
    pub seq: u64,
    /// What there is to know besides.
    pub more: Value,
}

/// Do what a fault says, and write it into the journal. It is in force, or undone, when this returns; what
/// fails is not journalled.
pub async fn bring(fault: Fault, site: &mut Site<'_>) -> Result<Brought, FaultError> {
    let client = Client::new(site.vm);
    let since = client.status().await?.last_event;
    let more = match fault {
        Fault::Link(switch) => link(&client, switch).await?,
        Fault::Freeze => freeze(&client).await?,
        Fault::Thaw => thaw(&client).await?,
        Fault::Clock(wanted) => clock(site, wanted).await?,
        Fault::Egress(egress) => self::egress(site, egress)?,
        Fault::Disk(what) => {
            super::disk(site.vm, site.ssh, what).await?;
            json!({})
        }
    };
    let told = more.as_object().cloned().unwrap_or_default();
    let seq = client.note(&What::Fault(Asked { fault, more: told })).await?;
    Ok(Brought { fault, since, seq, more })
}

async fn link(client: &Client, switch: Switch) -> Result<Value, FaultError> {
    let arguments = json!({ "name": crate::qemu::NETDEV, "up": switch == Switch::Up });
    client.qmp("set_link", arguments, QMP_LIMIT).await?;
    Ok(json!({}))
}

/// The run state of the machine, `running` or `paused` (QEMU's `RunState`).
async fn state(client: &Client) -> Result<String, FaultError> {
    let status = client.qmp("query-status", Value::Null, QMP_LIMIT).await?;
    Ok(status["status"].as_str().unwrap_or("unknown").to_owned())
}

async fn freeze(client: &Client) -> Result<Value, FaultError> {
    match state(client).await?.as_str() {
        "running" => {}
        is => return Err(FaultError::Still { is: is.to_owned() }),
    }
    client.qmp("stop", Value::Null, QMP_LIMIT).await?;
    Ok(json!({}))
}

async fn thaw(client: &Client) -> Result<Value, FaultError> {
    match state(client).await?.as_str() {
        // What runs needs no thawing, and that it runs was the wish.
        "running" => {}
        "paused" => drop(client.qmp("cont", Value::Null, QMP_LIMIT).await?),
        is => return Err(FaultError::OtherStop { is: is.to_owned() }),
    }
    Ok(json!({}))
}

async fn clock(site: &Site<'_>, wanted: Clock) -> Result<Value, FaultError> {
    let now = match wanted {
        Clock::Off(seconds) => clock::wrong(site.ssh, f64::from(seconds)).await?,
        Clock::Right => clock::right(site.ssh).await?,
    };
    let round = |s: f64| (s * 1000.0).round() / 1000.0;
    Ok(json!({ "off_s": round(now.s), "error_s": round(now.error_s) }))
}

fn egress(site: &mut Site<'_>, egress: Egress) -> Result<Value, FaultError> {
    site.network.set_egress(egress)?;
    Ok(json!({}))
}
