//! Commands that ask file systems: the environment block, `search` and `probe`.

use super::commands::filled_in;
use super::value::{Value, clean, known, shown};
use super::world::{At, Tri, World};
use super::{Grub, is_device};
use crate::medium::loader::Line;

impl Grub<'_, '_> {
    /// The environment block: 1024 bytes of `name=value` lines; manual, section "Environment block".
    pub(super) fn load_env(&mut self, world: &mut World, args: &[String]) {
        let (mut file, mut only) = (None, Vec::new());
        let mut words = args.iter();
        while let Some(word) = words.next() {
            match word.as_str() {
                "-f" | "--file" => file = words.next().cloned(),
                option if option.starts_with("--file=") => file = Some(option["--file=".len()..].to_owned()),
                option if option.starts_with('-') => {}
                name => only.push(name.to_owned()),
            }
        }
        let file = file.unwrap_or_else(|| format!("{}/grubenv", world.text("prefix").unwrap_or_default()));
        let found = known(&file).map(|path| self.resolve(world, &path));
        let text = match found {
            Some(super::Found::At(place)) => self.reading.text(super::super::Loader::Grub, &place),
            Some(super::Found::Nowhere) => {
                world.status = Tri::No;
                return;
            }
            _ => None,
        };
        let Some(text) = text else {
            return world.unsure(|| format!("what {} says is not known", shown(&file)));
        };
        for (name, value) in text.lines().filter(|line| !line.starts_with('#')).filter_map(|line| line.split_once('='))
        {
            if only.is_empty() || only.iter().any(|one| one == name) {
                world.set(name, Value::known(clean(value)));
            }
        }
    }

    /// What the file systems of the image answer; manual, section "probe".
    pub(super) fn probe(&mut self, world: &mut World, args: &[String]) {
        let (mut variable, mut what, mut device) = (None, None, None);
        let mut words = args.iter();
        while let Some(word) = words.next() {
            match word.as_str() {
                "-s" | "--set" => variable = words.next().cloned(),
                "-u" | "--fs-uuid" => what = Some('u'),
                "-l" | "--label" => what = Some('l'),
                option if option.starts_with("--set=") => variable = Some(option["--set=".len()..].to_owned()),
                option if option.starts_with('-') => {}
                plain => device = known(plain),
            }
        }
        let volume = device.as_deref().map(|device| device.trim_matches(['(', ')'])).filter(|name| is_device(name));
        // The device that GRUB has come from may be either of two.
        let volume = volume.and_then(|name| self.volumes(name)).filter(|all| all.len() == 1).map(|all| all[0]);
        let answer = volume.and_then(|volume| match what? {
            'u' => self.reading.shelf.uuid(volume),
            _ => self.reading.shelf.label(volume),
        });
        match (variable, answer) {
            (Some(variable), Some(answer)) => world.set(&variable, Value::known(answer)),
            _ => filled_in(world, args),
        }
    }

    /// Find a file system and keep its name; manual, section "search".
    pub(super) fn search(&mut self, world: &mut World, line: usize, (name, args): (&str, &[String]), at: &At) {
        let mut by = match name {
            "search.file" => Some('f'),
            "search.fs_label" => Some('l'),
            "search.fs_uuid" => Some('u'),
            _ => None,
        };
        let short = by.is_some();
        let (mut variable, mut behind_set, mut what) = (None, None, Vec::new());
        let mut words = args.iter();
        while let Some(word) = words.next() {
            match word.as_str() {
                "-f" | "--file" => by = Some('f'),
                "-l" | "--label" | "--fs-label" => by = Some('l'),
                "-u" | "--fs-uuid" => by = Some('u'),
                // The variable may be left out, and then it is `root`.
                "-s" | "--set" => {
                    variable = Some("root".to_owned());
                    behind_set = Some(what.len());
                }
                option if option.starts_with("--set=") => variable = Some(option["--set=".len()..].to_owned()),
                option if option.starts_with("--hint") && !option.contains('=') => drop(words.next()),
                option if option.starts_with('-') => {}
                plain => what.push(plain.to_owned()),
            }
        }
        // `--set root NAME`: the value of an option that may have none stands behind `=`, but many write it so.
        if what.len() > 1 && !short {
            let at = behind_set.filter(|at| *at < what.len()).unwrap_or(0);
            variable = Some(what.remove(at));
        } else if short {
            variable = what.get(1).cloned();
        }
        let found = what.first().and_then(|what| known(what)).and_then(|what| self.volume(by.unwrap_or('f'), &what));
        match found {
            Some(volume) => {
                if let Some(variable) = variable {
                    world.set(&variable, Value::known(super::device(volume)));
                }
            }
            None => {
                // Another disk of the machine may have it.
                world.status = Tri::Maybe;
                if !matches!(by, Some('l' | 'u')) {
                    return;
                }
                let what = what.first().map(|what| shown(what)).unwrap_or_default();
                let text = format!("search looks for {what:?}, which no file system of the image has");
                let line = Line { file: at.file.to_string(), line, text };
                if !self.reading.searches.contains(&line) {
                    self.reading.searches.push(line);
                }
            }
        }
    }
}
