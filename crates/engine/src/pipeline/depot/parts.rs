//! Uploads in parts.
//!
//! Parts that were sent cost their owner money until the upload is completed or given up. So each upload is
//! noted in the job's directory before it is begun, and the note goes when it has ended; whoever goes on with
//! a run gives up what is noted.
//!
//! Source: AWS, "Uploading and copying objects using multipart upload",
//! <https://docs.aws.amazon.com/AmazonS3/latest/userguide/mpuoverview.html>.

use super::Store;
use super::hands::{Hands, There, hex, sha256, split};
use crate::disk::{Dir, Disk, read_whole, write_whole};
use crate::sink::depot::Refused;
use crate::source::bucket::{Tag, each_text};
use crate::wire::Fetched;
use crate::wire::fetch::Ask;
use crate::wire::sigv4::{Act, NO_PAYLOAD};
use md5::{Digest, Md5};
use rustix::io::Errno;
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::SystemTime;
use windrow_model::calendar;
use windrow_model::limits::{UPLOAD_BEGUN_WITHIN, UPLOAD_PART_BYTES, UPLOAD_PARTS};
use windrow_model::percent::{self, Keep};
use windrow_model::{Error, Failure, FailureClass};

/// Names of notes begin so, in [`Dir::State`].
const NOTE: &str = "upload-";

/// An upload that was begun.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub(super) struct Note {
    /// The service and the bucket.
    at: String,
    /// Path of the object, percent-encoded.
    path: String,
    /// What the service calls it; `None` before it has said that.
    id: Option<String>,
    /// When it was asked for first, seconds since 1970; 0 where that is not known.
    #[serde(default)]
    begun: u64,
    #[serde(skip)]
    name: String,
}

/// Reads a piece of what is put.
pub(super) type Read<'r> = dyn FnMut(u64, &mut [u8]) -> Result<(), Error> + 'r;

/// An object to be put part by part.
pub(super) struct Large<'a> {
    pub(super) path: &'a [u8],
    /// Bytes.
    pub(super) size: u64,
    pub(super) headers: &'a [(String, String)],
    /// In place of one that is there.
    pub(super) replace: bool,
}

/// Puts an object part by part.
pub(super) async fn put(
    hands: &Hands,
    large: &Large<'_>,
    read: &mut Read<'_>,
) -> Result<(), Refused> {
    let store = &hands.store;
    let number = store.notes.fetch_add(1, Ordering::Relaxed);
    let mut note = Note {
        at: store.at(),
        path: String::from_utf8_lossy(large.path).into_owned(),
        id: None,
        begun: now(),
        name: format!("{NOTE}{number}.json"),
    };
    note.write(store).map_err(Refused::Run)?;
    let put = put_noted(hands, large, read, &mut note).await;
    if put.is_err() {
        // If that does not work either, the next process sees to it.
        let left = match &note.id {
            Some(id) => abort(hands, &note.path, id).await.is_err(),
            None => was_begun_perhaps(&put),
        };
        if left {
            return put;
        }
    }
    let gone = store.disk.remove(Dir::State, &note.name);
    put.and(gone.map_err(|errno| Refused::Run(store.wrong("cannot remove a note").why(errno))))
}

/// Whether an upload may have been begun whose name nobody heard: there was no answer, or one of a service in
/// trouble.
fn was_begun_perhaps(put: &Result<(), Refused>) -> bool {
    match put {
        Err(Refused::Left) => true,
        Err(Refused::Object(failure)) => !(400..500).contains(&failure.status),
        Ok(()) | Err(Refused::Run(_)) => false,
    }
}

async fn put_noted(
    hands: &Hands,
    large: &Large<'_>,
    read: &mut Read<'_>,
    note: &mut Note,
) -> Result<(), Refused> {
    let store = &hands.store;
    let Large { path, size, .. } = *large;
    let (signed, lines) = split(large.headers);
    let act = Act { method: "POST", payload: NO_PAYLOAD, headers: &signed };
    let begin = [path, b"?uploads="].concat();
    let ask = Ask { act, path: &begin, lines: &lines, body: Some(b"") };
    let begun = hands.insist(&ask, None).await?;
    let id = upload_id(&begun).ok_or_else(|| {
        Refused::Run(store.wrong("the service began an upload and did not say its name"))
    })?;
    note.id = Some(id.clone());
    note.write(store).map_err(Refused::Run)?;
    let mut query = b"uploadId=".to_vec();
    percent::escape_into(id.as_bytes(), &Keep::UNRESERVED, &mut query);

    let part = size.div_ceil(UPLOAD_PARTS).max(UPLOAD_PART_BYTES);
    let (mut tags, mut sums) = (BTreeMap::new(), Md5::new());
    let mut next = (1_u32, 0_u64);
    let mut failed = None;
    let mut under_way: Vec<Sending<'_>> = Vec::new();
    loop {
        while under_way.len() < store.parts && next.1 < size && failed.is_none() {
            let (number, at) = next;
            let len = part.min(size - at);
            let mut body = vec![0; usize::try_from(len).unwrap_or(usize::MAX)];
            read(at, &mut body).map_err(Refused::Run)?;
            sums.update(Md5::digest(&body));
            next = (number + 1, at + len);
            let target = [path, format!("?partNumber={number}&").as_bytes(), &query].concat();
            under_way.push(Box::pin(send_part(hands, number, target, body)));
        }
        let Some(sent) = first(&mut under_way).await else { break };
        match sent {
            Ok((number, tag)) => drop(tags.insert(number, tag)),
            Err(refused) => failed = Some(refused),
        }
    }
    if let Some(refused) = failed {
        return Err(refused);
    }
    // What S3 calls an object in parts: the MD5 of the MD5s of its parts.
    let tag = format!("{}-{}", hex(&sums.finalize()), tags.len());
    let there = There::Parts { path, size, tag: &tag };
    match complete(hands, path, &there, &query, &tags, large.replace).await {
        Err(Refused::Object(Failure { class: FailureClass::NotFound, .. })) => {
            Err(Refused::Run(store.wrong("the service forgot an upload")))
        }
        completed => completed,
    }
}

