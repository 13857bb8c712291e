//! Any bytes as an object's name: its path is safe and leads back to it. Any bytes as a path: what
//! has a name is a path of that name.
#![no_main]

use libfuzzer_sys::fuzz_target;
use windrow_model::name::{self, COMPONENT_BYTES, Kind};

fuzz_target!(|bytes: &[u8]| {
    let mut path = Vec::new();
    name::to_path(bytes, &mut path);
    assert_safe(&path);
    assert_eq!(name::from_path(&path).as_deref(), Some(bytes));

    // Each component in its other form.
    let mut other = Vec::new();
    let mut components = bytes.split(|&b| b == b'/').peekable();
    while let Some(component) = components.next() {
        let kind = if components.peek().is_some() { Kind::Directory } else { Kind::File };
        name::encode_component(component, kind, &mut other);
        if kind == Kind::Directory {
            other.push(b'/');
        }
    }
    assert_safe(&other);
    assert_eq!(name::from_path(&other).as_deref(), Some(bytes));

    // The bytes as a path.
    if let Some(name) = name::from_path(bytes) {
        let mut again = Vec::new();
        name::to_path(&name, &mut again);
        assert_eq!(name::from_path(&again), Some(name));
    }
});

fn assert_safe(path: &[u8]) {
    for (index, component) in path.split(|&b| b == b'/').enumerate() {
        assert!(!component.is_empty() && component != b"." && component != b"..");
        assert!(component.len() <= COMPONENT_BYTES);
        assert!(component.iter().all(|&b| b >= b' ' && b != 0x7F));
        assert!(std::str::from_utf8(component).is_ok());
        assert!(index > 0 || !component.eq_ignore_ascii_case(b".windrow"));
    }
}
