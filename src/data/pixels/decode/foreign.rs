//! Names formats that aren't decoded here by their first bytes, with what to do instead.

/// The advice for most formats.
const SAVE: &str = "save it as JPEG or PNG";

/// The advice for pages and archives.
const NOT_A_IMAGE: &str = "take the image itself";

/// First bytes of a format, its name, and what to do.
const MARKS: &[(&[u8], &str, &str)] = &[
    (b"\xFF\x0A", "a JPEG XL image", SAVE),
    (b"\0\0\0\x0CJXL \r\n\x87\n", "a JPEG XL image", SAVE),
    (b"\0\0\0\x0CjP  \r\n\x87\n", "a JPEG 2000 image", SAVE),
    (b"\xFF\x4F\xFF\x51", "a JPEG 2000 image", SAVE),
    (b"8BPS", "a Photoshop document", SAVE),
    (
        b"%PDF-",
        "a PDF document",
        "save its images as PNG, with pdfimages or as pages",
    ),
    (b"%!PS", "a PostScript document", SAVE),
    (b"gimp xcf", "a GIMP document", SAVE),
    (b"\x76\x2F\x31\x01", "an OpenEXR image", SAVE),
    (b"#?RADIANCE", "a Radiance HDR image", SAVE),
    (b"DDS ", "a DirectDraw texture", SAVE),
    (b"\xABKTX", "a KTX texture", SAVE),
    (b"qoif", "a QOI image", SAVE),
    (b"\0\0\x01\0", "an icon (ICO)", SAVE),
    (b"\0\0\x02\0", "a cursor (CUR)", SAVE),
    (b"icns", "an icon (ICNS)", SAVE),
    (b"BPG\xFB", "a BPG image", SAVE),
    (b"farbfeld", "a farbfeld image", SAVE),
    (b"Pf\n", "a PFM image", SAVE),
    (b"PF\n", "a PFM image", SAVE),
    (b"FUJIFILMCCD-RAW", "a raw photograph (RAF)", SAVE),
    (b"IIRO", "a raw photograph (ORF)", SAVE),
    (b"IIU\0", "a raw photograph (RW2)", SAVE),
    (
        b"\x89HDF\r\n\x1A\n",
        "an HDF5 file",
        "save each image in it as PNG",
    ),
    (
        b"\x93NUMPY",
        "a NumPy array",
        "save each image in it as PNG",
    ),
    (
        b"SIMPLE  =",
        "a FITS image",
        "save it as 8-bit PNG, with the relevant range of values stretched",
    ),
    (b"PK\x03\x04", "a ZIP archive", "unpack it first"),
    (b"PK\x05\x06", "an empty ZIP archive", NOT_A_IMAGE),
    (
        b"\x1F\x8B",
        "a file compressed with gzip",
        "unpack it first",
    ),
    (b"Rar!", "a RAR archive", "unpack it first"),
    (b"7z\xBC\xAF\x27\x1C", "a 7z archive", "unpack it first"),
    (b"BZh", "a file compressed with bzip2", "unpack it first"),
    (
        b"\xFD7zXZ\0",
        "a file compressed with xz",
        "unpack it first",
    ),
    (
        b"\x1A\x45\xDF\xA3",
        "a video (Matroska or WebM)",
        "save its frames as JPEG or PNG",
    ),
    (
        b"RIFF",
        "a RIFF file (video or sound, not WebP)",
        "save its frames as JPEG or PNG",
    ),
    (
        b"version https://git-lfs",
        "a pointer of Git LFS, not the image itself",
        "fetch it with `git lfs pull`",
    ),
    (b"{\\rtf", "a text document", NOT_A_IMAGE),
    (
        b"\xD0\xCF\x11\xE0",
        "a Microsoft Office document",
        NOT_A_IMAGE,
    ),
];

/// Returns the name of a format that isn't decoded, with its article, and what to do.
pub fn foreign_format(bytes: &[u8]) -> Option<(&'static str, &'static str)> {
    let has = |at: usize, mark: &[u8]| bytes.get(at..at + mark.len()) == Some(mark);
    let named = |name| Some((name, SAVE));
    // ISO media files (ISO/IEC 14496-12) have their brand after the first box's length and type.
    if has(4, b"ftyp") {
        return match bytes.get(8..12)? {
            b"avif" | b"avis" => named("an AVIF image"),
            b"heic" | b"heix" | b"heim" | b"heis" | b"hevc" | b"hevx" | b"mif1" | b"msf1" => {
                named("a HEIC image")
            }
            b"crx " => named("a raw photograph (CR3)"),
            b"jxl " => named("a JPEG XL image"),
            _ => Some((
                "a video (MP4 or QuickTime)",
                "save its frames as JPEG or PNG",
            )),
        };
    }
    if has(128, b"DICM") {
        let advice = "convert it with its display window by pydicom or dcm2pnm (dcm2niix for \
                      volumes), and save it as PNG";
        return Some(("a DICOM image", advice));
    }
    let found = MARKS
        .iter()
        .find(|(mark, ..)| bytes.starts_with(mark))
        .map(|(_, name, advice)| (*name, *advice));
    found.or_else(|| of_text(bytes)).or_else(|| {
        let rest = bytes.first_chunk::<348>()?;
        // The header length in either byte order, and the magic at its end (NIfTI-1).
        let is_nifti = matches!(rest[..4], [0x5C, 1, 0, 0] | [0, 0, 1, 0x5C])
            && matches!(&rest[344..347], b"n+1" | b"ni1");
        is_nifti.then_some((
            "a NIfTI volume",
            "save its slices as PNG, with the relevant range of values stretched",
        ))
    })
}

