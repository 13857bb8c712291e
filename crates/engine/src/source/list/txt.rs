//! One URL a line. Blank lines and lines that begin with `#` are no objects.

use super::Rows;
use super::page::{Page, Row};
use super::text::{Ahead, Text};
use windrow_model::Error;

/// Lines of a text.
#[derive(Debug)]
pub(super) struct Txt(pub Text);

fn is_nothing(line: &[u8]) -> bool {
    matches!(line.trim_ascii_start().first(), None | Some(b'#'))
}

impl Rows for Txt {
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

    fn more(&mut self) -> Result<bool, Error> {
        skip(&mut self.0, is_nothing)
    }

    fn jump(&mut self, offset: u64, lines: u64) -> Result<(), Error> {
        self.0.jump(offset, lines)
    }

    fn at(&self) -> (u64, u64) {
        (self.0.offset(), self.0.lines())
    }

    fn is_live(&self) -> bool {
        self.0.is_live()
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
