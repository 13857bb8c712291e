//! How fast lists of URLs are read: makes a list of N lines (3,000,000 where nothing is said) in each
//! form in a temporary directory, reads each of them three times, prints the best.
//!
//! `cargo run --release -p windrow-engine --example lists -- 3000000 [FORM ...]`

use parquet::basic::{Compression, ZstdLevel};
use parquet::data_type::{ByteArray, ByteArrayType};
use parquet::file::properties::WriterProperties;
use parquet::file::writer::SerializedFileWriter;
use parquet::schema::parser::parse_message_type;
use std::fs::File;
use std::io::{BufWriter, Write};
use std::path::Path;
use std::sync::Arc;
use std::time::Instant;
use windrow_engine::source::list::{List, ListSpec};

type Outcome = Result<(), Box<dyn std::error::Error>>;

fn main() -> Outcome {
    let mut args = std::env::args().skip(1);
    let count: u64 = args.next().map_or(Ok(3_000_000), |count| count.parse())?;
    let only: Vec<String> = args.collect();
    let dir = tempfile::tempdir()?;
    let mut out = std::io::stdout();
    for name in [
        "plain.txt",
        "signed.txt",
        "hosts.txt",
        "list.csv",
        "quoted.csv",
        "list.jsonl",
        "list.parquet",
        "zstd.parquet",
        "list.txt.gz",
        "list.txt.zst",
    ] {
        if !only.is_empty() && !only.iter().any(|form| form == name) {
            continue;
        }
        let path = dir.path().join(name);
        make(&path, name, count)?;
        let bytes = path.metadata()?.len();
        let (mut best, mut made) = (f64::MAX, 0);
        for _ in 0..3 {
            let start = Instant::now();
            let spec = ListSpec { inputs: vec![path.clone()], ..ListSpec::default() };
            let mut list = List::open(&spec, None)?;
            made = 0;
            while let Some(page) = list.page()? {
                made += page.sheet.names.len() as u64;
            }
            best = best.min(start.elapsed().as_secs_f64());
        }
        assert_eq!(made, count, "every line is an object");
        let (lines, megabytes) = (count as f64 / best / 1e6, bytes as f64 / best / 1e6);
        writeln!(out, "{name:14} {lines:6.2} million lines/s {megabytes:6.0} MB/s")?;
        std::fs::remove_file(&path)?;
    }
    Ok(())
}

/// About 100 bytes.
fn url(number: u64, name: &str) -> String {
    let mixed = number.wrapping_mul(0x9E37_79B9_7F4A_7C15);
    match name {
        // About 440 bytes.
        "signed.txt" => format!(
            "https://bucket.s3.eu-west-1.amazonaws.com/data/{number:09}.jpg?X-Amz-Algorithm=AWS4-HMAC-SHA256\
             &X-Amz-Credential=AKIAIOSFODNN7EXAMPLE%2F20261121%2Feu-west-1%2Fs3%2Faws4_request\
             &X-Amz-Date=20261121T100000Z&X-Amz-Expires=86400&X-Amz-SignedHeaders=host\
             &X-Amz-Signature={mixed:064x}"
        ),
        "hosts.txt" => format!(
            "https://host{}.example.org/images/2026/11/{mixed:016x}/{mixed:016x}/{number:012}.jpg",
            mixed >> 54
        ),
        _ => format!(
            "https://images.example.org/collection/2026/11/{mixed:016x}/{mixed:016x}/{number:09}.jpg"
        ),
    }
}

fn make(path: &Path, name: &str, count: u64) -> Outcome {
    let file = BufWriter::with_capacity(1 << 20, File::create(path)?);
    if name.ends_with(".parquet") {
        return make_parquet(file, name, count);
    }
    let mut out: Box<dyn Write> = match name.rsplit_once('.') {
        Some((_, "gz")) => {
            Box::new(flate2::write::GzEncoder::new(file, flate2::Compression::new(6)))
        }
        Some((_, "zst")) => Box::new(zstd::stream::write::Encoder::new(file, 3)?.auto_finish()),
        _ => Box::new(file),
    };
    if name.ends_with(".csv") {
        writeln!(out, "id,url,width")?;
    }
    for number in 0..count {
        let url = url(number, name);
        match name {
            "list.csv" => writeln!(out, "{number},{url},640")?,
            "quoted.csv" => writeln!(out, "{number},\"{url}\",640")?,
            "list.jsonl" => writeln!(out, "{{\"id\":{number},\"url\":\"{url}\",\"width\":640}}")?,
            _ => writeln!(out, "{url}")?,
        }
    }
    out.flush()?;
    Ok(())
}

fn make_parquet(file: BufWriter<File>, name: &str, count: u64) -> Outcome {
    let compression = match name {
        "zstd.parquet" => Compression::ZSTD(ZstdLevel::default()),
        _ => Compression::SNAPPY,
    };
    let schema = parse_message_type("message list { OPTIONAL BYTE_ARRAY url (UTF8); }")?;
    let properties = WriterProperties::builder()
        .set_dictionary_enabled(false)
        .set_compression(compression)
        .build();
    let mut writer = SerializedFileWriter::new(file, Arc::new(schema), Arc::new(properties))?;
    let mut from = 0;
    while from < count {
        let to = count.min(from + 100_000);
        let mut group = writer.next_row_group()?;
        if let Some(mut column) = group.next_column()? {
            let urls: Vec<_> =
                (from..to).map(|number| ByteArray::from(url(number, name).into_bytes())).collect();
            let levels = vec![1; urls.len()];
            column.typed::<ByteArrayType>().write_batch(&urls, Some(&levels), None)?;
            column.close()?;
        }
        group.close()?;
        from = to;
    }
    writer.close()?;
    Ok(())
}
