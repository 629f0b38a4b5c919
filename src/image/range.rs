//! Taking up a transfer where it broke off: HTTP range requests (RFC 9110, sections 13.1.5 and 14).

/// A `Content-Range: bytes first-last/total` header.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ContentRange {
    /// The first byte's offset.
    pub first: u64,
    /// The last byte's offset, included.
    pub last: u64,
    /// The whole length, if the server knows it.
    pub total: Option<u64>,
}

/// What an answer means for a transfer of which some bytes are there already.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Answer {
    /// The whole file, from its first byte; what was there is of no use.
    Whole {
        /// Its length, if known.
        total: Option<u64>,
    },
    /// What is missing.
    Rest {
        /// The whole length, if known.
        total: Option<u64>,
    },
    /// The bytes that are there do not belong to this file any more: ask again, for the whole.
    StartOver,
    /// The server does not give the file.
    Refused(u16),
}

/// Read a Content-Range header.
pub fn content_range(header: &str) -> Option<ContentRange> {
    let (range, total) = header.trim().strip_prefix("bytes ")?.split_once('/')?;
    let (first, last) = range.split_once('-')?;
    let (first, last) = (first.parse().ok()?, last.parse().ok()?);
    let total = match total {
        "*" => None,
        number => Some(number.parse().ok()?),
    };
    (first <= last && total.is_none_or(|total| last < total)).then_some(ContentRange { first, last, total })
}

/// The value for `If-Range`: a strong entity tag, else the date; a weak tag is not allowed there.
pub(super) fn validator(etag: Option<&str>, last_modified: Option<&str>) -> Option<String> {
    etag.filter(|tag| tag.starts_with('"')).or(last_modified).map(str::to_owned)
}

/// Judge an answer to a request that asked for everything from byte `offset` on.
pub(super) fn judge(status: u16, offset: u64, range: Option<&str>, length: Option<u64>) -> Answer {
    match status {
        200 => Answer::Whole { total: length },
        206 => match range.and_then(content_range) {
            Some(range) if range.first == offset && offset > 0 => Answer::Rest { total: range.total },
            // Bytes from somewhere else must never be put behind ours.
            _ => Answer::StartOver,
        },
        416 => Answer::StartOver,
        status => Answer::Refused(status),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_content_range_is_read_or_refused() {
        assert_eq!(content_range("bytes 5-9/10"), Some(ContentRange { first: 5, last: 9, total: Some(10) }));
        assert_eq!(content_range("bytes 5-9/*"), Some(ContentRange { first: 5, last: 9, total: None }));
        for bad in ["bytes 9-5/10", "bytes 5-10/10", "bytes */10", "5-9/10", "bytes 5-/10", "", "bytes -1-9/10"] {
            assert_eq!(content_range(bad), None, "{bad}");
        }
    }

    #[test]
    fn bytes_from_another_place_are_never_appended() {
        assert_eq!(judge(206, 5, Some("bytes 5-9/10"), None), Answer::Rest { total: Some(10) });
        assert_eq!(judge(206, 5, Some("bytes 4-9/10"), None), Answer::StartOver);
        assert_eq!(judge(206, 5, None, None), Answer::StartOver);
        assert_eq!(judge(416, 5, None, None), Answer::StartOver);
    }

    #[test]
    fn a_server_that_sends_the_whole_file_is_believed() {
        assert_eq!(judge(200, 5, None, Some(10)), Answer::Whole { total: Some(10) });
        assert_eq!(judge(404, 0, None, None), Answer::Refused(404));
    }

    #[test]
    fn a_weak_tag_does_not_guard_a_range() {
        assert_eq!(validator(Some("\"a\""), None).as_deref(), Some("\"a\""));
        assert_eq!(validator(Some("W/\"a\""), Some("Fri")).as_deref(), Some("Fri"));
        assert_eq!(validator(Some("W/\"a\""), None), None);
    }
}
