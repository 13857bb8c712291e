//! Pages of a listing that tell names twice or lead in a circle.

/// A page as the sites of this server write it.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Page<'a> {
    /// Names, as JSON with their quotes.
    names: Vec<&'a [u8]>,
    /// The marker of the next page, as JSON with its quotes.
    next: Option<&'a [u8]>,
}

impl<'a> Page<'a> {
    /// `None` if it is not in the form that the sites of this server write.
    pub(super) fn read(body: &'a [u8]) -> Option<Self> {
        let mut rest = body.strip_prefix(b"{\"FileNames\":[")?;
        let mut names = Vec::new();
        while let Some(name) = literal(rest) {
            names.push(name);
            rest = &rest[name.len()..];
            rest = rest.strip_prefix(b",").unwrap_or(rest);
        }
        rest = rest.strip_prefix(b"]")?;
        let next = rest.strip_prefix(b",\"NextMarker\":").and_then(literal);
        Some(Self { names, next })
    }

    /// Names those that are chosen once more, behind all others; how many.
    pub(super) fn repeat(&mut self, mut chosen: impl FnMut(&[u8]) -> bool) -> u64 {
        let once = self.names.len();
        for at in 0..once {
            if chosen(self.names[at]) {
                self.names.push(self.names[at]);
            }
        }
        (self.names.len() - once) as u64
    }

    /// Leads back to the first of `markers` wherever it would leave them; whether it did.
    pub(super) fn lead_back(&mut self, markers: &'a [Vec<u8>]) -> bool {
        let stays = self.next.is_some_and(|next| markers.iter().any(|marker| marker == next));
        match markers.first() {
            Some(first) if !stays => {
                self.next = Some(first);
                true
            }
            _ => false,
        }
    }

    /// Appends it in the form in which it was read.
    pub(super) fn write_into(&self, out: &mut Vec<u8>) {
        out.extend_from_slice(b"{\"FileNames\":[");
        out.extend_from_slice(&self.names.join(&b','));
        out.push(b']');
        if let Some(next) = self.next {
            out.extend_from_slice(b",\"NextMarker\":");
            out.extend_from_slice(next);
        }
        out.push(b'}');
    }
}

/// The string at the beginning of a JSON text, with its quotes.
fn literal(text: &[u8]) -> Option<&[u8]> {
    let mut at = 1;
    text.strip_prefix(b"\"")?;
    loop {
        match text.get(at)? {
            b'"' => return Some(&text[..=at]),
            b'\\' => at += 2,
            _ => at += 1,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn told(page: &Page<'_>) -> String {
        let mut out = Vec::new();
        page.write_into(&mut out);
        String::from_utf8(out).unwrap()
    }

    #[test]
    fn a_page_that_is_read_is_written_as_it_was() {
        for body in [
            r#"{"FileNames":[]}"#,
            r#"{"FileNames":["a"]}"#,
            r#"{"FileNames":["a","b\"],\\","é"],"NextMarker":"c\\"}"#,
        ] {
            assert_eq!(told(&Page::read(body.as_bytes()).unwrap()), body);
        }
        for odd in ["", "{}", r#"{"FileNames":["a"#, r#"{"FileNames":["a\"#, "no such page\n"] {
            assert_eq!(Page::read(odd.as_bytes()), None, "{odd}");
        }
    }

    #[test]
    fn names_are_told_again_at_the_end() {
        let mut page = Page::read(br#"{"FileNames":["a","b","c"],"NextMarker":"3"}"#).unwrap();
        assert_eq!(page.repeat(|name| name != b"\"b\""), 2);
        assert_eq!(told(&page), r#"{"FileNames":["a","b","c","a","c"],"NextMarker":"3"}"#);
    }

    #[test]
    fn markers_lead_back_where_they_would_leave_the_circle() {
        let markers = ["\"2\"", "\"4\""].map(|marker| marker.as_bytes().to_vec());
        for (next, expected) in [("\"2\"", None), ("\"4\"", None), ("\"6\"", Some("\"2\""))] {
            let body = format!("{{\"FileNames\":[\"a\"],\"NextMarker\":{next}}}");
            let mut page = Page::read(body.as_bytes()).unwrap();
            assert_eq!(page.lead_back(&markers), expected.is_some(), "{next}");
            assert_eq!(page.next, Some(expected.unwrap_or(next).as_bytes()));
        }
        let mut last = Page::read(br#"{"FileNames":["a"]}"#).unwrap();
        assert!(!last.lead_back(&[]) && last.lead_back(&markers));
        assert_eq!(told(&last), r#"{"FileNames":["a"],"NextMarker":"2"}"#);
    }
}
