//! The synthetic corpus as a site: nothing is stored, every answer is computed.

use windrow_model::{Corpus, percent};

use crate::request::{Connection, Method, Request};
use crate::respond::{Body, PIECE_BYTES, Refusal, name_of, object_head_into};

/// A corpus with what its answers have in common.
#[derive(Debug)]
pub(crate) struct Synthetic {
    corpus: Corpus,
    page: u64,
    /// The response head is the same for every object: one for each [`Connection`].
    heads: [Vec<u8>; 3],
}

impl Synthetic {
    /// `page` names go into one page of the listing.
    pub(crate) fn new(corpus: Corpus, page: usize) -> Self {
        let head = |connection| {
            let mut head = Vec::new();
            object_head_into(corpus.size, connection, &mut head);
            head
        };
        let heads = [Connection::Stays, Connection::KeptAlive, Connection::Closes].map(head);
        Self { corpus, page: page as u64, heads }
    }

    /// Answers `GET /get/{raw}`.
    #[inline(always)] // As `respond::answer`.
    pub(crate) fn get(
        &self,
        raw: &[u8],
        request: &Request<'_>,
        out: &mut Vec<u8>,
    ) -> Result<Option<Body>, Refusal> {
        let ordinal = match self.corpus.ordinal_of(raw) {
            Some(ordinal) => ordinal,
            None => self.corpus.ordinal_of(&name_of(raw)?).ok_or_else(Refusal::no_object)?,
        };
        out.extend_from_slice(match request.connection {
            Connection::Stays => &self.heads[0],
            Connection::KeptAlive => &self.heads[1],
            Connection::Closes => &self.heads[2],
        });
        if request.method == Method::Head {
            return Ok(None);
        }
        if self.corpus.size <= PIECE_BYTES as u64 {
            self.corpus.body_into(ordinal, out);
            return Ok(None);
        }
        Ok(Some(Body::Synthetic { corpus: self.corpus, ordinal, from: 0 }))
    }

    /// Appends the page that begins at `marker`, an ordinal in decimal.
    pub(crate) fn list(&self, marker: Option<&[u8]>, out: &mut Vec<u8>) -> Result<(), Refusal> {
        let first = match marker {
            None => 0,
            Some(marker) => self.ordinal_at(marker).ok_or_else(Refusal::marker)?,
        };
        let end = first.saturating_add(self.page).min(self.corpus.count);
        out.extend_from_slice(b"{\"FileNames\":[");
        for ordinal in first..end {
            // Names of the corpus are letters, digits and a hyphen: nothing to escape.
            out.extend_from_slice(if ordinal == first { b"\"" } else { b",\"" });
            self.corpus.name_into(ordinal, out);
            out.push(b'"');
        }
        out.push(b']');
        if end < self.corpus.count {
            out.extend_from_slice(b",\"NextMarker\":\"");
            out.extend_from_slice(end.to_string().as_bytes());
            out.push(b'"');
        }
        out.push(b'}');
        Ok(())
    }

    /// The marker of page `index`.
    pub(crate) fn marker(&self, index: usize) -> Option<String> {
        let first = self.page.saturating_mul(index as u64);
        (index > 0 && first < self.corpus.count).then(|| first.to_string())
    }

    /// Reads a marker: exactly the text that [`list`](Self::list) writes, and inside the corpus.
    fn ordinal_at(&self, marker: &[u8]) -> Option<u64> {
        let text = String::from_utf8(percent::decode(marker)?).ok()?;
        let ordinal: u64 = text.parse().ok()?;
        (ordinal < self.corpus.count && ordinal.to_string() == text).then_some(ordinal)
    }
}
