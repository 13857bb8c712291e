//! `windrow cat`: the body of one object, or of several in a row.

use crate::Outcome;
use crate::args::Cat as Args;
use crate::progress::say;
use crate::shown::{Data, escaped};
use std::os::unix::ffi::OsStrExt;
use windrow_engine::inspect::Reader;
use windrow_model::Exit;

pub(crate) fn run(args: &Args) -> Outcome {
    let reader = Reader::open(&args.dest)?;
    let mut out = Data::new();
    let (mut on, mut missing) = (true, false);
    let mut result = Ok(());
    for name in &args.names {
        let name = name.as_bytes();
        let mut give = |piece: &[u8]| {
            on = out.write(piece);
            on
        };
        match reader.cat(name, &mut give, &mut |what| say(&format!("windrow: {what}"))) {
            Ok(Some(_)) => {}
            Ok(None) => {
                missing = true;
                let dest = args.dest.display();
                say(&format!("windrow: {}: no such object in {dest}", escaped(name)));
            }
            Err(error) => {
                result = Err(error);
                break;
            }
        }
        if !on {
            break;
        }
    }
    // What was before an error is given, too.
    out.end()?;
    result?;
    if missing {
        say("hint: `windrow ls` lists the names, which are the source's, byte for byte");
    }
    Ok(if missing { Exit::Failed } else { Exit::Complete })
}