type Sending<'s> = std::pin::Pin<Box<dyn Future<Output = Result<(u32, String), Refused>> + 's>>;

/// Waits for the first of them that is done, and takes it out.
async fn first(under_way: &mut Vec<Sending<'_>>) -> Option<Result<(u32, String), Refused>> {
    if under_way.is_empty() {
        return None;
    }
    std::future::poll_fn(|cx| {
        for at in 0..under_way.len() {
            if let std::task::Poll::Ready(done) = under_way[at].as_mut().poll(cx) {
                drop(under_way.swap_remove(at));
                return std::task::Poll::Ready(Some(done));
            }
        }
        std::task::Poll::Pending
    })
    .await
}

async fn send_part(
    hands: &Hands,
    number: u32,
    target: Vec<u8>,
    body: Vec<u8>,
) -> Result<(u32, String), Refused> {
    let payload = sha256(&body);
    let act = Act { method: "PUT", payload: &payload, headers: &[] };
    // A part may be sent twice: the last one counts.
    let ask = Ask { act, path: &target, lines: &[], body: Some(&body) };
    let sent = hands.insist(&ask, None).await?;
    let tag = sent.etag.ok_or_else(|| {
        Refused::Run(hands.store.wrong("the service took a part and gave no tag for it"))
    })?;
    Ok((number, tag))
}

async fn complete(
    hands: &Hands,
    path: &[u8],
    there: &There<'_>,
    query: &[u8],
    tags: &BTreeMap<u32, String>,
    replace: bool,
) -> Result<(), Refused> {
    let mut body = "<CompleteMultipartUpload>".to_owned();
    for (number, tag) in tags {
        let tag = tag.replace('&', "&amp;").replace('<', "&lt;");
        body += &format!("<Part><PartNumber>{number}</PartNumber><ETag>{tag}</ETag></Part>");
    }
    body += "</CompleteMultipartUpload>";
    let target = [path, b"?", query].concat();
    let payload = sha256(body.as_bytes());
    let mut lines = vec![("content-type", "application/xml")];
    if !replace {
        lines.push(("if-none-match", "*"));
    }
    let act = Act { method: "POST", payload: &payload, headers: &[] };
    let ask = Ask { act, path: &target, lines: &lines, body: Some(body.as_bytes()) };
    let answer = hands.insist(&ask, Some(there)).await?;
    // Its tag is empty where the answer got lost and the object is there.
    let done = answer.etag.is_some_and(|tag| tag.is_empty());
    let says = || memchr::memmem::find(&answer.body, b"<ETag>").is_some();
    match done || says() {
        true => Ok(()),
        false => {
            let what = "completed an upload and did not say so: is that an S3 service?";
            Err(Refused::Run(hands.store.wrong(what)))
        }
    }
}

/// Gives an upload up; one that the service does not know is given up already.
async fn abort(hands: &Hands, path: &str, id: &str) -> Result<(), Refused> {
    let mut target = format!("{path}?uploadId=").into_bytes();
    percent::escape_into(id.as_bytes(), &Keep::UNRESERVED, &mut target);
    let act = Act { method: "DELETE", payload: NO_PAYLOAD, headers: &[] };
    let ask = Ask { act, path: &target, lines: &[], body: None };
    match hands.insist(&ask, None).await {
        Ok(_) => Ok(()),
        Err(Refused::Object(Failure { class: FailureClass::NotFound, .. })) => Ok(()),
        Err(refused) => Err(refused),
    }
}

impl Note {
    fn write(&self, store: &Store) -> Result<(), Error> {
        let json = serde_json::to_vec(self).unwrap_or_default();
        write_whole(&*store.disk, Dir::State, &self.name, &json)
            .map_err(|errno| Error::environment(&self.name, "cannot write").why(errno))
    }
}

