//! One URL a line. Blank lines and lines that begin with `#` are no objects.

use super::TextRows;
use super::page::{Page, Row};
use super::text::{Ahead, Text};
use windrow_model::Error;

/// Lines of a text.
#[derive(Debug)]
pub(super) struct Txt(pub Text);

fn is_nothing(line: &[u8]) -> bool {
    matches!(line.trim_ascii_start().first(), None | Some(b'#'))
}

impl TextRows for Txt {
    fn text(&self) -> &Text {
        &self.0
    }

    fn text_mut(&mut self) -> &mut Text {
        &mut self.0
    }

    fn is_none(line: &[u8]) -> bool {
        is_nothing(line)
    }

    fn read(&mut self, page: &mut Page) -> Result<bool, Error> {
        let text = &mut self.0;
        while !page.is_full() {
            if !page.is_empty() && text.would_wait() {
                return Ok(true);
            }
            match text.ahead()? {
                Ahead::End => return Ok(false),
                Ahead::Line(len) => {
                    let line = &text.window()[..len];
                    if !is_nothing(line) && page.wants_next() {
                        page.push(text.lines() + 1, &Row::of(line));
                    }
                    page.take(len);
                    text.consume(len, 1);
                }
                Ahead::Long => {
                    if page.wants_next() {
                        page.malformed(text.lines() + 1, super::LONG);
                    }
                    text.skip_line()?;
                }
            }
        }
        Ok(true)
    }
}

/// Goes on to the next line that is an object; `false` at the end.
pub(super) fn skip(text: &mut Text, is_nothing: fn(&[u8]) -> bool) -> Result<bool, Error> {
    loop {
        match text.ahead()? {
            Ahead::End => return Ok(false),
            Ahead::Long => return Ok(true),
            Ahead::Line(len) => match is_nothing(&text.window()[..len]) {
                true => text.consume(len, 1),
                false => return Ok(true),
            },
        }
    }
}
