//! Where everything lies: decided before a byte is written, because records hold sector numbers.

use super::names::Named;
use super::record::{self, Continuation, Extent};
use super::{IsoError, SECTOR};

/// The first sector of the volume descriptors; those before it are the system's own.
pub(super) const DESCRIPTORS: u32 = 16;
/// Primary, Joliet, terminator; then four path tables, one sector each: the root is their only folder.
pub(super) const PATH_TABLES: u32 = DESCRIPTORS + 3;
const FIRST_FREE: u32 = PATH_TABLES + 4;

/// A file and where its parts lie.
#[derive(Clone, Debug)]
pub(super) struct Placed<'a> {
    pub(super) named: Named<'a>,
    pub(super) extent: Extent,
    /// Where its Rock Ridge name is, if its record has no room for it.
    pub(super) long_name: Option<Continuation>,
}

/// The plan of an image.
#[derive(Clone, Debug)]
pub(super) struct Layout<'a> {
    /// The primary tree's root folder.
    pub(super) primary: Extent,
    /// The Joliet tree's root folder.
    pub(super) joliet: Extent,
    /// Where the `ER` entry of the root lies.
    pub(super) extension: Continuation,
    /// The files, in the order of their names.
    pub(super) files: Vec<Placed<'a>>,
    /// The order of the primary tree's records, as indices into `files`.
    pub(super) by_short: Vec<usize>,
    /// The order of the Joliet tree's records.
    pub(super) by_joliet: Vec<usize>,
    /// The whole image, in sectors.
    pub(super) sectors: u32,
}

impl<'a> Layout<'a> {
    /// Lay out these files.
    pub(super) fn new(named: &[Named<'a>]) -> Result<Self, IsoError> {
        let (by_short, by_joliet) = orders(named);
        let primary = by_short.iter().map(|&n| record::file_length(&named[n].short, &named[n].file.name));
        let joliet = by_joliet.iter().map(|&n| record::length(named[n].joliet.len(), 0));
        let primary = folder(FIRST_FREE, record::root_lengths(), primary)?;
        let joliet = folder(after(primary)?, [record::length(1, 0); 2], joliet)?;

        let mut area = Area { sector: after(joliet)?, used: 0 };
        let extension = area.take(record::extension_reference().len())?;
        let long_names = named.iter().map(|n| match record::name_fits(&n.short, &n.file.name) {
            true => Ok(None),
            false => area.take(record::name_entry_len(&n.file.name)).map(Some),
        });
        let long_names = long_names.collect::<Result<Vec<_>, _>>()?;

        let mut sector = area.sector.checked_add(1).ok_or(IsoError::Full)?;
        let mut files = Vec::with_capacity(named.len());
        for (named, long_name) in named.iter().zip(long_names) {
            // The length was checked with the name. An empty file has no sector of its own: it points
            // at the next one, which is never read.
            let extent = Extent { sector, bytes: named.file.bytes.len() as u32 };
            sector = after(extent)?;
            files.push(Placed { named: named.clone(), extent, long_name });
        }
        // An empty last file must still point into the volume.
        let sectors = sector.checked_add(1).ok_or(IsoError::Full)?;
        Ok(Self { primary, joliet, extension, files, by_short, by_joliet, sectors })
    }
}

/// The order that ECMA-119 9.3 wants in each tree: by name, then extension, shorter first; for Joliet
/// by the UCS-2 bytes. It is fixed here because what a folder needs depends on it: each record that does
/// not fit leaves a gap.
fn orders(named: &[Named<'_>]) -> (Vec<usize>, Vec<usize>) {
    let mut by_short: Vec<usize> = (0..named.len()).collect();
    let mut by_joliet = by_short.clone();
    by_short.sort_by(|&a, &b| named[a].short.split(['.', ';']).cmp(named[b].short.split(['.', ';'])));
    by_joliet.sort_by(|&a, &b| named[a].joliet.cmp(&named[b].joliet));
    (by_short, by_joliet)
}

/// A folder at this sector whose records have these lengths, none of which crosses a sector.
fn folder(sector: u32, root: [usize; 2], records: impl Iterator<Item = usize>) -> Result<Extent, IsoError> {
    let mut end = 0;
    for length in root.into_iter().chain(records) {
        end = place(end, length) + length;
    }
    let bytes = u32::try_from(end.next_multiple_of(SECTOR)).map_err(|_| IsoError::Full)?;
    Ok(Extent { sector, bytes })
}

/// Where a record of this length starts, if the one before ends here.
pub(super) fn place(end: usize, length: usize) -> usize {
    let left = SECTOR - end % SECTOR;
    if length > left { end.next_multiple_of(SECTOR) } else { end }
}

/// The first sector after an extent.
fn after(extent: Extent) -> Result<u32, IsoError> {
    let sectors = u64::from(extent.bytes).div_ceil(SECTOR as u64);
    u32::try_from(u64::from(extent.sector) + sectors).map_err(|_| IsoError::Full)
}

/// The continuation areas, one after the other, none across a sector.
struct Area {
    sector: u32,
    used: usize,
}

impl Area {
    fn take(&mut self, bytes: usize) -> Result<Continuation, IsoError> {
        if self.used + bytes > SECTOR {
            self.sector = self.sector.checked_add(1).ok_or(IsoError::Full)?;
            self.used = 0;
        }
        // Both are at most a sector.
        let at = Continuation { sector: self.sector, offset: self.used as u32, bytes: bytes as u32 };
        self.used += bytes;
        Ok(at)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_record_that_would_cross_a_sector_moves_to_the_next() {
        assert_eq!(place(2000, 48), 2000);
        assert_eq!(place(2000, 50), 2048);
        assert_eq!(place(2048, 100), 2048);
        assert_eq!(place(4095, 2), 4096);
    }

    #[test]
    fn a_continuation_area_stays_in_one_sector() {
        let mut area = Area { sector: 30, used: 2000 };
        assert_eq!(area.take(48).unwrap(), Continuation { sector: 30, offset: 2000, bytes: 48 });
        assert_eq!(area.take(1).unwrap(), Continuation { sector: 31, offset: 0, bytes: 1 });
    }
}
