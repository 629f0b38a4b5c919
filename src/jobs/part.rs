//! The part of the playbooks that an `apply` is restricted to: checked against the profile before any work starts.

use crate::ansible::Selection;
use crate::plan::Plan;
use crate::profile::Apply;
use camino::{Utf8Path, Utf8PathBuf};
use evidence::record::Partial;
use host::failure::{Exit, Failure};
use host::names::HostName;

/// The part with its playbook as the profile has it; which may be called by its file's name, with or without its ending. An
/// error names those that there are.
pub fn checked(plan: &Plan, part: Partial) -> Result<Partial, Failure> {
    held(&plan.profile.applies, part, &plan.host)
}

fn held(own: &[Apply], part: Partial, host: &HostName) -> Result<Partial, Failure> {
    let only = part.only.as_deref().map(|only| named(own, only, host)).transpose()?;
    let part = Partial { only, ..part };
    let left = of(own, Some(&part));
    match (&part.start_at_task, left.len()) {
        (Some(task), 2..) => {
            let what = format!("--start-at-task {task:?}: in which playbook? The profile has {} to run", list(&left));
            Err(Failure::new(Exit::Usage, what).next("say --only PLAYBOOK as well"))
        }
        _ => Ok(part),
    }
}

fn named(own: &[Apply], only: &Utf8Path, host: &HostName) -> Result<Utf8PathBuf, Failure> {
    let whole = own.iter().filter(|apply| apply.playbook == only);
    let is_called = |apply: &&Apply| {
        let path = &apply.playbook;
        path.file_name() == Some(only.as_str()) || path.file_stem() == Some(only.as_str())
    };
    let mut found: Vec<_> = whole.map(|apply| &apply.playbook).collect();
    if found.is_empty() {
        found = own.iter().filter(is_called).map(|apply| &apply.playbook).collect();
    }
    found.sort();
    found.dedup();
    let usage = |what: String| Failure::new(Exit::Usage, what);
    match found[..] {
        [one] => Ok(one.clone()),
        [] => Err(usage(format!(
            "--only {only}: no playbook of the profile is called so; profiles/{host}.json has {}",
            list(own)
        ))
        .next("name one of these")),
        _ => Err(usage(format!("--only {only}: several playbooks are called so: {}", list(own)))
            .next("give its path, as the profile has it")),
    }
}

fn list(applies: &[Apply]) -> String {
    applies.iter().map(|apply| apply.playbook.as_str()).collect::<Vec<_>>().join(", ")
}

/// The playbooks of a part, in their order; without a part all of them.
pub(super) fn applies(plan: &Plan, part: Option<&Partial>) -> Vec<Apply> {
    of(&plan.profile.applies, part)
}

fn of(own: &[Apply], part: Option<&Partial>) -> Vec<Apply> {
    let only = part.and_then(|part| part.only.as_ref());
    own.iter().filter(|apply| only.is_none_or(|only| apply.playbook == *only)).cloned().collect()
}

/// What is run of each.
pub(super) fn selection(part: Option<&Partial>) -> Selection {
    let Some(Partial { only: _, start_at_task, tags, skip_tags }) = part else { return Selection::default() };
    let (tags, skip_tags, start_at_task) = (tags.clone(), skip_tags.clone(), start_at_task.clone());
    Selection { tags, skip_tags, start_at_task }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The plan of a host with these playbooks; nothing else of it matters here.
    fn with(playbooks: &[&str]) -> Vec<Apply> {
        playbooks.iter().map(|path| Apply { playbook: (*path).into(), tags: Vec::new() }).collect()
    }

    fn named(playbooks: &[&str], only: &str) -> Result<String, Failure> {
        super::named(&with(playbooks), Utf8Path::new(only), &"askari".parse().unwrap()).map(Into::into)
    }

    #[test]
    fn a_playbook_is_called_by_its_path_its_file_or_its_name_and_an_unknown_one_names_the_known() {
        let all = ["playbooks/site.yml", "playbooks/web.yml"];
        for only in ["playbooks/web.yml", "web.yml", "web"] {
            assert_eq!(named(&all, only).unwrap(), "playbooks/web.yml", "{only}");
        }
        for only in ["wep", "playbooks/web", "", "../web.yml"] {
            let failure = named(&all, only).unwrap_err();
            assert_eq!(failure.exit, Exit::Usage, "{only}");
            assert!(failure.to_string().contains("playbooks/site.yml, playbooks/web.yml"), "{failure}");
        }
    }

    #[test]
    fn a_name_that_two_playbooks_have_is_refused_and_one_that_is_run_twice_is_one() {
        let failure = named(&["a/site.yml", "b/site.yml"], "site").unwrap_err();
        assert!(failure.exit == Exit::Usage && failure.to_string().contains("a/site.yml, b/site.yml"), "{failure}");
        assert_eq!(named(&["a/site.yml", "b/site.yml"], "b/site.yml").unwrap(), "b/site.yml");
        assert_eq!(named(&["site.yml", "web.yml", "site.yml"], "site").unwrap(), "site.yml");
    }

    #[test]
    fn a_task_to_begin_with_is_in_one_playbook() {
        let begin = || Partial { start_at_task: Some("Web".into()), ..Partial::default() };
        let host = "askari".parse().unwrap();
        let refused = super::held(&with(&["a.yml", "b.yml"]), begin(), &host).unwrap_err();
        assert!(refused.exit == Exit::Usage && refused.to_string().contains("a.yml, b.yml"), "{refused}");
        assert!(refused.next.unwrap().contains("--only PLAYBOOK"));
        let one = Partial { only: Some("b".into()), ..begin() };
        assert_eq!(super::held(&with(&["a.yml", "b.yml"]), one, &host).unwrap().only.unwrap(), "b.yml");
        super::held(&with(&["a.yml"]), begin(), &host).unwrap();
    }
}