/// What an earlier process noted.
pub(super) fn noted(disk: &dyn Disk) -> Result<Vec<Note>, Error> {
    let wrong = |errno: Errno| Error::environment(".windrow", "cannot read").why(errno);
    let mut notes = Vec::new();
    for name in disk.list(Dir::State).map_err(wrong)? {
        if !name.starts_with(NOTE) {
            continue;
        }
        let bytes = read_whole(disk, Dir::State, &name).map_err(wrong)?.unwrap_or_default();
        // One that was torn names no upload that was begun: it is written whole before that.
        let note = serde_json::from_slice(&bytes).ok();
        notes.push(note.map(|note| Note { name: name.clone(), ..note }).unwrap_or(Note {
            at: String::new(),
            path: String::new(),
            id: None,
            begun: 0,
            name,
        }));
    }
    Ok(notes)
}

/// The number behind those of all notes.
pub(super) fn behind(notes: &[Note]) -> u64 {
    let number = |note: &Note| {
        let digits = note.name.strip_prefix(NOTE)?.strip_suffix(".json")?;
        digits.parse::<u64>().ok()
    };
    notes.iter().filter_map(number).max().map_or(0, |last| last + 1)
}

/// Gives up what is noted. What cannot be given up stays noted; gives a line for people about that.
pub(super) async fn give_up(store: &Arc<Store>, notes: Vec<Note>) -> Result<Option<String>, Error> {
    let (mut left, mut why) = (0, String::new());
    for note in notes {
        let given_up = async {
            if !note.path.is_empty() && note.at != store.at() {
                return Err(Refused::Left);
            }
            // A refusal ends its own hands only.
            let hands = Hands::new(store).map_err(Refused::Run)?;
            let ids = match &note.id {
                Some(id) => vec![id.clone()],
                None if note.path.is_empty() => Vec::new(),
                // It was begun perhaps, and nobody heard its name.
                None => begun(&hands, &note).await?,
            };
            for id in ids {
                abort(&hands, &note.path, &id).await?;
            }
            Ok(())
        };
        match given_up.await {
            Ok(()) => store
                .disk
                .remove(Dir::State, &note.name)
                .map_err(|errno| Error::environment(&note.name, "cannot remove").why(errno))?,
            Err(refused) => {
                left += 1;
                why = match refused {
                    Refused::Run(error) => error.to_string(),
                    Refused::Object(failure) => failure.to_string(),
                    Refused::Left => "another service or bucket has it".to_owned(),
                };
            }
        }
    }
    Ok((left > 0).then(|| {
        format!("{left} uploads in parts that were begun earlier could not be given up: {why}")
    }))
}

fn now() -> u64 {
    let now = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH);
    now.unwrap_or_default().as_secs()
}

/// Uploads of just this key that the service knows, begun when this one was: others may be another program's. The
/// request for it may have been made again for as long as an outage is waited for.
async fn begun(hands: &Hands, note: &Note) -> Result<Vec<String>, Refused> {
    let base = String::from_utf8_lossy(&hands.store.base).into_owned();
    let encoded = note.path.strip_prefix(&base).unwrap_or(&note.path);
    let encoded = encoded.strip_prefix('/').unwrap_or(encoded);
    let key = percent::decode(encoded.as_bytes()).unwrap_or_default();
    let mut target = format!("{base}/?max-uploads=1000&prefix=").into_bytes();
    percent::escape_into(&key, &Keep::UNRESERVED, &mut target);
    target.extend_from_slice(b"&uploads=");
    let ask = Ask { act: Act::GET, path: &target, lines: &[], body: None };
    let answer = hands.insist(&ask, None).await?;
    let (mut ids, mut known) = (Vec::new(), (String::new(), String::new(), 0));
    let within = UPLOAD_BEGUN_WITHIN.as_secs();
    let last = note.begun + hands.store.retry.longest_outage().as_secs() + within;
    let near = |moment: u64| (note.begun.saturating_sub(within)..=last).contains(&moment);
    let _ = each_text(&answer.body, |names, text| match names {
        [_, Tag::Upload, Tag::Key] => text.clone_into(&mut known.0),
        [_, Tag::Upload, Tag::UploadId] => text.clone_into(&mut known.1),
        [_, Tag::Upload, Tag::Initiated] => known.2 = calendar::seconds(text).unwrap_or(0),
        [_, Tag::Upload] if known.0.as_bytes() == key && near(known.2) => {
            ids.push(std::mem::take(&mut known.1));
            known.2 = 0;
        }
        [_, Tag::Upload] => known.2 = 0,
        _ => {}
    });
    Ok(ids)
}

fn upload_id(fetched: &Fetched) -> Option<String> {
    let mut found = None;
    each_text(&fetched.body, |names, text| {
        if let [_, Tag::UploadId] = names {
            found.get_or_insert_with(|| text.to_owned());
        }
    })
    .ok()?;
    found.filter(|text| !text.is_empty())
}