/// Names files that are text: drawings, and the pages that failed downloads leave.
fn of_text(bytes: &[u8]) -> Option<(&'static str, &'static str)> {
    let bytes = bytes
        .strip_prefix(b"\xEF\xBB\xBF")
        .unwrap_or(bytes)
        .trim_ascii_start();
    let start = String::from_utf8_lossy(&bytes[..bytes.len().min(1024)]).to_ascii_lowercase();
    let is_tag = |tag: &str| start.starts_with('<') && start.contains(tag);
    match () {
        () if is_tag("<svg") => Some(("an SVG drawing", "save it as PNG in the wanted size")),
        () if is_tag("<!doctype html") || is_tag("<html") || is_tag("<head") || is_tag("<body") => {
            Some((
                "an HTML page (often left by a failed download)",
                "download the image again",
            ))
        }
        () if start.starts_with("<?xml") => Some(("an XML file", NOT_A_IMAGE)),
        () => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Checks the name of each file, and a word of the advice.
    fn check(cases: &[(&[u8], &str, &str)]) {
        for (bytes, name, advice) in cases {
            let found = foreign_format(bytes).unwrap_or_else(|| panic!("{name}"));
            assert!(
                found.0.contains(name) && found.1.contains(advice),
                "{found:?}"
            );
        }
    }

    /// The beginning of a NIfTI file.
    fn nifti() -> Vec<u8> {
        [&[0x5C, 1, 0, 0][..], &[0; 340], b"n+1\0"].concat()
    }

    #[test]
    fn images_that_are_not_read_have_a_name_and_an_advice() {
        let dicom = [&[0; 128][..], b"DICM\x02\0"].concat();
        check(&[
            (b"\0\0\0\x18ftypheic\0\0\0\0", "a HEIC image", "JPEG or PNG"),
            (
                b"\0\0\0\x20ftypavif\0\0\0\0",
                "an AVIF image",
                "JPEG or PNG",
            ),
            (
                b"\0\0\0\x0CJXL \r\n\x87\n",
                "a JPEG XL image",
                "JPEG or PNG",
            ),
            (b"\xFF\x0A\x11\x22", "a JPEG XL image", "JPEG or PNG"),
            (
                b"\0\0\0\x0CjP  \r\n\x87\n",
                "a JPEG 2000 image",
                "JPEG or PNG",
            ),
            (b"8BPS\0\x01", "a Photoshop document", "JPEG or PNG"),
            (&dicom, "a DICOM image", "pydicom"),
            (&nifti(), "a NIfTI volume", "slices"),
            (
                b"<svg xmlns='http://www.w3.org/2000/svg'/>",
                "an SVG drawing",
                "PNG",
            ),
            (
                b"<?xml version='1.0'?>\n<!-- made -->\n<svg/>",
                "an SVG drawing",
                "PNG",
            ),
        ]);
    }

    #[test]
    fn files_that_are_no_images_have_a_name_and_an_advice() {
        check(&[
            (b"%PDF-1.7\n", "a PDF document", "pdfimages"),
            (
                b"\n\n<!DOCTYPE HTML><title>404</title>",
                "an HTML page",
                "download the image again",
            ),
            (
                b"<?xml version='1.0'?><Error/>",
                "an XML file",
                "image itself",
            ),
            (b"PK\x03\x04\x14\0", "a ZIP archive", "unpack"),
            (
                b"version https://git-lfs.github.com/spec/v1\n",
                "Git LFS",
                "git lfs pull",
            ),
            (b"\0\0\0\x1CftypIsom\0\0", "a video", "frames"),
            (b"RIFF\x10\0\0\0AVI LIST", "a RIFF file", "frames"),
        ]);
    }

    #[test]
    fn a_file_without_a_known_mark_has_no_name() {
        for bytes in [
            &b""[..],
            b"hello",
            b"<",
            b"\x89PNG\r\n\x1A\n",
            &nifti()[..300],
        ] {
            assert_eq!(foreign_format(bytes), None);
        }
    }
}
