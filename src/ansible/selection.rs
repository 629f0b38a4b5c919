//! Which tasks of a playbook are run: by the profile, or by the options of one `apply`.

use crate::profile::Apply;

/// A choice among the tasks of a playbook; all of them by default.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Selection {
    /// Only tasks with one of these tags; all if empty.
    pub tags: Vec<String>,
    /// No task with one of these.
    pub skip_tags: Vec<String>,
    /// From this task on.
    pub start_at_task: Option<String>,
}

impl Selection {
    /// What the profile says of one of its playbooks.
    pub fn of(apply: &Apply) -> Self {
        Self { tags: apply.tags.clone(), ..Self::default() }
    }

    /// The same narrowed by a command's options. Tags that it names take the place of the profile's: Ansible knows only
    /// tasks that have one of several tags, and none that have one of these and one of those.
    pub fn narrowed(self, by: &Self) -> Self {
        let tags = if by.tags.is_empty() { self.tags } else { by.tags.clone() };
        Self { tags, skip_tags: by.skip_tags.clone(), start_at_task: by.start_at_task.clone() }
    }

    /// The words on Ansible's command line. Each option is one word with its value, which may begin with a dash.
    pub fn args(&self) -> Vec<String> {
        let list = |option: &str, tags: &[String]| (!tags.is_empty()).then(|| format!("--{option}={}", tags.join(",")));
        let start = self.start_at_task.as_ref().map(|task| format!("--start-at-task={task}"));
        list("tags", &self.tags).into_iter().chain(list("skip-tags", &self.skip_tags)).chain(start).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn words(tags: &[&str]) -> Vec<String> {
        tags.iter().map(|tag| (*tag).to_owned()).collect()
    }

    #[test]
    fn what_a_command_names_takes_the_place_of_the_profiles_tags_and_what_it_does_not_name_leaves_them() {
        let apply = Apply { playbook: "site.yml".into(), tags: words(&["base"]) };
        let by = Selection { tags: words(&["web", "db"]), skip_tags: words(&["slow"]), start_at_task: None };
        assert_eq!(Selection::of(&apply).narrowed(&by).args(), ["--tags=web,db", "--skip-tags=slow"]);
        let by = Selection { start_at_task: Some("-x".into()), ..Selection::default() };
        assert_eq!(Selection::of(&apply).narrowed(&by).args(), ["--tags=base", "--start-at-task=-x"]);
        assert!(Selection::default().args().is_empty());
    }
}
