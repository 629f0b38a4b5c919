//! Asking an action plugin of ours, in a playbook of ours, over the real inventory: it answers as data, by our callback.

use super::command::Controller;
use super::error::AnsibleError;
use super::local;
use evidence::playbook::events::{self, Event, Status};
use host::dirs::write_private;
use serde::de::DeserializeOwned;
use serde_json::Value;

/// Run `<name>.yml` of our folder with these variables; what its one task answers.
pub(super) fn ask<T: DeserializeOwned>(
    controller: &Controller,
    name: &str,
    variables: &Value,
    prefix: &[String],
) -> Result<T, AnsibleError> {
    let place = |end: &str| controller.folder.path().join(format!("{name}.{end}"));
    let (playbook, vars, events) = (place("yml"), place("json"), place("ndjson"));
    write_private(&vars, variables.to_string())?;
    let vars = format!("@{vars}");
    let args = ["--inventory", controller.inventory.as_str(), "--extra-vars", &vars, playbook.as_str()];
    let mut invocation = controller.over_real_inventory("ansible-playbook", &args);
    invocation.env.retain(|(name, _)| name != "BOMA_EVENTS");
    invocation.env.push(("BOMA_EVENTS".into(), events.to_string()));
    invocation.env.push(("ANSIBLE_ACTION_PLUGINS".into(), controller.folder.actions().to_string()));
    let (_, output) = local::run(&invocation, prefix, Vec::new())?;
    // Where there is no file, Ansible's own error is the answer.
    let answers = std::fs::read_to_string(&events).unwrap_or_default();
    let unreadable = |why| AnsibleError::Unreadable { playbook: playbook.clone(), why };
    let refused = |said| AnsibleError::Inventory { path: controller.inventory.clone(), said };
    for event in events::parse(&answers).map_err(unreadable)? {
        let Event::Result(result) = event else { continue };
        return match result.resolved.clone() {
            Some(answer) if result.status == Status::Ok => {
                serde_json::from_value(answer.into()).map_err(|error| unreadable(error.to_string()))
            }
            _ => Err(refused(result.why())),
        };
    }
    Err(refused(local::error_lines(&output.stderr)))
}
