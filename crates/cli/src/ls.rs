//! `windrow ls`: the names of what was stored.

use crate::Outcome;
use crate::args::Ls as Args;
use crate::progress::say;
use crate::shown::{self, Data, escaped};
use serde_json::{Map, Value};
use std::os::unix::ffi::OsStrExt;
use windrow_engine::inspect::{self, Listed};
use windrow_model::Exit;

pub(crate) fn run(args: &Args) -> Outcome {
    let prefix = args.with_prefix.as_ref().or(args.prefix.as_ref());
    let prefix = prefix.map_or(&[][..], |prefix| prefix.as_bytes());
    let mut out = Data::new();
    let mut line = Vec::new();
    let mut show = |object: &Listed<'_>| {
        if !object.name.starts_with(prefix) {
            return true;
        }
        line.clear();
        if args.json {
            line.extend_from_slice(self::object(object).to_string().as_bytes());
            line.push(b'\n');
        } else if args.null {
            line.extend_from_slice(object.name);
            line.push(0);
        } else {
            line.extend_from_slice(escaped(object.name).as_bytes());
            line.push(b'\n');
        }
        out.write(&line)
    };
    let mut skipped = false;
    let listed = inspect::list(&args.dest, &mut show, &mut |what| {
        skipped = true;
        say(&format!("windrow: {what}"));
    });
    out.end()?;
    listed?;
    if skipped {
        say("hint: `windrow verify` tells what is damaged");
    }
    Ok(if skipped { Exit::Failed } else { Exit::Complete })
}

fn object(object: &Listed<'_>) -> Value {
    let mut map = Map::new();
    shown::put(&mut map, "name", object.name);
    map.insert("bytes".into(), object.bytes.into());
    if let Some((pack, offset)) = object.pack {
        map.insert("pack".into(), pack.into());
        map.insert("offset".into(), offset.into());
    }
    Value::Object(map)
}
