//! A QR code as a picture in the page itself, in black on white whatever the page's colours are: cameras want it so.

use std::fmt::Write as _;

use qrcodegen::{QrCode, QrCodeEcc};

/// White that has to be around it, in dots.
const QUIET: i32 = 4;

/// What the template needs of it.
pub(super) struct Picture {
    /// Width and height with what is around it, in dots.
    pub size: i32,
    /// The black of it, as an SVG path.
    pub path: String,
}

impl Picture {
    /// `None` when the text is too long for any.
    pub fn of(text: &str) -> Option<Self> {
        let code = QrCode::encode_text(text, QrCodeEcc::Medium).ok()?;
        let mut path = String::new();
        for y in 0..code.size() {
            let mut x = 0;
            while x < code.size() {
                let run = (x..code.size()).take_while(|x| code.get_module(*x, y)).count();
                let run = i32::try_from(run).unwrap_or_default();
                if run > 0 {
                    // Writing to a string cannot fail.
                    let _ = write!(path, "M{} {}h{run}v1h-{run}z", x + QUIET, y + QUIET);
                }
                x += run.max(1);
            }
        }
        Some(Self { size: code.size() + 2 * QUIET, path })
    }
}
