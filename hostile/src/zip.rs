//! Zip archives of members that are not compressed. Their checksums are 0: the readers take members as they lie.

/// An archive of these members, by name.
pub(crate) fn bytes(members: &[(&str, Vec<u8>)]) -> Vec<u8> {
    let mut to = Vec::new();
    let mut directory = Vec::new();
    for (name, part) in members {
        let at = to.len();
        local(&mut to, name, part.len());
        to.extend(part);
        entry(&mut directory, name, part.len(), at);
    }
    end(to, &directory, members.len())
}

/// An archive whose directory has so many names for one member.
pub(crate) fn repeated(count: usize, name: impl Fn(usize) -> String, part: &[u8]) -> Vec<u8> {
    let mut to = Vec::new();
    let mut directory = Vec::new();
    local(&mut to, "a", part.len());
    to.extend(part);
    (0..count).for_each(|i| entry(&mut directory, &name(i), part.len(), 0));
    end(to, &directory, count)
}

/// Version, flags, no compression, no time, no checksum, and the length twice.
fn about(to: &mut Vec<u8>, name: &str, len: usize) {
    to.extend([20, 0, 0, 0, 0, 0, 0, 0, 0x21, 0, 0, 0, 0, 0]);
    let len = (len as u32).to_le_bytes();
    to.extend([len, len].concat());
    to.extend((name.len() as u16).to_le_bytes());
    to.extend([0; 2]);
}

fn local(to: &mut Vec<u8>, name: &str, len: usize) {
    to.extend(b"PK\x03\x04");
    about(to, name, len);
    to.extend(name.as_bytes());
}

fn entry(to: &mut Vec<u8>, name: &str, len: usize, at: usize) {
    to.extend(b"PK\x01\x02\x14\x00");
    about(to, name, len);
    to.extend([0; 10]);
    to.extend((at as u32).to_le_bytes());
    to.extend(name.as_bytes());
}

fn end(mut to: Vec<u8>, directory: &[u8], count: usize) -> Vec<u8> {
    let at = to.len() as u32;
    let count = (count as u16).to_le_bytes();
    to.extend(directory);
    to.extend(b"PK\x05\x06\x00\x00\x00\x00");
    to.extend([count, count].concat());
    to.extend((directory.len() as u32).to_le_bytes());
    to.extend(at.to_le_bytes());
    to.extend([0; 2]);
    to
}
