//! A server that lists a bucket of keys that it computes: only for load, and no judge of anything.
//!
//! `list-server SHAPE COUNT LATENCY_MS` prints its URL and answers ListObjectsV2 by `start-after`, each
//! page so much later than it was asked for. It checks no signature and has no objects.

use std::fmt::Write as _;
use std::io::{BufRead, BufReader, Write};
use std::net::{TcpListener, TcpStream};
use std::time::{Duration, Instant};

/// Keys of a page.
const PAGE: u64 = 1000;

/// The key of a number, of so many; a larger number has a larger key.
type Key = fn(u64, u64) -> String;

/// What keys look like: a name, what it stands for in the table, and the keys.
pub(crate) const SHAPES: [(&str, &str, Key); 3] = [
    ("numbers", "`train/000000001.jpg` and so on", |n, _| format!("train/{:09}.jpg", n + 1)),
    ("hex", "32 random hexadecimal digits", |n, count| {
        let step = u64::MAX / count;
        format!("{:016x}{:016x}", n * step + scramble(n) % step, scramble(!n))
    }),
    ("dates", "`logs/2021/01/01/part-000001.gz`, 2,740 for each day", |n, _| {
        let (day, number) = (n / 2740, n % 2740);
        let (year, month, day) = windrow_model::calendar::civil(18_628 + day);
        format!("logs/{year}/{month:02}/{day:02}/part-{number:06}.gz")
    }),
];

fn scramble(mut n: u64) -> u64 {
    n = (n ^ n >> 30).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    n = (n ^ n >> 27).wrapping_mul(0x94d0_49bb_1331_11eb);
    n ^ n >> 31
}

/// `list-server SHAPE COUNT LATENCY_MS`: until it is killed.
pub(crate) fn run(args: &[String]) -> Result<(), String> {
    let usage = || "list-server: SHAPE COUNT LATENCY_MS".to_owned();
    let [shape, count, latency] = args else { return Err(usage()) };
    let (.., key) = SHAPES.into_iter().find(|(name, ..)| name == shape).ok_or_else(usage)?;
    let count: u64 = count.parse().map_err(|_| usage())?;
    let latency = Duration::from_millis(latency.parse().map_err(|_| usage())?);
    let listener = TcpListener::bind("127.0.0.1:0").map_err(|why| format!("list-server: {why}"))?;
    let address = listener.local_addr().map_err(|why| format!("list-server: {why}"))?;
    println!("http://{address}");
    for stream in listener.incoming().flatten() {
        std::thread::spawn(move || {
            // A client that goes away is no error.
            let _ = serve(&stream, key, count, latency);
        });
    }
    Ok(())
}

fn serve(stream: &TcpStream, key: Key, count: u64, latency: Duration) -> std::io::Result<()> {
    stream.set_nodelay(true)?;
    let mut reader = BufReader::new(stream);
    let (mut line, mut request) = (String::new(), String::new());
    loop {
        line.clear();
        if reader.read_line(&mut line)? == 0 {
            return Ok(());
        }
        if request.is_empty() {
            request.clone_from(&line);
        }
        if line != "\r\n" {
            continue;
        }
        let due = Instant::now() + latency;
        let target = request.split(' ').nth(1).unwrap_or_default();
        let after = target.split(['?', '&']).find_map(|part| part.strip_prefix("start-after="));
        let body = page(key, count, &after.map(decode).unwrap_or_default());
        let mut answer = format!(
            "HTTP/1.1 200 OK\r\nContent-Type: application/xml\r\nContent-Length: {}\r\n\r\n",
            body.len()
        );
        answer.push_str(&body);
        // It plays a server that is far away.
        std::thread::sleep(due.saturating_duration_since(Instant::now()));
        (&mut &*stream).write_all(answer.as_bytes())?;
        request.clear();
    }
}

fn decode(text: &str) -> String {
    let bytes = windrow_model::percent::decode(text.as_bytes()).unwrap_or_default();
    String::from_utf8_lossy(&bytes).into_owned()
}

/// The page behind a key, as S3 writes it.
fn page(key: Key, count: u64, after: &str) -> String {
    let (mut from, mut to) = (0, count);
    while from < to {
        let middle = from + (to - from) / 2;
        match key(middle, count).as_str() <= after {
            true => from = middle + 1,
            false => to = middle,
        }
    }
    let end = (from + PAGE).min(count);
    let mut body = format!(
        "<?xml version=\"1.0\" encoding=\"UTF-8\"?>\n<ListBucketResult \
         xmlns=\"http://s3.amazonaws.com/doc/2006-03-01/\"><Name>bench</Name><Prefix></Prefix>\
         <KeyCount>{}</KeyCount><MaxKeys>1000</MaxKeys><EncodingType>url</EncodingType>\
         <IsTruncated>{}</IsTruncated>",
        end - from,
        end < count
    );
    for n in from..end {
        // Writing to memory cannot fail.
        let _ = write!(
            body,
            "<Contents><Key>{}</Key><LastModified>2024-02-29T12:00:00.000Z</LastModified><ETag>&quot;\
             {:016x}{:016x}&quot;</ETag><Size>{}</Size><StorageClass>STANDARD</StorageClass></Contents>",
            key(n, count),
            scramble(n),
            scramble(n + 1),
            n % 10_000
        );
    }
    body + "</ListBucketResult>"
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn pages_follow_one_another() {
        for (name, _, key) in SHAPES {
            let (mut after, mut seen) = (String::new(), 0);
            loop {
                let page = page(key, 5500, &after);
                let keys: Vec<_> = page.split("<Key>").skip(1).collect();
                seen += keys.len();
                let last = keys.last().and_then(|rest| rest.split('<').next()).unwrap_or_default();
                assert!(last > after.as_str(), "{name}");
                last.clone_into(&mut after);
                if page.contains("<IsTruncated>false") {
                    break;
                }
            }
            assert_eq!(seen, 5500, "{name}");
        }
    }
}
