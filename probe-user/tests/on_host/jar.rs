//! A jar file without a compiler: a zip archive with a manifest and nothing else, whose main class is one that the
//! runtime has already.

const MANIFEST: &str = "META-INF/MANIFEST.MF";

/// The bytes of a jar file that starts this class.
pub(crate) fn with_main_class(class: &str) -> Vec<u8> {
    let content = format!("Manifest-Version: 1.0\r\nMain-Class: {class}\r\n\r\n");
    let common = common_fields(content.as_bytes());
    let mut archive = Vec::new();
    archive.extend(b"PK\x03\x04");
    archive.extend(&common);
    archive.extend(MANIFEST.as_bytes());
    archive.extend(content.as_bytes());
    let directory = length(&archive);
    archive.extend(b"PK\x01\x02");
    archive.extend([10, 0]); // made by version 1.0 for MS-DOS
    archive.extend(&common);
    archive.extend([0; 14]); // no comment, disk 0, no attributes, at offset 0
    archive.extend(MANIFEST.as_bytes());
    let size = length(&archive) - directory;
    archive.extend(b"PK\x05\x06");
    archive.extend([0, 0, 0, 0, 1, 0, 1, 0]); // disk 0; one entry, which is all
    archive.extend(size.to_le_bytes());
    archive.extend(directory.to_le_bytes());
    archive.extend([0, 0]); // no comment
    archive
}

/// What the header of a file and its entry in the directory both have.
fn common_fields(content: &[u8]) -> Vec<u8> {
    let mut fields = Vec::new();
    fields.extend([10, 0, 0, 0, 0, 0]); // version 1.0, no flags, not compressed
    fields.extend([0, 0, 0x21, 0]); // midnight of 1 January 1980
    fields.extend(checksum(content).to_le_bytes());
    fields.extend([length(content), length(content)].map(u32::to_le_bytes).concat()); // packed, unpacked
    fields.extend(u16::try_from(MANIFEST.len()).expect("a short name").to_le_bytes());
    fields.extend([0, 0]); // no extra field
    fields
}

fn length(bytes: &[u8]) -> u32 {
    bytes.len().try_into().expect("a small file")
}

/// CRC-32 as in zip, bit by bit.
fn checksum(bytes: &[u8]) -> u32 {
    const POLYNOMIAL: u32 = 0xedb8_8320;
    let step = |rest: u32, _| if rest & 1 == 1 { (rest >> 1) ^ POLYNOMIAL } else { rest >> 1 };
    !bytes.iter().fold(u32::MAX, |rest, byte| (0..8).fold(rest ^ u32::from(*byte), step))
}
